//! Longest prefix match in a million routes: the gateway's table beside DIR-24-8, over the same routes, in one run.
//!
//!   cargo bench --bench fib [-- rounds [routes]]
//!
//! Lookups are independent of each other, as in a burst, of random addresses below random routes, so that no cache but
//! the processor's helps. An update takes a route out or puts it in again, each published. The structures take turns in
//! every round; a figure is the median of the rounds. Bytes are those of the nodes, without the list of routes.

mod dir24;
mod routes;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use routes::Set;
use selvedge::tables::{Action, Fib, FibWriter, Packed, PeerId};
use selvedge::wire::Prefix;

/// As in the product: where the nodes lie is a good part of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is compared: built of routes once, asked often, changed if it can be.
trait Table {
    fn of(routes: &[(Prefix, u32)]) -> Self
    where
        Self: Sized;
    fn bytes(&self) -> usize;
    /// The row of the longest prefix that holds the address, or `u32::MAX`.
    fn lookup(&self, addr: IpAddr) -> u32;
    /// Takes a route out and puts it in again, each published. False if there is no way to.
    fn update(&mut self, _prefix: Prefix, _row: u32) -> bool {
        false
    }
    /// Asks for all.
    fn ask(&self, addrs: &[IpAddr]) {
        addrs.iter().for_each(|addr| _ = black_box(self.lookup(*addr)));
    }
}

struct Own {
    writer: FibWriter,
    published: Fib,
}

impl Table for Own {
    fn of(routes: &[(Prefix, u32)]) -> Self {
        let mut writer = FibWriter::default();
        for (prefix, row) in routes {
            writer.insert(*prefix, Action::Encap(PeerId(*row)));
        }
        let published = writer.current().clone();
        Self { writer, published }
    }

    fn bytes(&self) -> usize {
        self.published.bytes()
    }

    #[inline]
    fn lookup(&self, addr: IpAddr) -> u32 {
        match self.published.lookup(addr) {
            Some(Action::Encap(PeerId(row))) => row,
            _ => u32::MAX,
        }
    }

    fn update(&mut self, prefix: Prefix, row: u32) -> bool {
        self.writer.remove(&prefix);
        self.published = self.writer.current().clone();
        self.writer.insert(prefix, Action::Encap(PeerId(row)));
        self.published = self.writer.current().clone();
        true
    }
}

/// The same, asked by bursts, as the path asks.
struct Together(Own);

/// Frames that a worker takes at once.
const BURST: usize = 64;

impl Table for Together {
    fn of(routes: &[(Prefix, u32)]) -> Self {
        Self(Own::of(routes))
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn lookup(&self, addr: IpAddr) -> u32 {
        let mut told = [Packed::NONE];
        self.0.published.lookup_many(&[v4(addr)], &mut told);
        told[0].peer().map_or(u32::MAX, |PeerId(row)| row)
    }

    fn ask(&self, addrs: &[IpAddr]) {
        for burst in addrs.chunks(BURST) {
            let (mut asked, mut told) = ([Ipv4Addr::UNSPECIFIED; BURST], [Packed::NONE; BURST]);
            asked.iter_mut().zip(burst).for_each(|(asked, addr)| *asked = v4(*addr));
            self.0.published.lookup_many(&asked[..burst.len()], &mut told);
            black_box(&told);
        }
    }
}

fn v4(addr: IpAddr) -> Ipv4Addr {
    match addr {
        IpAddr::V4(a) => a,
        IpAddr::V6(a) => unreachable!("{a} is asked of a table for IPv4"),
    }
}

/// A table and its figures: ns a lookup and ns an update, of each round.
struct Contestant {
    name: &'static str,
    table: Box<dyn Table>,
    lookups: Vec<f64>,
    updates: Vec<f64>,
}

impl Contestant {
    fn new<T: Table + 'static>(name: &'static str, set: &Set) -> Self {
        Self { name, table: Box::new(T::of(&set.routes)), lookups: Vec::new(), updates: Vec::new() }
    }

    fn round(&mut self, set: &Set) {
        let began = Instant::now();
        self.table.ask(&set.addresses);
        self.lookups.push(began.elapsed().as_nanos() as f64 / set.addresses.len() as f64);
        const UPDATES: usize = 1000;
        let began = Instant::now();
        for n in 0..UPDATES {
            let (prefix, row) = set.routes[n.wrapping_mul(7_919_993) % set.routes.len()];
            if !self.table.update(prefix, row) {
                return;
            }
        }
        self.updates.push(began.elapsed().as_nanos() as f64 / (2 * UPDATES) as f64);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn compare(set: &Set, rounds: usize) {
    let mut all = vec![Contestant::new::<Own>("this table", set)];
    if set.addresses[0].is_ipv4() {
        all.push(Contestant::new::<Together>("this table, by bursts", set));
        all.push(Contestant::new::<dir24::Dir24>("DIR-24-8, static", set));
    }
    for addr in &set.addresses {
        let rows: Vec<u32> = all.iter().map(|c| c.table.lookup(*addr)).collect();
        assert!(rows.iter().all(|row| *row == rows[0]), "{addr} leads to {rows:?}");
    }
    for _ in 0..rounds {
        all.iter_mut().for_each(|c| c.round(set));
    }
    for c in &mut all {
        let bytes = c.table.bytes() as f64 / set.routes.len() as f64;
        let (lookup, update) = (median(&mut c.lookups), median(&mut c.updates));
        let rows = set.routes.len();
        println!("| {} | {rows} | {} | {lookup:.1} | {bytes:.1} | {update:.0} |", set.name, c.name);
    }
}

fn main() {
    // cargo itself adds `--bench`
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(9);
    let routes = numbers.next().unwrap_or(1_000_000);
    println!("| routes | number | table | ns a lookup | bytes a route | ns an update |\n|---|---|---|---|---|---|");
    for make in [routes::anywhere, routes::pods, routes::scattered_pods, routes::ipv6] {
        compare(&make(routes), rounds);
    }
}
