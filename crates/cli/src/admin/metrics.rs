//! `GET /metrics`: everything that is counted, for Prometheus.

use std::collections::BTreeMap;

use sterna_gateway::LimitFigures;
use sterna_gateway::metrics::{Kind, Page};
use sterna_net::client::Transport;
use sterna_net::{Counters, HANDSHAKE_BOUNDS, HandshakeFailure};

use super::backends;
use super::process::Process;
use super::status::{certificates, seconds};
use crate::operation::Operation;

pub(super) fn text(operation: &Operation) -> String {
    let mut page = Page::default();
    page.family("sterna_build_info", Kind::Gauge, "The version that runs; always 1.");
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    operation.facts.shared.metrics().write(&mut page);
    server(&mut page, operation);
    handshakes(&mut page, operation);
    quic(&mut page, operation);
    backends::metrics(&mut page, operation);
    limits(&mut page, operation);
    policies(&mut page, operation);
    config(&mut page, operation);
    let help =
        "When a certificate that is shown ends, in seconds since 1970, by the first of its names.";
    page.family("sterna_certificate_expiry_timestamp_seconds", Kind::Gauge, help);
    for certificate in certificates(&operation.tls()) {
        let name = certificate.names.first().map_or("*", String::as_str);
        page.sample("", &[("name", name)], certificate.not_after as f64);
    }
    let help =
        "When the OCSP response ends that is shown with a certificate, in seconds since 1970.";
    page.family("sterna_staple_expiry_timestamp_seconds", Kind::Gauge, help);
    for (names, until) in operation.tls().staples() {
        let name = names.first().map_or("*", String::as_str);
        page.sample("", &[("name", name)], until as f64);
    }
    let help = "Certificates that a reload refused: unreadable, over, or not of their key.";
    let refused = operation.history().refused_certificates as f64;
    page.single("sterna_certificates_refused_total", Kind::Counter, help, refused);
    let help = "Orders of certificates from an authority that have ended, by how.";
    page.family("sterna_acme_orders_total", Kind::Counter, help);
    let figures = operation.facts.acme.figures();
    for (result, count) in [("succeeded", figures.succeeded), ("failed", figures.failed)] {
        page.sample("", &[("result", result)], count as f64);
    }
    let help = "Lines of the access log that were dropped because its output was slower than the requests.";
    let dropped = operation.dropped_lines() as f64;
    page.single("sterna_access_log_dropped_lines_total", Kind::Counter, help, dropped);
    process(&mut page, operation);
    page.into_text()
}

/// What the workers count, HTTPS and plain HTTP together.
fn server(page: &mut Page, operation: &Operation) {
    let all = operation.counters();
    for (at, (name, help, _)) in Counters::default().each().enumerate() {
        let sum: u64 =
            all.iter().filter_map(|one| one.each().nth(at)).map(|(.., value)| value).sum();
        let is_gauge =
            ["active_", "queued_", "granted_"].iter().any(|begin| name.starts_with(begin));
        match is_gauge {
            true => page.single(&format!("sterna_{name}"), Kind::Gauge, help, sum as f64),
            false => page.single(&format!("sterna_{name}_total"), Kind::Counter, help, sum as f64),
        }
    }
}

/// How handshakes have ended, over TCP and over QUIC.
fn handshakes(page: &mut Page, operation: &Operation) {
    let both =
        Transport::ALL.map(|transport| (transport.as_str(), operation.handshakes(transport)));
    let help = "How long handshakes took that succeeded, in seconds: TLS over TCP, and QUIC.";
    page.family("sterna_handshake_duration_seconds", Kind::Histogram, help);
    for (transport, figures) in &both {
        let mut sum = 0;
        for (count, bound) in
            figures.durations.iter().zip(HANDSHAKE_BOUNDS.map(Some).iter().chain([&None]))
        {
            sum += count;
            let bound = bound.map_or("+Inf".to_owned(), |micros| (micros as f64 / 1e6).to_string());
            page.sample("_bucket", &[("transport", transport), ("le", &bound)], sum as f64);
        }
        let labels = [("transport", *transport)];
        page.sample("_sum", &labels, figures.total.as_secs_f64());
        page.sample("_count", &labels, sum as f64);
    }
    let help = "Handshakes that failed, by the reason.";
    page.family("sterna_handshake_failures_total", Kind::Counter, help);
    for (transport, figures) in &both {
        for (why, count) in HandshakeFailure::ALL.iter().zip(figures.failures) {
            let labels = [("transport", *transport), ("reason", why.as_str())];
            page.sample("", &labels, count as f64);
        }
    }
}

/// What the QUIC endpoints count.
fn quic(page: &mut Page, operation: &Operation) {
    let inspection = operation.inspect(RTT_SAMPLES);
    for (name, help, value) in inspection.quic.each() {
        page.single(&format!("sterna_quic_{name}_total"), Kind::Counter, help, value as f64);
    }
    let mut all: Vec<f64> = inspection
        .connections
        .iter()
        .filter(|connection| connection.sent_packets.is_some())
        .filter_map(|connection| Some(connection.rtt?.as_secs_f64()))
        .collect();
    all.sort_by(f64::total_cmp);
    let help =
        "Smoothed round-trip times of QUIC connections that are open, in seconds, by quantile.";
    page.family("sterna_quic_rtt_seconds", Kind::Gauge, help);
    for (label, quantile) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
        let at = (all.len() as f64 * quantile) as usize;
        if let Some(rtt) = all.get(at.min(all.len().saturating_sub(1))) {
            page.sample("", &[("quantile", label)], *rtt);
        }
    }
}

/// What limits have done, by the table of the configuration that they stand in.
fn limits(page: &mut Page, operation: &Operation) {
    type Of = fn(&LimitFigures) -> f64;
    let families: [(&str, Kind, &str, Of); 3] = [
        (
            "sterna_limit_refused_requests_total",
            Kind::Counter,
            "Requests that a limit refused.",
            |one| one.refused as f64,
        ),
        (
            "sterna_limit_known_clients",
            Kind::Gauge,
            "Clients that a limit knows now; of `in_flight`, requests in work.",
            |one| one.known as f64,
        ),
        ("sterna_limit_waiting_requests", Kind::Gauge, "Requests that wait for a place.", |one| {
            one.waiting as f64
        }),
    ];
    let figures = operation.facts.shared.limits();
    for (name, kind, help, of) in families {
        page.family(name, kind, help);
        let mut values = BTreeMap::<(&str, &str, &str), f64>::new();
        for one in &figures {
            *values.entry((one.kind, &one.scope, &one.limit)).or_default() += of(one);
        }
        for ((kind, scope, limit), value) in values {
            page.sample("", &[("kind", kind), ("scope", scope), ("limit", limit)], value);
        }
    }
}

/// What policies have done that are no limits.
fn policies(page: &mut Page, operation: &Operation) {
    let shared = &operation.facts.shared;
    let (compression, mirrors) = (shared.compression(), shared.mirrors());
    let [right, wrong, unverified] = shared.verifications();
    let counters = [
        (
            "sterna_compressed_responses_total",
            "Responses that were encoded.",
            compression.encoded(),
        ),
        (
            "sterna_compression_declined_total",
            "Responses sent as they were because a worker had as many coders at work as it may have.",
            compression.declined(),
        ),
        ("sterna_mirrored_requests_total", "Copies of requests that were begun.", mirrors.sent()),
        (
            "sterna_mirror_failures_total",
            "Copies without an answer: nobody there, too late, given up.",
            mirrors.failed(),
        ),
        (
            "sterna_mirror_lagged_total",
            "Copies given up because they were too far behind.",
            mirrors.lagged(),
        ),
        (
            "sterna_mirror_skipped_total",
            "Requests not copied because too many copies were under way.",
            mirrors.skipped(),
        ),
    ];
    for (name, help, value) in counters {
        page.single(name, Kind::Counter, help, value as f64);
    }
    let help =
        "Passwords, by whether they were right, wrong, or not looked at because too many waited.";
    page.family("sterna_passwords_total", Kind::Counter, help);
    for (result, value) in [("right", right), ("wrong", wrong), ("unverified", unverified)] {
        page.sample("", &[("result", result)], value as f64);
    }
}

fn config(page: &mut Page, operation: &Operation) {
    let history = operation.history();
    let help = "Configurations that have been served since the start; 1 before the first reload.";
    page.single("sterna_config_generation", Kind::Gauge, help, history.generation as f64);
    let help = "Reloads, by whether the new configuration is served.";
    page.family("sterna_config_reloads_total", Kind::Counter, help);
    page.sample("", &[("result", "ok")], history.succeeded as f64);
    page.sample("", &[("result", "failed")], history.failed as f64);
    let ok = history.last.as_ref().is_none_or(|(_, ended)| ended.is_ok());
    let help = "Whether the last reload succeeded; 1 before the first.";
    page.single("sterna_config_last_reload_successful", Kind::Gauge, help, f64::from(u8::from(ok)));
    let at = history.last.map_or(operation.started, |(at, _)| at);
    let help = "When the last reload ended, in seconds since 1970; the start before the first.";
    page.single("sterna_config_last_reload_timestamp_seconds", Kind::Gauge, help, seconds(at));
    let help = "Whether the server ends, and takes nothing new.";
    let draining = f64::from(u8::from(operation.is_draining()));
    page.single("sterna_draining", Kind::Gauge, help, draining);
    let help = "Workers, each a thread with sockets of its own.";
    page.single("sterna_workers", Kind::Gauge, help, operation.workers() as f64);
}

/// By the names that Prometheus's own clients use.
fn process(page: &mut Page, operation: &Operation) {
    let Process { cpu, resident_bytes, virtual_bytes, open_files, max_open_files } = Process::now();
    let help = "Time of processors that the process has used, in seconds.";
    page.single("process_cpu_seconds_total", Kind::Counter, help, cpu.as_secs_f64());
    let help = "Memory of the process that is in RAM, in bytes.";
    page.single("process_resident_memory_bytes", Kind::Gauge, help, resident_bytes as f64);
    let help = "Address space of the process, in bytes.";
    page.single("process_virtual_memory_bytes", Kind::Gauge, help, virtual_bytes as f64);
    let help = "File descriptors that are open.";
    page.single("process_open_fds", Kind::Gauge, help, open_files as f64);
    let help = "File descriptors that may be open.";
    page.single("process_max_fds", Kind::Gauge, help, max_open_files as f64);
    let help = "When the process started, in seconds since 1970.";
    page.single("process_start_time_seconds", Kind::Gauge, help, seconds(operation.started));
}

/// Connections that the quantiles of round-trip times look at.
const RTT_SAMPLES: usize = 1000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The table of all families: a name, a type or a help text that changes shows in the difference.
    fn table(text: &str) -> String {
        let mut table = "| name | type | |\n|---|---|---|\n".to_owned();
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map_or("", |(_, help)| help);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a name and a type");
                table.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
            }
        }
        table
    }

    #[test]
    fn every_metric_is_in_the_document_with_its_type_and_what_it_means() {
        let page = format!("{INTRODUCTION}{}", table(&text(&Operation::of_nothing())));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        if std::env::var_os("STERNA_WRITE").is_some() {
            fs::write(&path, &page).expect("written");
        }
        let written = fs::read_to_string(&path).expect("the document");
        assert_eq!(
            written, page,
            "write it anew: STERNA_WRITE=1 cargo test -p sterna --lib metrics"
        );
    }

    #[test]
    fn a_name_says_its_unit_and_a_counter_that_it_is_one() {
        let text = text(&Operation::of_nothing());
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut names: Vec<&str> = Vec::new();
        for (name, kind) in families.filter_map(|family| family.split_once(' ')) {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(name.starts_with("sterna_") || name.starts_with("process_"), "{name}");
            assert!(!names.contains(&name), "{name} is there twice");
            names.push(name);
        }
        assert!(names.len() > 60, "{names:?}");
    }

    const INTRODUCTION: &str = "\
# Metrics

`GET /metrics` of the [operator's interface](admin.md), in the text format of Prometheus (0.0.4). This page is made from the
code by a test.

Labels have few values. `protocol` is `HTTP/1.1`, `HTTP/2` or `HTTP/3`; `method` one of those in RFC 9110 and PATCH, else
`other`; `host` and `route` are the patterns of the configuration, never what a client wrote, and `none` where no route took the
request; `status` is a registered status, `499` where nobody waited for the answer, else `other`. Beyond 10,000 combinations
requests count under the host and the route `other`. Counters outlive a reload.

```text
scrape_configs:
  - job_name: sterna
    static_configs: [{ targets: [\"127.0.0.1:9180\"] }]   # [admin] listen = \"127.0.0.1:9180\"
```

";
}
