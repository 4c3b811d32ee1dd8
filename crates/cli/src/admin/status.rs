//! `GET /status` and `GET /connections`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use sterna_gateway::metrics::Metrics;
use sterna_net::{Inspection, OpenConnection, Protocol, ServerTls};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::process::Process;
use crate::operation::{History, Operation};

/// The whole of it: what a person wants to know first.
pub(super) fn status(operation: &Operation) -> Json {
    let Process { cpu, resident_bytes, open_files, .. } = Process::now();
    let History { generation, succeeded, failed, refused_certificates, last } = operation.history();
    let last = last.map(
        |(at, ended)| json!({ "time": seconds(at), "ok": ended.is_ok(), "error": ended.err() }),
    );
    let inspection = operation.inspect(0);
    let mut counters = serde_json::Map::new();
    for counted in operation.counters() {
        for (name, _, value) in counted.each() {
            let sum = counters.entry(name).or_insert(Json::from(0));
            *sum = Json::from(sum.as_u64().unwrap_or(0) + value);
        }
    }
    let quic: serde_json::Map<String, Json> = inspection
        .quic
        .each()
        .map(|(name, _, value)| (name.to_owned(), Json::from(value)))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started": seconds(operation.started),
        "serves": operation.what,
        "addresses": operation.facts.addresses,
        "congestion": congestion(operation),
        "plain_addresses": operation.facts.plain,
        "workers": operation.workers(),
        "draining": operation.is_draining(),
        "config": {
            "generation": generation, "reloads": succeeded, "failed_reloads": failed,
            "refused_certificates": refused_certificates, "last": last,
        },
        "process": {
            "cpu_seconds": cpu.as_secs_f64(),
            "resident_bytes": resident_bytes,
            "open_files": open_files,
        },
        "counters": counters,
        "quic": quic,
        "quic_handshakes": handshakes(&inspection),
        "durations": {
            "bounds_seconds": Metrics::bounds().collect::<Vec<_>>(),
            "requests": operation.facts.shared.metrics().durations(),
        },
        "certificates": certificates(&operation.tls()).iter().map(|certificate| json!({
            "names": certificate.names, "not_after": certificate.not_after,
        })).collect::<Vec<_>>(),
    })
}

/// Handshakes over QUIC that are under way, and workers on which load has switched Retry on.
fn handshakes(inspection: &Inspection) -> Json {
    let quic = &inspection.quic;
    json!({
        "under_way": quic.handshakes_begun.saturating_sub(quic.handshakes_over),
        "workers_with_retry": quic.retry_switched_on.saturating_sub(quic.retry_switched_off),
    })
}

/// How connections over QUIC are kept from congestion, address by address.
fn congestion(operation: &Operation) -> Vec<Json> {
    let Some(config) = operation.config().filter(|config| config.http3) else { return Vec::new() };
    let of = |address: &std::net::SocketAddr| {
        let congestion = config.congestion(*address);
        json!({
            "address": address,
            "algorithm": congestion.algorithm.name(),
            "initial_window_bytes": congestion.initial_window,
        })
    };
    operation.facts.addresses.iter().map(of).collect()
}

pub(super) struct Certificate {
    pub(super) names: Vec<String>,
    /// In seconds since 1970.
    pub(super) not_after: i64,
}

/// The certificates that are shown, and when they end.
pub(super) fn certificates(tls: &ServerTls) -> Vec<Certificate> {
    let leaves = tls.leaves().into_iter().filter_map(|(names, der)| {
        let (_, leaf) = X509Certificate::from_der(&der).ok()?;
        let names = if names.is_empty() { vec!["*".to_owned()] } else { names };
        Some(Certificate { names, not_after: leaf.validity().not_after.timestamp() })
    });
    leaves.collect()
}

/// The connections that are open, as many as were asked for.
pub(super) fn connections(inspection: &Inspection) -> Json {
    let connections = inspection.connections.iter().map(|connection| {
        let OpenConnection { worker, protocol, peer, local, requests, .. } = connection;
        let millis = |span: Option<std::time::Duration>| span.map(|span| span.as_secs_f64() * 1e3);
        json!({
            "protocol": protocol.map(Protocol::as_str),
            "peer": peer,
            "local": local,
            "worker": worker,
            "requests": requests,
            "rtt_ms": millis(connection.rtt),
            "age_ms": millis(connection.age),
            "sent_bytes": connection.sent_bytes,
            "received_bytes": connection.received_bytes,
            "sent_packets": connection.sent_packets,
            "lost_packets": connection.lost_packets,
        })
    });
    json!({ "connections": connections.collect::<Vec<_>>(), "more": inspection.more })
}

/// Seconds since 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
