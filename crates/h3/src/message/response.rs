//! Response heads (RFC 9114 §4.3.2): reading and checking, and what we send.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use sterna_qpack::{Field, FieldRef};

use super::fields::{self, Fields};
use super::name::{Name, Pseudo};
use super::section::{Kind, SectionReader};
use super::{Asked, Length, ResponseHead};
use crate::PeerMisbehaved;

/// The pseudo-header field of a response head.
#[derive(Debug, Default)]
pub(crate) struct ResponseLines {
    status: Option<StatusCode>,
}

impl Kind for ResponseLines {
    fn line(
        &mut self,
        name: Name,
        field: Field,
        fields: &mut Fields,
    ) -> Result<(), PeerMisbehaved> {
        match name {
            // req: 9114-4.3-pseudo-first
            Name::Pseudo(_) if fields.has_any() => Err(PeerMisbehaved::PseudoAfterField),
            Name::Pseudo(Pseudo::Status) => self.set_status(&field.value),
            // req: 9114-4.3-request-pseudo-in-response
            Name::Pseudo(_) => Err(PeerMisbehaved::RequestPseudoInResponse),
            Name::Regular(name) => fields.push(name, field),
        }
    }
}

impl SectionReader<ResponseLines> {
    /// The head and its content-length, or the first rule that was broken.
    pub(crate) fn finish(self) -> Result<(ResponseHead, Option<u64>), PeerMisbehaved> {
        let (lines, fields) = self.into_parts()?;
        // req: 9114-4.3.2-status
        let status = lines.status.ok_or(PeerMisbehaved::MissingStatus)?;
        // req: 9114-4.5-no-101
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(PeerMisbehaved::SwitchingProtocols);
        }
        let (headers, content_length) = fields.finish();
        Ok((ResponseHead { status, headers }, content_length))
    }
}

impl ResponseLines {
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

/// The field lines of a response that we send; `defaults` are those that the head does not name.
pub(crate) fn to_send<'a>(
    head: &'a ResponseHead,
    defaults: &'a [(HeaderName, HeaderValue)],
) -> impl Iterator<Item = FieldRef<'a>> {
    let status =
        FieldRef { name: b":status", value: head.status.as_str().as_bytes(), sensitive: false };
    let defaults = defaults.iter().filter(|(name, _)| !head.headers.contains_key(name));
    let defaults = defaults.filter_map(|(name, value)| fields::line(name, value));
    std::iter::once(status).chain(fields::to_send(&head.headers)).chain(defaults)
}
