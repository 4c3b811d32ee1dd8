//! `Vary`: which fields of the request the response depends on (RFC 9110 §12.5.5).

use http::header::{HeaderMap, VARY};
use http::{HeaderName, HeaderValue};

/// Adds a name, unless it or `*` is there.
pub(crate) fn add(headers: &mut HeaderMap, name: HeaderName) {
    let mut listed = headers
        .get_all(VARY)
        .iter()
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii);
    let is_there =
        listed.any(|one| one == b"*" || one.eq_ignore_ascii_case(name.as_str().as_bytes()));
    if !is_there {
        // req: 9110-12.5.5-vary
        headers.append(VARY, HeaderValue::from_name(name));
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_ENCODING, ORIGIN};

    use super::*;

    #[test]
    fn a_name_is_added_once_and_not_beside_a_star() {
        for (before, after) in [
            (&[][..], &["origin"][..]),
            (&["Accept-Encoding, Origin"], &["Accept-Encoding, Origin"]),
            (&["accept", "ORIGIN"], &["accept", "ORIGIN"]),
            (&["*"], &["*"]),
            (&["origin-trial"], &["origin-trial", "origin"]),
        ] {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(VARY, HeaderValue::from_static(value));
            }
            add(&mut headers, ORIGIN);
            let fields: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(fields, after, "{before:?}");
        }
    }

    #[test]
    fn several_names_are_several_fields() {
        let mut headers = HeaderMap::new();
        add(&mut headers, ORIGIN);
        add(&mut headers, ACCEPT_ENCODING);
        add(&mut headers, ORIGIN);
        assert_eq!(headers.get_all(VARY).iter().count(), 2);
    }
}
