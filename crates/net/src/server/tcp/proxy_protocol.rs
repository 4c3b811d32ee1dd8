//! The PROXY protocol, versions 1 and 2: what a balancer writes in front of a connection to say whose it is.
//!
//! ```text
//! PROXY TCP4 203.0.113.5 192.0.2.1 50332 443\r\n                            version 1, at most 107 bytes
//!
//! signature (96) version = 2 (4) command (4) family (4) transport (4) length (16)
//! source, destination, ports; then more, which is skipped                     version 2
//! ```
//! Only for peers that are known to send it: from others it would be a way to be anyone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a beginning is none of the protocol: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the connection does not begin with the PROXY protocol")]
    Signature,
    #[error("the header has no end within its bound")]
    TooLong,
    #[error("the line of version 1 is malformed")]
    Line,
    #[error("the version, command, family or length of version 2 is unknown")]
    Binary,
}

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of it.
    pub(super) len: usize,
    /// Whose connection it is; `None` when it is the balancer's own, such as a check of health.
    pub(super) source: Option<SocketAddr>,
}

/// Reads the header at the begin of `bytes`; `None` when more of it is to come.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let is_begin_of = |whole: &[u8]| bytes.starts_with(whole) || whole.starts_with(bytes);
    if is_begin_of(SIGNATURE) {
        binary(bytes)
    } else if is_begin_of(WORD) {
        line(bytes)
    } else {
        Err(Malformed::Signature)
    }
}

/// The most that [`parse`] looks at.
pub(super) const MAX_LEN: usize = FIXED + MAX_REST;

fn line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let within = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let text = within.get(WORD.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    let text = text.ok_or(Malformed::Line)?;
    let len = end + 2;
    // What follows `UNKNOWN` is of no concern.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(Some(Header { len, source: None }));
    }
    let words: Vec<&str> = text.split(' ').collect();
    let &[family, source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(Malformed::Line);
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let source = address(source).zip(port(source_port)).ok_or(Malformed::Line)?;
    address(destination).zip(port(destination_port)).ok_or(Malformed::Line)?;
    Ok(Some(Header { len, source: Some(SocketAddr::from(source)) }))
}

/// Decimal, without signs and leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > MAX_REST {
        return Err(Malformed::TooLong);
    }
    let len = FIXED + rest;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Binary),
    };
    let needed = match family {
        // Unspecified, and what a stream over IP is not: told by the protocol to be accepted without its addresses.
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        // Datagrams and unix sockets: nobody who speaks TCP to us comes from there.
        _ if is_local => 0,
        _ => return Err(Malformed::Binary),
    };
    if !is_local && rest < needed {
        return Err(Malformed::Binary);
    }
    let Some(body) = bytes.get(FIXED..len) else { return Ok(None) };
    let source = match family {
        _ if is_local => None,
        0x11 => v4(body),
        0x21 => v6(body),
        _ => None,
    };
    Ok(Some(Header { len, source }))
}

/// Source, destination, port of the source.
fn v4(body: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    Some(SocketAddr::from((*source, u16::from_be_bytes(*rest.first_chunk()?))))
}

fn v6(body: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (_, rest) = rest.split_first_chunk::<16>()?;
    Some(SocketAddr::from((*source, u16::from_be_bytes(*rest.first_chunk()?))))
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8] = b"PROXY ";

/// Longest line of version 1, with its end.
const MAX_LINE: usize = 107;

/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;

/// What may follow in version 2: addresses, and some kilobytes of what balancers add.
const MAX_REST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn version2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &len, body].concat()
    }

    fn source(bytes: &[u8]) -> Result<Option<Option<SocketAddr>>, Malformed> {
        parse(bytes).map(|header| header.map(|header| header.source))
    }

    fn at(text: &str) -> Result<Option<Option<SocketAddr>>, Malformed> {
        Ok(Some(Some(text.parse().expect("an address"))))
    }

    #[test]
    fn a_header_names_the_source_and_ends_where_it_says() {
        let v4 = [203, 0, 113, 5, 192, 0, 2, 1, 0xc4, 0x9c, 1, 187];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 1, 7, 80);
        for (bytes, expected) in [
            (b"PROXY TCP4 203.0.113.5 192.0.2.1 50332 443\r\n".to_vec(), at("203.0.113.5:50332")),
            (b"PROXY TCP6 2001::7 ::1 80 443\r\n".to_vec(), at("[2001::7]:80")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok(Some(None))),
            (b"PROXY UNKNOWN ffff::1 x 1 2\r\n".to_vec(), Ok(Some(None))),
            (version2(0x21, 0x11, &v4), at("203.0.113.5:50332")),
            (version2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), at("203.0.113.5:50332")),
            (version2(0x21, 0x21, &v6), at("[2001::7]:80")),
            (version2(0x20, 0x00, &[]), Ok(Some(None))),
            (version2(0x20, 0x11, &v4), Ok(Some(None))),
            (version2(0x21, 0x00, &[1, 2, 3]), Ok(Some(None))),
        ] {
            assert_eq!(source(&bytes), expected, "{bytes:?}");
            let followed = [&bytes[..], b"PROXY TCP4 "].concat();
            let len = parse(&followed).expect("well-formed").map(|header| header.len);
            assert_eq!(len, Some(bytes.len()), "what follows is none of it");
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_LINE));
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Malformed::Signature),
            (b"\x16\x03\x01", Malformed::Signature),
            (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Malformed::Signature),
            (b"\r\n\r\n\0\r\nQUIX", Malformed::Signature),
            (long.as_bytes(), Malformed::TooLong),
            (b"PROXY \r\n", Malformed::Line),
            (b"PROXY TCP4\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", Malformed::Line),
            (b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Malformed::Line),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", Malformed::Line),
            (b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.1\t1.1.1.1 1 1\r\n", Malformed::Line),
            (b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Malformed::Line),
            (b"PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", Malformed::Line),
            (b"PROXY TCP4 \xff 1.1.1.1 1 1\r\n", Malformed::Line),
        ] {
            assert_eq!(parse(bytes), Err(expected), "{}", bytes.escape_ascii());
        }
        for (command, family, body) in [
            (0x31, 0x11, &[0; 12][..]),
            (0x11, 0x11, &[0; 12]),
            (0x22, 0x11, &[0; 12]),
            (0x21, 0x12, &[0; 12]),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x11, &[0; 11]),
            (0x21, 0x21, &[0; 35]),
        ] {
            let bytes = version2(command, family, body);
            assert_eq!(parse(&bytes), Err(Malformed::Binary), "{command:x} {family:x}");
        }
    }

    #[test]
    fn version_2_may_be_as_long_as_its_bound_and_no_longer() {
        let whole = version2(0x20, 0, &[0; MAX_REST]);
        assert_eq!(parse(&whole), Ok(Some(Header { len: MAX_LEN, source: None })));
        let beyond = version2(0x20, 0, &[0; MAX_REST + 1]);
        assert_eq!(parse(&beyond[..FIXED]), Err(Malformed::TooLong), "before the rest is read");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_end_behind_what_came(
            begin in 0..3usize,
            rest in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let bytes = [[&b""[..], SIGNATURE, WORD][begin], &rest].concat();
            if let Ok(Some(header)) = parse(&bytes) {
                proptest::prop_assert!(header.len <= bytes.len());
            }
        }
    }
}
