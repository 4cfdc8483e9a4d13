//! The command line.

use core::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::demo::DemoOptions;
use super::pktgen::PktgenOptions;

/// How a command ended, as the shell sees it. The numbers are part of the interface and are in `--help`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Exit {
    /// 0: all is well.
    Ok = 0,
    /// 1: something failed while running.
    Runtime = 1,
    /// 2: the command line or the config file is wrong.
    Usage = 2,
    /// 3: this host cannot do what the config asks; `selvedge check` says how to mend it.
    Host = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  something failed while running
  2  the command line or the config file is wrong
  3  this host cannot do what the config asks; `selvedge check` says how to mend it";

const EXAMPLES: &str = "\
Examples:
  selvedge demo                                try it: a small fabric, built and taken down again
  selvedge check --config /etc/selvedge/gateway.toml   can this host do it? changes nothing
  selvedge run --config /etc/selvedge/gateway.toml     join the overlays until SIGINT or SIGTERM
  selvedge pktgen --tx eth1 --rx eth2          send test packets and account for each
";

/// A VXLAN gateway in user space: joins overlays to each other and to native networks.
///
/// Packets of the overlays named in the config file are moved by poll-mode workers over AF_XDP; everything else on the
/// interfaces stays with the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Parser)]
#[command(name = "selvedge", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}\n{EXIT_CODES}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGINT or SIGTERM
    ///
    /// Checks the config and the host first, and refuses to start with the same findings as `check`.
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge run --config /etc/selvedge/gateway.toml", "RUST_LOG=debug selvedge run --config gateway.toml"]))]
    Run(RunArgs),

    /// Check a config file, and whether this host can do what it asks; change nothing
    ///
    /// Every problem of the file is printed at once, each with its line, its key, what was found and what would be legal.
    /// If there is none, kernel, capabilities, cores, memory and interfaces are looked at, and each obstacle is printed
    /// with the command that mends it.
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge check --config /etc/selvedge/gateway.toml", "selvedge check --config new.toml --no-host   the file alone: any machine, any user"]))]
    Check(CheckArgs),

    /// Ask the running gateway how it is; exit code 0 if it is well, 1 if not
    ///
    /// Asks at the address that `[metrics]` of the config file names (`/healthz` over HTTP), and prints the answer, one
    /// sentence. What else is wrong with the file by now does not matter. For probes of containers, which need no shell.
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge health --config /etc/selvedge/gateway.toml"]))]
    Health(HealthArgs),

    /// Show what the running gateway knows: its sources, how each is, and what of it is not taken
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge show sources --config /etc/selvedge/gateway.toml"]))]
    Show(ShowArgs),

    /// Tell where packets to an address go, which source said so, and what others say
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge explain 10.244.1.7 --config /etc/selvedge/gateway.toml"]))]
    Explain(ExplainArgs),

    /// Tell the gateway that what a source withdrew, and the gateway held back, is meant
    ///
    /// Leaves a mark in the gateway's state directory, and waits until the gateway has taken it.
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge accept east-nodes --config /etc/selvedge/gateway.toml"]))]
    Accept(AcceptArgs),

    /// Show the gateway at work on this machine, in network namespaces of its own
    ///
    /// Builds two small overlays and a native network out of namespaces, joins them by a gateway, sends traffic through
    /// it, shows what happens, and takes everything down again. Needs root; touches no interface of the host.
    /// With --source etcd the overlays are clusters of flannel that keep their map in a real etcd (Debian: etcd-server).
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(&["selvedge demo", "selvedge demo --seconds 30", "selvedge demo --source etcd", "selvedge demo --plain | tee demo.log"]))]
    Demo(DemoOptions),

    /// Measure a network: send test packets over AF_XDP, receive them elsewhere, and account for each
    ///
    /// Packets carry their flow, their number and the time at which they should have been sent; latency is counted from
    /// that time, so that a network that stalls cannot hide it. What does not arrive is lost, and losses are no failure;
    /// damaged packets, and books that do not balance, are (exit code 1): each kind of damage is counted by its name, and
    /// the counts of sender, rings, XDP program, interfaces and receiver must agree. Needs root. The receiver's XDP program
    /// takes packets to the test's destinations from --rx and leaves everything else to the kernel. Ctrl-C ends a run
    /// early, with a full report. --json prints the report as one line; its fields keep their names.
    #[command(after_help = EXIT_CODES, after_long_help = with_examples(PKTGEN))]
    Pktgen(Box<PktgenOptions>),
}

const PKTGEN: &[&str] = &[
    "selvedge pktgen --tx eth1 --rx eth2 --rate 1000000   a cable between two ports",
    "selvedge pktgen --tx-netns a --tx eth0 --rx-netns b --rx eth0 \\",
    "    --dst-mac 02:00:00:00:00:01 --rate max             a router between namespaces",
    "",
    "encapsulation: plain packets to the gateway, VXLAN on the underlay of a node",
    "selvedge pktgen --tx eth1 --dst-mac 02:00:00:00:00:02 --src 10.9.0.2/32 \\",
    "    --dst 10.244.1.0/24 --flows 1000 --rx eth2 --rx-vtep 192.0.2.11:8472 --json",
    "",
    "decapsulation: VXLAN to the gateway, plain packets on the native network",
    "selvedge pktgen --tx eth2 --dst-mac 02:00:00:00:00:01 --profile vxlan --vni 1 \\",
    "    --outer-src 192.0.2.11 --outer-dst 192.0.2.1 --udp-port 8472 \\",
    "    --inner-src-mac 02:00:00:02:f4:01 --inner-dst-mac 02:53:45:4c:00:01 \\",
    "    --src 10.244.1.0/24 --dst 10.9.0.2/32 --rx eth1 --rx-prefix 10.9.0.2/32 --hops 1",
    "",
    "IPv6 in VXLAN over IPv6 on a cable, from 64 VTEPs in 100 segments",
    "selvedge pktgen --tx eth1 --rx eth2 --profile vxlan --vni 100-199 --vteps 64 \\",
    "    --outer-src 2001:db8::1:1 --outer-dst 2001:db8::1 --src fd00:244::/64 --dst fd00:9::/64 \\",
    "    --inner-src-mac 02:00:00:00:00:03 --inner-dst-mac 02:00:00:00:00:04 --flows 100000 \\",
    "    --spread zipf:1.1 --size imix --rate 500000",
    "",
    "the same traffic for a generator that drives NICs at line rate",
    "selvedge pktgen export --to trex --out scenarios --size imix --flows 1000 \\",
    "    --src-mac 02:00:00:00:00:01 --dst-mac 02:00:00:00:00:02",
];

fn with_examples(examples: &[&str]) -> String {
    let lines: String = examples.iter().map(|line| format!("  {line}\n")).collect();
    format!("Examples:\n{lines}\n{EXIT_CODES}")
}

/// Arguments of `selvedge run`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct RunArgs {
    /// Config file (TOML)
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `selvedge check`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct CheckArgs {
    /// Config file (TOML)
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Look at the file alone, not at this host
    #[arg(long)]
    pub no_host: bool,
}

/// Arguments of `selvedge health`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct HealthArgs {
    /// Config file (TOML) that the gateway was started with
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// What can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shown {
    /// Where the map is learnt from.
    Sources,
}

/// Arguments of `selvedge show`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct ShowArgs {
    /// What to show
    pub what: Shown,
    /// Config file (TOML) that the gateway was started with
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `selvedge explain`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct ExplainArgs {
    /// A pod's address, or any other
    #[arg(value_name = "ADDRESS")]
    pub address: IpAddr,
    /// Config file (TOML) that the gateway was started with
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `selvedge accept`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct AcceptArgs {
    /// The source, by its name
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// Config file (TOML) that the gateway was started with
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::demo::MapSource;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|c| c.command)
    }

    #[test]
    fn the_command_line_is_consistent_and_says_what_it_means() {
        Cli::command().debug_assert();
        let config = PathBuf::from("a.toml");
        assert_eq!(parse("selvedge run --config a.toml").unwrap(), Command::Run(RunArgs { config: config.clone() }));
        let check = Command::Check(CheckArgs { config, no_host: true });
        assert_eq!(parse("selvedge check -c a.toml --no-host").unwrap(), check);
        assert_eq!(parse("selvedge demo").unwrap(), Command::Demo(DemoOptions::default()));
        assert_eq!(
            parse("selvedge demo --seconds 600 --plain").unwrap(),
            Command::Demo(DemoOptions { seconds: 600, plain: true, ..DemoOptions::default() })
        );
        assert_eq!(
            parse("selvedge demo --source etcd").unwrap(),
            Command::Demo(DemoOptions { source: MapSource::Etcd, ..DemoOptions::default() })
        );
        assert_eq!(parse("selvedge demo --source file").unwrap(), Command::Demo(DemoOptions::default()));
    }

    #[test]
    fn misuse_exits_with_the_documented_code() {
        for line in [
            "selvedge",
            "selvedge run",
            "selvedge check",
            "selvedge demo --seconds 0",
            "selvedge demo --seconds 601",
            "selvedge run --confg a.toml",
            "selvedge rn",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), Exit::Usage as i32, "{line}");
        }
        for line in ["selvedge --help", "selvedge check --help", "selvedge --version", "selvedge demo --version"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), Exit::Ok as i32, "{line}");
        }
    }

    #[test]
    fn help_of_every_command_has_examples_and_exit_codes() {
        let mut cli = Cli::command();
        cli.build();
        let names: Vec<_> = cli.get_subcommands().map(|c| c.get_name().to_owned()).filter(|n| n != "help").collect();
        assert_eq!(names, ["run", "check", "health", "show", "explain", "accept", "demo", "pktgen"]);
        let mut pages = vec![cli.render_long_help().to_string()];
        for name in names {
            pages.push(cli.find_subcommand_mut(&name).unwrap().render_long_help().to_string());
        }
        for page in pages {
            assert!(page.contains("Examples:\n  selvedge ") && page.contains("3  this host cannot do"), "{page}");
        }
    }
}
