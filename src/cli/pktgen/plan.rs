//! From what was asked for to what is done: which options go together, and what the defaults follow from.

use std::net::SocketAddr;

use super::check::{Expect, Segments};
use super::choice::{Choice, Size};
use super::flows::{Family, Flows, Hosts, number};
use super::frame::{Builder, Shape, Tunnel, smallest};
use super::options::{Profile, RunOptions, TrafficOptions};
use crate::wire::Mac;

/// Traffic that can be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Traffic {
    /// Who sends to whom.
    pub(super) flows: Flows,
    /// The headers, but for the MACs of the link.
    pub(super) tunnel: Option<Tunnel>,
    /// How long packets are.
    pub(super) size: Size,
}

impl TrafficOptions {
    /// Takes everything together.
    ///
    /// # Errors
    /// What is missing or does not go together, in words of the command line.
    pub(super) fn traffic(&self) -> Result<Traffic, String> {
        let vnis = self.vni.clone().map(|list| list.0).unwrap_or_default();
        let flows = Flows::new(self.src, self.dst, self.vteps, vnis)?;
        let least = smallest(flows.family());
        // the same payload for both families
        let size = self.size.unwrap_or(Size::Fixed(least + 4));
        if size != Size::Mix && size.shortest() < least {
            return Err(format!(
                "--size: packets of {} bytes hold no IPv6 test packet: {least} are the least",
                size.shortest()
            ));
        }
        let tunnel = match self.profile {
            Profile::Plain => {
                self.plain()?;
                None
            }
            Profile::Vxlan => Some(self.tunnel()?),
        };
        Ok(Traffic { flows, tunnel, size })
    }

    fn plain(&self) -> Result<(), String> {
        let given = [
            ("outer-src", self.outer_src.is_some()),
            ("outer-dst", self.outer_dst.is_some()),
            ("vni", self.vni.is_some()),
            ("inner-src-mac", self.inner_src_mac.is_some()),
            ("inner-dst-mac", self.inner_dst_mac.is_some()),
            ("vteps", self.vteps > 1),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(format!("--{option} is for --profile vxlan")),
            None => Ok(()),
        }
    }

    fn tunnel(&self) -> Result<Tunnel, String> {
        let missing = |option: &str| format!("the profile vxlan needs --{option}");
        let to = self.outer_dst.ok_or_else(|| missing("outer-dst"))?;
        let from = self.outer_src.ok_or_else(|| missing("outer-src"))?;
        if Family::of(to) != Family::of(from) {
            return Err(format!("--outer-src {from} and --outer-dst {to} must both be IPv4 or both be IPv6"));
        }
        let top = if from.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
        if number(from).checked_add(u128::from(self.vteps - 1)).is_none_or(|last| last > top) {
            return Err(format!(
                "--vteps {}: there are not that many addresses from --outer-src {from} on",
                self.vteps
            ));
        }
        if self.vni.is_none() {
            return Err(missing("vni"));
        }
        let inner = (
            self.inner_dst_mac.ok_or_else(|| missing("inner-dst-mac"))?,
            self.inner_src_mac.ok_or_else(|| missing("inner-src-mac"))?,
        );
        Ok(Tunnel { vtep: (to, from), udp_port: self.udp_port, inner })
    }

    /// The MACs on the wire, destination and source, between ports of these MACs.
    pub(super) fn link(&self, tx: Mac, rx: Mac) -> (Mac, Mac) {
        (self.dst_mac.unwrap_or(rx), self.src_mac.unwrap_or(tx))
    }

    /// What comes next.
    pub(super) fn choice(&self, traffic: &Traffic) -> Choice {
        Choice::new(self.seed, self.flows, self.spread, traffic.size, smallest(traffic.flows.family()))
    }
}

impl Traffic {
    /// The headers between these MACs, destination and source.
    pub(super) fn shape(&self, link: (Mac, Mac)) -> Shape {
        Shape { link, tunnel: self.tunnel }
    }

    /// What makes the frames.
    pub(super) fn builder(&self, shape: &Shape) -> Builder {
        Builder::new(shape, self.flows.clone(), self.longest())
    }

    /// The longest IP packet.
    pub(super) fn longest(&self) -> u16 {
        self.size.longest().max(smallest(self.flows.family()))
    }
}

impl RunOptions {
    /// What should arrive.
    ///
    /// # Errors
    /// What does not go together.
    pub(super) fn expect(&self, traffic: &Traffic, stream: u32) -> Result<Expect, String> {
        let default = self.rx_vtep.is_empty() && self.rx_prefix.is_empty();
        let tunnel = traffic.tunnel.filter(|_| default);
        let mut vteps: Vec<SocketAddr> = tunnel.map(|t| SocketAddr::new(t.vtep.0, t.udp_port)).into_iter().collect();
        for some in &self.rx_vtep {
            let (hosts, family) = (Hosts::of(some.prefix), Family::of(some.prefix.addr()));
            let address = |n: u64| family.address(hosts.first + u128::from(n));
            vteps.extend((0..hosts.count).map(|n| SocketAddr::new(address(n), some.port)));
        }
        if vteps.is_empty() {
            let given = [
                ("rx-vni", self.rx_vni.is_some()),
                ("rx-inner-dst-mac", self.rx_inner_dst_mac.is_some()),
                ("rx-inner-src-mac", self.rx_inner_src_mac.is_some()),
            ];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(format!("--{option} is for VXLAN that arrives: --rx-vtep is missing"));
            }
        }
        let prefixes = match default && tunnel.is_none() {
            true => vec![self.traffic.dst],
            false => self.rx_prefix.clone(),
        };
        let vni = match (&self.rx_vni, tunnel) {
            (Some(list), _) => Segments::Of(list.0.clone()),
            (None, Some(_)) => Segments::AsSent,
            (None, None) => Segments::Any,
        };
        let inner_mac =
            (self.rx_inner_dst_mac.or(tunnel.map(|t| t.inner.0)), self.rx_inner_src_mac.or(tunnel.map(|t| t.inner.1)));
        let (flows, count) = (traffic.flows.clone(), self.traffic.flows);
        Ok(Expect { stream, flows, count, vteps, prefixes, hops: self.hops, vni, inner_mac })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::super::choice::Spread;
    use super::super::options::PktgenOptions;
    use super::super::sender::Rate;
    use super::*;
    use crate::wire::Vni;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: PktgenOptions,
    }

    pub(in crate::cli::pktgen) fn parse(line: &str) -> Result<PktgenOptions, clap::Error> {
        Line::try_parse_from(format!("pktgen {line}").split_whitespace()).map(|l| l.options)
    }

    fn run(line: &str) -> RunOptions {
        parse(&format!("--tx a --rx b {line}")).unwrap().run
    }

    const VXLAN: &str = "--profile vxlan --outer-src 192.0.2.1 --outer-dst 192.0.2.2 --vni 7,9 \
                         --inner-src-mac 02:00:00:00:00:03 --inner-dst-mac 02:00:00:00:00:04";

    fn expect(line: &str) -> Result<Expect, String> {
        let options = run(line);
        options.expect(&options.traffic.traffic()?, 1)
    }

    #[test]
    fn without_options_it_is_a_cable() {
        let o = run("");
        let t = o.traffic.traffic().unwrap();
        assert_eq!((t.size, o.traffic.rate, o.traffic.seconds), (Size::Fixed(64), Rate::Fixed(10_000), 10));
        assert_eq!((t.tunnel, o.traffic.flows, o.traffic.spread), (None, 1, Spread::Uniform));
        let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
        assert_eq!(o.traffic.link(a, b), (b, a));
        let e = o.expect(&t, 1).unwrap();
        assert_eq!((e.vteps.len(), e.prefixes, e.hops, e.vni), (0, vec![o.traffic.dst], None, Segments::Any));
        assert_eq!(run("--src fd00::/64 --dst fd01::/64").traffic.traffic().unwrap().size, Size::Fixed(84));
    }

    #[test]
    fn vxlan_over_a_cable_arrives_as_it_was_sent() {
        let e = expect(VXLAN).unwrap();
        assert_eq!((e.vteps, e.prefixes, e.vni), (vec!["192.0.2.2:4789".parse().unwrap()], vec![], Segments::AsSent));
        assert_eq!(e.inner_mac.0, Some("02:00:00:00:00:04".parse().unwrap()));
        let e = expect(&format!("{VXLAN} --rx-prefix 10.9.0.2/32 --hops 1")).unwrap();
        assert_eq!((e.vteps.len(), e.prefixes.len(), e.hops, e.inner_mac), (0, 1, Some(1), (None, None)));
        let e = expect("--rx-vtep 192.0.2.0/30:8472 --rx-vni 4").unwrap();
        assert_eq!(e.vteps, ["192.0.2.1:8472", "192.0.2.2:8472"].map(|a| a.parse().unwrap()));
        assert_eq!(e.vni, Segments::Of(vec![Vni::new(4).unwrap()]));
    }

    #[test]
    fn vxlan_wants_to_be_told_everything() {
        for option in ["--outer-src", "--outer-dst", "--vni", "--inner-src-mac", "--inner-dst-mac"] {
            let (before, after) = VXLAN.split_once(option).unwrap();
            let after = after.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
            let complaint = run(&format!("{before}{after}")).traffic.traffic().unwrap_err();
            assert!(complaint.ends_with(option), "{complaint}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        for (line, words) in [
            ("--dst fd00::/64", "both be IPv4"),
            ("--src fd00::/64 --dst fd00::/64 --size 79", "80 are the least"),
            ("--src fd00::/64 --dst fd00::/64 --size 64-100", "80 are the least"),
            ("--vni 7", "--vni is for --profile vxlan"),
            ("--vteps 2", "--vteps is for --profile vxlan"),
            ("--rx-vni 7", "--rx-vtep is missing"),
        ] {
            let complaint = expect(line).unwrap_err();
            assert!(complaint.contains(words), "{line}: {complaint}");
        }
        let six = VXLAN.replace("--outer-src 192.0.2.1", "--outer-src ::1");
        assert!(expect(&six).unwrap_err().contains("--outer-src ::1 and"));
        let high = VXLAN.replace("192.0.2.1", "255.255.255.255") + " --vteps 2 --src 10.0.0.0/24";
        assert!(expect(&high).unwrap_err().contains("from --outer-src"));
    }

    #[test]
    fn a_run_wants_both_interfaces_and_an_export_neither() {
        assert!(parse("--tx a").is_err() && parse("").is_err() && parse("--tx a --rx b --seconds 0").is_err());
        assert!(parse("export --to trex --out x --flows 7").unwrap().command.is_some());
        assert!(parse("--tx a export --to trex --out x").is_err() && parse("export --to moongen --out x").is_err());
        for bad in
            ["--flows 0", "--flows 1000001", "--vni 16777216", "--tx-core 1024", "--dst 10.0.0.1/24", "--hops 64"]
        {
            assert!(parse(&format!("--tx a --rx b {bad}")).is_err(), "{bad}");
        }
    }
}
