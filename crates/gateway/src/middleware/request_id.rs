//! A name for each request, by which it is found in every log on its way.
//!
//! Made here, or kept from a proxy whose word counts; sent on, and told to the client. One that is made is a UUID of
//! version 7 (RFC 9562 §5.7): names that sort by time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Middleware, Step};
use crate::exchange::Exchange;
use crate::{Request, Response, random};

/// Configuration of `request_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The field that carries it.
    pub header: HeaderName,
    /// Whose names are kept.
    pub keep: Keep,
    /// Whether the client is told.
    pub response: bool,
}

/// Whose names are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nobody's.
    Never,
    /// Those of trusted proxies.
    Trusted,
    /// Everybody's.
    Always,
}

impl Config {
    pub(crate) fn build(&self) -> RequestId {
        RequestId { config: self.clone() }
    }
}

/// Names requests.
#[derive(Debug)]
pub(crate) struct RequestId {
    config: Config,
}

impl Middleware for RequestId {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let is_kept = match self.config.keep {
            Keep::Never => false,
            Keep::Trusted => exchange.is_from_trusted(),
            Keep::Always => true,
        };
        let mut given = request.headers().get_all(&self.config.header).iter();
        let given = match (given.next(), given.next()) {
            (Some(one), None) if is_kept && is_name(one.as_bytes()) => Some(one.clone()),
            _ => None,
        };
        let id = given.unwrap_or_else(|| make(SystemTime::now()));
        request.headers_mut().insert(self.config.header.clone(), id.clone());
        exchange.notes_mut().request_id = Some(id);
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        let id = exchange.notes().and_then(|notes| notes.request_id.clone());
        if let Some(id) = id.filter(|_| self.config.response) {
            response.headers_mut().insert(self.config.header.clone(), id);
        }
        response
    }
}

/// Whether somebody else's name may go into fields and logs.
fn is_name(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(byte);
    (1..=LONGEST).contains(&text.len()) && text.iter().all(is_plain)
}

/// Longer names are not kept.
const LONGEST: usize = 128;

/// A UUID of version 7: 48 bits of milliseconds, 74 random ones.
fn make(now: SystemTime) -> HeaderValue {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut id = [0; 16];
    let [_, _, time @ ..] = millis.to_be_bytes();
    let random: [u8; 10] = random::bytes();
    for (to, from) in id.iter_mut().zip(time.into_iter().chain(random)) {
        *to = from;
    }
    id[6] = 0x70 | (id[6] & 0x0f);
    id[8] = 0x80 | (id[8] & 0x3f);
    let mut text = Vec::with_capacity(36);
    for (i, byte) in id.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        push_hex(byte, &mut text);
    }
    // Hexadecimal digits and dashes are a value.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("-"))
}

/// Two digits.
pub(super) fn push_hex(byte: u8, to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    to.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::body::Body;

    const NAME: HeaderName = HeaderName::from_static("x-request-id");

    /// What the handler and the client see of the name, where the peer is a stranger.
    fn pass(keep: Keep, response: bool, sent: &[&str]) -> (String, Option<String>) {
        pass_from(None, keep, response, sent)
    }

    /// The same, where the peer is a trusted proxy that names its client.
    fn pass_from(
        client: Option<IpAddr>,
        keep: Keep,
        response: bool,
        sent: &[&str],
    ) -> (String, Option<String>) {
        let mut request = Request::new(sterna_net::Body::empty());
        for id in sent {
            request.headers_mut().append(NAME, HeaderValue::try_from(*id).expect("a value"));
        }
        let station = Config { header: NAME, keep, response }.build();
        let mut exchange = Exchange::of_client(client, &request);
        drop(station.on_request(&mut exchange, &mut request));
        let answer = station.on_response(&mut exchange, Response::new(Body::empty()));
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        assert_eq!(request.headers().get_all(NAME).iter().count(), 1);
        (text(&request.headers()[NAME]), answer.headers().get(NAME).map(text))
    }

    #[test]
    fn a_name_is_made_sent_on_and_told() {
        let (seen, told) = pass(Keep::Trusted, true, &[]);
        assert_eq!(told.as_ref(), Some(&seen));
        assert_eq!(pass(Keep::Trusted, false, &[]).1, None);
    }

    #[test]
    fn a_name_that_is_made_is_a_uuid_of_version_7_that_sorts_by_time() {
        let at = |millis| {
            let id = make(UNIX_EPOCH + Duration::from_millis(millis));
            id.to_str().expect("text").to_owned()
        };
        let id = at(0x0123_4567_89ab);
        assert!(id.starts_with("01234567-89ab-7"), "{id}");
        assert_eq!((id.len(), id.matches('-').count()), (36, 4));
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert!(at(1000) < at(1001));
        assert_ne!(at(1000), at(1000));
    }

    #[test]
    fn the_name_of_a_stranger_is_not_kept_unless_everybody_s_are() {
        assert_ne!(pass(Keep::Trusted, true, &["mine"]).0, "mine");
        assert_ne!(pass(Keep::Never, true, &["mine"]).0, "mine");
        assert_eq!(pass(Keep::Always, true, &["mine"]).0, "mine");
    }

    #[test]
    fn the_name_of_a_trusted_proxy_is_kept_unless_nobody_s_are() {
        let proxy = Some(IpAddr::from([192, 0, 2, 1]));
        for (keep, is_kept) in [(Keep::Trusted, true), (Keep::Always, true), (Keep::Never, false)] {
            assert_eq!(
                pass_from(proxy, keep, true, &["theirs"]).0 == "theirs",
                is_kept,
                "{keep:?}"
            );
        }
    }

    #[test]
    fn what_is_no_plain_name_or_not_the_only_one_is_replaced() {
        let (longest, longer) = ("a".repeat(128), "a".repeat(129));
        assert_eq!(pass(Keep::Always, true, &[&longest]).0, longest);
        for sent in [&[longer.as_str()][..], &["a b"], &["a\"b"], &[""], &["a", "b"]] {
            assert_eq!(pass(Keep::Always, true, sent).0.len(), 36, "{sent:?}");
        }
    }
}
