//! What to do: the whole of a run, decided before it begins.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Target, tls::Trust};

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to load.
    pub target: Target,
    /// In which version of HTTP.
    pub version: Version,
    /// What each request says beside the target.
    pub request: Request,
    /// What connections are for.
    pub mode: Mode,
    /// Connections at once, of all workers together.
    pub connections: usize,
    /// Requests at once on each connection. Default: 1.
    pub streams: usize,
    /// When it ends.
    pub work: Work,
    /// Open loop: when requests are due, whatever became of earlier ones. Default: closed loop, the next request
    /// begins when one has ended.
    pub pace: Option<Pace>,
    /// Time at the beginning that is not measured. Default: zero.
    pub warmup: Duration,
    /// Threads. Default: 1.
    pub workers: usize,
    /// UDP sockets of one worker, at most; connections share them when they are more. Default: 64.
    pub sockets: usize,
    /// Requests after which a connection is replaced by a new one. Default: never.
    pub reconnect: Option<u64>,
    /// Decode every response in full and check it, instead of counting its bytes. Default: false.
    pub verify: bool,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Send requests in 0-RTT packets where an earlier connection allows it. Default: false.
    pub early_data: bool,
    /// Time that connecting may take, TLS included. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Time that a request may take, from when it was sent. Default: 30 s.
    pub request_timeout: Duration,
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1, one request at a time on a connection unless `streams` says more (pipelining).
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// After so many requests (or handshakes, if that is what is measured), not counting those of the warm-up.
    Requests(u64),
    /// After so much time, not counting the warm-up. Requests that are under way then may end.
    Time(Duration),
}

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Requests.
    Requests,
    /// Handshakes: each connection is closed as soon as it stands, and replaced.
    Handshakes,
    /// Streams of server-sent events.
    Events(Events),
}

/// How streams of events are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// A pause between two events that counts as a stall.
    pub stall: Duration,
}

/// When requests are due in an open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests per second, of all connections together.
    pub per_second: f64,
    /// How they are spread.
    pub arrivals: Arrivals,
}

/// How the requests of an open loop are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As a Poisson process, which is what many independent users make.
    Poisson,
}

/// What each request says beside its target.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: http::Method,
    /// Fields in order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Content.
    pub body: Body,
}

/// Content of a request: a piece that is repeated until its length is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    piece: Bytes,
    length: u64,
}

impl Body {
    /// These bytes.
    pub fn of(data: impl Into<Bytes>) -> Self {
        let piece = data.into();
        Self { length: piece.len() as u64, piece }
    }

    /// So many zero bytes, of which few are held in memory.
    pub fn zeros(length: u64) -> Self {
        let held = usize::try_from(length).unwrap_or(usize::MAX).min(PIECE);
        Self { piece: vec![0; held].into(), length }
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// No content.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// What comes next when `left` bytes are still to be sent: at most one piece, empty at the end.
    pub(super) fn next(&self, left: u64) -> Bytes {
        if left == 0 || self.piece.is_empty() {
            return Bytes::new();
        }
        let length = self.piece.len() as u64;
        let offset = (self.length - left.min(self.length)) % length;
        let end = length.min(offset + left);
        self.piece.slice(offset as usize..end as usize)
    }
}

impl Plan {
    /// A plan with the defaults that the fields name: one connection, HTTP/3, GET.
    pub fn new(target: Target, work: Work) -> Self {
        Self {
            target,
            version: Version::Http3,
            request: Request {
                method: http::Method::GET,
                headers: Vec::new(),
                body: Body::default(),
            },
            mode: Mode::Requests,
            connections: 1,
            streams: 1,
            work,
            pace: None,
            warmup: Duration::ZERO,
            workers: 1,
            sockets: 64,
            reconnect: None,
            verify: false,
            trust: Trust::default(),
            early_data: false,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }

    /// The numbers of the connections of each worker: as even as they go.
    pub(super) fn shares(self: &Arc<Self>) -> Vec<std::ops::Range<usize>> {
        let workers = self.workers.clamp(1, self.connections.max(1));
        let bound = |worker: usize| self.connections * worker / workers;
        (0..workers).map(|worker| bound(worker)..bound(worker + 1)).collect()
    }
}

impl Version {
    /// Its name, as in ALPN (RFC 7301).
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }
}

/// Bytes of a body that are held in memory.
const PIECE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_its_piece_over_and_over_up_to_its_length() {
        let body = Body { piece: Bytes::from_static(b"abc"), length: 8 };
        let (mut left, mut all) = (body.len(), Vec::new());
        loop {
            let piece = body.next(left);
            if piece.is_empty() {
                break;
            }
            // As a transport does that takes one byte less than it is offered.
            let taken = piece.len().saturating_sub(1).max(1);
            all.extend_from_slice(&piece[..taken]);
            left -= taken as u64;
        }
        assert_eq!(all, b"abcabcab");
    }

    #[test]
    fn a_gibibyte_of_zeros_is_a_quarter_of_a_mebibyte_in_memory() {
        let body = Body::zeros(1 << 30);
        assert_eq!((body.len(), body.piece.len()), (1 << 30, PIECE));
        assert_eq!(body.next(5), Bytes::from_static(&[0; 5]));
    }
}
