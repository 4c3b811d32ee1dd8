//! The live view of `sterna status --watch`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use serde_json::Value as Json;

use super::sight::{Sight, VERSIONS, number};
use super::{list, span};

/// Draws what is known; `trouble` is why the last question had no answer.
pub(super) fn draw(frame: &mut Frame<'_>, sight: &Sight, now: f64, trouble: Option<&str>) {
    let certificates = sight.status["certificates"].as_array().map_or(0, Vec::len);
    let lines = certificates.max(backends(&sight.backends).len()).clamp(5, 12);
    let lines = u16::try_from(lines).unwrap_or(u16::MAX);
    let [head, rates, middle, connections, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(8),
        Constraint::Length(lines + 2),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, sight, now);
    draw_rates(frame, rates, sight);
    let backends = backends(&sight.backends);
    let widths = match backends.is_empty() {
        true => [Constraint::Percentage(60), Constraint::Percentage(40), Constraint::Length(0)],
        false => [Constraint::Length(66), Constraint::Fill(1), Constraint::Fill(2)],
    };
    let [left, centre, right] = Layout::horizontal(widths).areas(middle);
    draw_process(frame, left, sight);
    draw_certificates(frame, centre, sight, now);
    if !backends.is_empty() {
        let block = Block::bordered().title(" backends ");
        frame.render_widget(Paragraph::new(backends).block(block), right);
    }
    draw_connections(frame, connections, sight);
    let foot_line = match trouble {
        Some(trouble) => Line::from(trouble.to_owned()).red().bold(),
        None => Line::from("q: leave").dim(),
    };
    frame.render_widget(foot_line, foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, sight: &Sight, now: f64) {
    let status = &sight.status;
    let up = span(now - number(status, &["started"]));
    let is_draining = status["draining"] == true;
    let state = if is_draining { " is ending ".on_red() } else { " runs ".on_green() }.black();
    let what = format!(" {} on {}", text(&status["serves"]), list(&status["addresses"]));
    let generation = format!(
        "  up {up}, pid {}, generation {}, {} reloads, ",
        status["pid"], status["config"]["generation"], status["config"]["reloads"]
    );
    let failed = number(status, &["config", "failed_reloads"]);
    let failed = Span::from(format!("{failed} failed"));
    let is_bad = status["config"]["last"]["ok"] == false;
    let lines = vec![Line::from(vec![
        state,
        what.bold(),
        generation.into(),
        if is_bad { failed.red().bold() } else { failed },
    ])];
    let block = Block::bordered().title(format!(" sterna {} ", text(&status["version"])));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, sight: &Sight) {
    let columns = Layout::horizontal([Constraint::Ratio(1, 3); 3]).split(area);
    for (i, (((name, counter), rates), area)) in
        VERSIONS.iter().zip(&sight.rates).zip(columns.iter()).enumerate()
    {
        let all = number(&sight.status, &["counters", counter]);
        let block = Block::bordered().title(format!(" {name} "));
        let inner = block.inner(*area);
        frame.render_widget(block, *area);
        let [words, line] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(1)]).areas(inner);
        let (half, most) = sight.latency.get(name).copied().unwrap_or((None, None));
        let lines = vec![
            Line::from(vec![
                format!("{}", rates.back().copied().unwrap_or(0)).bold(),
                format!("/s  {all} in all").into(),
            ]),
            Line::from(format!("p50 {}  p99 {}", millis(half), millis(most))),
        ];
        frame.render_widget(Paragraph::new(lines), words);
        let width = usize::from(line.width);
        let data: Vec<u64> = rates.iter().rev().take(width).rev().copied().collect();
        let colour = [Color::Blue, Color::Cyan, Color::Green][i];
        frame.render_widget(Sparkline::default().data(&data).style(colour), line);
    }
}

fn draw_process(frame: &mut Frame<'_>, area: Rect, sight: &Sight) {
    let status = &sight.status;
    let count = |name: &str| number(status, &["counters", name]);
    let (received, sent) = sight.quic_bytes;
    let loss = sight.loss.map_or("–".to_owned(), |loss| format!("{:.2} %", loss * 100.0));
    let failures = count("tls_failures") + number(status, &["quic", "handshakes_timed_out"]);
    let lines = vec![
        Line::from(format!(
            "connections  {} TCP  {} QUIC   requests under way {}",
            count("active_tcp_connections"),
            count("active_quic_connections"),
            count("active_requests"),
        )),
        Line::from(
            format!("QUIC         {} in  {} out   lost {loss}", rate(received), rate(sent),),
        ),
        Line::from(format!(
            "trouble      {failures} handshakes  {} time-outs  {} malformed  {} errors",
            count("timeouts"),
            count("malformed_requests"),
            count("service_errors") + count("panics"),
        )),
        Line::from(format!(
            "process      {:.0} % of a core  {} MiB  {} files  {} workers",
            sight.cpu * 100.0,
            number(status, &["process", "resident_bytes"]) as u64 >> 20,
            number(status, &["process", "open_files"]),
            status["workers"],
        )),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" server ")), area);
}

fn draw_certificates(frame: &mut Frame<'_>, area: Rect, sight: &Sight, now: f64) {
    let certificates = sight.status["certificates"].as_array().into_iter().flatten();
    let lines = certificates.map(|certificate| {
        let left = number(certificate, &["not_after"]) - now;
        let style = match left {
            left if left < 0.0 => Style::new().red().add_modifier(Modifier::BOLD),
            left if left < SOON => Style::new().yellow(),
            _ => Style::new(),
        };
        let left = if left < 0.0 { "has ended".to_owned() } else { span(left) };
        Line::from(format!("{left:>9}  {}", list(&certificate["names"]))).style(style)
    });
    let block = Block::bordered().title(" certificates end in ");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

/// A line for each backend: well, or why not.
fn backends(json: &Json) -> Vec<Line<'static>> {
    let upstreams = json["upstreams"].as_array().into_iter().flatten();
    let all = upstreams.flat_map(|upstream| upstream["backends"].as_array().into_iter().flatten());
    let lines = all.map(|backend| {
        let condition = match backend["draining"] == true {
            true => "drained".to_owned(),
            false => text(&backend["condition"]),
        };
        let colour = match condition.as_str() {
            "healthy" => Color::Green,
            "unchecked" => Color::Reset,
            "drained" => Color::Yellow,
            _ => Color::Red,
        };
        let latency =
            backend["latency_ms"].as_f64().map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
        let condition = Span::styled(format!("{condition:9} "), Style::new().fg(colour));
        let rest = format!(
            "{}  {} under way  {latency}  {} of {} failed",
            text(&backend["address"]),
            backend["in_flight"],
            backend["failures"],
            backend["requests"],
        );
        Line::from(vec![condition, rest.into()])
    });
    lines.collect()
}

fn draw_connections(frame: &mut Frame<'_>, area: Rect, sight: &Sight) {
    let listed = sight.connections["connections"].as_array().cloned().unwrap_or_default();
    let rows = listed.iter().map(|connection| {
        let bytes = |name: &str| size(number(connection, &[name]));
        let or_dash = |value: &Json, unit: &str| {
            value.as_f64().map_or("–".to_owned(), |value| format!("{value:.1}{unit}"))
        };
        Row::new([
            text(&connection["protocol"]),
            text(&connection["peer"]),
            connection["requests"].to_string(),
            or_dash(&connection["rtt_ms"], " ms"),
            bytes("received_bytes"),
            bytes("sent_bytes"),
            connection["lost_packets"].as_u64().map_or("–".to_owned(), |lost| lost.to_string()),
            connection["worker"].to_string(),
        ])
    });
    let widths = [
        Constraint::Length(9),
        Constraint::Min(22),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(6),
    ];
    let head = ["version", "peer", "requests", "rtt", "received", "sent", "lost", "worker"];
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    let more = number(&sight.connections, &["more"]);
    let title = match more > 0.0 {
        true => format!(" {} connections of {} ", listed.len(), listed.len() as f64 + more),
        false => format!(" {} connections ", listed.len()),
    };
    let table = Table::new(rows, widths).header(head).block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or("–").to_owned()
}

fn millis(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds.is_infinite() => "> 10 s".to_owned(),
        Some(seconds) => format!("≤ {} ms", seconds * 1e3),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        0.0..1e4 => format!("{bytes:.0} B"),
        1e4..1e7 => format!("{:.0} KB", bytes / 1e3),
        1e7..1e10 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

fn rate(bytes: f64) -> String {
    format!("{:.1} Mbit/s", bytes * 8.0 / 1e6)
}

/// When a certificate is about to end.
const SOON: f64 = 14.0 * 86_400.0;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_watched_is_on_the_screen() {
        let status = |requests: u64, used: f64| {
            json!({
                "version": "1.2.3", "serves": "sterna.toml", "addresses": ["127.0.0.1:8443"],
                "pid": 7, "started": 0.0, "workers": 2, "draining": false,
                "config": { "generation": 3, "reloads": 2, "failed_reloads": 1, "last": { "ok": false } },
                "process": { "cpu_seconds": used, "resident_bytes": 32 << 20, "open_files": 31 },
                "counters": { "http3_requests": requests, "active_quic_connections": 5, "timeouts": 4 },
                "quic": {}, "certificates": [{ "names": ["a.example"], "not_after": 864_000.0 }],
                "durations": { "bounds_seconds": [0.001], "requests": { "HTTP/3": [requests, 0] } },
            })
        };
        let connections = json!({ "more": 9, "connections": [{
            "protocol": "HTTP/3", "peer": "192.0.2.1:5000", "requests": 1, "rtt_ms": 12.34,
            "received_bytes": 20_000, "sent_bytes": 30, "lost_packets": 8, "worker": 1,
        }] });
        let mut sight = Sight::default();
        sight.see(0.0, status(0, 0.0), Json::Null);
        sight.backends = json!({ "upstreams": [{ "backends": [{
            "address": "http://10.0.0.1:80", "condition": "unhealthy", "draining": false,
            "in_flight": 2, "latency_ms": 1.5, "requests": 40, "failures": 3,
        }] }] });
        sight.see(1.0, status(1234, 0.5), connections);
        let mut terminal = Terminal::new(TestBackend::new(180, 30)).expect("a terminal");
        terminal.draw(|frame| draw(frame, &sight, 10.0, Some("no answer"))).expect("drawn");
        let screen = terminal.backend().to_string();
        for part in [
            "sterna 1.2.3",
            "sterna.toml on 127.0.0.1:8443",
            "generation 3",
            "1 failed",
            "1234/s  1234 in all",
            "p50 ≤ 1 ms",
            "5 QUIC",
            "50 % of a core  32 MiB",
            "4 time-outs",
            "a.example",
            "unhealthy http://10.0.0.1:80  2 under way  1.5 ms",
            "192.0.2.1:5000",
            "12.3 ms",
            "20 KB",
            "1 connections of 10",
            "no answer",
        ] {
            assert!(screen.contains(part), "{part} is not on\n{screen}");
        }
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        for (width, height) in [(1, 1), (20, 5), (300, 100)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
            terminal.draw(|frame| draw(frame, &Sight::default(), 0.0, None)).expect("drawn");
        }
    }
}
