//! `selvedge pktgen export`: the same traffic as a scenario for another generator, written from a template each, which
//! says at its top how to run it and what it cannot express.

mod dpdk;
mod kernel;
mod pcap;
mod trex;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use super::PktgenError;
use super::choice::{Size, Spread};
use super::frame::Shape;
use super::options::{ExportOptions, Target, TrafficOptions};
use super::plan::Traffic;
use super::sender::Rate;

/// What a scenario is written from.
struct Scenario<'a> {
    options: &'a TrafficOptions,
    traffic: Traffic,
    shape: Shape,
    /// Packets in a capture file.
    frames: u32,
}

/// A file to write: its name, what is in it, and whether it can be run.
struct Text {
    name: &'static str,
    bytes: Vec<u8>,
    program: bool,
}

/// Writes the files, and tells which.
///
/// # Errors
/// What is missing, or what the system said.
pub(super) fn export(options: &ExportOptions) -> Result<String, PktgenError> {
    let scenario = Scenario::new(options).map_err(PktgenError::Usage)?;
    let files = match options.to {
        Target::KernelPktgen => vec![kernel::script(&scenario)],
        Target::Trex => vec![trex::profile(&scenario)],
        Target::PktgenDpdk => dpdk::files(&scenario),
    };
    let failed = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |e: io::Error| PktgenError::Host(format!("writing {path}: {e}"))
    };
    fs::create_dir_all(&options.out).map_err(failed(&options.out))?;
    let mut told = String::new();
    for file in files {
        let path = options.out.join(file.name);
        fs::write(&path, &file.bytes).map_err(failed(&path))?;
        if file.program {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed(&path))?;
        }
        told.push_str(&format!("{}\n", path.display()));
    }
    Ok(told)
}

impl<'a> Scenario<'a> {
    fn new(options: &'a ExportOptions) -> Result<Self, String> {
        let t = &options.traffic;
        let missing = |option: &str| format!("an export needs --{option}: there is no interface to ask");
        let link = (t.dst_mac.ok_or_else(|| missing("dst-mac"))?, t.src_mac.ok_or_else(|| missing("src-mac"))?);
        let traffic = t.traffic()?;
        let shape = traffic.shape(link);
        Ok(Self { options: t, traffic, shape, frames: options.frames })
    }

    /// The traffic in a sentence.
    fn summary(&self) -> String {
        let o = self.options;
        let size = match self.traffic.size {
            Size::Fixed(n) => format!("IP packets of {n} bytes"),
            Size::Range(a, b) => format!("IP packets of {a} to {b} bytes"),
            Size::Mix => "IP packets of 64, 576 and 1400 bytes (7:4:1)".into(),
        };
        let tunnel = match &self.traffic.tunnel {
            Some(t) => format!(", in VXLAN from {} to {}", t.vtep.1, t.vtep.0),
            None => String::new(),
        };
        let rate = match o.rate {
            Rate::Fixed(n) => format!("{n} packets/s"),
            Rate::Max => "as fast as it goes".into(),
        };
        format!("{size} from {} to {}{tunnel}, {} flows, {rate}", o.src, o.dst, o.flows)
    }

    /// Lengths of IP packets, and their shares.
    fn sizes(&self) -> Vec<(u16, u32)> {
        let least = super::frame::smallest(self.traffic.flows.family());
        match self.traffic.size {
            Size::Fixed(n) | Size::Range(_, n) => vec![(n, 1)],
            Size::Mix => [(64, 7), (576, 4), (1400, 1)].map(|(n, share): (u16, u32)| (n.max(least), share)).to_vec(),
        }
    }

    fn is_zipf(&self) -> bool {
        self.options.spread != Spread::Uniform
    }
}

/// Puts values in the places of a template: `@NAME@`.
fn fill(template: &str, values: &[(&str, String)]) -> Vec<u8> {
    let put = |text: String, (name, value): &(&str, String)| text.replace(&format!("@{name}@"), value);
    values.iter().fold(template.to_owned(), put).into_bytes()
}

/// Lines of a list of limits, each behind `mark`.
fn limits(mark: &str, all: &[(bool, &str)]) -> String {
    let lines = all.iter().filter(|(applies, _)| *applies).map(|(_, text)| format!("{mark}* {text}"));
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() { mark.trim_end().to_string() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::super::options::PktgenCommand;
    use super::super::plan::tests::parse;
    use super::*;

    fn files(to: &str, words: &str) -> Result<Vec<(String, String)>, String> {
        let room = tempfile::tempdir().unwrap();
        let line = format!("export --to {to} --out {} --frames 20 {words}", room.path().display());
        let Some(PktgenCommand::Export(options)) = parse(&line).unwrap().command else { panic!("no export") };
        let told = export(&options).map_err(|e| e.to_string())?;
        let read = |path: &str| {
            let name = path.rsplit('/').next().unwrap().to_owned();
            (name, String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned())
        };
        Ok(told.lines().map(read).collect())
    }

    const MACS: &str = "--src-mac 02:00:00:00:00:01 --dst-mac 02:00:00:00:00:02";

    #[test]
    fn every_place_of_every_template_is_filled() {
        let tunnel = "--profile vxlan --outer-src ::1 --outer-dst ::2 --vni 3 --inner-src-mac 02:00:00:00:00:03 \
                      --inner-dst-mac 02:00:00:00:00:04";
        for to in ["kernel-pktgen", "trex", "pktgen-dpdk"] {
            for words in ["", tunnel, "--size imix --rate max", "--size 64-70", "--src ::/64 --dst ::/64"] {
                for (name, text) in files(to, &format!("{MACS} {words}")).unwrap() {
                    let place = |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
                    let open = name != "frames.pcap" && text.split('@').skip(1).step_by(2).any(place);
                    assert!(!open && !text.is_empty(), "{name}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(files("trex", "").unwrap_err().contains("--dst-mac"));
        assert!(files("trex", "--dst-mac 02:00:00:00:00:02").unwrap_err().contains("--src-mac"));
        assert!(files("trex", &format!("{MACS} --profile vxlan")).unwrap_err().contains("--outer-dst"));
    }
}
