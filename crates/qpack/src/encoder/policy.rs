//! What is worth an insertion.
//!
//! An insertion costs what the literal costs and pays with each later line that refers to it. So a line is inserted when it
//! is seen for the second time, or at once if its name is one whose value stays the same for a whole connection. Lines that
//! hardly ever repeat are never inserted, nor are those that hold secrets: what is in the table can be guessed by someone
//! who may choose other lines and sees lengths (RFC 9204 §7.1).

/// When a field line is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// It changes with every message, or it is a secret.
    Never,
    /// It may repeat: when it does.
    OnSecondSight,
    /// It stays the same on a connection.
    AtOnce,
}

impl Habit {
    /// The habit of a field line, whose name is at `static_name` in the static table if it is there.
    pub(super) fn of(static_name: Option<u8>, name: &[u8], value: &[u8]) -> Self {
        let Some(index) = static_name else {
            return match name {
                b"proxy-authorization" => Self::Never,
                _ => Self::OnSecondSight,
            };
        };
        match index {
            AGE | CONTENT_DISPOSITION | CONTENT_LENGTH | ETAG | IF_MODIFIED_SINCE
            | IF_NONE_MATCH | LOCATION | SET_COOKIE | RANGE | AUTHORIZATION | IF_RANGE => {
                Self::Never
            }
            // req: 9204-7.1.3-short-secrets
            COOKIE if value.len() < SHORT_SECRET => Self::Never,
            AUTHORITY
            | ACCEPT_ENCODING
            | STRICT_TRANSPORT_SECURITY
            | ACCEPT_LANGUAGE
            | ALT_SVC
            | SERVER
            | USER_AGENT => Self::AtOnce,
            _ => Self::OnSecondSight,
        }
    }
}

/// The lines that were seen lately, as far as it can be told from a hash of each.
#[derive(Debug, Default)]
pub(super) struct History {
    /// One hash in each place: a newer line replaces an older one. Empty until first used.
    tags: Box<[u16]>,
}

impl History {
    /// Whether this was seen before; if not, now it was.
    pub(super) fn saw(&mut self, key: u64) -> bool {
        if self.tags.is_empty() {
            self.tags = vec![0; PLACES].into();
        }
        let [high, low, place, ..] = key.to_be_bytes();
        let tag = u16::from_be_bytes([high, low]);
        let Some(place) = self.tags.get_mut(usize::from(place)) else { return false };
        let seen = *place == tag;
        *place = tag;
        seen
    }
}

/// As many as a byte of the hash tells apart.
const PLACES: usize = 256;

/// A secret shorter than this could be guessed (RFC 9204 §7.1.3).
const SHORT_SECRET: usize = 20;

// The first entry of each name in the static table.
const AUTHORITY: u8 = 0;
const AGE: u8 = 2;
const CONTENT_DISPOSITION: u8 = 3;
const CONTENT_LENGTH: u8 = 4;
const COOKIE: u8 = 5;
const ETAG: u8 = 7;
const IF_MODIFIED_SINCE: u8 = 8;
const IF_NONE_MATCH: u8 = 9;
const LOCATION: u8 = 12;
const SET_COOKIE: u8 = 14;
const ACCEPT_ENCODING: u8 = 31;
const RANGE: u8 = 55;
const STRICT_TRANSPORT_SECURITY: u8 = 56;
const ACCEPT_LANGUAGE: u8 = 72;
const ALT_SVC: u8 = 83;
const AUTHORIZATION: u8 = 84;
const IF_RANGE: u8 = 89;
const SERVER: u8 = 92;
const USER_AGENT: u8 = 95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::static_table::{Match, find};

    fn habit(name: &str, value: &str) -> Habit {
        let static_name = find(name.as_bytes(), b"\0").map(|found| match found {
            Match::Line(index) | Match::Name(index) => index,
        });
        Habit::of(static_name, name.as_bytes(), value.as_bytes())
    }

    #[test]
    fn names_have_the_habits_that_are_listed_for_them() {
        for name in [":authority", "accept-encoding", "strict-transport-security"] {
            assert_eq!(habit(name, "x"), Habit::AtOnce, "{name}");
        }
        for name in ["accept-language", "alt-svc", "server", "user-agent"] {
            assert_eq!(habit(name, "x"), Habit::AtOnce, "{name}");
        }
        for name in ["age", "content-disposition", "content-length", "etag", "if-modified-since"] {
            assert_eq!(habit(name, "x"), Habit::Never, "{name}");
        }
        for name in ["if-none-match", "location", "set-cookie", "range", "if-range"] {
            assert_eq!(habit(name, "x"), Habit::Never, "{name}");
        }
        for name in ["content-type", "date", ":path", "cache-control", "x-anything"] {
            assert_eq!(habit(name, "x"), Habit::OnSecondSight, "{name}");
        }
    }

    // req: 9204-7.1.3-short-secrets
    #[test]
    fn secrets_are_never_inserted_unless_they_are_long() {
        let secret = "0123456789abcdefghi";
        assert_eq!(habit("cookie", secret), Habit::Never);
        assert_eq!(habit("cookie", &format!("{secret}j")), Habit::OnSecondSight);
        assert_eq!(habit("authorization", &secret.repeat(3)), Habit::Never);
        assert_eq!(habit("proxy-authorization", &secret.repeat(3)), Habit::Never);
    }

    #[test]
    fn history_remembers_what_nothing_replaced() {
        let mut history = History::default();
        let key = 0x0123_4567_89ab_cdef;
        assert!(!history.saw(key));
        assert!(history.saw(key));
        let same_place = 0x7654_4567_89ab_cdef;
        assert!(!history.saw(same_place));
        assert!(!history.saw(key), "was replaced");
        assert!(history.saw(key));
    }
}
