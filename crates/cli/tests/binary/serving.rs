//! What a started binary says and serves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::server::Dir;

#[test]
fn files_serves_the_directory_under_the_local_authority_and_logs_it() {
    let dir = Dir::new();
    let server = dir.start(&["files", &dir.path("site")]);
    let response = server.fetch("/hello.txt?secret");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\nhello"), "{response}");
    let port = server.address.port();
    assert!(response.contains(&format!("h3=\":{port}\"")), "HTTP/3 is announced: {response}");
    assert!(server.fetch("/../data/local-ca/root.key").starts_with("HTTP/1.1 400"));
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(" 127.0.0.1:"), "{}", lines[0]);
    assert!(lines[0].contains(" HTTP/1.1 GET /hello.txt 200 5 "), "{}", lines[0]);
}

#[test]
fn files_sends_parts_encoded_forms_listings_and_the_page_of_an_application() {
    let dir = Dir::new();
    fs::write(dir.path("site/index.html"), "app").expect("written");
    fs::write(dir.path("site/index.html.gz"), "packed").expect("written");
    fs::create_dir(dir.path("site/empty")).expect("created");
    let server = dir.start(&["files", &dir.path("site"), "--spa", "--listing"]);
    let parts = server.fetch_with("/hello.txt", "range: bytes=0-0,4-4\r\n");
    assert!(parts.starts_with("HTTP/1.1 206"), "{parts}");
    assert!(parts.contains("\r\ncontent-type: multipart/byteranges; boundary="), "{parts}");
    assert!(parts.contains("Content-Range: bytes 4-4/5\r\n\r\no\r\n--"), "{parts}");
    let packed = server.fetch_with("/", "accept-encoding: gzip\r\n");
    assert!(packed.contains("\r\ncontent-encoding: gzip\r\n"), "{packed}");
    assert!(packed.ends_with("\r\n\r\npacked"), "{packed}");
    let page = server.fetch("/users/7");
    assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("\r\n\r\napp"), "{page}");
    assert!(server.fetch("/app.js").starts_with("HTTP/1.1 404"));
    assert!(server.fetch("/empty/").contains("<title>/empty</title>"));
}

#[test]
fn plain_http_is_redirected_where_it_was_asked_for() {
    let dir = Dir::new();
    let server = dir.start(&["files", &dir.path("site"), "--http", "127.0.0.1:0"]);
    let line = server.report.lines().find(|line| line.starts_with("  to HTTPS from "));
    let plain = line.and_then(|line| line.split("http://").nth(1)).expect("an address");
    let plain = plain.split_whitespace().next().expect("an address");
    let fetch = |request: &str| {
        let mut tcp = TcpStream::connect(plain).expect("connected");
        tcp.write_all(format!("{request}connection: close\r\n\r\n").as_bytes()).expect("sent");
        let mut response = String::new();
        tcp.read_to_string(&mut response).expect("a response");
        response
    };
    let response = fetch("GET //a?b HTTP/1.1\r\nhost: example.com:80\r\n");
    assert!(response.starts_with("HTTP/1.1 308"), "{response}");
    let port = server.address.port();
    let location = format!("\r\nlocation: https://example.com:{port}//a?b\r\n");
    assert!(response.contains(&location), "{response}");
    assert!(response.contains("\r\ncache-control: no-store\r\n"), "{response}");
    let challenge = "GET /.well-known/acme-challenge/x HTTP/1.1\r\nhost: example.com\r\n";
    assert!(fetch(challenge).starts_with("HTTP/1.1 404"));
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains(" GET //a 308 "), "{}", ended.stdout);
}

#[test]
fn the_access_log_is_json_and_in_a_file_if_asked_for() {
    let dir = Dir::new();
    let log = dir.path("access.log");
    let args = ["files", &dir.path("site"), "--log-format", "json", "--access-log", &log];
    let server = dir.start(&args);
    assert!(server.fetch("/hello.txt").ends_with("hello"));
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
    let line = fs::read_to_string(log).expect("written");
    assert!(line.starts_with("{\"time\":\"20") && line.ends_with("\"cut\":false}\n"), "{line}");
    assert!(line.contains("\"path\":\"/hello.txt\",\"status\":200,\"bytes\":5,"), "{line}");
}

#[test]
fn the_secrets_of_connections_are_written_when_the_environment_says_so_and_loudly() {
    let dir = Dir::new();
    let secrets = dir.path("secrets");
    let server = dir.start_with(&["files", &dir.path("site")], ("SSLKEYLOGFILE", &secrets));
    assert!(server.report.contains("warning: SSLKEYLOGFILE is set"), "{}", server.report);
    assert!(server.fetch("/hello.txt").ends_with("hello"));
    let written = fs::read_to_string(secrets).expect("written");
    assert!(written.contains("SERVER_TRAFFIC_SECRET_0 "), "{written}");
    let quiet = dir.start(&["files", &dir.path("site")]);
    assert!(!quiet.report.contains("SSLKEYLOGFILE"), "{}", quiet.report);
}

#[test]
fn completions_and_the_manual_come_on_stdout() {
    let dir = Dir::new();
    for (args, part) in [
        (&["completions", "bash"][..], "_sterna()"),
        (&["completions", "zsh"], "#compdef sterna"),
        (&["completions", "fish"], "complete -c sterna"),
        (&["man"], ".TH sterna"),
    ] {
        let output = dir.sterna(args).output().expect("run");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains(part) && text.contains("listing"), "{args:?}: {text}");
    }
}

#[test]
fn without_a_verb_it_welcomes() {
    let dir = Dir::new();
    let server = dir.start(&[]);
    let response = server.fetch("/");
    assert!(response.contains("This came over HTTP/1.1"), "{response}");
    assert!(server.fetch("/elsewhere").starts_with("HTTP/1.1 404"));
}

#[test]
fn the_start_says_where_it_listens_what_it_shows_and_what_to_try() {
    let dir = Dir::new();
    let server = dir.start(&["run"]);
    let (report, url) = (&server.report, format!("https://{}", server.address));
    for (begin, content) in [
        ("  HTTP/1.1, HTTP/2 ", &url),
        ("  HTTP/3 ", &url),
        ("certificate: local authority, made just now", &dir.path("data/local-ca/root.crt")),
        ("  curl --cacert ", &url),
        ("  google-chrome ", &format!("--origin-to-force-quic-on={}", server.address)),
        ("ready in ", &" ms".to_owned()),
    ] {
        let line = report.lines().find(|line| line.starts_with(begin));
        let line = line.unwrap_or_else(|| panic!("no line with {begin:?} in\n{report}"));
        assert!(line.contains(content), "{line}");
    }
    assert!(report.lines().last().is_some_and(|last| last.starts_with("ready in ")), "{report}");
    drop(server);
    let again = dir.start(&["run"]);
    assert!(!again.report.contains("made just now"), "{}", again.report);
}

#[test]
fn the_access_log_can_be_left_out() {
    for flag in ["--no-access-log", "--quiet"] {
        let dir = Dir::new();
        let server = dir.start(&["files", &dir.path("site"), flag]);
        assert!(server.fetch("/hello.txt").ends_with("hello"));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.wait().stdout, "", "{flag}");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_no_request() {
    let dir = Dir::new();
    let server = dir.start(&["files", &dir.path("site")]);
    // A pipe holds 64 KiB; each line is longer than its path.
    let path = format!("/{}", "x".repeat(8000));
    for _ in 0..20 {
        assert!(server.fetch(&path).starts_with("HTTP/1.1 404"));
    }
    assert!(server.fetch("/hello.txt").ends_with("hello"));
}

#[test]
fn a_certificate_of_the_operator_is_shown_in_place_of_a_local_one() {
    let dir = Dir::new();
    drop(dir.start(&["run"]));
    let (certificate, key) = ("data/local-ca/leaf.crt", "data/local-ca/leaf.key");
    for (from, to) in [(certificate, "cert.pem"), (key, "key.pem")] {
        fs::copy(dir.path(from), dir.path(to)).expect("copied");
    }
    let (certificate, key) = (dir.path("cert.pem"), dir.path("key.pem"));
    let server = dir.start(&["files", &dir.path("site"), "--cert", &certificate, "--key", &key]);
    assert!(server.report.contains(&format!("certificate: {certificate}")), "{}", server.report);
    assert!(server.fetch("/hello.txt").ends_with("hello"));
}
