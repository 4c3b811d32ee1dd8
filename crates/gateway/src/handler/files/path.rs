//! From the path of a request to the name of a file under the root.
//!
//! Pure: it decodes and refuses, and opens nothing. What a name may reach on the file system is
//! held by [`super::root`]; the two together keep a request inside the root, and each does so alone.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Why a path names nothing that we would open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The path is no path: a broken percent-encoding, or an encoded NUL.
    Malformed,
    /// The path leads outside, names a hidden file, or is written in more than one way.
    Hidden,
}

/// A name below the root, decoded: relative, without `.`, `..` or empty segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    bytes: Cow<'a, [u8]>,
    /// The request path ended in a slash, so that it names a directory.
    is_directory: bool,
}

impl<'a> Name<'a> {
    /// Reads the path of a request target.
    ///
    /// Percent-encodings are decoded once, so that `%252e` is the name `%2e` and not a dot. A slash
    /// that was encoded, a backslash and an empty or dot segment are refused: no file that we
    /// serve needs them, and each is a second way to write a path that a filter before us has
    /// read in the first way. Names beginning with a dot are hidden, but for `/.well-known/`
    /// (RFC 8615).
    pub(super) fn parse(path: &'a str) -> Result<Self, Refusal> {
        let relative = path.strip_prefix('/').ok_or(Refusal::Malformed)?;
        check_encoding(relative.as_bytes())?;
        let decoded: Cow<'a, [u8]> = percent_decode(relative.as_bytes()).into();
        if decoded.contains(&0) {
            return Err(Refusal::Malformed);
        }
        if decoded.contains(&b'\\') || slashes(&decoded) != slashes(relative.as_bytes()) {
            return Err(Refusal::Hidden);
        }
        let is_directory = decoded.is_empty() || decoded.ends_with(b"/");
        let mut segments = decoded.strip_suffix(b"/").unwrap_or(&decoded).split(|&b| b == b'/');
        let first = segments.next().unwrap_or_default();
        if first != WELL_KNOWN && !decoded.is_empty() && is_hidden(first) {
            return Err(Refusal::Hidden);
        }
        if segments.any(is_hidden) {
            return Err(Refusal::Hidden);
        }
        Ok(Self { bytes: decoded, is_directory })
    }

    /// What to open: the name itself, or the index of the directory that it names.
    pub(super) fn file(&self) -> Cow<'_, [u8]> {
        if self.is_directory {
            Cow::Owned([&self.bytes, INDEX].concat())
        } else {
            Cow::Borrowed(&self.bytes)
        }
    }
}

/// Whether a segment is empty, or begins with a dot (`.` and `..` among them).
fn is_hidden(segment: &[u8]) -> bool {
    segment.first().is_none_or(|&byte| byte == b'.')
}

fn slashes(path: &[u8]) -> usize {
    path.iter().filter(|&&byte| byte == b'/').count()
}

/// Each `%` is followed by two hexadecimal digits.
fn check_encoding(path: &[u8]) -> Result<(), Refusal> {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        rest = match &rest[at + 1..] {
            [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            _ => return Err(Refusal::Malformed),
        };
    }
    Ok(())
}

const WELL_KNOWN: &[u8] = b".well-known";
const INDEX: &[u8] = b"index.html";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> Result<Vec<u8>, Refusal> {
        Name::parse(path).map(|name| name.file().into_owned())
    }

    #[test]
    fn ordinary_paths_name_files_and_directories_their_index() {
        let table: &[(&str, &[u8])] = &[
            ("/", b"index.html"),
            ("/a", b"a"),
            ("/a/", b"a/index.html"),
            ("/a/b.txt", b"a/b.txt"),
            ("/a%20b", b"a b"),
            ("/%E2%82%AC", "\u{20ac}".as_bytes()),
            ("/%ff", b"\xff"),
            ("/a..b/..c.txt".split_at(5).0, b"a..b"),
            ("/.well-known/acme", b".well-known/acme"),
            ("/%252e%252e/x", b"%2e%2e/x"),
        ];
        for &(path, name) in table {
            assert_eq!(file(path).as_deref(), Ok(name), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let hidden = [
            "/..",
            "/../",
            "/../etc/passwd",
            "/a/../b",
            "/a/..",
            "/%2e%2e/x",
            "/.%2e/x",
            "/%2E%2E/x",
            "/.",
            "/./a",
            "/a/./b",
            "//",
            "//etc/passwd",
            "/a//b",
            "/a//",
            "/%2fetc/passwd",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fx",
            "/a\\b",
            "/..\\..\\x",
            "/%5c..%5cx",
            "/.git/config",
            "/a/.env",
            "/%2egit/config",
            "/a/.well-known/b",
            "/.well-known/.x",
            "/...",
            "/%2e%2e%2f%2e%2e%2fx",
        ];
        for path in hidden {
            assert_eq!(file(path), Err(Refusal::Hidden), "{path}");
        }
    }

    #[test]
    fn a_path_that_is_none_is_malformed() {
        for path in ["", "*", "a", "/%", "/%4", "/%zz", "/a%2", "/%00", "/a%00.txt", "/%2%65"] {
            assert_eq!(file(path), Err(Refusal::Malformed), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_path_has_a_segment_that_climbs(path in "/([a.%/\\\\]|%2[eEfF]|%5c|%25){0,12}") {
            if let Ok(name) = file(&path) {
                prop_assert!(!name.starts_with(b"/") && !name.contains(&b'\\'));
                for segment in name.split(|&byte| byte == b'/') {
                    prop_assert!(!segment.is_empty() && segment != b"." && segment != b"..");
                }
            }
        }
    }
}
