//! How much a client may send: 413 beyond it (RFC 9110 §15.5.14).
//!
//! A length that was announced is refused before the handler sees the request. A body without one is cut
//! when it passes the limit: its reader gets an error, and reads nothing more.

use http_body::Body as _;

use super::{Middleware, Step};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;

/// Configuration of `body_limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest body of a request, in bytes. Default: 10 MiB. The limit of the endpoint holds too, and the
    /// smaller one decides.
    pub max_size: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_size: 10 << 20 }
    }
}

impl Config {
    pub(crate) fn build(&self) -> BodyLimit {
        BodyLimit { max_size: self.max_size }
    }
}

/// Holds requests to the limit.
#[derive(Debug)]
pub(crate) struct BodyLimit {
    max_size: u64,
}

impl Middleware for BodyLimit {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        if request.body().size_hint().lower() > self.max_size {
            return Step::refuse(Error::TooLarge);
        }
        request.body_mut().limit(self.max_size);
        Step::pass()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::ControlFlow;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::StatusCode;
    use http_body::Frame;
    use http_body_util::BodyExt;
    use sterna_net::Body;

    use super::*;

    /// Says nothing of its length.
    struct Chunks(usize);

    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let more = self.0.checked_sub(1);
            self.0 = more.unwrap_or_default();
            Poll::Ready(more.map(|_| Ok(Frame::data(Bytes::from_static(b"ab")))))
        }
    }

    fn pass(body: Body) -> Result<Request, Error> {
        let mut request = Request::new(body);
        let limit = Config { max_size: 4 }.build();
        let mut exchange = Exchange::begin(&request, None);
        let Step::Now(verdict) = limit.on_request(&mut exchange, &mut request) else {
            panic!("nothing has to be waited for")
        };
        match verdict {
            ControlFlow::Break(Err(error)) => Err(error),
            _ => Ok(request),
        }
    }

    #[test]
    fn an_announced_length_may_be_as_large_as_the_limit_and_no_larger() {
        assert!(pass(Body::full("1234")).is_ok());
        let refused = pass(Body::full("12345")).expect_err("it is too long");
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_cut_at_the_limit() {
        for (chunks, read) in [(2, Some(4)), (3, None)] {
            let body = Body::new(Chunks(chunks));
            let request = pass(body).expect("no length");
            let content = request.into_body().collect().await;
            assert_eq!(content.ok().map(|all| all.to_bytes().len()), read, "{chunks} chunks");
        }
    }

    #[tokio::test]
    async fn a_smaller_limit_of_the_endpoint_stays() {
        let mut body = Body::new(Chunks(2));
        body.limit(3);
        let request = pass(body).expect("no length");
        assert!(request.into_body().collect().await.is_err());
    }
}
