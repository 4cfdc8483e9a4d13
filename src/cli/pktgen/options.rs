//! What may be asked for, and what does not go together.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::profile::{self, Flows, Front, SMALLEST, Size};
use super::receiver::Take;
use super::sender::{Rate, Spread};
use crate::wire::outer::Ends;
use crate::wire::{Ethernet, Mac, Prefix, Vni};

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Profile {
    /// UDP over IPv4 over Ethernet
    Plain,
    /// The same within VXLAN; takes --outer-src, --outer-dst, --vni, --inner-src-mac and --inner-dst-mac
    Vxlan,
}

/// Arguments of `selvedge pktgen`.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub struct PktgenOptions {
    /// Interface to send from
    #[arg(long, value_name = "IFACE")]
    pub tx: String,
    /// Interface to receive on
    #[arg(long, value_name = "IFACE")]
    pub rx: String,
    /// Network namespace of --tx, as `ip netns` names it [default: this one]
    #[arg(long, value_name = "NAME")]
    pub tx_netns: Option<String>,
    /// Network namespace of --rx, as `ip netns` names it [default: this one]
    #[arg(long, value_name = "NAME")]
    pub rx_netns: Option<String>,
    /// TX queue
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub tx_queue: u32,
    /// Core of the sender [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..1024))]
    pub tx_core: Option<u16>,
    /// Core of the receiver [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..1024))]
    pub rx_core: Option<u16>,

    /// What to send
    #[arg(long, value_enum, default_value_t = Profile::Plain)]
    pub profile: Profile,
    /// Bytes of the IP packet (the inner one of VXLAN), 60 to 3700, or `imix`: 64, 576 and 1400 bytes, 7:4:1
    #[arg(long, value_name = "BYTES|imix", default_value = "64", value_parser = size)]
    pub size: Size,
    /// Source addresses (of the inner packet)
    #[arg(long, value_name = "PREFIX", default_value = "198.18.0.0/24")]
    pub src: Prefix,
    /// Destination addresses (of the inner packet)
    #[arg(long, value_name = "PREFIX", default_value = "198.19.0.0/24")]
    pub dst: Prefix,
    /// Source MAC [default: that of --tx]
    #[arg(long, value_name = "MAC")]
    pub src_mac: Option<Mac>,
    /// Destination MAC: of the gateway or router that --tx leads to [default: that of --rx, for a direct cable]
    #[arg(long, value_name = "MAC")]
    pub dst_mac: Option<Mac>,
    /// Outer source address
    #[arg(long, value_name = "ADDR")]
    pub outer_src: Option<Ipv4Addr>,
    /// Outer destination address: a VTEP
    #[arg(long, value_name = "ADDR")]
    pub outer_dst: Option<Ipv4Addr>,
    /// Outer UDP destination port
    #[arg(long, value_name = "PORT", default_value_t = 4789)]
    pub udp_port: u16,
    /// VXLAN network identifier
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=i64::from(Vni::MAX)))]
    pub vni: Option<u32>,
    /// Source MAC of the inner frame: of the sending VTEP
    #[arg(long, value_name = "MAC")]
    pub inner_src_mac: Option<Mac>,
    /// Destination MAC of the inner frame: of the receiving VTEP
    #[arg(long, value_name = "MAC")]
    pub inner_dst_mac: Option<Mac>,

    /// Flows: each has its own UDP ports, and addresses spread over --src and --dst
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub flows: u32,
    /// How packets are distributed over flows
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    pub spread: Spread,
    /// Packets a second, open loop, up to 100,000,000; or `max`
    #[arg(long, value_name = "PPS|max", default_value = "10000", value_parser = rate)]
    pub rate: Rate,
    /// How long to send
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,

    /// Take packets to this prefix on --rx; may be repeated [default: --dst with `plain`, if there is no --rx-vtep]
    #[arg(long, value_name = "PREFIX")]
    pub rx_prefix: Vec<Prefix>,
    /// Take VXLAN to this address and port on --rx; may be repeated [default: --outer-dst with `vxlan`, if there is no --rx-prefix]
    #[arg(long, value_name = "ADDR:PORT")]
    pub rx_vtep: Vec<SocketAddrV4>,
    /// Run the receiver's XDP program in the stack, where the driver has no XDP
    #[arg(long)]
    pub generic: bool,
    /// Never use zero-copy
    #[arg(long)]
    pub copy: bool,
    /// Print one line of JSON at the end, and no progress
    #[arg(long)]
    pub json: bool,
}

fn size(text: &str) -> Result<Size, String> {
    if text == "imix" {
        return Ok(Size::Mix);
    }
    let legal = SMALLEST..=profile::LARGEST;
    let found = text.parse().ok().filter(|n| legal.contains(n)).map(Size::Fixed);
    found.ok_or_else(|| format!("{} to {} bytes or `imix` are wanted", legal.start(), legal.end()))
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let found = text.parse().ok().filter(|n| (1..=100_000_000).contains(n)).map(Rate::Fixed);
    found.ok_or_else(|| "1 to 100000000 packets a second or `max` are wanted".into())
}

impl PktgenOptions {
    /// Who sends to whom.
    pub(super) fn addresses(&self) -> Result<Flows, String> {
        Flows::new(self.src, self.dst).ok_or_else(|| "--src and --dst must be IPv4 prefixes".into())
    }

    /// The headers in front, between ports of these MACs.
    pub(super) fn front(&self, tx: Mac, rx: Mac) -> Result<Front, String> {
        let link = (self.dst_mac.unwrap_or(rx), self.src_mac.unwrap_or(tx));
        if self.profile == Profile::Plain {
            return Ok(Front::Plain(Ethernet::ipv4(link.0, link.1)));
        }
        let missing = |option: &str| format!("the profile vxlan needs --{option}");
        Ok(Front::Vxlan(Ends {
            link,
            vtep: (
                self.outer_dst.ok_or_else(|| missing("outer-dst"))?,
                self.outer_src.ok_or_else(|| missing("outer-src"))?,
            ),
            inner: (
                self.inner_dst_mac.ok_or_else(|| missing("inner-dst-mac"))?,
                self.inner_src_mac.ok_or_else(|| missing("inner-src-mac"))?,
            ),
            udp_port: self.udp_port,
            vni: Vni::new(self.vni.ok_or_else(|| missing("vni"))?).map_err(|e| e.to_string())?,
            dscp: 0,
        }))
    }

    /// What the receiver takes.
    pub(super) fn take(&self) -> Take {
        let mut take = Take { vteps: self.rx_vtep.clone(), prefixes: self.rx_prefix.clone() };
        if take == Take::default() {
            match (self.profile, self.outer_dst) {
                (Profile::Vxlan, Some(vtep)) => take.vteps.push(SocketAddrV4::new(vtep, self.udp_port)),
                _ => take.prefixes.push(self.dst),
            }
        }
        take
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: PktgenOptions,
    }

    fn parse(line: &str) -> Result<PktgenOptions, clap::Error> {
        Line::try_parse_from(format!("pktgen --tx a --rx b {line}").split_whitespace()).map(|l| l.options)
    }

    const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

    #[test]
    fn without_options_it_is_a_cable() {
        let o = parse("").unwrap();
        assert_eq!((o.size, o.rate, o.seconds, o.flows), (Size::Fixed(64), Rate::Fixed(10_000), 10, 1));
        assert_eq!(o.front(MACS[0], MACS[1]), Ok(Front::Plain(Ethernet::ipv4(MACS[1], MACS[0]))));
        assert_eq!(o.take(), Take { vteps: vec![], prefixes: vec!["198.19.0.0/24".parse().unwrap()] });
    }

    #[test]
    fn vxlan_wants_to_be_told_everything() {
        let all = "--profile vxlan --outer-src 192.0.2.1 --outer-dst 192.0.2.2 --vni 7 --inner-src-mac 02:00:00:00:00:03 \
                   --inner-dst-mac 02:00:00:00:00:04";
        let o = parse(all).unwrap();
        let Ok(Front::Vxlan(ends)) = o.front(MACS[0], MACS[1]) else { panic!("no VXLAN") };
        assert_eq!((ends.vtep.0, ends.inner.1, ends.udp_port), ([192, 0, 2, 2].into(), Mac([2, 0, 0, 0, 0, 3]), 4789));
        assert_eq!(o.take(), Take { vteps: vec!["192.0.2.2:4789".parse().unwrap()], prefixes: vec![] });
        for option in ["--outer-src", "--outer-dst", "--vni", "--inner-src-mac", "--inner-dst-mac"] {
            let (before, after) = all.split_once(option).unwrap();
            let after = after.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
            let complaint = parse(&format!("{before}{after}")).unwrap().front(MACS[0], MACS[1]).unwrap_err();
            assert!(complaint.ends_with(option), "{complaint}");
        }
        let told = parse(&format!("{all} --rx-prefix 10.9.0.2/32")).unwrap().take();
        assert_eq!(told, Take { vteps: vec![], prefixes: vec!["10.9.0.2/32".parse().unwrap()] });
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for bad in
            ["--size 59", "--size 3701", "--size big", "--rate 0", "--rate 100000001", "--flows 0", "--flows 1000001"]
                .into_iter()
                .chain([
                    "--seconds 0",
                    "--vni 16777216",
                    "--tx-core 1024",
                    "--dst 10.0.0.1/24",
                    "--rx-vtep 10.0.0.1",
                    "--spread even",
                ])
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!((parse("--size imix").unwrap().size, parse("--rate max").unwrap().rate), (Size::Mix, Rate::Max));
        assert!(parse("--dst fd00::/64").unwrap().addresses().is_err());
    }
}
