//! The half of a request stream that we send.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::RequestStream;
use crate::connection::shared::Shared;
use crate::connection::state::Sending;
use crate::message::{Asked, Length, fields, request, response};
use crate::{ApiMisuse, RequestHead, ResponseHead, Role, frame};

impl RequestStream {
    /// Client: the request head.
    pub(in crate::connection) fn send_request(
        &mut self,
        head: &RequestHead,
        fin: bool,
        shared: &mut Shared,
    ) -> Result<(), ApiMisuse> {
        self.sending.allow_head()?;
        request::check_to_send(head)?;
        let asked = Asked::by(head);
        let sending = match asked {
            Asked::Connect | Asked::ExtendedConnect => Sending::Tunnel,
            Asked::Head | Asked::Plain => {
                Sending::Content(Length::declared(declared(&head.headers)?))
            }
        };
        let sending = if fin { sending.on_end()? } else { sending };
        shared.send_section(self.id, || request::to_send(head))?;
        self.asked = asked;
        self.enter(sending, shared);
        Ok(())
    }

    /// Server: a response head.
    pub(in crate::connection) fn send_response(
        &mut self,
        head: &ResponseHead,
        defaults: &[(HeaderName, HeaderValue)],
        fin: bool,
        shared: &mut Shared,
    ) -> Result<(), ApiMisuse> {
        self.sending.allow_head()?;
        let status = head.status;
        let sending = if status.is_informational() {
            // req: 9114-4.5-send-no-101
            if fin || status == http::StatusCode::SWITCHING_PROTOCOLS {
                return Err(ApiMisuse::InvalidInterim);
            }
            Sending::Head
        } else if status.is_success()
            && matches!(self.asked, Asked::Connect | Asked::ExtendedConnect)
        {
            Sending::Tunnel
        } else {
            Sending::Content(response::length(self.asked, status, declared(&head.headers)?))
        };
        let sending = if fin { sending.on_end()? } else { sending };
        shared.send_section(self.id, || response::to_send(head, defaults))?;
        self.enter(sending, shared);
        Ok(())
    }

    /// Content, and the end with `fin`.
    pub(in crate::connection) fn send_data(
        &mut self,
        data: Bytes,
        fin: bool,
        shared: &mut Shared,
    ) -> Result<(), ApiMisuse> {
        let length = data.len() as u64;
        let sending = self.sending.on_content(length)?;
        let sending = if fin { sending.on_end()? } else { sending };
        if length > 0 {
            frame::write_header(frame::DATA, length, shared.output.buffer(self.id));
            shared.output.write(self.id, data);
        }
        self.enter(sending, shared);
        Ok(())
    }

    /// Trailers and the end.
    pub(in crate::connection) fn send_trailers(
        &mut self,
        trailers: &HeaderMap,
        shared: &mut Shared,
    ) -> Result<(), ApiMisuse> {
        let sending = self.sending.on_trailers()?;
        shared.send_section(self.id, || fields::to_send(trailers))?;
        self.enter(sending, shared);
        Ok(())
    }

    /// The end.
    pub(in crate::connection) fn finish(&mut self, shared: &mut Shared) -> Result<(), ApiMisuse> {
        let sending = self.sending.on_end()?;
        self.enter(sending, shared);
        Ok(())
    }

    fn enter(&mut self, sending: Sending, shared: &mut Shared) {
        self.sending = sending;
        // req: 9114-4.1-client-ends-stream
        // req: 9114-4.1-server-ends-stream
        if sending == Sending::Ended {
            shared.output.finish(self.id);
            if shared.role == Role::Server {
                shared.budget.complete();
            }
        }
    }
}

/// The content-length that the application set, if it did.
fn declared(headers: &HeaderMap) -> Result<Option<u64>, ApiMisuse> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match fields::content_length(value.as_bytes()) {
            Ok(length) => Ok(Some(length)),
            Err(_) => Err(ApiMisuse::MalformedHead),
        },
        (Some(_), Some(_)) => Err(ApiMisuse::MalformedHead),
    }
}
