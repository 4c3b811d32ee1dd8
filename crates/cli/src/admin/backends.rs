//! `GET /backends`, `PATCH /backends`: what is thought of backends, and what an operator wants of them.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use sterna_gateway::metrics::{Kind, Page};
use sterna_gateway::upstream::{BackendStatus, Condition, Status};

use super::page::{json, refusal};
use crate::operation::Operation;

/// All upstreams, by name.
fn all(operation: &Operation) -> Vec<Status> {
    let now = Instant::now();
    let all = operation.facts.shared.all_upstreams();
    let mut all: Vec<Status> = all.iter().map(|upstream| upstream.status(now)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

pub(super) fn list(operation: &Operation) -> Response<Bytes> {
    let upstreams: Vec<Json> = all(operation).iter().map(upstream).collect();
    json(StatusCode::OK, &json!({ "upstreams": upstreams }))
}

fn upstream(status: &Status) -> Json {
    json!({
        "name": status.name,
        "balance": status.policy,
        "panic": status.is_in_panic,
        "resolved": status.is_resolved,
        "picks": status.picks,
        "unavailable": status.unavailable,
        "full": status.full,
        "retries": status.retries,
        "retries_refused": status.retries_refused,
        "backends": status.backends.iter().map(backend).collect::<Vec<_>>(),
    })
}

fn backend(status: &BackendStatus) -> Json {
    let ejected_for = match status.condition {
        Condition::Ejected(left) => Some(left.as_secs_f64() * 1e3),
        Condition::Unchecked | Condition::Healthy | Condition::Unhealthy => None,
    };
    json!({
        "address": status.address.to_string(),
        "socket": status.socket,
        "tier": status.tier,
        "weight": status.weight,
        "share": status.share,
        "draining": status.is_draining,
        "condition": condition(status.condition),
        "ejected_ms": ejected_for,
        "in_flight": status.in_flight,
        "latency_ms": status.latency.map(|latency| latency.as_secs_f64() * 1e3),
        "requests": status.requests,
        "failures": status.failures,
        "ejections": status.ejections,
        "checks": status.checks,
        "failed_checks": status.failed_checks,
    })
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Unchecked => "unchecked",
        Condition::Healthy => "healthy",
        Condition::Unhealthy => "unhealthy",
        Condition::Ejected(_) => "ejected",
    }
}

/// `{"address": …, "draining": …, "weight": …}`, in one upstream if `upstream` names it, else in all which have it.
pub(super) fn patch(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let Ok(Json::Object(wanted)) = serde_json::from_slice(request.body()) else {
        return refusal(StatusCode::BAD_REQUEST, "send a JSON object; docs/admin.md shows one");
    };
    if let Some(unknown) = wanted.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let message = format!("`{unknown}` is not one of {}", KEYS.join(", "));
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, &message);
    }
    let get = |key: &str| wanted.get(key).filter(|value| !value.is_null());
    let Some(address) = get("address").and_then(Json::as_str) else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "`address` names the backend");
    };
    let (draining, weight) = (get("draining"), get("weight"));
    let weight = match weight.map(|weight| weight.as_u64().and_then(|w| u32::try_from(w).ok())) {
        Some(None) => {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "`weight` is a number from 0 up");
        }
        weight => weight.flatten(),
    };
    let draining = match draining.map(Json::as_bool) {
        Some(None) => {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY, "`draining` is true or false");
        }
        draining => draining.flatten(),
    };
    let name = get("upstream").and_then(Json::as_str);
    let now = Instant::now();
    let all = operation.facts.shared.all_upstreams();
    let named = all.iter().filter(|one| name.is_none_or(|name| one.status(now).name == name));
    let mut changed = 0;
    for one in named {
        let drained = draining.map(|draining| one.set_draining(address, draining));
        let weighed = weight.map(|weight| one.set_weight(address, weight));
        changed += usize::from(
            drained.is_some_and(|it| it.is_ok()) || weighed.is_some_and(|it| it.is_ok()),
        );
    }
    match changed {
        0 => refusal(
            StatusCode::NOT_FOUND,
            &format!("no upstream has a backend `{address}`, or nothing is wanted of it"),
        ),
        _ => list(operation),
    }
}

const KEYS: [&str; 4] = ["upstream", "address", "draining", "weight"];

/// For Prometheus: names of upstreams and addresses of backends are the configuration's, and so few.
pub(super) fn metrics(page: &mut Page, operation: &Operation) {
    let all = all(operation);
    type Of = fn(&BackendStatus) -> f64;
    let families: [(&str, Kind, &str, Of); 6] = [
        (
            "sterna_upstream_backend_available",
            Kind::Gauge,
            "Whether a backend is asked: not drained, not ejected, not found ill by checks.",
            |one| {
                let is_well = matches!(one.condition, Condition::Unchecked | Condition::Healthy);
                f64::from(u8::from(is_well && !one.is_draining))
            },
        ),
        (
            "sterna_upstream_backend_requests_in_flight",
            Kind::Gauge,
            "Requests under way to a backend.",
            |one| one.in_flight.into(),
        ),
        (
            "sterna_upstream_backend_requests_total",
            Kind::Counter,
            "Requests that a backend was given.",
            |one| one.requests as f64,
        ),
        (
            "sterna_upstream_backend_failures_total",
            Kind::Counter,
            "Those of them which failed.",
            |one| one.failures as f64,
        ),
        (
            "sterna_upstream_backend_ejections_total",
            Kind::Counter,
            "How often a backend was left out because its requests failed.",
            |one| one.ejections as f64,
        ),
        (
            "sterna_upstream_backend_failed_checks_total",
            Kind::Counter,
            "Checks of a backend that failed.",
            |one| one.failed_checks as f64,
        ),
    ];
    for (name, kind, help, of) in families {
        page.family(name, kind, help);
        // One that a reload replaced may still end its requests, beside its successor of the same name.
        let mut values = BTreeMap::<(&str, String), f64>::new();
        for status in &all {
            for one in &status.backends {
                let address =
                    one.socket.map_or_else(|| one.address.to_string(), |at| at.to_string());
                let value = values.entry((&status.name, address)).or_default();
                *value = if name.ends_with("_available") {
                    value.max(of(one))
                } else {
                    *value + of(one)
                };
            }
        }
        for ((upstream, backend), value) in values {
            page.sample("", &[("upstream", upstream), ("backend", &backend)], value);
        }
    }
    type OfAll = fn(&Status) -> u64;
    let families: [(&str, &str, OfAll); 4] = [
        (
            "sterna_upstream_unavailable_total",
            "Requests for which no backend could be asked.",
            |s| s.unavailable,
        ),
        (
            "sterna_upstream_full_total",
            "Requests for which all backends had too much to do.",
            |s| s.full,
        ),
        ("sterna_upstream_retries_total", "Retries that were allowed.", |s| s.retries),
        (
            "sterna_upstream_retries_refused_total",
            "Retries for which the budget had nothing left.",
            |s| s.retries_refused,
        ),
    ];
    for (name, help, of) in families {
        page.family(name, Kind::Counter, help);
        let mut values = BTreeMap::<&str, u64>::new();
        all.iter().for_each(|status| *values.entry(&status.name).or_default() += of(status));
        for (upstream, value) in values {
            page.sample("", &[("upstream", upstream)], value as f64);
        }
    }
}
