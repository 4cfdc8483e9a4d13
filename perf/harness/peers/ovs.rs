//! Open vSwitch's userspace data path over AF_XDP: the same gateway as flows of an OpenFlow table.

use std::fmt::Write;
use std::path::Path;

use super::{System, wake};
use crate::Result;
use crate::bed::{
    ACCESS, BLUE, Bed, FAR, GREEN, MAC_FAR, MAC_NEAR, MAC_SUT_ACCESS, MAC_SUT_UNDERLAY, MTU, SUT_UNDERLAY, UNDERLAY,
    native,
};

#[path = "../../../tests/support/ovs.rs"]
mod switch;

use switch::Switch;

/// Core 1, as a mask: the PMD thread has it to itself.
const PMD_CORES: &str = "other_config:pmd-cpu-mask=0x2";

/// Open vSwitch at work.
pub(crate) struct Ovs(Switch);

impl System for Ovs {
    fn wake(&self, on: bool) -> Result<()> {
        wake(self.0.process(), on)
    }
}

impl Drop for Ovs {
    fn drop(&mut self) {
        let _ = self.wake(true); // a process that was stopped ends only once it goes on
    }
}

/// A switch in a bed.
struct Room<'a> {
    bed: &'a Bed,
    switch: Switch,
}

impl Room<'_> {
    fn vsctl(&self, line: &str) -> Result<String> {
        Ok(self.switch.vsctl(line)?)
    }

    fn appctl(&self, line: &str) -> Result<String> {
        Ok(self.switch.appctl(line)?)
    }

    fn ip(&self, line: &str) -> Result<String> {
        self.bed.run(&self.bed.sut, "ip", &line.split_whitespace().collect::<Vec<_>>())
    }
}

pub(super) fn start(bed: &Bed, dir: &Path) -> Result<Ovs> {
    let switch = Switch::start(&bed.sut, &dir.join("ovs"), &[PMD_CORES])?;
    let room = Room { bed, switch };
    bridges(&room)?;
    underlay(&room)?;
    room.switch.flows("br-int", &table(bed))?;
    Ok(Ovs(room.switch))
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
