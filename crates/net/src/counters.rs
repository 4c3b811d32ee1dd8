//! What the workers have done, in numbers.
//!
//! Each worker writes a block of its own, so that no counter is contended; [`Counters`] is their sum.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::handshakes::Handshakes;

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
            /// How handshakes ended.
            pub(crate) handshakes: Handshakes,
        }

        impl Counters {
            /// Each by its name, what it counts, and its value.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+].into_iter()
            }

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
    /// Requests that came in early data (0-RTT).
    early_requests,
    /// Requests in early data that wait for their handshakes now.
    queued_early_requests,
    /// Requests in early data answered with 425 because too many waited for their handshakes.
    refused_early_requests,
    /// Requests whose answer nobody waited for: reset by the client, or the connection was lost.
    cancelled_requests,
    /// Requests refused by a limit of the server (413, 431, 501).
    refused_requests,
    /// HTTP/3 messages that broke a rule of HTTP.
    malformed_requests,
    /// Time-outs: handshake, head, body, slow reader.
    timeouts,
    /// Connections closed because their address had as many as it may, over TCP and QUIC.
    refused_connections,
    /// Handshakes refused because their address made them too often.
    refused_handshakes,
    /// Connections closed because their address had too many requests at once, or began them too fast.
    overloading_connections,
    /// QUIC connections closed because memory was short, and they held much of it for little.
    shed_connections,
    /// QUIC connections refused because as much memory was held for clients as may be.
    refused_for_memory,
    /// Requests refused with 503 because their worker was behind with its work.
    shed_requests,
    /// Bodies and connections cut because their client was slower than the least rate; they are among the time-outs.
    slow_clients,
    /// Connections told to go because other certificates had replaced those that they began with.
    retired_connections,
    /// Connections given up in a drain because their client acknowledged nothing any more.
    vanished_clients,
    /// Panics in services and response bodies.
    panics,
    /// Errors of services and response bodies.
    service_errors,
    /// TLS handshakes on TCP that failed.
    tls_failures,
    /// TCP connections closed because a peer that has to begin with the PROXY protocol did not.
    proxy_protocol_errors,
    /// Failures to accept a TCP connection.
    accept_failures,
    /// HTTP/3 connections that ended because the peer broke the protocol.
    protocol_errors,
    /// Bytes of request bodies on HTTP/3 that wait for the application.
    queued_upload_bytes,
    /// Bytes that count for `limits.memory`: of streams on HTTP/3, from their arrival to the application, counted from above.
    queued_stream_bytes,
    /// Bytes that clients of HTTP/3 may send, or have sent unread, beside the windows with which connections begin: up to half of
    /// `limits.memory`.
    granted_stream_bytes,
    /// Bytes of responses on HTTP/3 that wait for the transport.
    queued_response_bytes,
}

/// One number, written by one worker, or by those whom it gave a body of a request to, and read by anyone.
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

    /// For a number that the worker's thread alone writes, which is what each request does: without a locked instruction.
    pub(crate) fn add_alone(&self, count: u64) {
        self.0.store(self.value().wrapping_add(count), Ordering::Relaxed);
    }

    /// Likewise.
    pub(crate) fn subtract_alone(&self, count: u64) {
        self.0.store(self.value().wrapping_sub(count), Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
