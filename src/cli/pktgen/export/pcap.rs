//! Capture files: the frames that a run would begin with.

use super::Scenario;
use crate::cli::pktgen::payload::Stamp;

/// Magic number of a file with times in nanoseconds, version 2.4, and the link type Ethernet (pcap-savefile(5)).
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const ETHERNET: u32 = 1;
const LONGEST: u32 = 65_535;

/// The file, and how many bytes a frame has on average.
pub(super) fn capture(scenario: &Scenario<'_>) -> (Vec<u8>, u64) {
    let builder = scenario.traffic.builder(&scenario.shape);
    let mut choice = scenario.options.choice(&scenario.traffic);
    let mut sequences = vec![0u64; scenario.options.flows as usize];
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    out.extend(VERSION.map(u16::to_le_bytes).concat());
    out.extend([0; 8]); // time zone, accuracy
    out.extend(LONGEST.to_le_bytes());
    out.extend(ETHERNET.to_le_bytes());
    let mut total = 0;
    for _ in 0..scenario.frames {
        // in the sender's order: length, then flow
        let (length, flow) = (choice.length(), choice.flow());
        let sequence = &mut sequences[flow as usize];
        let stamp = Stamp { stream: 0, flow, sequence: *sequence, intended: 0 };
        *sequence += 1;
        let mut frame = builder.template(length).to_vec();
        builder.finish(length, &stamp, &mut frame);
        let size = (frame.len() as u32).to_le_bytes();
        out.extend([0; 8]); // time
        out.extend([size, size].concat());
        out.extend(&frame);
        total += frame.len() as u64;
    }
    (out, total / u64::from(scenario.frames.max(1)))
}
