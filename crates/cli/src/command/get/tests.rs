//! The command line, and what it becomes.

use clap::Parser;
use http::{HeaderMap, Method, StatusCode};

use super::request::Ask;
use super::{Args, GetError};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(line: &str) -> Result<Args, clap::Error> {
    let words = line.split_whitespace();
    Line::try_parse_from(["get"].into_iter().chain(words)).map(|line| line.args)
}

fn args(line: &str) -> Args {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn ask(line: &str) -> Ask {
    Ask::new(&args(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> (u8, String) {
    let error = Ask::new(&args(line)).expect_err(line);
    (error.exit_code(), error.to_string())
}

/// `METHOD URL`, and the names of what is sent along.
fn redirected(line: &str, status: u16, location: &str) -> Result<String, GetError> {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::LOCATION, location.parse().expect("a value"));
    let status = StatusCode::from_u16(status).expect("a status");
    let next = ask(line).redirected(status, &headers)?;
    Ok(next.map_or("nowhere".to_owned(), |next| {
        let content = if next.content.is_empty() { "" } else { " with content" };
        let secret = if next.headers.contains_key("cookie") { " with cookie" } else { "" };
        format!("{} {}{content}{secret}", next.method, next.target())
    }))
}

#[test]
fn url_without_a_scheme_is_https_and_its_fragment_stays_here() {
    assert_eq!(ask("example.com").target(), "https://example.com/");
    assert_eq!(ask("localhost:8443/a#b").target(), "https://localhost:8443/a");
    assert_eq!(ask("http://[::1]:80/?q").target(), "http://[::1]/?q");
    assert_eq!(ask("https://bücher.example/ü").target(), "https://xn--bcher-kva.example/%C3%BC");
}

#[test]
fn url_that_cannot_be_fetched_is_a_mistake_of_the_command_line() {
    for (url, part) in [
        ("ftp://example.com/", "only http and https"),
        ("https://me:secret@example.com/", "user name"),
        ("https://example.com:0/", "0 is not a port"),
        ("https://example.com:99999/", "port"),
        ("https://", "host"),
    ] {
        let (code, words) = refused(url);
        assert!(code == 2 && words.contains(part), "{url}: {code} {words}");
    }
    assert_eq!(refused("--http3 http://example.com/").0, 2);
}

#[test]
fn one_version_can_be_asked_for_and_not_two() {
    assert!(args("--http1.1 x").http1 && args("--http2 x").http2 && args("--http3 x").http3);
    assert!(parse("--http1.1 --http2 x").is_err());
    assert!(parse("--http2 --http3 x").is_err());
    assert!(!args("--migrate x").versions().tcp(), "only QUIC migrates");
    assert!(parse("--migrate --http2 x").is_err());
}

#[test]
fn data_make_a_post_of_a_form_unless_it_is_said_otherwise() {
    let asked = ask("-d a=1 -d b=2 https://x/");
    assert_eq!((asked.method, &*asked.content), (Method::POST, &b"a=1&b=2"[..]));
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    let asked = ask("-d {} -X PUT -H content-type:application/json https://x/");
    assert_eq!(
        (asked.method, asked.headers["content-type"].as_bytes()),
        (Method::PUT, &b"application/json"[..])
    );
    assert_eq!(ask("-I https://x/").method, Method::HEAD);
    assert!(parse("-I -d x https://x/").is_err());
}

#[test]
fn data_of_a_file_come_as_they_are_and_a_missing_one_is_named() {
    let path = std::env::temp_dir().join(format!("sterna-get-{}", std::process::id()));
    std::fs::write(&path, "line\n\0end").expect("written");
    let asked = ask(&format!("-d @{} https://x/", path.display()));
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(&*asked.content, b"line\n\0end");
    let (code, words) = refused(&format!("-d @{} https://x/", path.display()));
    assert!(code == 1 && words.contains("sterna-get-"), "{code} {words}");
}

#[test]
fn fields_replace_the_usual_ones_and_an_empty_one_takes_them_away() {
    let asked = ask("-H accept:text/html -H user-agent: -H x-a:1 -H x-a:2 https://x/");
    assert_eq!(asked.headers["accept"], "text/html");
    assert!(!asked.headers.contains_key("user-agent"));
    assert_eq!(asked.headers.get_all("x-a").iter().count(), 2);
    for wrong in ["-H accept", "-H =:1", "-H transfer-encoding:chunked", "-H content-length:5"] {
        assert!(parse(&format!("{wrong} https://x/")).is_err(), "{wrong}");
    }
}

#[test]
fn redirect_keeps_the_method_unless_its_status_says_get() {
    let get = "https://a/x?y#z";
    let post = "-d text https://a/";
    assert_eq!(redirected(get, 302, "/b").unwrap(), "GET https://a/b");
    assert_eq!(redirected(get, 301, "?q").unwrap(), "GET https://a/x?q");
    assert_eq!(redirected(post, 301, "/b").unwrap(), "GET https://a/b");
    assert_eq!(redirected(post, 303, "/b").unwrap(), "GET https://a/b");
    assert_eq!(redirected(post, 307, "/b").unwrap(), "POST https://a/b with content");
    assert_eq!(redirected(post, 308, "/b").unwrap(), "POST https://a/b with content");
    assert_eq!(redirected("-X DELETE https://a/", 302, "/b").unwrap(), "DELETE https://a/b");
    assert_eq!(redirected("-I https://a/", 303, "/b").unwrap(), "HEAD https://a/b");
    assert_eq!(redirected(get, 304, "/b").unwrap(), "nowhere");
    assert_eq!(redirected(get, 200, "/b").unwrap(), "nowhere");
}

#[test]
fn redirect_to_another_origin_leaves_secrets_behind() {
    let line = "-H cookie:a=b https://a/";
    assert_eq!(redirected(line, 302, "/b").unwrap(), "GET https://a/b with cookie");
    assert_eq!(redirected(line, 302, "https://a:444/").unwrap(), "GET https://a:444/");
    assert_eq!(redirected(line, 302, "//b/").unwrap(), "GET https://b/");
}

#[test]
fn redirect_to_another_origin_leaves_the_name_of_the_old_host_behind() {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::LOCATION, "https://b/".parse().expect("a value"));
    let asked = ask("-H host:old.example https://a/");
    let next = asked.redirected(StatusCode::FOUND, &headers).unwrap().expect("it leads there");
    assert!(!next.headers.contains_key("host"));
    headers.insert(http::header::LOCATION, "/b".parse().expect("a value"));
    let next = asked.redirected(StatusCode::FOUND, &headers).unwrap().expect("it leads there");
    assert_eq!(next.headers["host"], "old.example");
}

#[test]
fn redirect_that_becomes_get_leaves_what_described_the_content_behind() {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::LOCATION, "/b".parse().expect("a value"));
    let asked = ask("-d x -H content-encoding:gzip -H content-language:en https://a/");
    let next = asked.redirected(StatusCode::SEE_OTHER, &headers).unwrap().expect("it leads there");
    assert!(next.headers.keys().all(|name| !name.as_str().starts_with("content-")));
}

#[test]
fn redirect_with_letters_beyond_ascii_leads_to_their_bytes() {
    let location = http::HeaderValue::from_bytes("/ü".as_bytes()).expect("a value");
    let mut headers = HeaderMap::new();
    headers.insert(http::header::LOCATION, location);
    let next = ask("https://a/").redirected(StatusCode::FOUND, &headers).unwrap();
    assert_eq!(next.expect("it leads there").target(), "https://a/%C3%BC");
}

#[test]
fn redirect_to_a_url_that_cannot_be_asked_for_is_the_servers_fault() {
    for location in ["https://a:0/", "https://me@a/", "https://me:secret@a/", "//:pw@b/"] {
        let error = redirected("https://a/", 302, location).expect_err(location);
        assert!(error.exit_code() == 3, "{location}: {error}");
    }
}

#[test]
fn status_beyond_599_is_an_error_of_the_server() {
    let code = |status| GetError::Status(StatusCode::from_u16(status).unwrap()).exit_code();
    assert_eq!([code(599), code(600), code(999)], [5, 5, 5]);
}

#[test]
fn redirect_out_of_tls_or_out_of_http_is_not_followed() {
    for location in ["http://a/", "file:///etc/passwd", "https://[/", "javascript:alert(1)"] {
        let error = redirected("https://a/", 302, location).expect_err(location);
        assert!(error.exit_code() == 3, "{location}: {error}");
    }
    assert!(redirected("http://a/", 302, "http://b/").is_ok());
}

#[test]
fn names_and_places_are_checked_before_anything_is_asked() {
    assert!(parse("--connect-to localhost:8443 https://x/").is_ok());
    assert!(parse("--connect-to localhost https://x/").is_err());
    assert!(parse("--resolve x:127.0.0.1 --resolve y:443:::1 https://x/").is_ok());
    assert!(parse("--resolve x https://x/").is_err());
    assert!(parse("--max-time 30 https://x/").is_err(), "a time has a unit");
    assert!(
        parse("--cert c.pem https://x/").is_err() && parse("-k --cacert c https://x/").is_err()
    );
}
