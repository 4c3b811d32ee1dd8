//! A backend that takes no request which may be a replay (425, RFC 8470 §5.2): it is asked again when it is none.

use http::{Request as Head, Response, StatusCode};
use sterna_net::client::Message;
use sterna_net::{Body, RequestContext};

use super::message::{self, EARLY_DATA};

/// Whether a request may be sent once more after a 425.
#[derive(Debug)]
pub(super) struct TooEarly {
    may_ask_again: bool,
}

impl TooEarly {
    /// Only where it was early here: who said so before us gets the answer, and knows what to do.
    pub(super) fn of<B>(request: &Head<B>) -> Self {
        // req: 8470-5.2-forward
        let is_ours = RequestContext::of(request).is_some_and(RequestContext::is_early);
        Self { may_ask_again: is_ours && !message::says_early(request.headers()) }
    }

    /// Waits for the handshake after a 425, and makes the message one that is not early; whether it is to be sent again.
    pub(super) async fn waits<B>(
        &mut self,
        response: &Response<Body>,
        message: &mut Message,
        request: &Head<B>,
    ) -> bool {
        if response.status() != StatusCode::TOO_EARLY
            || !std::mem::take(&mut self.may_ask_again)
            || !message.is_replayable()
        {
            return false;
        }
        let Some(context) = RequestContext::of(request) else { return false };
        if context.handshake().await.is_err() {
            return false;
        }
        message.headers_mut().remove(EARLY_DATA);
        true
    }
}
