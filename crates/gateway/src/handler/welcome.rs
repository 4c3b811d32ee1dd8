//! The page of a server that has nothing else to serve yet.
//!
//! It tells a visitor which protocol carried this very request and, when it was not HTTP/3, why not and
//! what to do. One file without anything to load, so that it works offline; one paragraph of text for
//! clients that do not ask for HTML.

use std::time::Duration;

use http::HeaderValue;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use sterna_net::{Protocol, RequestContext};

use super::{Handler, only_reads};
use crate::body::Body;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::{Request, Response};

/// Configuration of `welcome`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The certificate comes from our local CA, and browsers refuse HTTP/3 under a private CA unless
    /// this hash of its public key (base64 of SHA-256) is named on their command line.
    pub local_spki: Option<String>,
}

impl Config {
    pub(crate) fn build(&self) -> Welcome {
        Welcome { local_spki: self.local_spki.clone() }
    }
}

/// Welcomes visitors.
#[derive(Debug)]
pub(crate) struct Welcome {
    local_spki: Option<String>,
}

impl Handler for Welcome {
    async fn handle(&self, _: &mut Exchange, request: &mut Request) -> Result<Response, Error> {
        only_reads(request)?;
        let visit = Visit::of(request);
        let (kind, content) = if wants_html(request) {
            ("text/html; charset=utf-8", visit.html(self.local_spki.as_deref()))
        } else {
            ("text/plain; charset=utf-8", visit.text())
        };
        let len = HeaderValue::from(content.len());
        let mut response = Response::new(Body::full(content.into_bytes()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, len);
        headers.insert(VARY, HeaderValue::from_static("accept"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        Ok(response)
    }
}

/// What the page tells about the way a request came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Visit {
    protocol: Option<Protocol>,
    rtt: Option<Duration>,
    tls: Option<&'static str>,
    cipher_suite: Option<&'static str>,
    key_exchange: Option<&'static str>,
    /// As the visitor spells it; empty if unknown.
    authority: String,
}

impl Visit {
    fn of(request: &Request) -> Self {
        let context = RequestContext::of(request);
        let tls = context.and_then(RequestContext::tls);
        let host = || request.headers().get(http::header::HOST)?.to_str().ok();
        let authority = request.uri().authority().map(|authority| authority.as_str());
        Self {
            protocol: context.map(RequestContext::protocol),
            rtt: context.and_then(RequestContext::rtt).filter(|rtt| !rtt.is_zero()),
            tls: tls.and_then(|tls| tls.version),
            cipher_suite: tls.and_then(|tls| tls.cipher_suite),
            key_exchange: tls.and_then(|tls| tls.key_exchange),
            authority: authority.or_else(host).unwrap_or_default().to_owned(),
        }
    }

    fn is_http3(&self) -> bool {
        self.protocol == Some(Protocol::Http3)
    }

    fn protocol(&self) -> &'static str {
        self.protocol.map_or("HTTP", Protocol::as_str)
    }

    fn text(&self) -> String {
        let rtt = self.rtt.map(|rtt| format!(", {} away", millis(rtt))).unwrap_or_default();
        format!("Sterna is running. This came over {}{rtt}.\n", self.protocol())
    }

    fn html(&self, local_spki: Option<&str>) -> String {
        let (number, class) = match self.protocol {
            Some(Protocol::Http1) => ("1.1", "tcp"),
            Some(Protocol::Http2) => ("2", "tcp"),
            Some(Protocol::Http3) => ("3", "quic"),
            None => ("", "tcp"),
        };
        let explanation = match (self.is_http3(), local_spki) {
            (true, _) => THIS_IS_HTTP3.to_owned(),
            (false, Some(spki)) => WHY_TCP_LOCAL
                .replace("{authority}", &escape(&self.authority))
                .replace("{spki}", &escape(spki)),
            (false, None) => WHY_TCP.to_owned(),
        };
        PAGE.replace("{class}", class)
            .replace("{number}", number)
            .replace("{facts}", &self.facts())
            .replace("{explanation}", &explanation)
    }

    /// What is known of the connection, as a list.
    fn facts(&self) -> String {
        let transport = if self.is_http3() { "QUIC over UDP" } else { "TCP" };
        let facts = [
            ("Transport", self.protocol.map(|_| transport.to_owned())),
            ("Round trip", self.rtt.map(millis)),
            ("TLS", self.tls.map(|version| version.replace("TLSv", "TLS "))),
            ("Cipher", self.cipher_suite.map(|suite| suite.replace("TLS13_", ""))),
            ("Key exchange", self.key_exchange.map(str::to_owned)),
        ];
        let row = |(name, fact): (&str, Option<String>)| {
            fact.map(|fact| format!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(&fact)))
        };
        facts.into_iter().filter_map(row).collect()
    }
}

/// Browsers name HTML in `Accept`; curl and scripts say `*/*`, and would rather read a line.
fn wants_html(request: &Request) -> bool {
    let mut accepted = request.headers().get_all(ACCEPT).iter();
    accepted.any(|value| value.as_bytes().windows(HTML.len()).any(|part| part == HTML))
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

/// Text of a visitor's choice, made harmless in HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HTML: &[u8] = b"text/html";

/// The page needs its own style and its own picture, and nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("welcome/page.html");
const THIS_IS_HTTP3: &str = include_str!("welcome/http3.html");
const WHY_TCP: &str = include_str!("welcome/tcp.html");
const WHY_TCP_LOCAL: &str = include_str!("welcome/tcp_local.html");

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(protocol: Protocol) -> Visit {
        Visit {
            protocol: Some(protocol),
            rtt: Some(Duration::from_micros(1250)),
            tls: Some("TLSv1.3"),
            authority: "localhost:8443".to_owned(),
            ..Visit::default()
        }
    }

    #[test]
    fn the_page_names_the_protocol_and_leaves_nothing_to_fill_in() {
        for (protocol, name) in
            [(Protocol::Http1, "1.1"), (Protocol::Http2, "2"), (Protocol::Http3, "3")]
        {
            for spki in [None, Some("abc=")] {
                let html = visit(protocol).html(spki);
                assert!(html.contains(&format!("<b>{name}</b>")), "{html}");
                assert!(html.contains("1.25 ms") && html.contains("TLS 1.3"), "{html}");
                for field in ["class", "number", "facts", "explanation", "authority", "spki"] {
                    assert!(!html.contains(&format!("{{{field}}}")), "{field} is filled in");
                }
            }
        }
    }

    #[test]
    fn a_visitor_over_tcp_gets_the_command_for_chrome_with_the_hash() {
        let html = visit(Protocol::Http2).html(Some("abc="));
        assert!(html.contains("--ignore-certificate-errors-spki-list=abc="), "{html}");
        assert!(html.contains("--origin-to-force-quic-on=localhost:8443"), "{html}");
        assert!(!visit(Protocol::Http3).html(Some("abc=")).contains("--origin-to-force"));
    }

    #[test]
    fn what_the_visitor_writes_is_escaped() {
        let visit = Visit { authority: "<script>\"&".into(), ..visit(Protocol::Http2) };
        let html = visit.html(Some("abc="));
        assert!(html.contains("&lt;script&gt;&quot;&amp;") && !html.contains("<script>"), "{html}");
    }

    #[test]
    fn a_script_reads_one_line() {
        let text = visit(Protocol::Http1).text();
        assert_eq!(text, "Sterna is running. This came over HTTP/1.1, 1.25 ms away.\n");
    }
}
