//! Conditional requests (RFC 9110 §13): validators of a file, and what a request says about them.
//!
//! Pure: fields and validators in, a verdict out, in the order of RFC 9110 §13.2.2.

use std::time::{Duration, SystemTime};

use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What identifies one state of a file.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    /// A strong entity tag with its quotes.
    pub(super) etag: String,
    /// In whole seconds; none if the clock that wrote it was ahead, or it is no HTTP date.
    pub(super) modified: Option<SystemTime>,
}

/// What the preconditions of a request for a file that exists come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has this state.
    NotModified,
    /// 412: the client wants another state.
    Failed,
}

impl Validators {
    /// Evaluates the preconditions of a GET or HEAD request.
    pub(super) fn evaluate(&self, headers: &HeaderMap) -> Verdict {
        // req: 9110-13.2.2-order
        // req: 9110-13.1.1-strong
        // req: 9110-13.1.4-match-first
        if headers.contains_key(IF_MATCH) {
            if !self.listed(headers, &IF_MATCH, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let Some(date) = date(headers, &IF_UNMODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified > date)
        {
            return Verdict::Failed;
        }
        // req: 9110-13.1.2-weak
        // req: 9110-13.1.3-none-match-first
        if headers.contains_key(IF_NONE_MATCH) {
            if self.listed(headers, &IF_NONE_MATCH, Comparison::Weak) {
                return Verdict::NotModified;
            }
        } else if let Some(date) = date(headers, &IF_MODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified <= date)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether `If-Range`, if there is one, lets a `Range` apply (RFC 9110 §13.1.5).
    ///
    /// `now` is what the response's `Date` will say.
    pub(super) fn range_applies(&self, headers: &HeaderMap, now: SystemTime) -> bool {
        let Some(field) = only(headers, &IF_RANGE) else {
            return !headers.contains_key(IF_RANGE);
        };
        // req: 9110-13.1.5-strong
        if field.contains(&b'"') {
            return field == self.etag.as_bytes();
        }
        // A date is strong only if the file cannot have changed twice within its second
        // (RFC 9110 §8.8.2.2).
        let given = parse_date(field);
        given.is_some()
            && given == self.modified
            && given.is_some_and(|date| date + Duration::from_secs(1) <= now)
    }

    /// Whether a list of entity tags holds ours; `*` holds any.
    fn listed(&self, headers: &HeaderMap, name: &HeaderName, comparison: Comparison) -> bool {
        let fields = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii());
        fields.into_iter().any(|field| {
            field == b"*"
                || Tags(field).any(|tag| {
                    tag.opaque == self.etag.as_bytes()
                        && (comparison == Comparison::Weak || !tag.is_weak)
                })
        })
    }
}

/// RFC 9110 §8.8.3.2; our own tag is always strong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The entity tags of one field line; ends at the first mistake.
struct Tags<'a>(&'a [u8]);

struct Tag<'a> {
    is_weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let field = &self.0[start..];
        let (is_weak, field) = match field.strip_prefix(b"W/") {
            Some(field) => (true, field),
            None => (false, field),
        };
        let inner = field.strip_prefix(b"\"")?;
        let end = inner.iter().position(|&byte| byte == b'"')? + 2;
        let (opaque, rest) = field.split_at(end);
        self.0 = rest;
        Some(Tag { is_weak, opaque })
    }
}

/// The value of a field that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// The date in a field that occurs once; a field that holds none is ignored.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    only(headers, name).and_then(parse_date)
}

fn parse_date(field: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(field).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The file of these tests was modified at this time and has the tag `"a"`.
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn file() -> Validators {
        Validators { etag: "\"a\"".into(), modified: parse_date(MODIFIED.as_bytes()) }
    }

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_rfc() {
        // req: 9110-13.2.2-order
        // req: 9110-13.1.1-strong
        // req: 9110-13.1.2-weak
        // req: 9110-13.1.3-none-match-first
        // req: 9110-13.1.4-match-first
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(Fields, Verdict)] = &[
            (&[], Proceed),
            (&[(IF_MATCH, "*")], Proceed),
            (&[(IF_MATCH, "\"a\"")], Proceed),
            (&[(IF_MATCH, "\"b\", \"a\"")], Proceed),
            (&[(IF_MATCH, "\"b\"")], Failed),
            (&[(IF_MATCH, "W/\"a\"")], Failed),
            (&[(IF_MATCH, "")], Failed),
            (&[(IF_MATCH, "\"b\""), (IF_MATCH, "\"a\"")], Proceed),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], Failed),
            (&[(IF_UNMODIFIED_SINCE, MODIFIED)], Proceed),
            (&[(IF_UNMODIFIED_SINCE, AFTER)], Proceed),
            (&[(IF_UNMODIFIED_SINCE, "yesterday")], Proceed),
            (&[(IF_MATCH, "\"a\""), (IF_UNMODIFIED_SINCE, BEFORE)], Proceed),
            (&[(IF_NONE_MATCH, "*")], NotModified),
            (&[(IF_NONE_MATCH, "\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "W/\"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "\"b\"")], Proceed),
            (&[(IF_NONE_MATCH, "\"b,\"a\"")], Proceed),
            (&[(IF_NONE_MATCH, "\"b\",W/\"c\" , \"a\"")], NotModified),
            (&[(IF_NONE_MATCH, "a")], Proceed),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, AFTER)], Proceed),
            (&[(IF_MODIFIED_SINCE, BEFORE)], Proceed),
            (&[(IF_MODIFIED_SINCE, MODIFIED)], NotModified),
            (&[(IF_MODIFIED_SINCE, AFTER)], NotModified),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Proceed),
            (&[(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)], Proceed),
            (&[(IF_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], Failed),
            (&[(IF_MATCH, "\"a\""), (IF_NONE_MATCH, "\"a\"")], NotModified),
        ];
        for (fields, verdict) in table {
            assert_eq!(file().evaluate(&headers(fields)), *verdict, "{fields:?}");
        }
    }

    type Fields = &'static [(HeaderName, &'static str)];

    #[test]
    fn if_range_lets_only_a_strong_match_pass() {
        let modified = parse_date(MODIFIED.as_bytes()).expect("a date");
        // req: 9110-13.1.5-strong
        let later = modified + Duration::from_secs(1);
        let table: &[(Fields, SystemTime, bool)] = &[
            (&[], later, true),
            (&[(IF_RANGE, "\"a\"")], later, true),
            (&[(IF_RANGE, "W/\"a\"")], later, false),
            (&[(IF_RANGE, "\"b\"")], later, false),
            (&[(IF_RANGE, "\"a\", \"b\"")], later, false),
            (&[(IF_RANGE, MODIFIED)], later, true),
            (&[(IF_RANGE, MODIFIED)], modified + Duration::from_millis(999), false),
            (&[(IF_RANGE, BEFORE)], later, false),
            (&[(IF_RANGE, AFTER)], later, false),
            (&[(IF_RANGE, "nonsense")], later, false),
            (&[(IF_RANGE, "\"a\""), (IF_RANGE, "\"a\"")], later, false),
        ];
        for (fields, now, applies) in table {
            assert_eq!(file().range_applies(&headers(fields), *now), *applies, "{fields:?}");
        }
    }

    #[test]
    fn a_file_without_a_date_never_matches_one() {
        let file = Validators { modified: None, ..file() };
        for name in [IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            assert_eq!(file.evaluate(&headers(&[(name, AFTER)])), Verdict::Proceed);
        }
        assert!(!file.range_applies(&headers(&[(IF_RANGE, MODIFIED)]), SystemTime::now()));
    }
}
