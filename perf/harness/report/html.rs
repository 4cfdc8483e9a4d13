//! The report as one page that needs nothing else: the tables of the Markdown, and the pictures within.

use std::fmt::Write;

use super::plot::Picture;
use super::{Report, markdown};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #d0d7de;padding:.25rem .6rem;text-align:left}\
th{background:#f6f8fa}td:not(:first-child){font-variant-numeric:tabular-nums}figure{margin:1.5rem 0}\
svg{max-width:100%;height:auto}figcaption{color:#57606a}code{background:#f6f8fa;padding:0 .2rem}";

/// The whole page. Writing to a `String` cannot fail.
pub(super) fn page(report: &Report, pictures: &[Picture]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    let _ = write!(out, "<title>Selvedge and its peers, measured</title><style>{STYLE}</style></head>\n<body>\n");
    let text = markdown::page(report);
    // the pictures go in front of the second chapter: behind the headline
    let mut chapters = 0;
    for block in text.split("\n\n") {
        if block.trim_start().starts_with("## ") {
            chapters += 1;
            if chapters == 2 {
                figures(pictures, &mut out);
            }
        }
        render(block.trim_matches('\n'), &mut out);
    }
    out.push_str("</body></html>\n");
    out
}

fn figures(pictures: &[Picture], out: &mut String) {
    for picture in pictures {
        let caption = escape(&picture.caption);
        let _ = writeln!(out, "<figure>{}<figcaption>{caption}</figcaption></figure>", picture.svg);
    }
}

/// One block of the Markdown that [`markdown`] writes: heading, table, list or paragraph.
fn render(block: &str, out: &mut String) {
    let _ = match block {
        "" => Ok(()),
        _ if block.starts_with("# ") => writeln!(out, "<h1>{}</h1>", inline(&block[2..])),
        _ if block.starts_with("## ") => writeln!(out, "<h2>{}</h2>", inline(&block[3..])),
        _ if block.starts_with('|') => {
            table(block, out);
            Ok(())
        }
        _ if block.starts_with("* ") => {
            let items = block.lines().map(|l| format!("<li>{}</li>", inline(l.trim_start_matches("* "))));
            writeln!(out, "<ul>{}</ul>", items.collect::<String>())
        }
        _ => writeln!(out, "<p>{}</p>", inline(block)),
    };
}

fn table(block: &str, out: &mut String) {
    out.push_str("<table>\n");
    for (n, line) in block.lines().enumerate().filter(|(_, line)| !line.starts_with("|---")) {
        let tag = if n == 0 { "th" } else { "td" };
        let cells = line.trim_matches('|').split('|');
        let row: String = cells.map(|c| format!("<{tag}>{}</{tag}>", inline(c.trim()))).collect();
        let _ = writeln!(out, "<tr>{row}</tr>");
    }
    out.push_str("</table>\n");
}

/// Escapes, then the two marks we use.
fn inline(text: &str) -> String {
    let escaped = escape(text);
    let bold = pairs(&escaped, "**", "strong");
    pairs(&bold, "`", "code")
}

fn pairs(text: &str, mark: &str, tag: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split(mark).enumerate() {
        match n {
            0 => {}
            n if n % 2 == 1 => out += &format!("<{tag}>"),
            _ => out += &format!("</{tag}>"),
        }
        out += part;
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        let cases = [
            ("# A & B", "<h1>A &amp; B</h1>\n"),
            ("## `x` < y", "<h2><code>x</code> &lt; y</h2>\n"),
            ("* a\n* **b**", "<ul><li>a</li><li><strong>b</strong></li></ul>\n"),
            (
                "| a | b |\n|---|---|\n| 1 | 2 |",
                "<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td>2</td></tr>\n</table>\n",
            ),
            ("plain", "<p>plain</p>\n"),
        ];
        for (text, html) in cases {
            let mut out = String::new();
            render(text, &mut out);
            assert_eq!(out, html);
        }
    }
}
