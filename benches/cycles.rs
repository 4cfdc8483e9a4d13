//! Nanoseconds and cycles a packet, of everything that has a bar: `cargo bench --bench cycles`. Runs without root.
//!
//! Each case has its turn in each round, and what is printed are medians over the rounds, with the least and the most.
//! `path` and `miss` are the decision alone, from parsing to the stamped frame, on frames laid anew into production
//! packet memory before each pass; laying them is not timed. `near` are frames of one burst, laid just before; `far` are
//! those of a packet memory of 4,096 chunks, all of them laid before the first is decided about, as they are when the
//! kernel or a device has put them there. `hostile` is what somebody can send who means harm, beside the traffic it
//! arrives with. `turn` is the whole turn of a worker over in-memory rings, which copy each frame; `rings` is what those
//! rings take for themselves.
//!
//! `ablation` is the path without one of its parts.
//!
//! Core cycles are what a clock calibrated in the run makes of the time: the counter's own are not the core's.

#![allow(missing_docs)]

mod support;

use clap::Parser;
use support::options::Options;
use support::{ablation, cases, hostile, parts, rounds};

/// Builds the cases of a group.
type Build = fn(&Options) -> Vec<rounds::Case>;

pub(crate) fn main() {
    let options = Options::parse();
    let groups: [(&str, Build); 8] = [
        ("path/", cases::journeys),
        ("miss/", cases::misses),
        ("hostile/", hostile::cases),
        ("ablation/", ablation::cases),
        ("turn/", parts::turns),
        ("cache/", parts::hits),
        ("rings/", parts::rings_alone),
        ("histogram/", parts::histogram),
    ];
    // what nobody asked for is not built: a million prefixes take their time
    let wanted =
        |group: &str| options.only.is_empty() || options.only.starts_with(group) || !options.only.contains('/');
    let built = groups.into_iter().filter(|(group, _)| wanted(group)).flat_map(|(_, build)| build(&options));
    let mut cases: Vec<_> = built.filter(|case| case.name.contains(&options.only)).collect();
    if cases.is_empty() {
        refuse(&format!("no case has {:?} in its name", options.only));
    }
    if options.list {
        return cases.iter().for_each(|case| println!("{}", case.name));
    }
    if options.count {
        return match &mut cases[..] {
            [one] => println!("{} packets", rounds::count(one, &options)),
            _ => refuse(&format!("--count takes one case: {:?} is in the names of {}", options.only, cases.len())),
        };
    }
    let figures = rounds::run(&mut cases, &options);
    print!("{}", figures.table());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&figures.json(&options)).expect("plain numbers and words");
        if let Err(e) = std::fs::write(file, text + "\n") {
            refuse(&format!("cannot write {}: {e}", file.display()));
        }
    }
}

fn refuse(why: &str) -> ! {
    eprintln!("cycles: {why}");
    std::process::exit(2)
}
