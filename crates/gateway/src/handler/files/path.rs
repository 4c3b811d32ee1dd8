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

    /// Whether the name is that of a directory, by the slash at its end.
    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// The name without the slash at its end; empty for the root.
    pub(super) fn bare(&self) -> &[u8] {
        self.bytes.strip_suffix(b"/").unwrap_or(&self.bytes)
    }

    /// Whether the last segment has an ending, as the names of most files do.
    pub(super) fn has_ending(&self) -> bool {
        self.bytes.rsplit(|&byte| byte == b'/').next().is_some_and(|last| last.contains(&b'.'))
    }

    /// What to open, in this order: the name itself, or each index of the directory that it names.
    pub(super) fn files(&self, index: &[String]) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let own = (!self.is_directory).then_some(Cow::Borrowed(&*self.bytes));
        let index = if self.is_directory { index } else { &[] };
        let index = index.iter().map(|index| Cow::Owned([&self.bytes, index.as_bytes()].concat()));
        own.into_iter().chain(index)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str) -> Result<Vec<u8>, Refusal> {
        let index = ["index.html".to_owned()];
        Name::parse(path).map(|name| name.files(&index).next().expect("one").into_owned())
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
    fn a_directory_is_each_of_its_indices_in_order() {
        let index = ["index.html".to_owned(), "index.htm".to_owned()];
        let files = |path: &'static str| {
            let name = Name::parse(path).expect("a name");
            name.files(&index).map(Cow::into_owned).collect::<Vec<_>>()
        };
        assert_eq!(files("/a/"), [&b"a/index.html"[..], b"a/index.htm"]);
        assert_eq!(files("/a"), [b"a"]);
        let bare = |path| Name::parse(path).map(|name| name.bare().to_vec());
        assert_eq!(bare("/a%20b/c/"), Ok(b"a b/c".to_vec()));
        assert_eq!(bare("/"), Ok(vec![]));
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
