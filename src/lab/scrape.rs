//! Reading a program's metrics, in Prometheus' text format, from inside a namespace.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Doing, LabError, Namespace};

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer accepted.
const LONGEST: u64 = 8 << 20;

/// One line of an exposition: a name, labels and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric, with `_bucket`, `_sum` or `_count` where the format adds them.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Reads an exposition. Comments, and lines that are no samples, are passed over.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// Every sample, in the order of the exposition.
    pub fn all(&self) -> &[Sample] {
        &self.0
    }

    /// All samples of a metric that carry these labels, maybe among others.
    pub fn select(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        })
    }

    /// The sum over all workers and whatever else the labels leave open; 0 when there is no such sample.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// The largest value of a metric; `None` when there is no such sample or all are NaN.
    pub fn max(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.select(name, labels).map(|sample| sample.value).filter(|value| !value.is_nan()).reduce(f64::max)
    }

    /// Sums of a metric, grouped by one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut groups = BTreeMap::new();
        for sample in self.select(name, &[]) {
            if let Some(group) = sample.labels.get(label) {
                *groups.entry(group.clone()).or_insert(0.0) += sample.value;
            }
        }
        groups
    }
}

/// Asks for `/metrics` at `address` inside the namespace.
pub fn scrape(ns: &Namespace, address: SocketAddr) -> Result<Samples, LabError> {
    get(ns, address, "/metrics").map(|text| Samples::parse(&text))
}

/// The body of `GET path`, status 200, from a server at `address` inside the namespace.
pub fn get(ns: &Namespace, address: SocketAddr, path: &str) -> Result<String, LabError> {
    let answer = ns.run(|| request(address, path))?;
    answer.and_then(|raw| body(&raw)).doing(|| format!("asking {address} in {} for {path}", ns.name()))
}

fn request(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the answer ends with the connection, and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut raw = Vec::new();
    stream.take(LONGEST).read_to_end(&mut raw)?;
    String::from_utf8(raw).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn body(raw: &str) -> io::Result<String> {
    let (head, body) = raw.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_string()),
        _ => Err(io::Error::other(format!("the answer was `{status}`"))),
    }
}

/// `name{label="value",…} 1.5 [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    // Rust reads `+Inf`, `-Inf` and `NaN` as the format writes them.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_string(), labels, value })
}

/// Labels up to the closing brace, and what follows it.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.insert(key.trim().to_string(), value);
        text = rest;
    }
}

/// A label value up to its closing quote, escapes resolved, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# HELP selvedge_rx_packets_total Packets.
# TYPE selvedge_rx_packets_total counter
selvedge_rx_packets_total{worker="0",port="ul0"} 10
selvedge_rx_packets_total{worker="1",port="ul0"} 5 1700000000
selvedge_rx_packets_total{worker="0",port="ac0"} 2.5
selvedge_ready 1
selvedge_latency_seconds_bucket{le="+Inf",worker="0"} +Inf
odd{text="a \"b\" {c} \\ d\ne",} NaN
broken{a="
broken{a=} 1
nothing
"#;

    #[test]
    fn an_exposition_is_read_and_summed() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.all().len(), 6);
        assert_eq!(samples.sum("selvedge_rx_packets_total", &[]), 17.5);
        assert_eq!(samples.sum("selvedge_rx_packets_total", &[("port", "ul0")]), 15.0);
        assert_eq!(samples.sum("selvedge_rx_packets_total", &[("port", "ul0"), ("worker", "1")]), 5.0);
        assert_eq!(samples.max("selvedge_rx_packets_total", &[]), Some(10.0));
        assert_eq!(samples.max("absent", &[]), None);
        assert_eq!(samples.max("odd", &[]), None);
        let by: Vec<_> = samples.by("selvedge_rx_packets_total", "port").into_iter().collect();
        assert_eq!(by, [("ac0".to_string(), 2.5), ("ul0".to_string(), 15.0)]);
        let odd = samples.select("odd", &[]).next().unwrap();
        assert_eq!(odd.labels["text"], "a \"b\" {c} \\ d\ne");
    }

    #[test]
    fn an_answer_is_taken_by_its_status() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\nx 1\n").unwrap(), "x 1\n");
        assert!(body("HTTP/1.1 503 Service Unavailable\r\n\r\nx").unwrap_err().to_string().contains("503"));
        assert!(body("HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn no_truncation_of_a_line_is_a_panic() {
        for end in (0..TEXT.len()).filter(|end| TEXT.is_char_boundary(*end)) {
            Samples::parse(&TEXT[..end]);
        }
    }
}
