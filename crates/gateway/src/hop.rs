//! What a request says to us alone: the fields that its `Connection` names (RFC 9110 §7.6.1).
//!
//! They are gone before the first station sees the request. Later a name in `Connection` could be that of a field which a station
//! has added, such as the name of the user that a token proves: the client would take away what the backend trusts in.

use http::HeaderValue;
use http::header::{CONNECTION, HeaderMap, HeaderName};
use smallvec::SmallVec;

/// Takes the fields out that `Connection` names, and their names out of it.
///
/// What a connection is asked to do stays, such as `close` and `upgrade`, and so do fields that we need ourselves and that whoever passes
/// the request on deals with.
pub(crate) fn take_named(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let options = headers.get_all(CONNECTION).iter().flat_map(tokens);
    let names = options.filter_map(|option| HeaderName::from_bytes(option).ok());
    let (kept, named): (SmallVec<[HeaderName; 4]>, SmallVec<[HeaderName; 4]>) =
        names.partition(stays);
    if named.is_empty() {
        return;
    }
    for name in named {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    for option in kept {
        headers.append(CONNECTION, HeaderValue::from(option));
    }
}

/// The members of a list, without parameters.
pub(crate) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let members = value.as_bytes().split(|&byte| byte == b',');
    members.map(|member| member.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii())
}

fn stays(option: &HeaderName) -> bool {
    matches!(
        option.as_str(),
        "close" | "keep-alive" | "host" | "te" | "upgrade"
            // RFC 8470 §5.1: it may not be removed.
            | "early-data"
            // What keeps requests from going round and round.
            | "via"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        take_named(&mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn named_fields_go_and_so_do_their_names() {
        let fields = [
            ("connection", "close, X-User ,"),
            ("connection", "x-other;a=b, Authorization, not a name"),
            ("x-user", "root"),
            ("x-user", "other"),
            ("x-other", "1"),
            ("authorization", "Basic x"),
            ("accept", "*/*"),
        ];
        assert_eq!(left(&fields), ["accept: */*", "connection: close"]);
    }

    #[test]
    fn what_is_ours_to_heed_stays_as_it_is() {
        let fields = [
            ("connection", "keep-alive, Upgrade, TE, host, early-data, via"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("host", "site"),
            ("early-data", "1"),
            ("via", "1.1 other"),
        ];
        let lines = fields.map(|(name, value)| format!("{name}: {value}"));
        let mut left = left(&fields);
        left.sort();
        let mut lines = lines.to_vec();
        lines.sort();
        assert_eq!(left, lines);
    }

    #[test]
    fn connection_may_not_name_itself() {
        assert_eq!(
            left(&[("connection", "connection"), ("connection", "close")]),
            ["connection: close"]
        );
    }
}
