//! The handler on real directories: what each request gets, and what none gets.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http_body_util::BodyExt;

use super::*;

/// A directory with a site in it, removed at the end; beside it lies what nobody may read.
pub(super) struct Site {
    pub(super) outer: PathBuf,
}

impl Site {
    pub(super) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sterna-files-{}-{number}", std::process::id());
        let site = Self { outer: std::env::temp_dir().join(name) };
        for dir in ["site/docs", "site/empty", "site/.git", "site/.well-known", "secrets"] {
            fs::create_dir_all(site.outer.join(dir)).expect("created");
        }
        for (name, content) in [
            ("site/index.html", "<h1>home</h1>"),
            ("site/docs/index.html", "docs"),
            ("site/a.txt", "0123456789"),
            ("site/a b.txt", "space"),
            ("site/%2e%2e", "odd name"),
            ("site/nothing", ""),
            ("site/.env", SECRET),
            ("site/.git/config", SECRET),
            ("site/.well-known/thing", "well known"),
            ("secrets/key", SECRET),
        ] {
            fs::write(site.outer.join(name), content).expect("written");
        }
        fs::write(site.outer.join("site/big.bin"), big()).expect("written");
        site
    }

    fn files(&self) -> Files {
        let root = Root::open(&self.outer.join("site")).expect("opened");
        Config::new(root).build()
    }

    async fn request(&self, method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
        answer(&self.files(), method, path, fields).await
    }

    /// A handler with other options than the default.
    fn configured(&self, set: impl FnOnce(&mut Config)) -> Files {
        let mut config = self.files().config;
        set(&mut config);
        config.build()
    }

    /// Writes a file that was changed last at this second since 1970.
    fn write(&self, name: &str, content: impl AsRef<[u8]>, modified: u64) {
        let path = self.outer.join("site").join(name);
        fs::write(&path, content).expect("written");
        let file = fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified)).expect("set");
    }

    async fn fetch(&self, path: &str, fields: &[(HeaderName, &str)]) -> Answer {
        self.request(Method::GET, path, fields).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outer);
    }
}

const SECRET: &str = "secret";

fn big() -> Vec<u8> {
    (0..3 * CHUNK + 17).map(|at| (at * 13 + 5) as u8).collect()
}

fn request(method: Method, path: &str, fields: &[(HeaderName, &str)]) -> Request {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    request.body(sterna_net::Body::empty()).expect("a request")
}

async fn answer(
    files: &Files,
    method: Method,
    path: &str,
    fields: &[(HeaderName, &str)],
) -> Answer {
    let mut request = request(method, path, fields);
    let mut exchange = Exchange::begin(&request, None);
    let answer = files.handle(&mut exchange, &mut request).await;
    Answer::of(answer.unwrap_or_else(|error| error.into_response(request.headers()))).await
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("whole").to_bytes().to_vec();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }

    fn field(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

#[tokio::test]
async fn a_file_comes_whole_with_its_type_length_and_validators() {
    let site = Site::new();
    let answer = site.fetch("/a.txt", &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    assert_eq!(answer.field(CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(answer.field(CONTENT_LENGTH), "10");
    assert_eq!(answer.field(ACCEPT_RANGES), "bytes");
    assert!(answer.field(ETAG).starts_with('"') && answer.field(ETAG).len() > 8, "a strong tag");
    assert!(httpdate::parse_http_date(answer.field(LAST_MODIFIED)).is_ok());
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_content() {
    let site = Site::new();
    for path in ["/a.txt", "/big.bin", "/nothing", "/"] {
        let get = site.fetch(path, &[]).await;
        let head = site.request(Method::HEAD, path, &[]).await;
        assert_eq!((head.status, head.headers, head.body.len()), (200, get.headers, 0), "{path}");
    }
}

#[tokio::test]
async fn a_large_file_comes_in_chunks_and_whole() {
    let site = Site::new();
    let answer = site.fetch("/big.bin", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == big(), "{} bytes", answer.body.len());
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let site = Site::new();
    let answer = site.fetch("/nothing", &[]).await;
    assert_eq!((answer.status, answer.field(CONTENT_LENGTH), answer.text()), (200, "0", ""));
}

#[tokio::test]
async fn a_directory_is_its_index_behind_a_slash() {
    let site = Site::new();
    assert_eq!(site.fetch("/", &[]).await.text(), "<h1>home</h1>");
    assert_eq!(site.fetch("/docs/", &[]).await.text(), "docs");
    let answer = site.fetch("/docs?a=b", &[]).await;
    assert_eq!((answer.status, answer.field(LOCATION)), (301, "/docs/?a=b"));
    assert_eq!(site.fetch("/empty/", &[]).await.status, 404, "no index, no listing");
    assert_eq!(site.fetch("/a.txt/", &[]).await.status, 404, "a file is no directory");
}

#[tokio::test]
async fn one_range_is_a_part_and_what_is_no_range_the_whole() {
    let site = Site::new();
    let table = [
        ("bytes=2-5", 206, "2345", "bytes 2-5/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=0-99", 206, "0123456789", "bytes 0-9/10"),
        ("bytes=5-4", 200, "0123456789", ""),
        ("pages=1-2", 200, "0123456789", ""),
    ];
    for (range, status, content, content_range) in table {
        let answer = site.fetch("/a.txt", &[(RANGE, range)]).await;
        let read = (answer.status, answer.text(), answer.field(CONTENT_RANGE));
        assert_eq!(read, (status, content, content_range), "{range}");
        assert_eq!(answer.field(CONTENT_LENGTH), content.len().to_string(), "{range}");
    }
}

#[tokio::test]
async fn a_range_without_a_byte_is_416_with_the_length() {
    let site = Site::new();
    // req: 9110-15.5.17-length
    for (path, range, content_range) in [
        ("/a.txt", "bytes=10-", "bytes */10"),
        ("/a.txt", "bytes=-0", "bytes */10"),
        ("/nothing", "bytes=0-", "bytes */0"),
    ] {
        let answer = site.fetch(path, &[(RANGE, range)]).await;
        assert_eq!((answer.status, answer.field(CONTENT_RANGE)), (416, content_range), "{range}");
    }
}

#[tokio::test]
async fn head_ignores_a_range_and_two_range_fields_select_the_whole() {
    let site = Site::new();
    // req: 9110-14.2-get-only
    let head = site.request(Method::HEAD, "/a.txt", &[(RANGE, "bytes=0-1")]).await;
    assert_eq!((head.status, head.field(CONTENT_LENGTH)), (200, "10"));
    let twice = site.fetch("/a.txt", &[(RANGE, "bytes=0-1"), (RANGE, "bytes=4-5")]).await;
    assert_eq!(twice.status, 200);
}

#[tokio::test]
async fn a_part_of_a_large_file_is_exact_at_the_chunk_border() {
    let site = Site::new();
    let chunk = CHUNK as u64;
    for (first, last) in
        [(0, chunk - 1), (0, chunk), (chunk - 1, 2 * chunk), (chunk + 1, 3 * chunk + 16)]
    {
        let answer = site.fetch("/big.bin", &[(RANGE, &format!("bytes={first}-{last}"))]).await;
        assert_eq!(answer.status, 206);
        assert!(answer.body == big()[first as usize..=last as usize], "{first}-{last}");
    }
}

#[tokio::test]
async fn conditional_requests_are_304_and_412() {
    let site = Site::new();
    let whole = site.fetch("/a.txt", &[]).await;
    let (etag, date) = (whole.field(ETAG), whole.field(LAST_MODIFIED));
    // req: 9110-15.4.5-validators
    for fields in [&[(IF_NONE_MATCH, etag)], &[(IF_MODIFIED_SINCE, date)]] {
        let answer = site.fetch("/a.txt", fields).await;
        assert_eq!((answer.status, answer.text(), answer.field(ETAG)), (304, "", etag));
        assert_eq!(answer.headers.get(CONTENT_LENGTH), None);
    }
    assert_eq!(site.fetch("/a.txt", &[(IF_MATCH, "\"other\"")]).await.status, 412);
    assert_eq!(site.fetch("/a.txt", &[(IF_MATCH, etag), (RANGE, "bytes=0-0")]).await.status, 206);
    // A condition comes before the range.
    let both = site.fetch("/a.txt", &[(IF_NONE_MATCH, etag), (RANGE, "bytes=99-")]).await;
    assert_eq!(both.status, 304);
    // A condition on nothing is not looked at.
    assert_eq!(site.fetch("/missing", &[(IF_NONE_MATCH, "*")]).await.status, 404);
}

#[tokio::test]
async fn a_range_of_another_version_becomes_the_whole_of_this_one() {
    let site = Site::new();
    let before = site.fetch("/a.txt", &[]).await;
    let fields = [(IF_RANGE, before.field(ETAG)), (RANGE, "bytes=1-2")];
    assert_eq!(site.fetch("/a.txt", &fields).await.text(), "12");
    fs::write(site.outer.join("site/new"), "abcdefghij").expect("written");
    fs::rename(site.outer.join("site/new"), site.outer.join("site/a.txt")).expect("renamed");
    let answer = site.fetch("/a.txt", &fields).await;
    assert_eq!((answer.status, answer.text()), (200, "abcdefghij"));
    assert_ne!(answer.field(ETAG), before.field(ETAG));
}

#[tokio::test]
async fn a_time_in_the_future_is_not_told() {
    let site = Site::new();
    // req: 9110-8.8.2.1-not-after-date
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let file = fs::File::options().write(true).open(site.outer.join("site/a.txt")).expect("opened");
    file.set_modified(tomorrow).expect("set");
    let answer = site.fetch("/a.txt", &[]).await;
    assert_eq!((answer.status, answer.field(LAST_MODIFIED)), (200, ""));
}

#[tokio::test]
async fn other_methods_are_405_with_those_allowed() {
    let site = Site::new();
    // req: 9110-15.5.6-allow
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let answer = site.request(method, "/a.txt", &[]).await;
        assert_eq!((answer.status, answer.field(ALLOW)), (405, "GET, HEAD"));
    }
}

#[tokio::test]
async fn nothing_outside_and_nothing_hidden_is_served() {
    let site = Site::new();
    let inside = site.outer.join("site");
    symlink("../../secrets", inside.join("docs/up")).expect("linked");
    symlink("../secrets/key", inside.join("key.txt")).expect("linked");
    symlink(site.outer.join("secrets/key"), inside.join("absolute.txt")).expect("linked");
    symlink("loop", inside.join("loop")).expect("linked");
    symlink("/proc/self/root/etc/hostname", inside.join("magic")).expect("linked");
    let climbing = [
        "/../secrets/key",
        "/docs/../../secrets/key",
        "/%2e%2e/secrets/key",
        "/%2E%2E/secrets/key",
        "/.%2e/secrets/key",
        "/..%2fsecrets%2fkey",
        "/%2e%2e%2fsecrets%2fkey",
        "/..%5csecrets%5ckey",
        "/..%c0%afsecrets%c0%afkey",
        "/%c0%ae%c0%ae/secrets/key",
        "/%e0%80%ae%e0%80%ae/secrets/key",
        "/%252e%252e/secrets/key",
        "/..%252fsecrets/key",
        "/..;/secrets/key",
        "/....//secrets/key",
        "//secrets/key",
        "/./../secrets/key",
        "/docs/up/key",
        "/docs/up/",
        "/docs/up",
        "/key.txt",
        "/absolute.txt",
        "/loop",
        "/magic",
        "/.env",
        "/.git/config",
        "/%2egit/config",
        "/%2eenv",
        "/docs//index.html",
        "/a.txt%2f",
        "/..",
        "/.",
        "/%2f%2fetc/passwd",
    ];
    for path in climbing {
        let answer = site.fetch(path, &[]).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text().contains(SECRET), "{path}");
    }
    for path in ["/%00", "/a.txt%00.html", "/%", "/%4", "/%zz"] {
        assert_eq!(site.fetch(path, &[]).await.status, 400, "{path}");
    }
}

#[tokio::test]
async fn names_are_decoded_once_and_links_inside_are_followed() {
    let site = Site::new();
    symlink("../a.txt", site.outer.join("site/docs/link.txt")).expect("linked");
    symlink("docs", site.outer.join("site/manual")).expect("linked");
    for (path, content) in [
        ("/a%20b.txt", "space"),
        ("/%252e%252e", "odd name"),
        ("/.well-known/thing", "well known"),
        ("/docs/link.txt", "0123456789"),
        ("/manual/", "docs"),
        ("/%61.txt", "0123456789"),
    ] {
        let answer = site.fetch(path, &[]).await;
        assert_eq!((answer.status, answer.text()), (200, content), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_served_and_not_waited_for() {
    let site = Site::new();
    let fifo = site.outer.join("site/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o644.into()).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(site.outer.join("site/socket"));
    for path in ["/fifo", "/socket"] {
        assert_eq!(site.fetch(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_file_without_permission_is_403() {
    use rustix::{process::Uid, thread::set_thread_res_uid};

    let site = Site::new();
    let file = site.outer.join("site/a.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("set");
    assert_eq!(fs::metadata(&site.outer).expect("there").permissions().mode() & 0o5, 0o5);
    // Permissions do not bind root: this thread, and those that it starts, become nobody for a while.
    let is_root = rustix::process::geteuid().is_root();
    let become_user = |id: u32| {
        set_thread_res_uid(None, Uid::from_raw(id), None).expect("allowed");
    };
    if is_root {
        become_user(65534);
    }
    let status = site.fetch("/a.txt", &[]).await.status;
    if is_root {
        become_user(0);
    }
    assert_eq!(status, 403);
}

#[tokio::test]
async fn names_at_the_limits_of_the_file_system_are_404() {
    let site = Site::new();
    let (long, deep) = (format!("/{}", "a".repeat(256)), "/a".repeat(4096));
    for path in [long, deep] {
        assert_eq!(site.fetch(&path, &[]).await.status, 404);
    }
}

#[tokio::test]
async fn what_is_kept_answers_as_the_file_system_does() {
    let site = Site::new();
    let files = site.files();
    let stat = rustix::fs::stat(site.outer.join("site/a.txt")).expect("there");
    let form = Form { varies: true, ..plain(b"a.txt") };
    let kept = Kept::new(b"a.txt".to_vec(), Document::new(&stat, form), None, "0123456789".into());
    let whole = site.fetch("/a.txt", &[]).await;
    let etag = whole.field(ETAG);
    let requests: [&[(HeaderName, &str)]; 8] = [
        &[],
        &[(RANGE, "bytes=2-5")],
        &[(RANGE, "bytes=-1")],
        &[(RANGE, "bytes=10-")],
        &[(IF_NONE_MATCH, etag)],
        &[(IF_MATCH, "\"other\"")],
        &[(IF_RANGE, etag), (RANGE, "bytes=0-0")],
        &[(IF_RANGE, "\"other\""), (RANGE, "bytes=0-0")],
    ];
    for fields in requests {
        let request = request(Method::GET, "/a.txt", fields);
        let opened =
            Answer::of(files.open(&request, Accepts::default()).await.expect("a response")).await;
        assert_eq!(Answer::of(kept.answer(&request)).await, opened, "{fields:?}");
    }
}

mod missing;
mod multipart;
mod precompressed;
mod ranges;
