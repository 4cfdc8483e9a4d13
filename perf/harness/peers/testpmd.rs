//! DPDK's testpmd over AF_XDP: it moves frames from port to port with other MAC addresses, and does nothing else. What
//! raw I/O costs in another program.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge::lab::Process;

use super::{System, wake};
use crate::Result;
use crate::bed::{ACCESS, Bed, MAC_FAR, UNDERLAY};

const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// From its ports to its forwarding.
const BEGIN: Duration = Duration::from_millis(500);

/// testpmd at work.
pub(crate) struct Testpmd {
    process: Process,
}

impl System for Testpmd {
    fn raw(&self) -> bool {
        true
    }

    fn wake(&self, on: bool) -> Result<()> {
        wake(&self.process, on)
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = wake(&self.process, true);
        let _ = self.process.stop(Duration::from_secs(5));
    }
}

pub(super) fn start(bed: &Bed, room: &Path) -> Result<Testpmd> {
    let path = room.join("testpmd.log");
    let log = File::create(&path)?;
    let mut command = Command::new("dpdk-testpmd");
    // two lcores: the first only waits, the second forwards, on core 1
    command.args(["--no-pci", "--no-shconf", "--no-huge", "-m", "512", "-l", "0,1", "--main-lcore", "0"]);
    command.args([
        "--vdev",
        &format!("net_af_xdp0,iface={ACCESS}"),
        "--vdev",
        &format!("net_af_xdp1,iface={UNDERLAY}"),
    ]);
    command.args(["--", "--forward-mode=mac", &format!("--eth-peer=1,{MAC_FAR}"), "--nb-cores=1", "--auto-start"]);
    command.args(["--total-num-mbufs=32768", "--no-lsc-interrupt"]);
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    let mut testpmd = Testpmd { process: bed.sut.spawn(command)? };
    // what it prints stays in its buffer; its XDP programs tell that it has both ports
    let deadline = Instant::now() + START;
    while bed.run(&bed.sut, "ip", &["-o", "link"])?.lines().filter(|l| l.contains("prog/xdp")).count() < 2 {
        if Instant::now() > deadline || testpmd.process.exited()?.is_some() {
            let told = std::fs::read_to_string(&path).unwrap_or_default();
            let why = told.lines().rev().find(|l| l.contains("EAL:") || l.contains("Cause:"));
            return Err(format!("testpmd did not start: {}", why.unwrap_or("it gives no reason")).into());
        }
        std::thread::sleep(PAUSE);
    }
    std::thread::sleep(BEGIN);
    Ok(testpmd)
}
