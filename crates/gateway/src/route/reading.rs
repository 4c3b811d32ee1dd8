//! The ways in which servers read a path.
//!
//! A route guards what a backend does with a path, and backends do not read all paths alike: some merge slashes, some
//! decode `%2F` before they split, some take what follows a semicolon for a parameter. A path with `.` or `..` in it has a
//! plain form that every client sends of its own accord (RFC 3986 §5.2.4), and any other path is served only where all
//! readings of it take the same route.

use percent_encoding::percent_decode;

/// Whether there is one way alone to read it, which costs one look at it.
pub(super) fn is_plain(path: &str) -> bool {
    let mut before = 0;
    !path.bytes().any(|byte| {
        let begins_segment = std::mem::replace(&mut before, byte) == b'/';
        matches!(byte, b'%' | b';' | b'\\') || (begins_segment && matches!(byte, b'/' | b'.'))
    })
}

/// What a server does to a path beyond decoding its segments once.
#[derive(Clone, Copy, Debug)]
struct Habits {
    /// Decodes what it has decoded.
    decodes_again: bool,
    /// Splits at encoded slashes and at backslashes.
    splits_everywhere: bool,
    /// Leaves out parameters, blanks and all behind a NUL.
    leaves_out: bool,
    /// Takes several slashes for one.
    merges: bool,
}

/// All readings but the plain one; `None` for a path with a segment that is `.` or `..` to anybody, and for one that it would
/// cost too much to read so often.
pub(super) fn others(path: &str) -> Option<impl Iterator<Item = String>> {
    if path.len() > LONGEST {
        return None;
    }
    let bare = decoded(path.as_bytes(), MOST_DECODED);
    if split(&bare, true).any(|segment| matches!(kept(segment), b"." | b"..")) {
        return None;
    }
    let decodes_again = if bare == decoded(path.as_bytes(), 1) { 0 } else { AGAIN };
    let is_split = split(&bare, true).count() == path.split('/').count();
    let splits_everywhere = if is_split { 0 } else { EVERYWHERE };
    let is_kept = split(&bare, true).all(|segment| kept(segment) == segment);
    let leaves_out = if is_kept { 0 } else { OUT };
    let others = decodes_again | splits_everywhere | leaves_out;
    let merges = if others == 0 && !path.contains("//") { 0 } else { MERGES };
    let path = path.to_owned();
    // Habits that change nothing in this path are not tried.
    let makes_sense = move |set: &u8| set & !(others | merges) == 0;
    Some((1..=AGAIN | EVERYWHERE | OUT | MERGES).filter(makes_sense).map(move |set| {
        let has = |habit: u8| set & habit != 0;
        let (decodes_again, splits_everywhere) = (has(AGAIN), has(EVERYWHERE));
        let (leaves_out, merges) = (has(OUT), has(MERGES));
        read(&path, Habits { decodes_again, splits_everywhere, leaves_out, merges })
    }))
}

const AGAIN: u8 = 1;
const EVERYWHERE: u8 = 2;
const OUT: u8 = 4;
const MERGES: u8 = 8;

/// As patterns are written: an encoded slash that separates nothing stays.
fn read(path: &str, habits: Habits) -> String {
    let times = if habits.decodes_again { MOST_DECODED } else { 1 };
    let segments: Vec<Vec<u8>> = if habits.splits_everywhere {
        let whole = decoded(path.as_bytes(), times);
        let end = whole.iter().position(|byte| habits.leaves_out && b"\0?#".contains(byte));
        let whole = whole.get(..end.unwrap_or(whole.len())).unwrap_or_default();
        split(whole, true).map(<[u8]>::to_vec).collect()
    } else {
        split(path.as_bytes(), false).map(|segment| decoded(segment, times)).collect()
    };
    let last = segments.len().saturating_sub(1);
    let mut text = String::with_capacity(path.len());
    for (i, segment) in segments.iter().enumerate().skip(1) {
        let segment = if habits.leaves_out { kept(segment) } else { segment };
        if habits.merges && segment.is_empty() && i != last {
            continue;
        }
        text.push('/');
        text.push_str(&String::from_utf8_lossy(segment).replace('/', "%2F"));
    }
    text
}

fn split(path: &[u8], everywhere: bool) -> impl Iterator<Item = &[u8]> {
    path.split(move |&byte| byte == b'/' || (everywhere && byte == b'\\'))
}

/// A segment without its parameters, what a C string would lose, and blanks around it.
fn kept(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|byte| b";\0?#".contains(byte));
    let name = segment.get(..end.unwrap_or(segment.len())).unwrap_or_default();
    name.trim_ascii()
}

/// Decoded `times` over, with slashes and dots that are longer in UTF-8 than they may be (RFC 3629 §10).
fn decoded(text: &[u8], times: usize) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..times {
        if !text.contains(&b'%') {
            break;
        }
        text = percent_decode(&text).collect();
    }
    if text.iter().any(|byte| matches!(byte, 0xc0 | 0xc1)) { shortened(&text) } else { text }
}

fn shortened(text: &[u8]) -> Vec<u8> {
    let mut short = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [0xc0, 0xae, rest @ ..] => {
                short.push(b'.');
                rest
            }
            [0xc0, 0xaf, rest @ ..] => {
                short.push(b'/');
                rest
            }
            [0xc1, 0x9c, rest @ ..] => {
                short.push(b'\\');
                rest
            }
            [byte, rest @ ..] => {
                short.push(*byte);
                rest
            }
            [] => return short,
        };
    }
}

/// More often than any server decodes.
const MOST_DECODED: usize = 4;

/// In bytes. Longer ones are not sent by people, and each reading costs as much as the path is long.
const LONGEST: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_one_reading_is_not_looked_at_twice() {
        for path in ["/", "/a/b.html", "/a/b/", "/A-b_c~d/e:f@g!$&'()*+,=", "*", "", "/a..b/c."] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["/a%20b", "/a;b", "/a\\b", "//a", "/a//b", "/.well-known/x", "/a/.."] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn a_segment_that_climbs_is_seen_in_every_spelling() {
        for path in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c..",
            "/..;x=1/b",
            "/a/..%3bx/b",
            "/..%00/b",
            "/..%20/b",
            "/%252e%252e/b",
            "/%25252e/b",
            "/a%c0%af..",
            "/%c0%ae%c0%ae/b",
            "/..%23/b",
            "/a%00/../b",
        ] {
            assert!(others(path).is_none(), "{path}");
        }
        for path in
            ["/...", "/.well-known/x", "/a..b", "/..a", "/a%20b", "/%2ehtaccess", "/a;v=1.2/b"]
        {
            assert!(others(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_only_looks_odd_is_not_read_again_and_what_is_too_long_is_not_read_at_all() {
        let count = |path: &str| others(path).map(Iterator::count);
        for path in ["/a%20b", "/a%C3%A4/b%40c", "/.well-known/x", "/a/%41"] {
            assert_eq!(count(path), Some(0), "{path}");
        }
        assert_eq!(count("/a//b"), Some(1));
        assert_eq!(count("/a%252fb;c//"), Some(15));
        let long = format!("/b{}", "%20a".repeat(LONGEST / 4 - 1));
        assert_eq!(count(&long), Some(0), "just short enough");
        assert_eq!(count(&format!("{long}%20a")), None);
    }

    #[test]
    fn what_a_path_may_be_to_others_is_among_its_readings() {
        for (path, reading) in [
            ("//admin", "/admin"),
            ("/a//b///c/", "/a/b/c/"),
            ("/admin;x=1", "/admin"),
            ("/admin;x/y;z", "/admin/y"),
            ("/admin%2Fusers", "/admin/users"),
            ("/admin%252Fusers", "/admin/users"),
            ("/admin\\users", "/admin/users"),
            ("/admin%5cusers", "/admin/users"),
            ("/admin%c0%afusers", "/admin/users"),
            ("/%2fadmin", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/admin%00.html", "/admin"),
            ("/admin%3fx", "/admin"),
            ("/admin%20", "/admin"),
            ("/admin%0a", "/admin"),
        ] {
            let all: Vec<String> = others(path).expect("it does not climb").collect();
            assert!(all.iter().any(|one| one == reading), "{path}: {all:?}");
        }
    }
}
