//! What is answered: one arm for each path. What takes time runs beside the interface, which answers others meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_MATCH};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use sterna_gateway::config::Span;
use sterna_gateway::metrics::CONTENT_TYPE;

use super::guard::Guard;
use super::page::{content, failure, json, method_not_allowed, refusal};
use super::profile::{self, ProfileError};
use super::{backends, certificates, etag, metrics, revisions, status};
use crate::error::Error;
use crate::logging;
use crate::operation::{Operation, Reloaded};

pub(super) async fn answer(
    operation: Arc<Operation>,
    guard: Arc<Guard>,
    request: Request<Bytes>,
) -> Response<Bytes> {
    if let Err(refused) = guard.judge(request.uri(), request.headers()) {
        return refusal(refused.status(), refused.message());
    }
    // Workers are waited for: not on the thread that answers everyone.
    let answered = tokio::task::spawn_blocking(move || route(&operation, &request));
    answered.await.unwrap_or_else(|_| {
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "the interface failed; see the log")
    })
}

fn route(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let (get, post, put) = (&Method::GET, &Method::POST, &Method::PUT);
    let method = request.method();
    match request.uri().path() {
        "/config" if method == get => revisions::config(operation, request),
        "/config" if method == put => put_config(operation, request),
        "/config" => method_not_allowed("GET, PUT"),
        "/config/history" if method == get => revisions::history(operation),
        "/config/history" => method_not_allowed("GET"),
        "/config/rollback" if method == post => revisions::roll_back(operation, request),
        "/config/rollback" => method_not_allowed("POST"),
        "/reload" if method == post => reloaded(operation.reload()),
        "/drain" if method == post => drain(operation, request),
        "/stop" if method == post => {
            operation.drain(Duration::ZERO);
            json(StatusCode::ACCEPTED, &json!({ "stopping": true }))
        }
        "/reload" | "/drain" | "/stop" => method_not_allowed("POST"),
        "/status" if method == get => json(StatusCode::OK, &status::status(operation)),
        "/backends" if method == get => backends::list(operation),
        "/backends" if method == Method::PATCH => backends::patch(operation, request),
        "/backends" => method_not_allowed("GET, PATCH"),
        "/certificates" if method == get => certificates::list(operation),
        "/certificates" => method_not_allowed("GET"),
        "/certificates/renew" if method == post => certificates::renew(operation, request),
        "/certificates/renew" => method_not_allowed("POST"),
        "/connections" if method == get => connections(operation, request),
        "/metrics" if method == get => {
            content(StatusCode::OK, CONTENT_TYPE, metrics::text(operation))
        }
        "/status" | "/connections" | "/metrics" => method_not_allowed("GET"),
        "/profile" if method == post => take_profile(request),
        "/profile" => method_not_allowed("POST"),
        "/log" if method == get => log(),
        "/log" if method == put => put_log(request),
        "/log" => method_not_allowed("GET, PUT"),
        "/log/reopen" if method == post => {
            operation.reopen_log();
            json(StatusCode::OK, &json!({ "reopened": true }))
        }
        "/log/reopen" => method_not_allowed("POST"),
        _ => refusal(StatusCode::NOT_FOUND, "no such path; docs/admin.md has them all"),
    }
}

fn put_config(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let Some(if_match) = request.headers().get(IF_MATCH).and_then(|value| value.to_str().ok())
    else {
        let message = "say which configuration this one replaces: `If-Match` with the `ETag` of GET /config, or `*`";
        return refusal(StatusCode::PRECONDITION_REQUIRED, message);
    };
    let parsed = match serde_json::from_slice::<Json>(request.body()) {
        Ok(parsed) => parsed,
        Err(error) => {
            return refusal(StatusCode::BAD_REQUEST, &format!("this is no JSON: {error}"));
        }
    };
    let put = operation
        .put(&parsed, |model| model.is_some_and(|model| etag::matches(if_match, &etag::of(model))));
    let response = reloaded(put);
    match operation.model() {
        Some(model) => with_tag(response, &etag::of(&model)),
        None => response,
    }
}

pub(super) fn with_tag(mut response: Response<Bytes>, tag: &str) -> Response<Bytes> {
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(super) fn reloaded(outcome: Result<Reloaded, Error>) -> Response<Bytes> {
    match outcome {
        Ok(Reloaded { generation, changes, took }) => {
            let changes: Vec<&str> = changes.iter().collect();
            let took = took.as_secs_f64() * 1e3;
            let json = json!({ "generation": generation, "changes": changes, "took_ms": took });
            self::json(StatusCode::OK, &json)
        }
        Err(error) => failure(&error),
    }
}

fn drain(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let deadline = match parameter(request, "deadline").map(str::parse::<Span>) {
        None => DRAIN,
        Some(Ok(Span(deadline))) => deadline,
        Some(Err(error)) => {
            return refusal(StatusCode::BAD_REQUEST, &format!("the deadline {error}"));
        }
    };
    operation.drain(deadline);
    let json = json!({ "draining": true, "deadline_ms": deadline.as_millis() as u64 });
    self::json(StatusCode::ACCEPTED, &json)
}

fn connections(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let limit = match parameter(request, "limit").map(str::parse::<usize>) {
        None => 100,
        Some(Ok(limit)) if limit <= MAX_CONNECTIONS => limit,
        Some(_) => {
            let message = format!("the limit is a number up to {MAX_CONNECTIONS}");
            return refusal(StatusCode::BAD_REQUEST, &message);
        }
    };
    json(StatusCode::OK, &status::connections(&operation.inspect(limit)))
}

fn take_profile(request: &Request<Bytes>) -> Response<Bytes> {
    let seconds = match parameter(request, "seconds").map(str::parse::<u64>) {
        None => 10,
        Some(Ok(seconds)) if (1..=MAX_PROFILE).contains(&seconds) => seconds,
        Some(_) => {
            let message = format!("`seconds` is a number from 1 to {MAX_PROFILE}");
            return refusal(StatusCode::BAD_REQUEST, &message);
        }
    };
    match profile::take(Duration::from_secs(seconds)) {
        Ok(svg) => content(StatusCode::OK, "image/svg+xml", svg),
        Err(error @ ProfileError::Busy) => refusal(StatusCode::CONFLICT, &error.to_string()),
        Err(error @ ProfileError::Profiler(_)) => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

fn log() -> Response<Bytes> {
    json(StatusCode::OK, &json!({ "filter": logging::filter() }))
}

fn put_log(request: &Request<Bytes>) -> Response<Bytes> {
    let parsed = serde_json::from_slice::<Json>(request.body()).ok();
    let Some(filter) = parsed.as_ref().and_then(|parsed| parsed["filter"].as_str()) else {
        let message = "send `{\"filter\": \"info\"}`, or levels by target";
        return refusal(StatusCode::BAD_REQUEST, message);
    };
    match logging::set_filter(filter) {
        Ok(()) => log(),
        Err(error) => failure(&error),
    }
}

/// A parameter of the query, as it was sent.
pub(super) fn parameter<'a>(request: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// How long requests may still run where nobody says otherwise.
const DRAIN: Duration = Duration::from_secs(30);

/// Seconds that a profile may take.
const MAX_PROFILE: u64 = 60;

/// Connections of one answer.
const MAX_CONNECTIONS: usize = 10_000;
