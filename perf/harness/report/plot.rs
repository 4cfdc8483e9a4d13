//! The pictures, as SVG.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::Report;
use super::markdown::headline_of;
use crate::Result;
use crate::peers::Peer;
use crate::stats::Spread;
use crate::workload::{Journey, Workload};

/// A picture and what it says.
pub(super) struct Picture {
    pub(super) svg: String,
    pub(super) caption: String,
}

const SIZE: (u32, u32) = (1000, 460);
const JOURNEYS: [Journey; 3] = [Journey::Encap, Journey::Decap, Journey::Transit];
const FONT: &str = "sans-serif";

/// Colours that people who see fewer can tell apart (Okabe and Ito, 2008), fixed for each system.
fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Selvedge => RGBColor(0, 114, 178),
        Peer::SelvedgeOneCore => RGBColor(86, 180, 233),
        Peer::Kernel => RGBColor(90, 90, 90),
        Peer::KernelSecondCore => RGBColor(160, 160, 160),
        Peer::TcEbpf => RGBColor(213, 94, 0),
        Peer::Ovs => RGBColor(0, 158, 115),
        Peer::Testpmd => RGBColor(204, 121, 167),
        Peer::Xdp => RGBColor(230, 159, 0),
    }
}

/// Every picture the report has data for; the first is the headline.
pub(super) fn all(report: &Report) -> Result<Vec<Picture>> {
    let headline: Vec<&Workload> = JOURNEYS.iter().filter_map(|j| headline_of(report, *j)).collect();
    let mut pictures = Vec::new();
    if let Some(first) = headline.first() {
        let title = format!("Maximum rate: {}, {} flows, {} nodes", first.size, first.flows, first.nodes);
        let label = |w: &Workload| w.journey.to_string();
        pictures.push(Picture {
            svg: bars(report, &title, &headline, label)?,
            caption: "Packets a second that arrive under a flood, medians; whiskers from the smallest to the largest \
                      round; above each bar its ratio to the kernel's vxlan path on the same two cores."
                .into(),
        });
    }
    for journey in JOURNEYS {
        let own: Vec<&Workload> = report.workloads().into_iter().filter(|w| w.journey == journey).collect();
        if own.len() > 1 {
            let label = |w: &Workload| format!("{}, {} fl.", w.size, w.flows);
            pictures.push(Picture {
                svg: bars(report, &format!("Maximum rate: {journey}"), &own, label)?,
                caption: format!("{journey} by frame size and number of flows; ratios to the kernel's vxlan path."),
            });
        }
        if let Some(svg) = latency(report, journey)? {
            pictures.push(Picture {
                svg,
                caption: format!(
                    "{journey}: latency from the intended time of sending, by load; medians over the trials."
                ),
            });
        }
    }
    if let Some(svg) = reload(report)? {
        pictures
            .push(Picture { svg, caption: "Latency over time while the gateway takes over a changed file.".into() });
    }
    Ok(pictures)
}

fn plain(e: impl std::fmt::Display) -> Box<dyn std::error::Error> {
    format!("drawing a plot: {e}").into()
}

/// Draws on a white sheet with a title.
fn sheet(title: &str, draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(plain)?;
        let area = root.titled(title, (FONT, 20)).map_err(plain)?;
        draw(&area)?;
        root.present().map_err(plain)?;
    }
    Ok(svg)
}

/// Groups of bars along an axis: each group is one unit wide, its label in its middle.
struct Groups(Vec<String>);

impl Ranged for Groups {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (value / self.0.len() as f64 * f64::from(to - from)) as i32
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        (0..self.0.len()).map(|n| n as f64 + 0.5).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.0.len() as f64
    }
}

impl ValueFormatter<f64> for Groups {
    fn format_ext(&self, value: &f64) -> String {
        self.0.get(*value as usize).cloned().unwrap_or_default()
    }
}

fn bars(report: &Report, title: &str, workloads: &[&Workload], label: impl Fn(&Workload) -> String) -> Result<String> {
    let peers = report.peers();
    let rates = |peer: Peer| workloads.iter().map(move |w| report.rate(peer, w));
    let top = peers.iter().flat_map(|p| rates(*p)).flatten().map(|s| s.max).fold(0.0, f64::max) / 1e6;
    let width = 0.86 / peers.len().max(1) as f64;
    sheet(title, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(60)
            .build_cartesian_2d(Groups(workloads.iter().map(|w| label(w)).collect()), 0.0..top * 1.15)
            .map_err(plain)?;
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh().y_desc("received, million packets a second").label_style((FONT, 14));
        mesh.y_label_formatter(&|v| format!("{v:.1}")).light_line_style(WHITE).draw().map_err(plain)?;
        for (n, peer) in peers.iter().enumerate() {
            let place = |group: usize| group as f64 + 0.07 + n as f64 * width;
            let colour = colour(*peer);
            let drawn: Vec<(f64, Spread)> =
                rates(*peer).enumerate().filter_map(|(group, s)| Some((place(group), s?))).collect();
            let boxes = drawn
                .iter()
                .map(|(x, s)| Rectangle::new([(*x, 0.0), (x + width * 0.9, s.median / 1e6)], colour.filled()));
            let legend = chart.draw_series(boxes).map_err(plain)?.label(peer.name());
            legend.legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
            let whisker = |(x, s): &(f64, Spread)| {
                let middle = x + width * 0.45;
                PathElement::new([(middle, s.min / 1e6), (middle, s.max / 1e6)], BLACK)
            };
            chart.draw_series(drawn.iter().map(whisker)).map_err(plain)?;
            let ratio = |(x, s): &(f64, Spread)| {
                let kernel = report.rate(Peer::Kernel, workloads[*x as usize])?.median;
                let text = format!("{:.1}×", s.median / kernel);
                let style = (FONT, 12).into_font().color(&BLACK);
                Some(Text::new(text, (*x, s.max / 1e6 + top * 0.045), style))
            };
            chart.draw_series(drawn.iter().filter_map(ratio)).map_err(plain)?;
        }
        let mut legend = chart.configure_series_labels();
        legend
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(208, 215, 222));
        legend.label_font((FONT, 14)).draw().map_err(plain)
    })
}

/// Percentiles of each system at each load, on a logarithmic scale.
fn latency(report: &Report, journey: Journey) -> Result<Option<String>> {
    let own: Vec<_> = report.latencies.iter().filter(|l| l.workload.journey == journey && l.load > 0).collect();
    let Some(first) = own.first() else { return Ok(None) };
    let points = |l: &super::LatencyResult| [l.p50_us, l.p99_us, l.p999_us, l.max_us].map(|s| s.median.max(0.1));
    let top = own.iter().flat_map(|l| points(l)).fold(1.0, f64::max) * 2.0;
    let low = own.iter().flat_map(|l| points(l)).fold(f64::INFINITY, f64::min) / 2.0;
    let title = format!("Latency: {}", first.workload);
    let names = ["p50", "p99", "p99.9", "max"].map(String::from).to_vec();
    let drawn = sheet(&title, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(76)
            .build_cartesian_2d(Groups(names), (low..top).log_scale())
            .map_err(plain)?;
        let mut mesh = chart.configure_mesh();
        mesh.y_desc("latency, µs (logarithmic)").label_style((FONT, 14)).light_line_style(WHITE);
        mesh.y_label_formatter(&|v| format!("{v:.0}")).draw().map_err(plain)?;
        for l in &own {
            // the same colour for a system, paler at lower loads
            let colour = colour(l.peer).mix(0.25 + f64::from(l.load) / 120.0);
            let line: Vec<(f64, f64)> = points(l).iter().enumerate().map(|(n, v)| (n as f64 + 0.5, *v)).collect();
            let label = format!("{}, {} % of NDR ({:.0} kpps)", l.peer.name(), l.load, l.pps / 1e3);
            let series = chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(2))).map_err(plain)?;
            series.label(label).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
            chart.draw_series(line.iter().map(|p| Circle::new(*p, 4, colour.filled()))).map_err(plain)?;
        }
        let mut legend = chart.configure_series_labels();
        legend
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(208, 215, 222));
        legend.label_font((FONT, 13)).draw().map_err(plain)
    });
    drawn.map(Some)
}

fn reload(report: &Report) -> Result<Option<String>> {
    let Some(r) = report.reload.as_ref().filter(|r| !r.points.is_empty()) else { return Ok(None) };
    let end = r.points.iter().map(|p| p[0]).fold(0.0, f64::max);
    let top = r.points.iter().map(|p| p[3]).fold(1.0, f64::max) * 2.0;
    let low = r.points.iter().map(|p| p[1]).filter(|v| *v > 0.0).fold(top, f64::min) / 2.0;
    let title = format!("Latency through a reload: {}, {:.0} kpps; {} packets lost", r.workload, r.pps / 1e3, r.lost);
    let drawn = sheet(&title, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..end, (low..top).log_scale())
            .map_err(plain)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("seconds").y_desc("latency, µs (logarithmic)").label_style((FONT, 14)).light_line_style(WHITE);
        mesh.y_label_formatter(&|v| format!("{v:.0}")).draw().map_err(plain)?;
        let kinds = [("p50", RGBColor(0, 114, 178)), ("p99", RGBColor(230, 159, 0)), ("max", RGBColor(213, 94, 0))];
        for (n, (name, colour)) in kinds.into_iter().enumerate() {
            let line = r.points.iter().filter(|p| p[n + 1] > 0.0).map(|p| (p[0], p[n + 1]));
            let series = chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(plain)?;
            series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
        }
        let mark = PathElement::new([(r.at, low), (r.at, top)], BLACK.stroke_width(1));
        let series = chart.draw_series([mark]).map_err(plain)?.label(r.change.clone());
        series.legend(|(x, y)| PathElement::new([(x + 8, y - 6), (x + 8, y + 6)], BLACK));
        let mut legend = chart.configure_series_labels();
        legend
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(208, 215, 222));
        legend.label_font((FONT, 13)).draw().map_err(plain)
    });
    drawn.map(Some)
}
