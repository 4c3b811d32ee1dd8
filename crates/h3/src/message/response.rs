//! Response heads (RFC 9114 §4.3.2): reading and checking, and what we send.

use bytes::Bytes;
use http::StatusCode;
use sterna_qpack::{Field, FieldRef};

use super::fields::{self, Fields};
use super::name::{Name, Pseudo};
use super::{Asked, Length, ResponseHead};
use crate::PeerMisbehaved;

/// Gathers the field lines of a response head.
#[derive(Debug)]
pub(crate) struct ResponseBuilder {
    status: Option<StatusCode>,
    fields: Fields,
    broken: Option<PeerMisbehaved>,
}

impl ResponseBuilder {
    /// Accepts up to `max_lines` lines.
    pub(crate) fn new(max_lines: usize) -> Self {
        Self { status: None, fields: Fields::new(max_lines), broken: None }
    }

    /// The next line.
    pub(crate) fn push(&mut self, field: Field) {
        if self.broken.is_none()
            && self.fields.count_line()
            && let Err(rule) = self.try_push(field)
        {
            self.broken = Some(rule);
        }
    }

    /// Whether there were more lines than we accept.
    pub(crate) const fn is_too_many(&self) -> bool {
        self.fields.is_too_many()
    }

    /// The head and its content-length, or the first rule that was broken.
    pub(crate) fn finish(self) -> Result<(ResponseHead, Option<u64>), PeerMisbehaved> {
        if let Some(rule) = self.broken {
            return Err(rule);
        }
        // req: 9114-4.3.2-status
        let status = self.status.ok_or(PeerMisbehaved::MissingStatus)?;
        // req: 9114-4.5-no-101
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(PeerMisbehaved::SwitchingProtocols);
        }
        let (headers, content_length) = self.fields.finish();
        Ok((ResponseHead { status, headers }, content_length))
    }

    fn try_push(&mut self, field: Field) -> Result<(), PeerMisbehaved> {
        match Name::of(&field)? {
            // req: 9114-4.3-pseudo-first
            Name::Pseudo(_) if self.fields.has_any() => Err(PeerMisbehaved::PseudoAfterField),
            Name::Pseudo(Pseudo::Status) => self.set_status(&field.value),
            // req: 9114-4.3-request-pseudo-in-response
            Name::Pseudo(_) => Err(PeerMisbehaved::RequestPseudoInResponse),
            Name::Regular(name) => self.fields.push(name, field),
        }
    }

    fn set_status(&mut self, value: &Bytes) -> Result<(), PeerMisbehaved> {
        let status = StatusCode::from_bytes(value).map_err(|_| PeerMisbehaved::InvalidStatus)?;
        match self.status.replace(status) {
            None => Ok(()),
            Some(_) => Err(PeerMisbehaved::PseudoTwice),
        }
    }
}

/// What content a final response may have that opens no tunnel (RFC 9110 §6.4.1).
pub(crate) fn length(asked: Asked, status: StatusCode, content_length: Option<u64>) -> Length {
    // req: 9114-4.1.2-no-content-with-length
    if asked == Asked::Head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Length::Nothing;
    }
    Length::declared(content_length)
}

/// The field lines of a response that we send.
pub(crate) fn to_send(head: &ResponseHead) -> impl Iterator<Item = FieldRef<'_>> {
    let status =
        FieldRef { name: b":status", value: head.status.as_str().as_bytes(), sensitive: false };
    std::iter::once(status).chain(fields::to_send(&head.headers))
}
