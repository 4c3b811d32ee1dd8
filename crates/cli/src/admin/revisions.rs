//! The configuration that is served and those before it: `/config`, `/config/history`, `/config/rollback`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value as Json, json};

use super::answer::{parameter, reloaded, with_tag};
use super::etag;
use super::page::{failure, json, refusal};
use super::status::seconds;
use crate::error::Error;
use crate::operation::{Operation, Revision};

/// The one that is served, or that of a generation.
pub(super) fn config(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let model = match generation(request) {
        Err(NotANumber) => return NotANumber.refusal(),
        Ok(None) => operation.model().ok_or(Error::NoConfiguration),
        Ok(Some(wanted)) => {
            let revisions = operation.revisions();
            let revision = revisions.get(wanted).map(|revision| revision.model.clone());
            revision.ok_or(Error::NoRevision)
        }
    };
    match model {
        Ok(model) => with_tag(json(StatusCode::OK, &model.to_json()), &etag::of(&model)),
        Err(error) => failure(&error),
    }
}

/// The latest first.
pub(super) fn history(operation: &Operation) -> Response<Bytes> {
    let revisions = operation.revisions();
    let revisions: Vec<Json> = revisions.iter().rev().map(describe).collect();
    json(StatusCode::OK, &json!({ "revisions": revisions }))
}

fn describe(revision: &Revision) -> Json {
    let Revision { generation, since, changes, model } = revision;
    let changes: Vec<&str> = changes.iter().collect();
    json!({
        "generation": generation,
        "since": seconds(*since),
        "etag": etag::of(model),
        "changes": changes,
    })
}

/// Serves an earlier one again, as a generation of its own.
pub(super) fn roll_back(operation: &Operation, request: &Request<Bytes>) -> Response<Bytes> {
    let to = match generation(request) {
        Err(NotANumber) => return NotANumber.refusal(),
        Ok(to) => to,
    };
    let response = reloaded(operation.roll_back(to));
    match operation.model() {
        Some(model) => with_tag(response, &etag::of(&model)),
        None => response,
    }
}

/// The generation that the request names, if it names one.
fn generation(request: &Request<Bytes>) -> Result<Option<u64>, NotANumber> {
    let Some(written) = parameter(request, "generation") else { return Ok(None) };
    written.parse().map(Some).map_err(|_| NotANumber)
}

struct NotANumber;

impl NotANumber {
    fn refusal(self) -> Response<Bytes> {
        refusal(StatusCode::BAD_REQUEST, "`generation` is a number of GET /config/history")
    }
}
