//! The static table (RFC 9204 §3.1 and appendix A), by index and by content.

/// The entry at `index`: name and value.
pub(crate) fn entry(index: u64) -> Option<(&'static str, &'static str)> {
    // req: 9204-3.1-index-from-zero
    ENTRIES.get(usize::try_from(index).ok()?).copied()
}

/// What the table knows of a field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// This entry is the field line.
    Line(u8),
    /// This entry, the first of that name, has another value.
    Name(u8),
}

/// Finds a field line, or at least its name.
pub(crate) fn find(name: &[u8], value: &[u8]) -> Option<Match> {
    let first = find_name(name)?;
    let mut at = first;
    loop {
        if ENTRIES[usize::from(at)].1.as_bytes() == value {
            return Some(Match::Line(at));
        }
        at = NEXT[usize::from(at)];
        if at == NONE {
            return Some(Match::Name(first));
        }
    }
}

/// The first entry of that name.
fn find_name(name: &[u8]) -> Option<u8> {
    let mut slot = slot(name);
    loop {
        let at = SLOTS[slot];
        if at == NONE {
            return None;
        }
        if ENTRIES[usize::from(at)].0.as_bytes() == name {
            return Some(at);
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// Where to begin looking for a name: length and both ends tell the names of the table apart well enough.
const fn slot(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [only] => *only as usize % SLOTS.len(),
        [first, .., last] => (name.len() + *first as usize * 9 + *last as usize * 61) % SLOTS.len(),
    }
}

/// The next entry of the same name.
static NEXT: [u8; ENTRIES.len()] = {
    let mut next = [NONE; ENTRIES.len()];
    let mut at = 0;
    while at < ENTRIES.len() {
        let mut later = at + 1;
        while later < ENTRIES.len() {
            if equal(ENTRIES[at].0, ENTRIES[later].0) {
                next[at] = later as u8;
                break;
            }
            later += 1;
        }
        at += 1;
    }
    next
};

/// A hash table with linear probing that holds the first entry of each name.
static SLOTS: [u8; 256] = {
    let mut slots = [NONE; 256];
    let mut at = 0;
    while at < ENTRIES.len() {
        let mut slot = slot(ENTRIES[at].0.as_bytes());
        while slots[slot] != NONE && !equal(ENTRIES[slots[slot] as usize].0, ENTRIES[at].0) {
            slot = (slot + 1) % slots.len();
        }
        if slots[slot] == NONE {
            slots[slot] = at as u8;
        }
        at += 1;
    }
    slots
};

const fn equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// No entry.
const NONE: u8 = 0xff;

/// RFC 9204 appendix A.
pub(crate) static ENTRIES: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_found_at_its_own_index() {
        for (index, (name, value)) in ENTRIES.iter().enumerate() {
            let found = find(name.as_bytes(), value.as_bytes());
            assert_eq!(found, Some(Match::Line(index.try_into().unwrap())));
        }
    }

    #[test]
    fn another_value_finds_the_first_entry_of_the_name() {
        for (name, _) in ENTRIES {
            let first = ENTRIES.iter().position(|entry| entry.0 == name).unwrap();
            let found = find(name.as_bytes(), b"a value that is not in the table");
            assert_eq!(found, Some(Match::Name(first.try_into().unwrap())));
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in ["", "a", ":", ":statu", ":statuss", "x-frame-option", "SERVER", "server "] {
            assert_eq!(find(name.as_bytes(), b""), None, "{name}");
        }
    }

    // req: 9204-3.1-index-from-zero
    #[test]
    fn indices_run_from_0_to_98() {
        assert_eq!(entry(0), Some((":authority", "")));
        assert_eq!(entry(98), Some(("x-frame-options", "sameorigin")));
        assert_eq!(entry(99), None);
        assert_eq!(entry(u64::MAX), None);
    }

    #[test]
    fn a_name_of_the_table_is_found_within_two_probes() {
        for (name, _) in ENTRIES {
            let start = slot(name.as_bytes());
            let first = find_name(name.as_bytes()).unwrap();
            let end = SLOTS.iter().position(|&at| at == first).unwrap();
            assert!((end + SLOTS.len() - start) % SLOTS.len() < 2, "{name}");
        }
    }
}
