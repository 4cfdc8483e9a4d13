//! What may be asked for: the arguments, and what single ones mean. (What goes together: see `plan`.)

use std::net::IpAddr;
use std::path::PathBuf;

use super::choice::{Exponent, Size, Spread};
use super::frame::LARGEST;
use super::sender::Rate;
use crate::wire::{Mac, Prefix, Vni};

/// The smallest IP packet there is to ask for: an IPv4 header, a UDP header and a stamp.
const SMALLEST: u16 = 60;
/// How many segments may be listed.
const MOST_VNIS: usize = 65_536;

/// Arguments of `selvedge pktgen`.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct PktgenOptions {
    /// Something else than a run.
    #[command(subcommand)]
    pub command: Option<PktgenCommand>,
    /// A run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// What else `selvedge pktgen` does.
#[derive(Clone, PartialEq, Eq, Debug, clap::Subcommand)]
pub enum PktgenCommand {
    /// Write the same traffic as a scenario for another generator, for NICs at line rate
    ///
    /// The files say at their top how to run them and what they cannot express. Existing files are replaced.
    #[command(after_long_help = "\
Examples:
  selvedge pktgen export --to trex --out scenarios --src-mac 02:00:00:00:00:01 \\
      --dst-mac 02:00:00:00:00:02 --size imix --flows 1000
  selvedge pktgen export --to pktgen-dpdk --out scenarios --profile vxlan --vni 1-64 \\
      --outer-src 192.0.2.11 --outer-dst 192.0.2.1 --inner-src-mac 02:00:00:02:f4:01 \\
      --inner-dst-mac 02:53:45:4c:00:01 --src-mac 02:00:00:00:00:01 --dst-mac 02:00:00:00:00:02")]
    Export(Box<ExportOptions>),
}

/// Arguments of `selvedge pktgen export`.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub struct ExportOptions {
    /// For which generator
    #[arg(long, value_enum)]
    pub to: Target,
    /// Directory to write to; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Packets in a capture file, which is sent over and over
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub frames: u32,
    /// What to send.
    #[command(flatten)]
    pub traffic: TrafficOptions,
}

/// Generators there are files for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Target {
    /// Linux's own (modprobe pktgen): a bash script
    KernelPktgen,
    /// TRex, stateless: a Python profile
    Trex,
    /// Pktgen-DPDK: a capture file and a Lua script
    PktgenDpdk,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Profile {
    /// UDP over IPv4 or IPv6 over Ethernet
    Plain,
    /// The same within VXLAN; takes --outer-src, --outer-dst, --vni, --inner-src-mac and --inner-dst-mac
    Vxlan,
}

/// Which traffic.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub struct TrafficOptions {
    /// What to send
    #[arg(long, value_enum, default_value_t = Profile::Plain)]
    pub profile: Profile,
    /// Bytes of the IP packet (the inner one of VXLAN), 60 (IPv6: 80) to 3700; a range such as 64-1400, each length as
    /// likely; or `imix`: 64, 576 and 1400 bytes, 7:4:1 [default: 64, IPv6: 84]
    #[arg(long, value_name = "BYTES|MIN-MAX|imix", value_parser = size)]
    pub size: Option<Size>,
    /// Source addresses, IPv4 or IPv6 (of the inner packet)
    #[arg(long, value_name = "PREFIX", default_value = "198.18.0.0/24")]
    pub src: Prefix,
    /// Destination addresses, of the same family (of the inner packet)
    #[arg(long, value_name = "PREFIX", default_value = "198.19.0.0/24")]
    pub dst: Prefix,
    /// Source MAC [default: that of --tx]
    #[arg(long, value_name = "MAC")]
    pub src_mac: Option<Mac>,
    /// Destination MAC: of the gateway or router that --tx leads to [default: that of --rx, for a direct cable]
    #[arg(long, value_name = "MAC")]
    pub dst_mac: Option<Mac>,
    /// Outer source address, IPv4 or IPv6
    #[arg(long, value_name = "ADDR")]
    pub outer_src: Option<IpAddr>,
    /// Outer destination address, of the same family: a VTEP
    #[arg(long, value_name = "ADDR")]
    pub outer_dst: Option<IpAddr>,
    /// Sending VTEPs: addresses from --outer-src on, each with a source prefix of its own, from --src on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub vteps: u32,
    /// Outer UDP destination port
    #[arg(long, value_name = "PORT", default_value_t = 4789)]
    pub udp_port: u16,
    /// VXLAN network identifiers, used in turn: 7, or a list such as 1,5,100-163
    #[arg(long, value_name = "LIST", value_parser = vnis)]
    pub vni: Option<VniList>,
    /// Source MAC of the inner frame: of the sending VTEP
    #[arg(long, value_name = "MAC")]
    pub inner_src_mac: Option<Mac>,
    /// Destination MAC of the inner frame: of the receiving VTEP
    #[arg(long, value_name = "MAC")]
    pub inner_dst_mac: Option<Mac>,

    /// Flows: each has its own UDP ports, and addresses spread over --src and --dst
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub flows: u32,
    /// How packets are distributed over flows: all alike, or flow n with 1/n^S of the first one's share [S: 1]
    #[arg(long, value_name = "uniform|zipf[:S]", default_value = "uniform", value_parser = spread)]
    pub spread: Spread,
    /// What flows and lengths are drawn by: the same seed, the same draw
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Packets a second, open loop, up to 100,000,000; or `max`
    #[arg(long, value_name = "PPS|max", default_value = "10000", value_parser = rate)]
    pub rate: Rate,
    /// How long to send
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// Arguments of a run.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub struct RunOptions {
    /// Interface to send from
    #[arg(long, value_name = "IFACE", required = true)]
    pub tx: Option<String>,
    /// Interface to receive on
    #[arg(long, value_name = "IFACE", required = true)]
    pub rx: Option<String>,
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

    /// What to send.
    #[command(flatten)]
    pub traffic: TrafficOptions,

    /// Take packets to this prefix on --rx; may be repeated [default: --dst with `plain`, if there is no --rx-vtep]
    #[arg(long, value_name = "PREFIX")]
    pub rx_prefix: Vec<Prefix>,
    /// Take VXLAN to this address, or any of this prefix, and port on --rx, such as 192.0.2.0/26:4789 or
    /// `[2001:db8::1]:4789`; may be repeated [default: --outer-dst with `vxlan`, if there is no --rx-prefix]
    #[arg(long, value_name = "ADDR[/LEN]:PORT", value_parser = vteps)]
    pub rx_vtep: Vec<Vteps>,
    /// Segments that VXLAN may arrive in, as for --vni; others are damage [default: any; without --rx-vtep those sent]
    #[arg(long, value_name = "LIST", value_parser = vnis)]
    pub rx_vni: Option<VniList>,
    /// Destination MAC that inner frames must arrive with [default: any; without --rx-vtep as sent]
    #[arg(long, value_name = "MAC")]
    pub rx_inner_dst_mac: Option<Mac>,
    /// Source MAC that inner frames must arrive with [default: any; without --rx-vtep as sent]
    #[arg(long, value_name = "MAC")]
    pub rx_inner_src_mac: Option<Mac>,
    /// Routers on the way, each of which must take one off the TTL; other TTLs are damage [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..64))]
    pub hops: Option<u8>,
    /// Run the receiver's XDP program in the stack, where the driver has no XDP
    #[arg(long)]
    pub generic: bool,
    /// Never use zero-copy
    #[arg(long)]
    pub copy: bool,
    /// Print one line of JSON at the end, and no progress
    #[arg(long)]
    pub json: bool,
    /// One line a second on standard error instead of a live view
    #[arg(long)]
    pub plain: bool,
}

/// Segments, ascending, none twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VniList(pub Vec<Vni>);

/// VTEPs that receive: all hosts of a prefix, at one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vteps {
    /// Their addresses.
    pub prefix: Prefix,
    /// Their UDP port.
    pub port: u16,
}

fn size(text: &str) -> Result<Size, String> {
    let legal = SMALLEST..=LARGEST;
    let number = |text: &str| text.parse().ok().filter(|n| legal.contains(n));
    let found = match text.split_once('-') {
        _ if text == "imix" => Some(Size::Mix),
        None => number(text).map(Size::Fixed),
        Some((a, b)) => number(a).zip(number(b)).filter(|(a, b)| a <= b).map(|(a, b)| Size::Range(a, b)),
    };
    found.ok_or_else(|| format!("{SMALLEST} to {LARGEST} bytes, a range such as 64-1400, or `imix` are wanted"))
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let found = text.parse().ok().filter(|n| (1..=100_000_000).contains(n)).map(Rate::Fixed);
    found.ok_or_else(|| "1 to 100000000 packets a second or `max` are wanted".into())
}

fn spread(text: &str) -> Result<Spread, String> {
    let exponent = match text.split_once(':') {
        None if text == "uniform" => return Ok(Spread::Uniform),
        None if text == "zipf" => Some(1.0),
        Some(("zipf", s)) => s.parse::<f64>().ok().filter(|s| (0.001..=10.0).contains(s)),
        _ => None,
    };
    let found = exponent.map(|s| Spread::Zipf(Exponent((s * 1000.0).round() as u32)));
    found.ok_or_else(|| "`uniform`, `zipf`, or `zipf:S` with S from 0.001 to 10 are wanted".into())
}

fn vnis(text: &str) -> Result<VniList, String> {
    let wrong = || format!("numbers and ranges from 0 to {} are wanted, such as 1,5,100-163", Vni::MAX);
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= Vni::MAX).ok_or_else(wrong);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        if all.len() + (last - first) as usize >= MOST_VNIS {
            return Err(format!("at most {MOST_VNIS} segments can be listed"));
        }
        all.extend((first..=last).filter_map(|n| Vni::new(n).ok()));
    }
    all.sort_unstable();
    all.dedup();
    Ok(VniList(all))
}

fn vteps(text: &str) -> Result<Vteps, String> {
    let wrong = || "an address and a port are wanted, such as 192.0.2.11:4789, 192.0.2.0/26:4789 or [2001:db8::1]:4789";
    let (place, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let (place, bracketed) = match place.strip_prefix('[').and_then(|p| p.strip_suffix(']')) {
        Some(inner) => (inner, true),
        None => (place, false),
    };
    let prefix: Prefix = match place.contains('/') {
        true => place.parse().map_err(|e| format!("{e}"))?,
        false => Prefix::host(place.parse().map_err(|_| wrong())?),
    };
    if bracketed == prefix.addr().is_ipv4() {
        return Err(wrong().into());
    }
    let width = if prefix.addr().is_ipv4() { 32 } else { 128 };
    if prefix.len() + 12 < width {
        return Err(format!("{prefix} has too many addresses: at most 4096, so /{} or longer, are wanted", width - 12));
    }
    Ok(Vteps { prefix, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u32> {
        vnis(text).unwrap().0.into_iter().map(Vni::get).collect()
    }

    #[test]
    fn what_is_written_is_what_is_meant() {
        assert_eq!(size("imix"), Ok(Size::Mix));
        assert_eq!((size("60"), size("64-1400")), (Ok(Size::Fixed(60)), Ok(Size::Range(64, 1400))));
        assert_eq!((rate("max"), rate("7")), (Ok(Rate::Max), Ok(Rate::Fixed(7))));
        assert_eq!(spread("uniform"), Ok(Spread::Uniform));
        assert_eq!(
            (spread("zipf"), spread("zipf:1.25")),
            (Ok(Spread::Zipf(Exponent(1000))), Ok(Spread::Zipf(Exponent(1250))))
        );
        assert_eq!((numbers("7"), numbers("9,1-3,2")), (vec![7], vec![1, 2, 3, 9]));
        let of = |prefix: &str, port| Ok(Vteps { prefix: prefix.parse().unwrap(), port });
        assert_eq!(vteps("192.0.2.1:4789"), of("192.0.2.1/32", 4789));
        assert_eq!(vteps("192.0.2.0/26:8472"), of("192.0.2.0/26", 8472));
        assert_eq!(vteps("[2001:db8::1]:4789"), of("2001:db8::1/128", 4789));
        assert_eq!(vteps("[2001:db8::/120]:4789"), of("2001:db8::/120", 4789));
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would_be_right() {
        for bad in ["59", "3701", "big", "1400-64", "59-64", "64-", ""] {
            assert!(size(bad).unwrap_err().contains("60 to 3700"), "{bad}");
        }
        for bad in ["0", "100000001", "fast"] {
            assert!(rate(bad).unwrap_err().contains("`max`"), "{bad}");
        }
        for bad in ["even", "zipf:", "zipf:0", "zipf:11", "zipf:x", "uniform:1"] {
            assert!(spread(bad).unwrap_err().contains("zipf:S"), "{bad}");
        }
        for bad in ["", "16777216", "5-3", "1,,2", "-", "a", "1-2-3"] {
            assert!(vnis(bad).unwrap_err().contains("such as"), "{bad}");
        }
        assert!(vnis("0-65536").unwrap_err().contains("at most 65536"));
        for bad in ["192.0.2.1", "192.0.2.1:x", "2001:db8::1:4789", "[192.0.2.1]:1", "192.0.2.1/24:1", "10.0.0.0/8:1"] {
            assert!(vteps(bad).is_err(), "{bad}");
        }
    }
}
