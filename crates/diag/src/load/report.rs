//! What a run found, for programs and for people.

mod text;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::plan::Arrivals;
use super::{Failure, Kind, Latency, Mode, Outcome, Pace, Quic, Tally, Verdict, Work};

impl Outcome {
    /// The report as JSON; `docs/load.md` says what each key means. Its `schema` changes when a key changes its meaning.
    pub fn to_json(&self) -> Value {
        let Self { plan, tally, duration, is_interrupted, verdicts } = self;
        json!({
            "schema": SCHEMA,
            "version": env!("CARGO_PKG_VERSION"),
            "url": plan.target.url,
            "address": plan.target.address.to_string(),
            "protocol": plan.version.alpn(),
            "interrupted": is_interrupted,
            "plan": self.plan_json(),
            "duration_ns": nanos(*duration),
            "requests": {
                "sent": tally.sent,
                "done": tally.done,
                "failed": tally.failed,
                "unfinished": tally.unfinished,
                "unsent": tally.unsent,
                "warmup": tally.warmup,
                "done_per_second": per_second(tally.done, *duration),
            },
            "handshakes": {
                "attempts": tally.attempts,
                "done": tally.handshakes,
                "failed": tally.handshakes_failed,
                "lost_connections": tally.lost,
                "goaways": tally.goaways,
                "done_per_second": per_second(tally.handshakes, *duration),
            },
            "early_data": {
                "requests": tally.early,
                "accepted_connections": tally.early_accepted,
                "rejected_connections": tally.early_rejected,
            },
            "content": {
                "received_bytes": tally.received,
                "sent_bytes": tally.uploaded,
            },
            "latency_ns": {
                "service": tally.service.to_json(),
                "response": tally.response.to_json(),
                "first_byte": tally.first_byte.to_json(),
                "send_delay": tally.delay.to_json(),
                "handshake": tally.handshake.to_json(),
                "first_event": tally.events.first.to_json(),
                "pause": tally.events.pause.to_json(),
            },
            "status": statuses(tally),
            "errors": errors(tally),
            "streams": {
                "asked": plan.streams,
                "at_once": tally.streams_at_once,
                "limit_waits": tally.limit_waits,
            },
            "error_share": self.error_rate(),
            "events": self.events_json(),
            "quic": quic(&tally.quic),
            "conditions": verdicts.iter().map(Verdict::to_json).collect::<Vec<_>>(),
        })
    }

    /// The name of [`Self::latency`] in JSON.
    pub(super) fn latency_name(&self) -> &'static str {
        match (self.plan.mode, self.plan.pace) {
            (Mode::Handshakes, _) => "handshake",
            (Mode::Requests, Some(_)) => "response",
            (Mode::Requests, None) => "service",
            (Mode::Events(_), _) => "first_event",
        }
    }

    fn events_json(&self) -> Value {
        let events = &self.tally.events;
        if !matches!(self.plan.mode, Mode::Events(_)) {
            return Value::Null;
        }
        json!({
            "count": events.count,
            "count_per_second": per_second(events.count, self.duration),
            "received_bytes": events.bytes,
            "stalls": events.stalls,
            "streams_ended": events.ended,
            "streams_open": events.open,
            "gaps": events.gaps,
        })
    }

    /// The latencies that count: from the due time in an open loop, of handshakes or of first events where those are
    /// measured.
    pub fn latency(&self) -> &Latency {
        match (self.plan.mode, self.plan.pace) {
            (Mode::Handshakes, _) => &self.tally.handshake,
            (Mode::Requests, Some(_)) => &self.tally.response,
            (Mode::Requests, None) => &self.tally.service,
            (Mode::Events(_), _) => &self.tally.events.first,
        }
    }

    /// Whether anything was asked for and nothing of it succeeded.
    pub fn is_futile(&self) -> bool {
        match self.plan.mode {
            Mode::Handshakes => self.tally.handshakes == 0,
            Mode::Requests => self.tally.done == 0,
            Mode::Events(_) => self.tally.events.count == 0,
        }
    }

    /// The share of requests (or handshakes, if those are what is measured) that failed, from 0 to 1.
    pub fn error_rate(&self) -> f64 {
        let tally = &self.tally;
        let (done, failed) = match self.plan.mode {
            Mode::Handshakes => (tally.handshakes, tally.handshakes_failed),
            Mode::Requests => (tally.done, tally.failed),
            Mode::Events(_) => (tally.done + tally.events.open, tally.failed),
        };
        let all = done + failed;
        if all == 0 { 1.0 } else { failed as f64 / all as f64 }
    }

    /// What was measured of what was done, per second.
    pub fn rate(&self) -> f64 {
        let count = match self.plan.mode {
            Mode::Handshakes => self.tally.handshakes,
            Mode::Requests => self.tally.done,
            Mode::Events(_) => self.tally.events.count,
        };
        per_second(count, self.duration)
    }

    fn plan_json(&self) -> Value {
        let plan = &self.plan;
        let (requests, duration) = match plan.work {
            Work::Requests(count) => (Some(count), None),
            Work::Time(time) => (None, Some(nanos(time))),
        };
        json!({
            "mode": match plan.mode {
                Mode::Requests => "requests",
                Mode::Handshakes => "handshakes",
                Mode::Events(_) => "events",
            },
            "method": plan.request.method.as_str(),
            "connections": plan.connections,
            "streams": plan.streams,
            "requests": requests,
            "duration_ns": duration,
            "warmup_ns": nanos(plan.warmup),
            "rate_per_second": plan.pace.map(|Pace { per_second, .. }| per_second),
            "arrivals": plan.pace.map(|Pace { arrivals, .. }| match arrivals {
                Arrivals::Constant => "constant",
                Arrivals::Poisson => "poisson",
            }),
            "workers": plan.workers,
            "reconnect": plan.reconnect,
            "verify": plan.verify,
        })
    }
}

fn statuses(tally: &Tally) -> Value {
    let counts = tally.status.iter().map(|(status, count)| (status.to_string(), (*count).into()));
    Value::Object(counts.collect())
}

/// Every kind, those that did not happen among them, so that a program need not ask whether a key is there.
fn errors(tally: &Tally) -> Value {
    let none = Kind::default();
    let mut errors = Map::new();
    for name in Failure::KINDS {
        let kind = tally.failures.get(name).unwrap_or(&none);
        let codes = kind.codes.iter().map(|(code, count)| {
            let code = if name == "status" { code.to_string() } else { format!("{code:#x}") };
            (code, (*count).into())
        });
        let mut error = json!({ "count": kind.count });
        if kind.count > 0 {
            error["first"] = kind.first.as_str().into();
        }
        if !kind.codes.is_empty() {
            error["codes"] = Value::Object(codes.collect());
        }
        errors.insert(name.to_owned(), error);
    }
    Value::Object(errors)
}

fn quic(quic: &Quic) -> Value {
    if quic.connections == 0 {
        return Value::Null;
    }
    let mean = quic.rtt_sum / u32::try_from(quic.connections).unwrap_or(u32::MAX);
    json!({
        "connections": quic.connections,
        "rtt_ns": {
            "min": nanos(quic.rtt_min),
            "mean": nanos(mean),
            "max": nanos(quic.rtt_max),
            "least_sample": nanos(quic.rtt_least),
        },
        "congestion": quic.congestion,
        "cwnd_bytes": {
            "min": quic.cwnd_min,
            "mean": quic.cwnd_sum / quic.connections,
            "max": quic.cwnd_max,
        },
        "sent_packets": quic.sent_packets,
        "lost_packets": quic.lost_packets,
        "congestion_events": quic.congestion_events,
        "black_holes": quic.black_holes,
        "sent_bytes": quic.sent_bytes,
        "received_bytes": quic.received_bytes,
        "kernel_drops": quic.kernel_drops,
    })
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn per_second(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { count as f64 / span.as_secs_f64() }
}

/// Of the JSON report.
pub(super) const SCHEMA: &str = "sterna.load/1";
