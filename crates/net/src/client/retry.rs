//! Whether a request that failed is sent again (RFC 9110 §9.2.2, RFC 8470 §5.2).

use super::error::{Kind, Phase};

/// What is known when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    /// The server did not process it.
    pub(crate) is_unsent: bool,
    /// The method may be repeated.
    pub(crate) is_idempotent: bool,
    /// A second attempt would send the whole body.
    pub(crate) is_replayable: bool,
}

impl Failure {
    /// Whether another attempt is safe, and may do better.
    pub(crate) fn may_retry(self) -> bool {
        self.is_replayable && (self.is_unsent || self.is_idempotent) && self.is_of_connection()
    }

    /// It was the connection that failed, after it had been made and before anything of the response came. An attempt
    /// to connect has tried every way already.
    fn is_of_connection(self) -> bool {
        let is_sent = matches!(self.phase, Phase::Request | Phase::FirstByte);
        match self.kind {
            Kind::GoAway | Kind::Lost => is_sent,
            Kind::Protocol { .. } | Kind::Reset { .. } => is_sent && self.is_unsent,
            Kind::Request
            | Kind::RequestBody
            | Kind::Dns
            | Kind::Refused
            | Kind::Unreachable
            | Kind::Certificate
            | Kind::Alpn
            | Kind::QuicVersion
            | Kind::Tls
            | Kind::TlsAlert
            | Kind::Timeout
            | Kind::Malformed
            | Kind::HeadersTooLarge
            | Kind::ContentLength
            | Kind::Truncated
            | Kind::Overloaded
            | Kind::Closed
            | Kind::System => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Failure = Failure {
        phase: Phase::FirstByte,
        kind: Kind::Lost,
        is_unsent: false,
        is_idempotent: true,
        is_replayable: true,
    };

    #[test]
    fn lost_connection_is_retried_for_what_may_be_repeated_alone() {
        assert!(LOST.may_retry());
        assert!(!Failure { is_idempotent: false, ..LOST }.may_retry());
        assert!(!Failure { is_replayable: false, ..LOST }.may_retry());
        assert!(!Failure { phase: Phase::Body, kind: Kind::Truncated, ..LOST }.may_retry());
    }

    #[test]
    fn what_the_server_did_not_process_is_retried_whatever_the_method() {
        let unsent = Failure { is_unsent: true, is_idempotent: false, ..LOST };
        assert!(Failure { kind: Kind::GoAway, ..unsent }.may_retry());
        assert!(Failure { kind: Kind::Reset { code: 0x10b }, ..unsent }.may_retry());
        assert!(!Failure { kind: Kind::Reset { code: 0x102 }, ..LOST }.may_retry());
        assert!(
            !Failure { is_replayable: false, ..unsent }.may_retry(),
            "half of the body is gone"
        );
    }

    #[test]
    fn time_outs_and_answers_that_make_no_sense_are_not_retried() {
        for kind in [Kind::Timeout, Kind::Malformed, Kind::HeadersTooLarge, Kind::Certificate] {
            assert!(!Failure { kind, ..LOST }.may_retry(), "{kind:?}");
        }
    }
}
