//! What `cycles` can be told.

use clap::Parser;
use std::path::PathBuf;

/// Nanoseconds and cycles a packet of the production path over in-memory frames: every case in turn, round after round,
/// in one process. Needs no root.
#[derive(Clone, Debug, Parser)]
#[command(name = "cycles")]
pub(crate) struct Options {
    /// Rounds; each measures every case once.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Packets a case and round.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(4_096..=16_777_216))]
    pub(crate) packets: u32,
    /// Frames decided at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) burst: u32,
    /// Chunks of packet memory that the cases `far` go through.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(64..=65_536))]
    pub(crate) chunks: u32,
    /// Remote nodes of each overlay.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(41..=4_096))]
    pub(crate) nodes: u32,
    /// Flow cache entries.
    #[arg(long, default_value_t = 65_536)]
    pub(crate) cache: usize,
    /// UDP payload of the inner packets; 18 makes frames of 64 bytes with their check sequence.
    #[arg(long, default_value_t = 18, value_parser = clap::value_parser!(u16).range(0..=1_400))]
    pub(crate) payload: u16,
    /// Prefixes of the cases without a cache hit.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    pub(crate) prefixes: u32,
    /// Different packets of each hostile kind: many times what a flow cache holds.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1_000..=4_194_304))]
    pub(crate) hostile: u32,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only cases whose names contain this.
    #[arg(long, default_value = "")]
    pub(crate) only: String,
    /// Writes all figures to this file, too.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Names all cases and ends.
    #[arg(long, conflicts_with = "json")]
    pub(crate) list: bool,
    /// Does the work of the one case `--only` names once, untimed, for somebody who counts instructions.
    #[arg(long, conflicts_with_all = ["json", "list"], requires = "only")]
    pub(crate) count: bool,
    /// What `cargo bench` says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}
