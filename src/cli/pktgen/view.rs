//! A run while it runs: rates, losses, latency, and the generator's own lateness; drawn, or as a line.

use std::sync::atomic::Ordering::Relaxed;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Gauge, Row, Sparkline, Table};

use super::live::Live;

/// Seconds of history kept for the curve.
const HISTORY: usize = 600;

/// Everything the view shows.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// What is done, in words.
    title: String,
    /// Nanoseconds since the beginning.
    pub(super) elapsed: u64,
    /// Nanoseconds asked for.
    total: u64,
    sent: u64,
    received: u64,
    missing: u64,
    corrupt: u64,
    /// Packets a second, in the last second.
    sent_pps: u64,
    received_pps: u64,
    /// Received, a value a second.
    history: Vec<u64>,
    latency: [u64; 4],
    late: [u64; 4],
}

impl View {
    /// Nothing has happened yet. `total` is in nanoseconds.
    pub(super) fn new(title: String, total: u64) -> Self {
        Self { title, total, ..Self::default() }
    }

    /// Takes in what both halves tell, `nanos` after the last time.
    pub(super) fn advance(&mut self, live: &Live, nanos: u64) {
        let (sent, received) = (live.sent.load(Relaxed), live.received.load(Relaxed));
        let pps =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 * 1e9 / nanos.max(1) as f64).round() as u64;
        (self.sent_pps, self.received_pps) = (pps(sent, self.sent), pps(received, self.received));
        (self.sent, self.received) = (sent, received);
        (self.missing, self.corrupt) = (live.missing.load(Relaxed), live.corrupt.load(Relaxed));
        (self.latency, self.late) = (live.latency.get(), live.late.get());
        self.history.push(self.received_pps);
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    /// The view in one line, for those without a terminal.
    pub(super) fn line(&self) -> String {
        let seconds = (self.elapsed as f64 / 1e9).round();
        let [p50, p99, _, max] = self.latency.map(micros);
        let [_, late, ..] = self.late.map(micros);
        format!(
            "{seconds:>4} s   sent {:>9}/s   received {:>9}/s   missing {}   corrupt {}   latency p50 {p50} p99 {p99} max \
             {max} µs   late p99 {late} µs",
            self.sent_pps, self.received_pps, self.missing, self.corrupt
        )
    }

    /// Draws the view.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [top, counts, times, curve, keys] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(5),
            Constraint::Length(5),
            Constraint::Min(3),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_progress(frame, top);
        self.draw_counts(frame, counts);
        self.draw_times(frame, times);
        let visible = self.history.len().saturating_sub(curve.width.saturating_sub(2).into());
        let block = Block::bordered().title(format!(" received: {} packets/s ", self.received_pps));
        let sparkline = Sparkline::default().block(block).style(Style::new().fg(Color::Cyan));
        frame.render_widget(sparkline.data(&self.history[visible..]), curve);
        frame.render_widget(Line::from(" q or Ctrl-C: end now, with a full report").dim(), keys);
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let ratio = self.elapsed as f64 / self.total.max(1) as f64;
        let seconds = |nanos: u64| nanos / 1_000_000_000;
        let label = format!("{} of {} s", seconds(self.elapsed.min(self.total)), seconds(self.total));
        let block = Block::bordered().title(format!(" selvedge pktgen: {} ", self.title));
        let gauge = Gauge::default().block(block).gauge_style(Style::new().fg(Color::Green));
        frame.render_widget(gauge.ratio(ratio.clamp(0.0, 1.0)).label(label), area);
    }

    fn draw_counts(&self, frame: &mut Frame<'_>, area: Rect) {
        let share = self.missing as f64 * 100.0 / self.sent.max(1) as f64;
        let sent = [
            "sent".to_string(),
            self.sent.to_string(),
            format!("{}/s", self.sent_pps),
            "missing".into(),
            format!("{} ({share:.3} %)", self.missing),
        ];
        let received = [
            "received".to_string(),
            self.received.to_string(),
            format!("{}/s", self.received_pps),
            "corrupt".into(),
            self.corrupt.to_string(),
        ];
        let bad = self.missing + self.corrupt > 0;
        let widths = [10, 14, 14, 10, 24].map(Constraint::Length);
        let table =
            Table::new([Row::new(sent), Row::new(received)], widths).block(Block::bordered().title(" packets "));
        frame.render_widget(if bad { table.style(Style::new().fg(Color::Yellow)) } else { table }, area);
    }

    fn draw_times(&self, frame: &mut Frame<'_>, area: Rect) {
        let row = |name: &str, values: [u64; 4]| {
            let cells = values.map(|n| format!("{} µs", micros(n)));
            Row::new([name.to_string()].into_iter().chain(cells))
        };
        let head = Row::new(["last 0.5 s", "p50", "p99", "p99.9", "max"]).bold();
        let rows = [row("latency", self.latency), row("sent late", self.late)];
        let widths = [14, 14, 14, 14, 14].map(Constraint::Length);
        frame.render_widget(Table::new(rows, widths).header(head).block(Block::bordered()), area);
    }
}

fn micros(nanos: u64) -> String {
    format!("{:.1}", nanos as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::live::Window;
    use super::*;

    fn view() -> View {
        let live = Live::default();
        let mut view = View::new("eth0 to eth1".into(), 10_000_000_000);
        live.sent.store(1000, Relaxed);
        live.received.store(900, Relaxed);
        view.advance(&live, 1_000_000_000);
        live.sent.store(5000, Relaxed);
        live.received.store(3900, Relaxed);
        live.missing.store(77, Relaxed);
        let mut window = Window::new(0);
        window.record(12_000);
        window.publish_if_due(u64::MAX / 2, &live.latency);
        view.advance(&live, 2_000_000_000);
        view.elapsed = 3_000_000_000;
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_the_screen() {
        let text = screen(&view(), 90, 24);
        for words in ["eth0 to eth1", "3 of 10 s", "2000/s", "1500/s", "77 (1.540 %)", "12.0 µs", "sent late"] {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
    }

    #[test]
    fn no_size_of_terminal_is_a_panic() {
        for (width, height) in [(1, 1), (20, 5), (300, 3), (3, 100), (80, 24)] {
            screen(&view(), width, height);
        }
    }

    #[test]
    fn the_line_says_the_same() {
        let want = "   3 s   sent      2000/s   received      1500/s   missing 77   corrupt 0   \
                    latency p50 12.0 p99 12.0 max 12.0 µs   late p99 0.0 µs";
        assert_eq!(view().line(), want);
    }
}
