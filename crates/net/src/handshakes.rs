//! How handshakes ended: how long those took that succeeded, and why the others did not.

use std::{
    array, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustls::AlertDescription;
use sterna_quic::CloseReason;

use crate::{client::Transport, counters::WorkerCounters};

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It took longer than it may.
    TimedOut,
    /// The client went away without a word.
    Gone,
    /// The client refused what it was shown, a certificate as a rule, and said so by an alert.
    Refused,
    /// No common version of TLS, cipher suite or key exchange, or no certificate for what the client asks for.
    Unsupported,
    /// No common application protocol (ALPN).
    Alpn,
    /// The client's certificate is missing, or is not good.
    ClientCertificate,
    /// The client broke the protocol.
    Malformed,
}

impl HandshakeFailure {
    /// All.
    pub const ALL: [Self; 7] = [
        Self::TimedOut,
        Self::Gone,
        Self::Refused,
        Self::Unsupported,
        Self::Alpn,
        Self::ClientCertificate,
        Self::Malformed,
    ];

    /// In small letters, for a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Alpn => "alpn",
            Self::ClientCertificate => "client_certificate",
            Self::Malformed => "malformed",
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::of_alert(*alert),
            rustls::Error::NoApplicationProtocol => Self::Alpn,
            rustls::Error::PeerIncompatible(_) => Self::Unsupported,
            // It has no other for a server whose resolver has no certificate.
            rustls::Error::General(_) => Self::Unsupported,
            rustls::Error::NoCertificatesPresented
            | rustls::Error::InvalidCertificate(_)
            | rustls::Error::InvalidCertRevocationList(_) => Self::ClientCertificate,
            // All others that a server can have are about messages that it could not read, or not at that place.
            _ => Self::Malformed,
        }
    }

    /// An alert of the client.
    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => Self::Gone,
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity => Self::Unsupported,
            AlertDescription::NoApplicationProtocol => Self::Alpn,
            _ => Self::Refused,
        }
    }

    /// Why TLS over TCP failed.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        tls.map_or(Self::Gone, Self::of_tls)
    }

    /// Why a connection over QUIC ended before its handshake had; `None` when that was our own doing.
    pub(crate) fn of_quic(reason: &CloseReason) -> Option<Self> {
        Some(match reason {
            CloseReason::Local => return None,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Tls { error, .. } => Self::of_tls(error),
            // An alert of the client (RFC 9001 §4.8).
            CloseReason::Transport { code, .. } => match code.checked_sub(CRYPTO_ERROR) {
                Some(alert) => u8::try_from(alert)
                    .map_or(Self::Malformed, |alert| Self::of_alert(AlertDescription::from(alert))),
                None => Self::Gone,
            },
            CloseReason::Application { .. } | CloseReason::StatelessReset => Self::Gone,
            CloseReason::VersionMismatch => Self::Unsupported,
            _ => Self::Malformed,
        })
    }
}

/// The first of the codes that carry an alert (RFC 9000 §20.1).
const CRYPTO_ERROR: u64 = 0x100;

/// Upper bounds of the slots of [`HandshakeFigures::durations`], in microseconds; the last slot has none.
pub const BOUNDS: [u64; 10] =
    [1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Handshakes over one transport, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeFigures {
    /// Those that succeeded, by how long they took; each is in one slot.
    pub durations: [u64; BOUNDS.len() + 1],
    /// How long all of these took together.
    pub total: Duration,
    /// Those that failed, in the order of [`HandshakeFailure::ALL`].
    pub failures: [u64; HandshakeFailure::ALL.len()],
}

/// One worker's block for both transports.
#[derive(Debug, Default)]
pub(crate) struct Handshakes([Block; Transport::ALL.len()]);

#[derive(Debug)]
struct Block {
    durations: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
    failures: [AtomicU64; HandshakeFailure::ALL.len()],
}

impl Default for Block {
    fn default() -> Self {
        let (durations, failures) =
            (array::from_fn(|_| AtomicU64::new(0)), array::from_fn(|_| AtomicU64::new(0)));
        Self { durations, micros: AtomicU64::new(0), failures }
    }
}

impl Handshakes {
    pub(crate) fn succeeded(&self, transport: Transport, after: Duration) {
        let Some(block) = self.0.get(transport as usize) else { return };
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(slot) = block.durations.get(at) {
            slot.fetch_add(1, Relaxed);
        }
        block.micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn failed(&self, transport: Transport, why: HandshakeFailure) {
        let slot =
            self.0.get(transport as usize).and_then(|block| block.failures.get(why as usize));
        if let Some(slot) = slot {
            slot.fetch_add(1, Relaxed);
        }
    }

    /// The sum over the workers.
    pub(crate) fn sum(workers: &[Arc<WorkerCounters>], transport: Transport) -> HandshakeFigures {
        let mut sum = HandshakeFigures::default();
        let blocks = workers.iter().filter_map(|one| one.handshakes.0.get(transport as usize));
        for block in blocks {
            let add = |to: &mut [u64], from: &[AtomicU64]| {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from.load(Relaxed));
            };
            add(&mut sum.durations, &block.durations);
            add(&mut sum.failures, &block.failures);
            sum.total += Duration::from_micros(block.micros.load(Relaxed));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_noted_is_in_the_sum_once() {
        let worker = Arc::new(WorkerCounters::default());
        worker.handshakes.succeeded(Transport::Quic, Duration::from_micros(1_000));
        worker.handshakes.succeeded(Transport::Quic, Duration::from_secs(60));
        worker.handshakes.failed(Transport::Quic, HandshakeFailure::Alpn);
        let workers = [worker, Arc::default()];
        let sum = Handshakes::sum(&workers, Transport::Quic);
        assert_eq!((sum.durations[0], sum.durations[BOUNDS.len()]), (1, 1));
        assert_eq!(sum.durations.iter().sum::<u64>(), 2);
        assert_eq!(sum.total, Duration::from_micros(60_001_000));
        assert_eq!(sum.failures[HandshakeFailure::Alpn as usize], 1);
        assert_eq!(Handshakes::sum(&workers, Transport::Tcp), HandshakeFigures::default());
    }

    #[test]
    fn an_alert_of_the_client_says_the_same_over_both_transports() {
        use AlertDescription as Alert;
        for (alert, expected) in [
            (Alert::UnknownCA, HandshakeFailure::Refused),
            (Alert::BadCertificate, HandshakeFailure::Refused),
            (Alert::ProtocolVersion, HandshakeFailure::Unsupported),
            (Alert::NoApplicationProtocol, HandshakeFailure::Alpn),
            (Alert::UserCanceled, HandshakeFailure::Gone),
        ] {
            let tcp = io::Error::other(rustls::Error::AlertReceived(alert));
            assert_eq!(HandshakeFailure::of_io(&tcp), expected);
            let code = CRYPTO_ERROR + u64::from(u8::from(alert));
            let quic = CloseReason::Transport { code, reason: bytes::Bytes::new() };
            assert_eq!(HandshakeFailure::of_quic(&quic), Some(expected));
        }
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(HandshakeFailure::of_io(&cut), HandshakeFailure::Gone);
        assert_eq!(HandshakeFailure::of_quic(&CloseReason::Local), None);
    }
}
