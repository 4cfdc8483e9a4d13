//! Open vSwitch's userspace data path over AF_XDP: the same gateway as flows of an OpenFlow table.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge::lab::Process;

use super::{System, wake};
use crate::Result;
use crate::bed::{
    ACCESS, BLUE, Bed, FAR, GREEN, MAC_FAR, MAC_NEAR, MAC_SUT_ACCESS, MAC_SUT_UNDERLAY, MTU, SUT_UNDERLAY, UNDERLAY,
    native,
};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Core 1, as a mask: the PMD thread has it to itself.
const PMD_CORES: &str = "0x2";
const START: Duration = Duration::from_secs(20);

/// Open vSwitch at work: its database and its daemon.
pub(crate) struct Ovs {
    switch: Process,
    database: Process,
}

impl System for Ovs {
    fn wake(&self, on: bool) -> Result<()> {
        wake(&self.switch, on)
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        let _ = wake(&self.switch, true);
        let _ = self.switch.stop(Duration::from_secs(5));
        let _ = self.database.stop(Duration::from_secs(5));
    }
}

/// The places of one instance, apart from any other on this machine.
struct Room<'a> {
    bed: &'a Bed,
    dir: PathBuf,
}

impl Room<'_> {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn daemon(&self, program: &str, words: &[String]) -> Result<Process> {
        let log = File::create(self.dir.join(format!("{program}.log")))?;
        let mut command = Command::new(program);
        command.args(words).env("OVS_RUNDIR", &self.dir).env("OVS_LOGDIR", &self.dir).env("OVS_DBDIR", &self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(self.bed.sut.spawn(command)?)
    }

    fn vsctl(&self, line: &str) -> Result<String> {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        let words: Vec<&str> = [db.as_str(), "--timeout=20"].into_iter().chain(line.split_whitespace()).collect();
        self.bed.run(&self.bed.sut, "ovs-vsctl", &words)
    }

    fn appctl(&self, line: &str) -> Result<String> {
        let target = format!("--target={}", self.path("switch.ctl"));
        let words: Vec<&str> = [target.as_str()].into_iter().chain(line.split_whitespace()).collect();
        self.bed.run(&self.bed.sut, "ovs-appctl", &words)
    }

    fn ip(&self, line: &str) -> Result<String> {
        self.bed.run(&self.bed.sut, "ip", &line.split_whitespace().collect::<Vec<_>>())
    }
}

pub(super) fn start(bed: &Bed, dir: &Path) -> Result<Ovs> {
    let room = Room { bed, dir: dir.join("ovs") };
    fs::create_dir_all(&room.dir)?;
    let database = database(&room)?;
    let words = [
        format!("unix:{}", room.path("db.sock")),
        format!("--unixctl={}", room.path("switch.ctl")),
        "-vfile:off".into(),
    ];
    let switch = room.daemon("ovs-vswitchd", &words)?;
    let ovs = Ovs { switch, database };
    bridges(&room)?;
    underlay(&room)?;
    let flows = room.path("flows");
    fs::write(&flows, table(bed))?;
    let bridge = format!("unix:{}", room.path("br-int.mgmt"));
    bed.run(&bed.sut, "ovs-ofctl", &["-O", "OpenFlow14", "replace-flows", &bridge, &flows])?;
    Ok(ovs)
}

fn database(room: &Room<'_>) -> Result<Process> {
    let (file, socket) = (room.path("conf.db"), room.path("db.sock"));
    room.bed.run(&room.bed.sut, "ovsdb-tool", &["create", &file, SCHEMA])?;
    let words = [file, format!("--remote=punix:{socket}"), format!("--unixctl={}", room.path("database.ctl"))];
    let database = room.daemon("ovsdb-server", &words)?;
    let deadline = Instant::now() + START;
    while !Path::new(&socket).exists() {
        if Instant::now() > deadline {
            return Err("ovsdb-server did not open its socket".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    room.vsctl("--no-wait init")?;
    room.vsctl(&format!("--no-wait set Open_vSwitch . other_config:pmd-cpu-mask={PMD_CORES}"))?;
    Ok(database)
}

fn bridges(room: &Room<'_>) -> Result<()> {
    room.vsctl(&format!(
        "add-br br-phy -- set bridge br-phy datapath_type=netdev fail-mode=standalone \
         other_config:hwaddr=\"{MAC_SUT_UNDERLAY}\""
    ))?;
    room.vsctl(
        "add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure protocols=OpenFlow10,OpenFlow14",
    )?;
    for (bridge, port) in [("br-phy", UNDERLAY), ("br-int", ACCESS)] {
        room.vsctl(&format!(
            "add-port {bridge} {port} -- set interface {port} type=afxdp options:n_rxq=1 options:xdp-mode=native \
             mtu_request={MTU} ofport_request=1"
        ))?;
        let error = room.vsctl(&format!("get interface {port} error"))?;
        if error.trim() != "[]" {
            return Err(format!("Open vSwitch cannot use {port} with AF_XDP: {}", error.trim()).into());
        }
    }
    for (number, c) in [(10, BLUE), (11, GREEN)] {
        room.vsctl(&format!(
            "add-port br-int vx-{} -- set interface vx-{} type=vxlan options:remote_ip=flow options:key=flow \
             options:local_ip={SUT_UNDERLAY} options:dst_port={} ofport_request={number}",
            c.name, c.name, c.udp_port
        ))?;
    }
    Ok(())
}

/// The address and the routes of the underlay go from the port to its bridge, where Open vSwitch looks for them.
fn underlay(room: &Room<'_>) -> Result<()> {
    room.ip(&format!("addr flush dev {UNDERLAY}"))?;
    room.ip(&format!("addr add {SUT_UNDERLAY}/24 dev br-phy"))?;
    room.ip(&format!("link set br-phy mtu {MTU} up"))?;
    room.ip(&format!("neigh replace {FAR} dev br-phy lladdr {MAC_FAR} nud permanent"))?;
    for cluster in [BLUE, GREEN] {
        room.ip(&format!("route replace {} via {FAR}", cluster.underlay()))?;
        room.appctl(&format!("ovs/route/add {} br-phy {FAR}", cluster.underlay()))?;
    }
    room.appctl(&format!("tnl/arp/set br-phy {FAR} {MAC_FAR}"))?;
    Ok(())
}

fn table(bed: &Bed) -> String {
    let mut text = format!(
        "priority=10,ip,nw_dst={} actions=dec_ttl,mod_dl_src:{MAC_SUT_ACCESS},mod_dl_dst:{MAC_NEAR},output:1\n",
        native()
    );
    for (port, c) in [(10, BLUE), (11, GREEN)] {
        for node in 0..bed.nodes {
            let _ = writeln!(
                text, // writing to a String cannot fail
                "priority=10,ip,nw_dst={} actions=dec_ttl,mod_dl_src:{},mod_dl_dst:{},set_field:{}->tun_dst,\
                 set_field:{}->tun_id,output:{port}",
                c.prefix(node),
                c.gateway_mac(),
                c.vtep_mac(node),
                c.vtep(node),
                c.vni,
            );
        }
    }
    text
}
