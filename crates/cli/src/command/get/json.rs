//! The object of `--json`, for programs. Times are whole nanoseconds.
//!
//! Its shape has a version: what is in it stays, more may come.

use serde_json::{Value, json};
use sterna_net::client::{
    EarlyData, Exchange, Lesson, Release, Skip, Source, Stop, TraceEntry, TraceEvent, Transport,
};

use super::fetch::{Answer, Story};
use super::{Args, GetError, narrate};

pub(super) fn object(args: &Args, story: &Story, error: Option<&GetError>) -> Value {
    let answer = story.answer.as_ref();
    let exchange = answer.and_then(|answer| answer.exchange.as_ref());
    let race = match (exchange, error) {
        (Some(exchange), _) => &exchange.trace,
        (None, Some(error)) => error.trace(),
        (None, None) => &[],
    };
    json!({
        "schema": SCHEMA,
        "url": story.ask.target(),
        "method": story.ask.method.as_str(),
        "redirects": story.redirects.iter().map(|redirect| json!({
            "url": redirect.url, "status": redirect.status.as_u16(),
        })).collect::<Vec<_>>(),
        "status": answer.map(|answer| answer.status.as_u16()),
        "protocol": exchange.map(|exchange| exchange.protocol.as_str()),
        "transport": exchange.map(|exchange| transport(narrate::transport(exchange.protocol))),
        "remote": exchange.map(|exchange| exchange.remote.to_string()),
        "local": exchange.and_then(|exchange| exchange.local).map(|local| local.to_string()),
        "reused": exchange.map(|exchange| exchange.reused),
        "attempts": exchange.map(|exchange| exchange.attempts),
        "early_data": exchange.map(|exchange| early_data(exchange.early_data)),
        "tls": exchange.and_then(|exchange| exchange.tls.as_deref()).map(|tls| json!({
            "version": tls.version, "cipher_suite": tls.cipher_suite, "key_exchange": tls.key_exchange,
            "alpn": tls.alpn,
        })),
        "interim": exchange.map(|exchange| exchange.interim.iter().map(|(status, headers)| json!({
            "status": status.as_u16(), "headers": fields(headers),
        })).collect::<Vec<_>>()),
        "headers": answer.map(|Answer { headers, .. }| fields(headers)),
        "trailers": fields(&story.trailers),
        "content": json!({
            "bytes": story.bytes,
            "file": args.output.as_ref().filter(|_| error.is_none()).map(|path| path.display().to_string()),
        }),
        "timings": timings(story, exchange),
        "race": race.iter().map(entry).collect::<Vec<_>>(),
        "quic": exchange.and_then(|exchange| exchange.quic.as_ref()).map(|quic| json!({
            "rtt_ns": nanos(quic.rtt), "min_rtt_ns": nanos(quic.min_rtt), "cwnd_bytes": quic.cwnd,
            "congestion": quic.congestion, "pacing_bytes_per_second": quic.pacing_rate,
            "sent_packets": quic.sent_packets, "lost_packets": quic.lost_packets,
            "lost_bytes": quic.lost_bytes, "congestion_events": quic.congestion_events,
            "sent_bytes": quic.sent_bytes, "received_bytes": quic.received_bytes,
            "mtu_bytes": quic.mtu,
        })),
        "migration": story.migration.as_ref().map(|migration| json!({
            "moved_at_bytes": migration.moved_at, "bytes_after": migration.after,
            "survived": migration.survived, "counted": migration.counted,
        })),
        "error": error.map(failure),
    })
}

fn timings(story: &Story, exchange: Option<&Exchange>) -> Value {
    json!({
        "resolve_ns": exchange.map(|exchange| nanos(exchange.timings.resolve)),
        "connect_ns": exchange.map(|exchange| nanos(exchange.timings.connect)),
        "tls_ns": exchange.map(|exchange| nanos(exchange.timings.tls)),
        "waited_ns": exchange.map(|exchange| nanos(exchange.timings.waited)),
        "first_byte_ns": exchange.map(|exchange| nanos(exchange.timings.first_byte)),
        "redirects_ns": nanos(story.asked - story.began),
        "total_ns": nanos(narrate::total(story)),
    })
}

fn failure(error: &GetError) -> Value {
    let client = error.client();
    json!({
        "message": chain(error),
        "exit_code": error.exit_code(),
        "phase": client.map(|client| format!("{:?}", client.phase()).to_lowercase()),
        "kind": client.map(|client| kind(&format!("{:?}", client.kind()))),
        "code": client.and_then(|client| client.code()),
        "may_retry": client.map(|client| client.may_retry()),
        "hint": error.hint(),
    })
}

/// An error with its causes.
fn chain(error: &GetError) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

/// `HeadersTooLarge` as `headers_too_large`, without what stands behind it.
fn kind(variant: &str) -> String {
    let name = variant.split([' ', '{', '(']).next().unwrap_or_default();
    let mut kind = String::new();
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            kind.push('_');
        }
        kind.push(character.to_ascii_lowercase());
    }
    kind
}

fn fields(headers: &http::HeaderMap) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!([name.as_str(), narrate::text(value)])).collect()
}

fn entry(entry: &TraceEntry) -> Value {
    let mut object = event(&entry.event);
    if let Value::Object(fields) = &mut object {
        fields.insert("at_ns".to_owned(), nanos(entry.at));
        fields.insert("text".to_owned(), entry.event.to_string().into());
    }
    object
}

fn event(event: &TraceEvent) -> Value {
    match event {
        TraceEvent::Asked { name, kind } => {
            json!({ "event": "asked", "name": name, "kind": kind.as_str() })
        }
        TraceEvent::Answered { name, kind, answer } => json!({
            "event": "answered", "name": name, "kind": kind.as_str(),
            "records": answer.as_ref().ok(),
            "error": answer.as_ref().err().map(ToString::to_string),
        }),
        TraceEvent::Skipped { place, why } => {
            json!({ "event": "skipped", "place": place, "why": skip(*why) })
        }
        TraceEvent::Started { attempt, transport: by, address, source: from } => json!({
            "event": "started", "attempt": attempt, "transport": transport(*by),
            "address": address.to_string(), "source": source(*from),
        }),
        TraceEvent::Heard { attempt } => json!({ "event": "heard", "attempt": attempt }),
        TraceEvent::TcpReleased { why } => json!({ "event": "tcp_released", "why": release(*why) }),
        TraceEvent::Failed { attempt, why } => {
            json!({ "event": "failed", "attempt": attempt, "error": why })
        }
        TraceEvent::Stopped { attempt, why } => {
            json!({ "event": "stopped", "attempt": attempt, "why": stop(*why) })
        }
        TraceEvent::Won { attempt } => json!({ "event": "won", "attempt": attempt }),
        TraceEvent::RunsOn { attempt } => json!({ "event": "runs_on", "attempt": attempt }),
        TraceEvent::Learnt { place, lesson: what } => {
            json!({ "event": "learnt", "place": place, "lesson": lesson(*what) })
        }
        _ => json!({ "event": "other" }),
    }
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Quic => "quic",
        Transport::Tcp => "tcp",
    }
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Record(_) => "https_record",
        Source::AltSvc => "alt_svc",
        Source::Origin => "url",
        Source::Guess => "guess",
    }
}

const fn release(release: Release) -> &'static str {
    match release {
        Release::NoQuic => "no_quic",
        Release::Unknown => "quic_unknown",
        Release::OnTrial => "quic_on_trial",
        Release::Failed => "quic_failed",
        Release::Silent => "quic_silent",
        Release::Patience(_) => "quic_had_its_time",
    }
}

const fn skip(skip: Skip) -> &'static str {
    match skip {
        Skip::Broken(_) => "broken",
        Skip::HighPort => "high_port",
        Skip::Denied => "denied_by_record",
    }
}

const fn stop(stop: Stop) -> &'static str {
    match stop {
        Stop::Lost => "lost",
        Stop::TimedOut => "timed_out",
        Stop::Silent => "silent",
    }
}

const fn lesson(lesson: Lesson) -> &'static str {
    match lesson {
        Lesson::Works { .. } => "works",
        Lesson::Late => "late",
        Lesson::Broken => "broken",
    }
}

const fn early_data(early_data: EarlyData) -> &'static str {
    match early_data {
        EarlyData::NotOffered => "not_offered",
        EarlyData::Accepted => "accepted",
        EarlyData::Rejected => "rejected",
    }
}

fn nanos(span: std::time::Duration) -> Value {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).into()
}

const SCHEMA: &str = "sterna.get/1";
