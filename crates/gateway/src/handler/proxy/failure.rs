//! Why an attempt gave no response: whose fault it is, and whether another attempt may do better.

use std::error::Error as StdError;

use sterna_net::client::{self, BuildError};

use crate::error::ProxyError;

/// Why an attempt gave no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client says it.
    Client(client::Error),
    /// One attempt had no more time.
    Late,
    /// A status that ends no exchange.
    NoResponse,
    /// A transfer coding that nobody asked for.
    Coded,
    /// There is no client for such a backend.
    NoClient(BuildError),
    /// A backend that no client can be told of.
    NoPlace(String),
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    /// Its type.
    pub(super) fn reason(&self) -> ProxyError {
        match self {
            Self::Client(error) => error.into(),
            Self::Late => ProxyError::HttpResponseTimeout,
            Self::NoResponse => ProxyError::HttpProtocolError,
            Self::Coded => ProxyError::HttpResponseTransferCoding,
            Self::NoClient(_) => ProxyError::ProxyInternalError,
            Self::NoPlace(_) => ProxyError::ProxyConfigurationError,
        }
    }

    /// The backend did not process the request.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::Client(error) => error.may_retry(),
            Self::Late | Self::NoResponse | Self::Coded => false,
            Self::NoClient(_) | Self::NoPlace(_) => true,
        }
    }

    /// It says something of the backend, and not of the client or of this server.
    pub(super) fn is_of_backend(&self) -> bool {
        match self.reason() {
            ProxyError::HttpRequestError
            | ProxyError::HttpRequestDenied
            | ProxyError::ProxyInternalResponse
            | ProxyError::ProxyInternalError
            | ProxyError::ProxyConfigurationError
            | ProxyError::ProxyLoopDetected => false,
            ProxyError::DnsTimeout
            | ProxyError::DnsError
            | ProxyError::DestinationNotFound
            | ProxyError::DestinationUnavailable
            | ProxyError::DestinationIpProhibited
            | ProxyError::DestinationIpUnroutable
            | ProxyError::ConnectionRefused
            | ProxyError::ConnectionTerminated
            | ProxyError::ConnectionTimeout
            | ProxyError::ConnectionReadTimeout
            | ProxyError::ConnectionWriteTimeout
            | ProxyError::ConnectionLimitReached
            | ProxyError::TlsProtocolError
            | ProxyError::TlsCertificateError
            | ProxyError::TlsAlertReceived
            | ProxyError::HttpResponseIncomplete
            | ProxyError::HttpResponseHeaderSectionSize
            | ProxyError::HttpResponseHeaderSize
            | ProxyError::HttpResponseBodySize
            | ProxyError::HttpResponseTrailerSectionSize
            | ProxyError::HttpResponseTrailerSize
            | ProxyError::HttpResponseTransferCoding
            | ProxyError::HttpResponseContentCoding
            | ProxyError::HttpResponseTimeout
            | ProxyError::HttpUpgradeFailed
            | ProxyError::HttpProtocolError => true,
        }
    }

    /// Another attempt may do better: it was the connection that failed, or this attempt's time. A backend that took all the
    /// time that there is for a response, or that answered nonsense, had its chance.
    pub(super) fn is_of_this_attempt(&self) -> bool {
        match self {
            Self::Late => true,
            Self::NoResponse | Self::Coded | Self::NoClient(_) | Self::NoPlace(_) => false,
            Self::Client(error) => {
                self.is_of_backend()
                    && (error.may_retry()
                        || ProxyError::from(error) == ProxyError::ConnectionTerminated)
            }
        }
    }

    /// What caused it, for the log.
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::Client(error) => Cause::Client(error),
            Self::Late => Cause::Late,
            Self::NoResponse => Cause::NoResponse,
            Self::Coded => Cause::Coded,
            Self::NoClient(error) => Cause::Words(words(&error)),
            Self::NoPlace(place) => Cause::Words(format!("`{place}` is no host")),
        }
    }
}

/// What caused a failure.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Client(client::Error),
    #[error("the attempt took longer than its time-out")]
    Late,
    #[error("the backend changed to another protocol that nobody asked for")]
    NoResponse,
    #[error("the response has a transfer coding that nobody asked for")]
    Coded,
    #[error("{0}")]
    Words(String),
}

fn words(error: &dyn StdError) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}
