//! What `selvedge pktgen export` writes is what it says: scripts that their interpreters accept and run, and frames that
//! are, byte for byte, those of our own generator, by scapy's and by tshark's reading.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const MACS: &str = "--src-mac 02:00:00:00:00:01 --dst-mac 02:00:00:00:00:02";
const V4: &str = "--src 10.244.1.0/24 --dst 10.9.0.0/24";
const V6: &str = "--src fd00:244::/64 --dst fd00:9::/64";
const INNER: &str =
    "--profile vxlan --inner-src-mac 02:00:00:00:00:03 --inner-dst-mac 02:00:00:00:00:04 --udp-port 8472";
const OUTER4: &str = "--outer-src 192.0.2.11 --outer-dst 192.0.2.1";
const OUTER6: &str = "--outer-src 2001:db8::b --outer-dst 2001:db8::1";

/// All kinds of traffic: plain and in both tunnels, both families within.
fn kinds() -> Vec<String> {
    let tunnels = ["".to_string(), format!("{INNER} --vni 7 {OUTER4}"), format!("{INNER} --vni 7 {OUTER6}")];
    [V4, V6].iter().flat_map(|inner| tunnels.iter().map(move |t| format!("{inner} {t}"))).collect()
}

fn export(to: &str, words: &str) -> TempDir {
    let room = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge"));
    command.args(["pktgen", "export", "--to", to, "--out"]).arg(room.path());
    let output = command.args(format!("{MACS} {words}").split_whitespace()).output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        assert!(Path::new(line).is_file(), "{line} was not written");
    }
    room
}

/// Standard output of a tool, which must succeed.
fn tool(program: &str, package: &str, args: &[&str], set: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    command.args(args).envs(set.iter().copied());
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}: install the Debian package {package}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

fn file(room: &TempDir, name: &str) -> String {
    room.path().join(name).display().to_string()
}

/// Frames of a capture file.
fn frames(room: &TempDir) -> Vec<Vec<u8>> {
    let bytes = fs::read(room.path().join("frames.pcap")).unwrap();
    let (mut all, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        all.push(bytes[at + 16..at + 16 + len].to_vec());
        at += 16 + len;
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_frames_of_trex_are_ours_to_the_byte() {
    for kind in kinds() {
        for (size, least) in [("--size 84", 84), ("--size 1001", 1001), ("--size 90-1400", 1400)] {
            let profile = export("trex", &format!("{kind} {size}"));
            let told = tool("/usr/bin/python3", "python3-scapy", &["-B", &file(&profile, "trex.py")], &[]);
            // the same packet from our own generator, which of a range sends any length: so ask for the one
            let ours = export("pktgen-dpdk", &format!("{kind} --size {least} --frames 1"));
            assert_eq!(told.trim(), hex(&frames(&ours)[0]), "{kind} {size}");
        }
    }
}

/// What tshark finds in each frame, checksums verified.
fn dissect(room: &TempDir, port: u16, fields: &[&str]) -> Vec<Vec<String>> {
    let decode = format!("udp.port=={port},vxlan");
    let path = file(room, "frames.pcap");
    let mut args = vec!["-n", "-r", &path, "-T", "fields", "-d", &decode];
    args.extend(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    args.extend(fields.iter().flat_map(|f| ["-e", f]));
    let told = tool("tshark", "tshark", &args, &[]);
    told.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn tshark_reads_the_capture_as_what_was_asked_for() {
    for kind in kinds() {
        let kind = kind.replace("--vni 7", "--vni 7,300 --vteps 3");
        let room = export("pktgen-dpdk", &format!("{kind} --size imix --flows 500 --spread zipf:1.1 --frames 240"));
        let fields = ["udp.checksum.status", "ip.checksum.status", "vxlan.vni", "frame.len", "_ws.malformed", "ip.ttl"];
        let all = dissect(&room, 8472, &fields);
        assert_eq!(all.len(), 240);
        for frame in &all {
            // 0: bad. 3: no checksum, which an outer header over IPv4 has
            assert!(
                !frame[0].split(',').any(|s| s == "0") && !frame[1].split(',').any(|s| s == "0"),
                "{kind}: {frame:?}"
            );
            assert!(frame[0].ends_with('1') && frame[4].is_empty(), "{kind}: {frame:?}");
        }
        if kind.contains("vxlan") {
            let of = |vni: &str| all.iter().filter(|f| f[2] == vni).count();
            assert!(of("7") > 0 && of("300") > 0 && of("7") + of("300") == 240, "{kind}");
        }
        let long = all.iter().filter(|f| f[3].parse::<u32>().unwrap() > 1400).count();
        assert_eq!(long, 20, "a twelfth of the mix has 1,400 bytes");
    }
}

#[test]
fn the_lua_script_asks_for_the_rate_of_the_line_that_gives_the_packets() {
    let room = export("pktgen-dpdk", &format!("{V4} --size 84 --rate 1000000 --seconds 3"));
    let script = file(&room, "pktgen-dpdk.lua");
    tool("luac5.3", "lua5.3", &["-p", &script], &[]);
    // Pktgen-DPDK's own module, as far as the script uses it, to see what it is asked.
    let recorder = "return nil";
    fs::write(room.path().join("Pktgen.lua"), recorder).unwrap();
    let run = format!(
        "package.path = '{}/?.lua;' .. package.path
         pktgen = setmetatable({{}}, {{ __index = function(_, name)
           return function(...) print(name, ...) return {{ [0] = {{ opackets = 1, ipackets = 2 }} }} end
         end }})
         dofile('{script}')",
        room.path().display()
    );
    let told = tool("lua5.3", "lua5.3", &["-e", &run], &[("LINK_GBPS", "10")]);
    // 98 bytes of frame and 24 of the wire's, a million times a second, of 10 Gb/s
    assert!(told.contains("set\t0\trate\t9.76\n"), "{told}");
    for words in ["pcap\t0\ton\n", "start\t0\n", "delay\t3000\n", "stop\t0\n", "port 0: sent 1, received 2"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn the_script_for_linux_says_what_it_would_do() {
    for kind in kinds() {
        let words =
            format!("{kind} --size imix --flows 70000 --rate 3000 --seconds 4").replace("--vni 7", "--vni 7,9,11");
        let room = export("kernel-pktgen", &words);
        let script = file(&room, "kernel-pktgen.sh");
        tool("bash", "bash", &["-n", &script], &[]);
        tool("shellcheck", "shellcheck", &[&script], &[]);
        let told = tool(&script, "bash", &["eth7"], &[("DRY_RUN", "1")]);
        let tunnel = kind.contains("vxlan");
        let device = if tunnel { "selv9" } else { "eth7" };
        let (rate, count) = if tunnel { (1000, 4000) } else { (3000, 12000) };
        for line in [
            format!(
                "pktgen {device}: imix_weights {}",
                if kind.contains("fd00") { "94,7 590,4 1414,1" } else { "78,7 590,4 1414,1" }
            ),
            format!("pktgen {device}: udp_src_max 61023"),
            format!("pktgen {device}: udp_dst_max 20001"),
            format!("pktgen {device}: ratep {rate}"),
            format!("pktgen {device}: count {count}"),
            format!("pktgen {device}: dst_mac {}", if tunnel { "02:00:00:00:00:04" } else { "02:00:00:00:00:02" }),
            "pktgen pgctrl: start".to_string(),
        ] {
            assert!(told.lines().any(|l| l == line), "{kind}: {line} in\n{told}");
        }
        assert_eq!(told.contains("ip link add selv11 address 02:00:00:00:00:03 type vxlan id 11"), tunnel, "{told}");
        assert_eq!(told.contains("ip link delete selv11"), tunnel, "{told}");
    }
    let room = export("kernel-pktgen", &format!("{V4} --size 64-1400 --rate max"));
    let told = tool(&file(&room, "kernel-pktgen.sh"), "bash", &["eth7"], &[("DRY_RUN", "1")]);
    for line in ["min_pkt_size 78", "max_pkt_size 1414", "flag TXSIZE_RND", "delay 0", "count 0", "dst_max 10.9.0.254"]
    {
        assert!(told.contains(&format!("pktgen eth7: {line}\n")), "{line}: {told}");
    }
}

#[test]
fn one_seed_is_one_capture() {
    let words = format!("{V4} --size 64-1400 --flows 1000 --spread zipf --frames 300");
    let [a, b] = [1, 1].map(|seed| frames(&export("pktgen-dpdk", &format!("{words} --seed {seed}"))));
    let c = frames(&export("pktgen-dpdk", &format!("{words} --seed 2")));
    assert!(a == b && a != c && a.len() == 300);
}
