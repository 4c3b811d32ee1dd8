//! Responses of the interface.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value as Json, json};

use crate::error::Error;

pub(super) fn json(status: StatusCode, value: &Json) -> Response<Bytes> {
    content(status, "application/json", format!("{value:#}\n"))
}

pub(super) fn content(
    status: StatusCode,
    media_type: &'static str,
    content: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(content.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why not, for a program and its user.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Bytes> {
    json(status, &json!({ "error": message }))
}

pub(super) fn method_not_allowed(allow: &'static str) -> Response<Bytes> {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = refusal(status, &format!("the method is not one of {allow}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

/// What went wrong: a client's mistakes, each with its place, or the server's trouble.
pub(super) fn failure(error: &Error) -> Response<Bytes> {
    let status = match error {
        error if error.is_of_certificates_alone() => StatusCode::BAD_REQUEST,
        Error::Config(_) | Error::LogFilter { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::NeedsRestart(_) | Error::NoConfiguration => StatusCode::CONFLICT,
        Error::NoRevision => StatusCode::NOT_FOUND,
        Error::Overtaken => StatusCode::PRECONDITION_FAILED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mistakes = match error {
        Error::Config(problems) => problems.to_json(),
        _ => Json::Null,
    };
    let text = match error {
        Error::Config(problems) => Json::from(problems.to_string()),
        _ => Json::Null,
    };
    let json = json!({
        "error": error.in_full(), "help": error.hint(), "mistakes": mistakes, "text": text,
    });
    self::json(status, &json)
}
