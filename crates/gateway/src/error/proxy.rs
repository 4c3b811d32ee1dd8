//! Why a request could not be passed on, or its response not be had: the proxy error types of RFC 9209 §2.3.
//!
//! One enum says the status, the token of the `Proxy-Status` field, the label of a metric and the word of the access log.

use std::fmt;

use http::StatusCode;
use sterna_net::client::{self, Kind, Phase};

use crate::upstream::NoBackend;

/// A proxy error type (RFC 9209 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyError {
    /// No name server has answered in time (§2.3.1).
    DnsTimeout,
    /// The name has no address (§2.3.2).
    DnsError,
    /// There is nowhere to pass the request to (§2.3.3).
    DestinationNotFound,
    /// No backend can be asked at the moment (§2.3.4).
    DestinationUnavailable,
    /// The address may not be asked (§2.3.5).
    DestinationIpProhibited,
    /// There is no way to the address (§2.3.6).
    DestinationIpUnroutable,
    /// Nobody listens there (§2.3.7).
    ConnectionRefused,
    /// The connection ended before the response began (§2.3.8).
    ConnectionTerminated,
    /// The connection was not made in time (§2.3.9).
    ConnectionTimeout,
    /// The response paused for too long (§2.3.10).
    ConnectionReadTimeout,
    /// The backend took nothing of the request for too long (§2.3.11).
    ConnectionWriteTimeout,
    /// As many connections as there may be are in use (§2.3.12).
    ConnectionLimitReached,
    /// TLS failed (§2.3.13).
    TlsProtocolError,
    /// The backend's certificate is not to be trusted (§2.3.14).
    TlsCertificateError,
    /// The backend refused in the TLS handshake (§2.3.15).
    TlsAlertReceived,
    /// The request is at fault (§2.3.16).
    HttpRequestError,
    /// The request may not be passed on (§2.3.17).
    HttpRequestDenied,
    /// The response ended before its end (§2.3.18).
    HttpResponseIncomplete,
    /// The fields of the response are too large (§2.3.19).
    HttpResponseHeaderSectionSize,
    /// A field of the response is too large (§2.3.20).
    HttpResponseHeaderSize,
    /// The content of the response is too large (§2.3.21).
    HttpResponseBodySize,
    /// The trailers of the response are too large (§2.3.22).
    HttpResponseTrailerSectionSize,
    /// A trailer of the response is too large (§2.3.23).
    HttpResponseTrailerSize,
    /// The transfer coding of the response failed (§2.3.24).
    HttpResponseTransferCoding,
    /// The content coding of the response failed (§2.3.25).
    HttpResponseContentCoding,
    /// The response did not begin in time (§2.3.26).
    HttpResponseTimeout,
    /// Another protocol could not be changed to (§2.3.27).
    HttpUpgradeFailed,
    /// What came is no valid HTTP (§2.3.28).
    HttpProtocolError,
    /// This server made the response by itself (§2.3.29).
    ProxyInternalResponse,
    /// This server failed (§2.3.30).
    ProxyInternalError,
    /// This server is configured wrongly (§2.3.31).
    ProxyConfigurationError,
    /// The request has been here before (§2.3.32).
    ProxyLoopDetected,
}

impl ProxyError {
    /// The name in the registry: what stands in `Proxy-Status`, in metrics and in the access log.
    pub const fn token(self) -> &'static str {
        match self {
            Self::DnsTimeout => "dns_timeout",
            Self::DnsError => "dns_error",
            Self::DestinationNotFound => "destination_not_found",
            Self::DestinationUnavailable => "destination_unavailable",
            Self::DestinationIpProhibited => "destination_ip_prohibited",
            Self::DestinationIpUnroutable => "destination_ip_unroutable",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionTerminated => "connection_terminated",
            Self::ConnectionTimeout => "connection_timeout",
            Self::ConnectionReadTimeout => "connection_read_timeout",
            Self::ConnectionWriteTimeout => "connection_write_timeout",
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::TlsProtocolError => "tls_protocol_error",
            Self::TlsCertificateError => "tls_certificate_error",
            Self::TlsAlertReceived => "tls_alert_received",
            Self::HttpRequestError => "http_request_error",
            Self::HttpRequestDenied => "http_request_denied",
            Self::HttpResponseIncomplete => "http_response_incomplete",
            Self::HttpResponseHeaderSectionSize => "http_response_header_section_size",
            Self::HttpResponseHeaderSize => "http_response_header_size",
            Self::HttpResponseBodySize => "http_response_body_size",
            Self::HttpResponseTrailerSectionSize => "http_response_trailer_section_size",
            Self::HttpResponseTrailerSize => "http_response_trailer_size",
            Self::HttpResponseTransferCoding => "http_response_transfer_coding",
            Self::HttpResponseContentCoding => "http_response_content_coding",
            Self::HttpResponseTimeout => "http_response_timeout",
            Self::HttpUpgradeFailed => "http_upgrade_failed",
            Self::HttpProtocolError => "http_protocol_error",
            Self::ProxyInternalResponse => "proxy_internal_response",
            Self::ProxyInternalError => "proxy_internal_error",
            Self::ProxyConfigurationError => "proxy_configuration_error",
            Self::ProxyLoopDetected => "proxy_loop_detected",
        }
    }

    /// The status that the RFC recommends.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HttpRequestError => StatusCode::BAD_REQUEST,
            Self::HttpRequestDenied => StatusCode::FORBIDDEN,
            Self::DestinationNotFound
            | Self::ProxyInternalResponse
            | Self::ProxyInternalError
            | Self::ProxyConfigurationError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::DnsError
            | Self::DestinationIpProhibited
            | Self::DestinationIpUnroutable
            | Self::ConnectionRefused
            | Self::ConnectionTerminated
            | Self::TlsProtocolError
            | Self::TlsCertificateError
            | Self::TlsAlertReceived
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSectionSize
            | Self::HttpResponseHeaderSize
            | Self::HttpResponseBodySize
            | Self::HttpResponseTrailerSectionSize
            | Self::HttpResponseTrailerSize
            | Self::HttpResponseTransferCoding
            | Self::HttpResponseContentCoding
            | Self::HttpUpgradeFailed
            | Self::HttpProtocolError
            | Self::ProxyLoopDetected => StatusCode::BAD_GATEWAY,
            Self::DestinationUnavailable | Self::ConnectionLimitReached => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DnsTimeout
            | Self::ConnectionTimeout
            | Self::ConnectionReadTimeout
            | Self::ConnectionWriteTimeout
            | Self::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Every type, in the order of the RFC.
    pub const ALL: [Self; 32] = [
        Self::DnsTimeout,
        Self::DnsError,
        Self::DestinationNotFound,
        Self::DestinationUnavailable,
        Self::DestinationIpProhibited,
        Self::DestinationIpUnroutable,
        Self::ConnectionRefused,
        Self::ConnectionTerminated,
        Self::ConnectionTimeout,
        Self::ConnectionReadTimeout,
        Self::ConnectionWriteTimeout,
        Self::ConnectionLimitReached,
        Self::TlsProtocolError,
        Self::TlsCertificateError,
        Self::TlsAlertReceived,
        Self::HttpRequestError,
        Self::HttpRequestDenied,
        Self::HttpResponseIncomplete,
        Self::HttpResponseHeaderSectionSize,
        Self::HttpResponseHeaderSize,
        Self::HttpResponseBodySize,
        Self::HttpResponseTrailerSectionSize,
        Self::HttpResponseTrailerSize,
        Self::HttpResponseTransferCoding,
        Self::HttpResponseContentCoding,
        Self::HttpResponseTimeout,
        Self::HttpUpgradeFailed,
        Self::HttpProtocolError,
        Self::ProxyInternalResponse,
        Self::ProxyInternalError,
        Self::ProxyConfigurationError,
        Self::ProxyLoopDetected,
    ];
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl From<NoBackend> for ProxyError {
    fn from(why: NoBackend) -> Self {
        match why {
            NoBackend::Unavailable => Self::DestinationUnavailable,
            NoBackend::Full => Self::ConnectionLimitReached,
            NoBackend::Unresolved => Self::DnsTimeout,
        }
    }
}

impl From<&client::Error> for ProxyError {
    fn from(error: &client::Error) -> Self {
        match error.kind() {
            Kind::Timeout => Self::timed_out(error.phase()),
            Kind::RequestBody => Self::HttpRequestError,
            Kind::Dns => Self::DnsError,
            Kind::Refused => Self::ConnectionRefused,
            Kind::Unreachable => Self::DestinationIpUnroutable,
            Kind::Certificate => Self::TlsCertificateError,
            Kind::TlsAlert => Self::TlsAlertReceived,
            Kind::Alpn | Kind::Tls => Self::TlsProtocolError,
            Kind::Reset { .. } if error.phase() == Phase::Body => Self::HttpResponseIncomplete,
            Kind::Reset { .. } | Kind::GoAway | Kind::Lost => Self::ConnectionTerminated,
            Kind::Protocol { .. } | Kind::Malformed | Kind::QuicVersion => Self::HttpProtocolError,
            Kind::HeadersTooLarge if error.phase() == Phase::Body => {
                Self::HttpResponseTrailerSectionSize
            }
            Kind::HeadersTooLarge => Self::HttpResponseHeaderSectionSize,
            Kind::ContentLength | Kind::Truncated => Self::HttpResponseIncomplete,
            Kind::Overloaded => Self::ConnectionLimitReached,
            Kind::Request | Kind::Closed | Kind::System => Self::ProxyInternalError,
        }
    }
}

impl ProxyError {
    const fn timed_out(phase: Phase) -> Self {
        match phase {
            Phase::Prepare => Self::ProxyInternalError,
            Phase::Resolve => Self::DnsTimeout,
            Phase::Connect | Phase::Tls => Self::ConnectionTimeout,
            Phase::Request => Self::ConnectionWriteTimeout,
            Phase::FirstByte => Self::HttpResponseTimeout,
            Phase::Body => Self::ConnectionReadTimeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_type_has_a_token_of_its_own_that_a_structured_field_can_carry() {
        let tokens: HashSet<_> = ProxyError::ALL.iter().map(|error| error.token()).collect();
        assert_eq!(tokens.len(), 32);
        let is_plain = |token: &&str| token.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(tokens.iter().all(is_plain));
    }

    #[test]
    fn status_says_whether_it_was_the_time_the_backend_or_the_client() {
        let of = |status: u16| {
            let has = |error: &&ProxyError| error.status().as_u16() == status;
            ProxyError::ALL.iter().filter(has).count()
        };
        assert_eq!([of(400), of(403), of(500), of(502), of(503), of(504)], [1, 1, 4, 19, 2, 5]);
    }
}
