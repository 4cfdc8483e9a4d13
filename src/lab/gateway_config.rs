//! The gateway's configuration for the network of the lab.

use std::fmt::{self, Display, Write};

use super::{Family, Topology};

impl Topology {
    /// The gateway's configuration for this network. Where nodes know of nobody ([`Shape::bare`](super::Shape::bare)) the
    /// gateway does not either: whoever asks for that adds what tells it.
    pub fn config_toml(&self, metrics: &str) -> String {
        let mut text = String::from("# Written by the lab for the network it built.\n");
        let mut line = |args: fmt::Arguments<'_>| {
            let _ = text.write_fmt(args); // writing to a String cannot fail
            text.push('\n');
        };
        line(format_args!("[workers]\ncount = {}\npoll = \"adaptive\"\n", self.shape.gateway_queues));
        line(format_args!("[metrics]\naddress = \"{metrics}\"\n"));
        let [underlay, access] = self.shape.ports();
        for (port, role) in [(&underlay, "underlay"), (&access, "access")] {
            line(format_args!("[[port]]\ninterface = \"{port}\"\nrole = \"{role}\"\n"));
        }
        for c in self.clusters() {
            line(format_args!("[[overlay]]\nname = \"{}\"\nvni = {}\nudp_port = {}", c.name, c.vni, c.udp_port));
            line(format_args!("local = \"{}\"\nmac = \"{}\"", self.gateway_vtep, c.gateway_mac));
            if self.shape.zero_checksum && self.shape.underlay == Family::V6 {
                line(format_args!("zero_checksum = true"));
            }
            match c.gateway_addresses().as_slice() {
                [one] => line(format_args!("address = \"{one}\"\n")),
                both => line(format_args!("address = [{}]\n", quoted(both))),
            }
        }
        let told = self.clusters().into_iter().filter(|_| !self.shape.bare);
        for c in told {
            for n in &c.nodes {
                line(format_args!("[[peer]]\noverlay = \"{}\"\nvtep = \"{}\"", c.name, n.vtep));
                line(format_args!("mac = \"{}\"\nprefixes = [{}]\n", n.vtep_mac, quoted(&n.prefixes())));
            }
        }
        line(format_args!("[[native]]\nprefix = \"{}\"\nport = \"{access}\"", self.native_prefix));
        line(format_args!("next_hop = \"{}\"", self.native.address));
        if let (Some(prefix), Some(next_hop)) = (self.native_prefix6, self.native.address6) {
            line(format_args!("\n[[native]]\nprefix = \"{prefix}\"\nport = \"{access}\""));
            line(format_args!("next_hop = \"{next_hop}\""));
        }
        text
    }
}

/// `"a", "b"`.
fn quoted(things: &[impl Display]) -> String {
    things.iter().map(|thing| format!("\"{thing}\"")).collect::<Vec<_>>().join(", ")
}
