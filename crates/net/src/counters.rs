//! What the workers have done, in numbers.
//!
//! Each worker writes a block of its own, so that no counter is contended; [`Counters`] is their sum.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Declares the public snapshot and the atomic block behind it from one list, so that neither can miss a field.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the workers have done: totals since the start, or the value of this moment where the name says
        /// `active` or `queued`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// One worker's block.
        #[derive(Debug, Default)]
        pub(crate) struct WorkerCounters {
            $(pub(crate) $name: Counter,)+
        }

        impl Counters {
            /// The sum over the workers.
            pub(crate) fn sum(workers: &[Arc<WorkerCounters>]) -> Self {
                let mut sum = Self::default();
                for worker in workers {
                    $(sum.$name = sum.$name.wrapping_add(worker.$name.value());)+
                }
                sum
            }
        }
    };
}

counters! {
    /// TCP connections accepted.
    tcp_connections,
    /// QUIC connections accepted.
    quic_connections,
    /// TCP connections open now.
    active_tcp_connections,
    /// QUIC connections open now.
    active_quic_connections,
    /// Requests over HTTP/1.1.
    http1_requests,
    /// Requests over HTTP/2.
    http2_requests,
    /// Requests over HTTP/3.
    http3_requests,
    /// Requests that are being answered now.
    active_requests,
    /// Requests whose answer nobody waited for: reset by the client, or the connection was lost.
    cancelled_requests,
    /// Requests refused by a limit of the server (413, 431, 501).
    refused_requests,
    /// HTTP/3 messages that broke a rule of HTTP.
    malformed_requests,
    /// Time-outs: handshake, head, body, slow reader.
    timeouts,
    /// Panics in services and response bodies.
    panics,
    /// Errors of services and response bodies.
    service_errors,
    /// TLS handshakes on TCP that failed.
    tls_failures,
    /// Failures to accept a TCP connection.
    accept_failures,
    /// HTTP/3 connections that ended because the peer broke the protocol.
    protocol_errors,
    /// Bytes of request bodies on HTTP/3 that wait for the application.
    queued_upload_bytes,
    /// Bytes of responses on HTTP/3 that wait for the transport.
    queued_response_bytes,
}

/// One number, written by one worker and read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn decrement(&self) {
        self.subtract(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
