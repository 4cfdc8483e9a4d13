//! The live view: a state, and how it is drawn. Nothing here touches a terminal or a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table};

use super::human;
use crate::lab::traffic::LoadCounts;

/// Seconds of history kept for the curve.
const HISTORY: usize = 600;
/// News on the screen at a time.
const NEWS: usize = 5;

/// One journey under load.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub(super) kind: &'static str,
    pub(super) label: &'static str,
    pub(super) counts: LoadCounts,
    /// Packets received in the last second.
    pub(super) pps: u64,
    /// Its far end comes and goes: what does not arrive is no loss.
    pub(super) guest: bool,
}

/// Everything the view shows.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) elapsed: Duration,
    pub(super) total: Duration,
    pub(super) lanes: Vec<Lane>,
    /// All lanes together, a value a second.
    pub(super) history: Vec<u64>,
    pub(super) drops: BTreeMap<String, f64>,
    pub(super) latency: Option<[Duration; 4]>,
    /// What has happened, the last at the end.
    pub(super) news: Vec<String>,
}

impl View {
    /// Takes the counts of one second into the rates. `since` is the time since the last call.
    pub(super) fn advance(&mut self, counts: &[LoadCounts], since: Duration) {
        for (lane, now) in self.lanes.iter_mut().zip(counts) {
            let arrived = now.received.saturating_sub(lane.counts.received);
            lane.pps = (arrived as f64 / since.as_secs_f64().max(1e-3)).round() as u64;
            lane.counts = *now;
        }
        self.history.push(self.lanes.iter().map(|lane| lane.pps).sum());
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    /// The view in one line, for those without a terminal.
    pub(super) fn line(&self) -> String {
        let mut text = format!("{:>4} s", self.elapsed.as_secs());
        for lane in &self.lanes {
            text.push_str(&format!("  {} {} pps", lane.label, lane.pps));
        }
        let lost = self.lanes.iter().filter(|lane| !lane.guest).map(|lane| lane.counts.lost).sum::<u64>();
        text.push_str(&format!("  lost {lost}"));
        let drops: Vec<String> = self.drops.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
        text.push_str(&format!("  drops {}", if drops.is_empty() { "none".into() } else { drops.join(",") }));
        if let Some([p50, p99, p999, max]) = self.latency.map(|all| all.map(human)) {
            text.push_str(&format!("  latency p50 {p50} p99 {p99} p99.9 {p999} max {max}"));
        }
        text
    }

    /// Draws the view.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let lanes = self.lanes.len() as u16 + 3;
        let news = self.news.len().min(NEWS) as u16;
        let [top, table, events, curve, bottom, keys] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(lanes),
            Constraint::Length(if news > 0 { news + 2 } else { 0 }),
            Constraint::Min(if news > 0 { 0 } else { 3 }), // what happens is worth more than the curve
            Constraint::Length(if news > 0 { 6 } else { 8 }),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let [drops, latency] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(bottom);
        self.draw_progress(frame, top);
        self.draw_lanes(frame, table);
        self.draw_news(frame, events);
        let title = format!(" packets per second, all journeys: {} ", self.history.last().unwrap_or(&0));
        let visible = self.history.len().saturating_sub(curve.width.saturating_sub(2).into());
        let sparkline = Sparkline::default().block(Block::bordered().title(title));
        frame.render_widget(sparkline.style(Style::new().fg(Color::Cyan)).data(&self.history[visible..]), curve);
        self.draw_drops(frame, drops);
        self.draw_latency(frame, latency);
        frame.render_widget(Line::from(" q or Ctrl-C: end and clean up").dim(), keys);
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let ratio = self.elapsed.as_secs_f64() / self.total.as_secs_f64().max(1e-3);
        let label = format!("{} of {} s", self.elapsed.as_secs().min(self.total.as_secs()), self.total.as_secs());
        let block = Block::bordered().title(" selvedge demo: UDP over every journey ");
        let gauge = Gauge::default().block(block).gauge_style(Style::new().fg(Color::Green));
        frame.render_widget(gauge.ratio(ratio.clamp(0.0, 1.0)).label(label), area);
    }

    fn draw_lanes(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.lanes.iter().map(|lane| {
            let c = &lane.counts;
            let p99 = human(Duration::from_secs_f64(c.latency_us[1] / 1e6));
            Row::new([
                lane.kind.to_string(),
                lane.label.to_string(),
                lane.pps.to_string(),
                c.sent.to_string(),
                c.received.to_string(),
                if lane.guest { "—".into() } else { c.lost.to_string() },
                p99,
            ])
        });
        let widths = [8, 16, 10, 10, 10, 8, 11].map(Constraint::Length);
        let head = Row::new(["journey", "way", "pps", "sent", "received", "on way", "one-way p99"]).bold();
        frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered()), area);
    }

    fn draw_news(&self, frame: &mut Frame<'_>, area: Rect) {
        let lines: Vec<Line<'_>> = self.news.iter().rev().take(NEWS).rev().map(|line| line.as_str().into()).collect();
        if !lines.is_empty() {
            frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" what happens ")), area);
        }
    }

    fn draw_drops(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" drops by reason ");
        if self.drops.is_empty() {
            frame.render_widget(Paragraph::new("none").block(block), area);
            return;
        }
        let rows = self.drops.iter().map(|(reason, count)| Row::new([reason.clone(), count.to_string()]));
        let table = Table::new(rows, [Constraint::Fill(2), Constraint::Fill(1)]).block(block);
        frame.render_widget(table.style(Style::new().fg(Color::Yellow)), area);
    }

    fn draw_latency(&self, frame: &mut Frame<'_>, area: Rect) {
        let names = ["p50", "p99", "p99.9", "max"];
        let lines: Vec<Line<'_>> = match self.latency {
            Some(values) => names.iter().zip(values).map(|(n, v)| Line::from(format!("{n:<6} {}", human(v)))).collect(),
            None => vec![Line::from("not measured yet")],
        };
        let block = Block::bordered().title(" latency inside the gateway ");
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::demo::journeys::Journey;

    pub(in crate::cli::demo) fn journey(kind: &'static str, label: &'static str) -> Journey {
        let host = || crate::lab::Host::nowhere();
        Journey::new(kind, label, host(), host())
    }

    fn view() -> View {
        let lane = |kind, label| Lane { kind, label, ..Lane::default() };
        let mut view = View {
            elapsed: Duration::from_secs(3),
            total: Duration::from_secs(10),
            lanes: vec![lane("encap", "native → blue1"), lane("transit", "blue2 → green2")],
            drops: BTreeMap::from([("no_route".to_string(), 17.0)]),
            latency: Some([11, 56, 900, 2_000].map(Duration::from_micros)),
            ..View::default()
        };
        let counts = |received| LoadCounts { sent: received + 1, received, lost: 1, ..LoadCounts::default() };
        view.advance(&[counts(1000), counts(2000)], Duration::from_secs(1));
        view.advance(&[counts(3000), counts(2500)], Duration::from_secs(2));
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn rates_are_of_the_last_interval() {
        let view = view();
        assert_eq!(view.lanes.iter().map(|lane| lane.pps).collect::<Vec<_>>(), [1000, 250]);
        assert_eq!(view.history, [3000, 1250]);
    }

    #[test]
    fn everything_is_on_the_screen() {
        let text = screen(&view(), 100, 32);
        for words in
            ["3 of 10 s", "native → blue1", "1000", "blue2 → green2", "no_route", "17", "56 µs", "2.0 ms", "1250"]
        {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        assert!(!text.contains("what happens"), "{text}");
        let text = screen(&View { total: Duration::from_secs(1), ..View::default() }, 100, 32);
        assert!(text.contains("none") && text.contains("not measured yet"), "{text}");
    }

    #[test]
    fn of_what_happens_the_last_is_seen_and_a_guest_loses_nothing() {
        let mut view = view();
        view.lanes[1].guest = true;
        view.news = (1..=9).map(|n| format!("event {n}.")).collect();
        let text = screen(&view, 100, 28);
        for words in ["what happens", "event 5.", "event 9.", "max    2.0 ms", "—"] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        assert!(!text.contains("event 4."), "{text}");
        assert!(view.line().contains("  lost 1  "), "{}", view.line());
    }

    #[test]
    fn no_size_of_terminal_is_a_panic() {
        for (width, height) in [(1, 1), (20, 5), (300, 3), (3, 100), (80, 24)] {
            screen(&view(), width, height);
            screen(&View { news: vec!["something".into(); 7], ..view() }, width, height);
        }
    }

    #[test]
    fn the_plain_line_says_the_same() {
        let line = view().line();
        assert_eq!(
            line,
            "   3 s  native → blue1 1000 pps  blue2 → green2 250 pps  lost 2  drops no_route=17  \
             latency p50 11 µs p99 56 µs p99.9 900 µs max 2.0 ms"
        );
    }
}
