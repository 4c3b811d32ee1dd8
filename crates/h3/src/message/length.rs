//! How much content a message may still have (RFC 9114 §4.1.2): the same arithmetic for what we read and send.

use crate::{ApiMisuse, PeerMisbehaved};

/// What may still come as content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Any amount: there was no content-length, or it is a tunnel.
    Any,
    /// Exactly this many bytes.
    Exactly(u64),
    /// Nothing, whatever content-length says: responses to HEAD, 204 and 304.
    Nothing,
}

impl Length {
    /// What a content-length field demands, if there is one.
    pub(crate) fn declared(content_length: Option<u64>) -> Self {
        content_length.map_or(Self::Any, Self::Exactly)
    }

    /// What is left after `count` bytes.
    pub(crate) const fn take(self, count: u64) -> Result<Self, Fault> {
        match self {
            Self::Any => Ok(Self::Any),
            Self::Exactly(left) => match left.checked_sub(count) {
                Some(left) => Ok(Self::Exactly(left)),
                None => Err(Fault::TooLong),
            },
            Self::Nothing if count == 0 => Ok(Self::Nothing),
            Self::Nothing => Err(Fault::Forbidden),
        }
    }

    /// Whether the message may end here.
    pub(crate) const fn end(self) -> Result<(), Fault> {
        match self {
            Self::Any | Self::Nothing | Self::Exactly(0) => Ok(()),
            Self::Exactly(_) => Err(Fault::TooShort),
        }
    }
}

/// How content and content-length disagree; whose fault that is depends on the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    TooLong,
    TooShort,
    Forbidden,
}

impl From<Fault> for PeerMisbehaved {
    fn from(fault: Fault) -> Self {
        // req: 9114-4.1.2-content-length
        match fault {
            Fault::TooLong => Self::ContentTooLong,
            Fault::TooShort => Self::ContentTooShort,
            Fault::Forbidden => Self::ContentForbidden,
        }
    }
}

impl From<Fault> for ApiMisuse {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLong => Self::ContentTooLong,
            Fault::TooShort => Self::ContentTooShort,
            Fault::Forbidden => Self::ContentForbidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_length_holds_to_the_byte() {
        let five = Length::declared(Some(5));
        assert_eq!(five.end(), Err(Fault::TooShort));
        assert_eq!(five.take(4).and_then(Length::end), Err(Fault::TooShort));
        assert_eq!(five.take(5).and_then(Length::end), Ok(()));
        assert_eq!(five.take(6), Err(Fault::TooLong));
        assert_eq!(Length::declared(Some(0)).end(), Ok(()));
    }

    #[test]
    fn nothing_means_nothing() {
        assert_eq!(Length::Nothing.take(0).and_then(Length::end), Ok(()));
        assert_eq!(Length::Nothing.take(1), Err(Fault::Forbidden));
    }

    #[test]
    fn without_content_length_any_amount_is_right() {
        assert_eq!(Length::declared(None).take(u64::MAX).and_then(Length::end), Ok(()));
    }
}
