//! The page that lists a directory, for people: HTML that works without scripts.
//!
//! It shows what the server would serve, and nothing else: no hidden file, nothing that is neither a
//! regular file nor a directory, no link that leads outside.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};

use super::root::Root;
use crate::Response;
use crate::access_log::timestamp::Clock;
use crate::body::Body;
use crate::error::Error;

/// What is in a directory, directories first, each by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// There is more than is listed.
    is_cut: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Sorts directories before files.
    is_file: bool,
    name: Vec<u8>,
    len: u64,
    /// Seconds since 1970.
    modified: u64,
}

impl Listing {
    /// Reads the directory `name`, on the blocking pool.
    ///
    /// # Cancel safety
    /// Dropping the future loses the listing and nothing else.
    pub(super) async fn read(root: &Root, name: &[u8]) -> Result<Self, Error> {
        let (root, name) = (root.clone(), name.to_owned());
        let read = tokio::task::spawn_blocking(move || Self::read_now(&root, &name));
        read.await.map_err(|cause| Error::Io(cause.into()))?
    }

    fn read_now(root: &Root, name: &[u8]) -> Result<Self, Error> {
        let directory = root.directory(name)?;
        let mut entries = Vec::new();
        let mut is_cut = false;
        for entry in Dir::read_from(&directory).map_err(|errno| Error::Io(errno.into()))? {
            let entry = entry.map_err(|errno| Error::Io(errno.into()))?;
            let file = entry.file_name();
            if file.to_bytes().starts_with(b".") {
                continue;
            }
            let stat = statat(&directory, file, AtFlags::SYMLINK_NOFOLLOW).ok();
            let stat = match stat {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    // Through the border of the root, which a link may not cross.
                    root.stat(&join(name, file.to_bytes())).ok()
                }
                stat => stat,
            };
            let Some(entry) = stat.and_then(|stat| Entry::new(file.to_bytes(), &stat)) else {
                continue;
            };
            if entries.len() == MAX_ENTRIES {
                is_cut = true;
                break;
            }
            entries.push(entry);
        }
        entries.sort_unstable();
        Ok(Self { entries, is_cut })
    }

    /// The page; `path` is that of the directory, decoded.
    pub(super) fn respond(&self, path: &[u8]) -> Response {
        let html = self.html(path);
        let len = HeaderValue::from(html.len());
        let mut response = Response::new(Body::full(html.into_bytes()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, len);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        response
    }

    fn html(&self, path: &[u8]) -> String {
        let mut rows = String::new();
        if !path.is_empty() {
            rows.push_str("<tr><td><a href=\"../\">../</a><td><td>\n");
        }
        let mut clock = Clock::default();
        for entry in &self.entries {
            entry.row(&mut clock, &mut rows);
        }
        let rest = if self.is_cut {
            format!("<p>Only {MAX_ENTRIES} are listed; there are more.</p>")
        } else {
            String::new()
        };
        let title = escaped(&format!("/{}", String::from_utf8_lossy(path)));
        // The title last: it may hold anything, among it what is to be filled in.
        PAGE.replace("{rest}", &rest).replace("{rows}", &rows).replace("{title}", &title)
    }
}

impl Entry {
    /// None for what is not served.
    fn new(name: &[u8], stat: &Stat) -> Option<Self> {
        let is_file = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => true,
            FileType::Directory => false,
            _ => return None,
        };
        Some(Self {
            is_file,
            name: name.to_owned(),
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: u64::try_from(stat.st_mtime).unwrap_or_default(),
        })
    }

    fn row(&self, clock: &mut Clock, to: &mut String) {
        let slash = if self.is_file { "" } else { "/" };
        let link = percent_encode(&self.name, PLAIN);
        let name = escaped(&String::from_utf8_lossy(&self.name));
        let size = if self.is_file { size(self.len) } else { String::new() };
        let mut time = Vec::new();
        clock.write(UNIX_EPOCH + Duration::from_secs(self.modified), &mut time);
        let time = String::from_utf8_lossy(&time);
        let (day, minute) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        // Writing to a `String` does not fail.
        let _ = writeln!(
            to,
            "<tr><td><a href=\"{link}{slash}\">{name}{slash}</a><td>{size}<td>{day} {minute}"
        );
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_owned() } else { [directory, b"/", name].concat() }
}

/// In binary units with one decimal: `512 B`, `1.5 KiB`.
fn size(len: u64) -> String {
    let mut unit = "B";
    let mut tenths = u128::from(len) * 10;
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if tenths < 10 * 1024 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    if unit == "B" { format!("{len} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // They would turn the rest of the line around.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            character if character.is_control() => safe.push('\u{fffd}'),
            character => safe.push(character),
        }
    }
    safe
}

/// What stays as it is in a link. A colon does not: `javascript:…` is a name that a file may have.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most entries of a page; more would be megabytes of HTML that nobody reads.
const MAX_ENTRIES: usize = 10_000;

const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const PAGE: &str = include_str!("listing/page.html");

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::handler::files::tests::Site;

    async fn names(root: &Root, name: &[u8]) -> Vec<String> {
        let listing = Listing::read(root, name).await.expect("a listing");
        let name = |entry: Entry| String::from_utf8(entry.name).expect("text");
        listing.entries.into_iter().map(name).collect()
    }

    #[tokio::test]
    async fn what_is_served_is_listed_in_order_and_nothing_else() {
        let site = Site::new();
        let inside = site.outer.join("site/empty");
        for file in ["b", "a", ".hidden", "Z"] {
            fs::write(inside.join(file), file).expect("written");
        }
        fs::create_dir(inside.join("zoo")).expect("created");
        symlink("../a.txt", inside.join("link")).expect("linked");
        symlink("../../secrets/key", inside.join("out")).expect("linked");
        symlink("nowhere", inside.join("dangling")).expect("linked");
        let fifo = inside.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).expect("made");
        let root = Root::open(&site.outer.join("site")).expect("opened");
        assert_eq!(names(&root, b"empty").await, ["zoo", "Z", "a", "b", "link"]);
        assert!(names(&root, b"").await.contains(&"docs".to_owned()));
        for outside in [&b"../secrets"[..], b"missing", b"a.txt"] {
            let refused = Listing::read(&root, outside).await;
            assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
        }
    }

    #[test]
    fn names_cannot_become_markup_schemes_or_other_directories() {
        let entry = |name: &[u8]| Entry { is_file: true, name: name.into(), len: 0, modified: 0 };
        let row = |name: &[u8]| {
            let mut row = String::new();
            entry(name).row(&mut Clock::default(), &mut row);
            row
        };
        let table: &[(&[u8], &str)] = &[
            (b"<b>&\"'", "<a href=\"%3Cb%3E%26%22%27\">&lt;b&gt;&amp;&quot;&#39;</a>"),
            (
                b"javascript:alert(1)",
                "<a href=\"javascript%3Aalert%281%29\">javascript:alert(1)</a>",
            ),
            (b"a b?c#d%e", "<a href=\"a%20b%3Fc%23d%25e\">a b?c#d%e</a>"),
            (b"\xff\n", "<a href=\"%FF%0A\">\u{fffd}\u{fffd}</a>"),
        ];
        for (name, link) in table {
            let row = row(name);
            let rest = row.strip_prefix("<tr><td>").expect("a row");
            assert_eq!(rest, format!("{link}<td>0 B<td>1970-01-01 00:00\n"));
        }
    }

    #[test]
    fn the_title_is_escaped_and_filled_in_last() {
        let listing = Listing { entries: vec![], is_cut: true };
        let html = listing.html(b"<x>{rows}/{rest}");
        assert!(html.contains("<title>/&lt;x&gt;{rows}/{rest}</title>"), "{html}");
        assert!(html.contains("there are more"), "{html}");
        assert!(html.contains("href=\"../\""), "{html}");
        let root = Listing { entries: vec![], is_cut: false }.html(b"");
        assert!(!root.contains("href=\"../\"") && !root.contains("there are more"), "{root}");
    }

    #[test]
    fn sizes_are_short_at_every_border() {
        for (len, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(len), text);
        }
    }
}
