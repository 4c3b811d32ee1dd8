//! Who may ask.
//!
//! A page in a browser of this machine can send requests to it, even to a name of its own that it has made to mean
//! 127.0.0.1. So a request must name the place by an address or `localhost`, must not come from a page of another
//! origin, and shows the token if there is one. A unix socket has its file's permissions; the same rules cost it nothing.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, StatusCode, Uri};

/// What requests must show.
pub(super) struct Guard {
    token: Option<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The host is a name, which may be anyone's.
    Host,
    /// It comes from a web page.
    Page,
    /// No token, or another.
    Token,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Page => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Host => "name this server by its address, or `localhost`",
            Self::Page => "requests from web pages are not answered",
            Self::Token => "show the token: `Authorization: Bearer TOKEN`",
        }
    }
}

impl Guard {
    pub(super) fn new(token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned) }
    }

    /// Whether a request with these fields may be answered.
    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or(host);
        if !host.is_some_and(is_ours) {
            return Err(Refused::Host);
        }
        let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
        if headers.contains_key(ORIGIN) || !matches!(site, None | Some(b"none" | b"same-origin")) {
            return Err(Refused::Page);
        }
        let Some(token) = &self.token else { return Ok(()) };
        let shown = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, shown) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(shown)
        });
        match shown.is_some_and(|shown| is_same(shown.as_bytes(), token.as_bytes())) {
            true => Ok(()),
            false => Err(Refused::Token),
        }
    }
}

/// An address, or the one name that is always this machine.
fn is_ours(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// In a time that does not tell where they differ.
fn is_same(shown: &[u8], token: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(shown, token).is_ok()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(token: Option<&str>, fields: &[(&str, &str)]) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::try_from(*name).expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        Guard::new(token).judge(&Uri::from_static("/status"), &headers)
    }

    #[test]
    fn a_name_that_somebody_made_to_mean_this_machine_is_refused() {
        for host in ["localhost", "LOCALHOST:9180", "127.0.0.1:9180", "[::1]:9180", "10.0.0.7"] {
            assert_eq!(judged(None, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:9180", "127.0.0.1.evil.example", ""] {
            assert_eq!(judged(None, &[("host", host)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(judged(None, &[]), Err(Refused::Host));
    }

    #[test]
    fn a_request_of_a_web_page_is_refused() {
        let from = |name, value| judged(None, &[("host", "localhost"), (name, value)]);
        assert_eq!(from("origin", "https://evil.example"), Err(Refused::Page));
        assert_eq!(from("origin", "null"), Err(Refused::Page));
        assert_eq!(from("sec-fetch-site", "cross-site"), Err(Refused::Page));
        assert_eq!(from("sec-fetch-site", "same-site"), Err(Refused::Page));
        assert_eq!(from("sec-fetch-site", "none"), Ok(()), "typed into the address bar");
    }

    #[test]
    fn a_token_must_be_shown_whole() {
        let shown = |value| {
            judged(Some("secret-secret-secret"), &[("host", "localhost"), ("authorization", value)])
        };
        assert_eq!(shown("Bearer secret-secret-secret"), Ok(()));
        assert_eq!(shown("bearer secret-secret-secret"), Ok(()));
        for value in [
            "Bearer secret-secret-secre",
            "Bearer ",
            "secret-secret-secret",
            "Basic secret-secret-secret",
        ] {
            assert_eq!(shown(value), Err(Refused::Token), "{value}");
        }
        assert_eq!(
            judged(Some("secret-secret-secret"), &[("host", "localhost")]),
            Err(Refused::Token)
        );
    }
}
