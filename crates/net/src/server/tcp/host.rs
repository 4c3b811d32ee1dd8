//! Which host a request over TCP is for: said once, and nothing else than a host (RFC 9112 §3.2, RFC 9113 §8.3.1).
//!
//! hyper hands every `host` field on as it came. Two of them, or one that is no host, are read one way by us and another
//! way by who stands before or behind us, which is what request smuggling lives on. `sterna_h3` checks the same for HTTP/3.

use http::{HeaderValue, Request, Version, header::HOST, uri::Authority};

/// Whether the request names its host as its version demands.
pub(super) fn is_valid<B>(request: &Request<B>) -> bool {
    if request.uri().authority().is_some_and(|authority| !is_place(authority)) {
        return false;
    }
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, another) = (fields.next(), fields.next());
    let Some(field) = field else {
        return match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => true,
            Version::HTTP_11 => false,
            _ => request.uri().authority().is_some(),
        };
    };
    if another.is_some() || !is_host(field) {
        return false;
    }
    match request.uri().authority() {
        Some(authority) if request.version() == Version::HTTP_2 => {
            field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
        }
        // In HTTP/1.1 the target's authority replaces the field (RFC 9112 §3.2.2).
        _ => true,
    }
}

fn is_host(field: &HeaderValue) -> bool {
    Authority::try_from(field.as_bytes()).is_ok_and(|authority| is_place(&authority))
}

/// A host and, if any, a port; no user.
fn is_place(authority: &Authority) -> bool {
    let host = authority.host();
    // The parser takes any characters between the last colon and the end for a port.
    let port = authority.as_str().get(host.len()..).unwrap_or_default();
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.is_empty() || authority.port_u16().is_some(),
    };
    !host.is_empty() && is_port && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: Version, uri: &str, hosts: &[&str]) -> bool {
        let mut builder = Request::builder().version(version).uri(uri);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        is_valid(&builder.body(()).expect("a request"))
    }

    #[test]
    fn http1_has_exactly_one_host_field_and_it_is_a_host() {
        for host in ["a", "a:", "a.example:443", "[::1]", "[::1]:8443", "127.0.0.1:65535"] {
            assert!(verdict(Version::HTTP_11, "/", &[host]), "{host}");
        }
        for hosts in [&[][..], &["a", "a"], &["a", "b"]] {
            assert!(!verdict(Version::HTTP_11, "/", hosts), "{hosts:?}");
            assert!(!verdict(Version::HTTP_11, "https://a/", hosts), "{hosts:?}");
        }
        for host in ["", "a b", "a/b", "me@a", "a:port", "a:65536", ":443", "a#", "[::1"] {
            assert!(!verdict(Version::HTTP_11, "/", &[host]), "{host}");
        }
    }

    #[test]
    fn target_names_a_host_and_a_port_alone() {
        for authority in ["me@a", "a:port", "a:65536"] {
            let uri = format!("https://{authority}/");
            assert!(!verdict(Version::HTTP_2, &uri, &[]), "{uri}");
            assert!(!verdict(Version::HTTP_11, &uri, &["a"]), "{uri}");
        }
    }

    #[test]
    fn http1_target_may_name_another_host_than_the_field() {
        assert!(verdict(Version::HTTP_11, "https://a/", &["b"]));
    }

    #[test]
    fn http10_may_leave_the_host_out_but_not_say_it_twice() {
        assert!(verdict(Version::HTTP_10, "/", &[]));
        assert!(!verdict(Version::HTTP_10, "/", &["a", "b"]));
    }

    #[test]
    fn http2_has_an_authority_or_a_host_and_both_say_the_same() {
        assert!(verdict(Version::HTTP_2, "https://a/", &[]));
        assert!(verdict(Version::HTTP_2, "https://a/", &["A"]));
        assert!(verdict(Version::HTTP_2, "/", &["a"]));
        assert!(!verdict(Version::HTTP_2, "/", &[]));
        assert!(!verdict(Version::HTTP_2, "https://a/", &["b"]));
        assert!(!verdict(Version::HTTP_2, "https://a/", &["a", "a"]));
    }
}
