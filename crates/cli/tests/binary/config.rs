//! Configurations: served, checked, printed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use crate::server::{Dir, Server};

fn dir_with(config: &str) -> Dir {
    let dir = Dir::new();
    fs::write(dir.path("sterna.toml"), config).expect("written");
    dir
}

/// The content that `host` has at `path`, and the status.
fn fetch(server: &Server, host: &str, path: &str) -> (String, String) {
    let mut connection = server.connect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    connection.read_to_string(&mut response).expect("a whole response");
    let (head, content) = response.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status");
    (status.to_owned(), content.to_owned())
}

/// Exit code, stdout and stderr.
fn run(dir: &Dir, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        dir.sterna(args).current_dir(&dir.0).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

const SITES: &str = r#"
workers = 1

[[site]]
host = "localhost"
root = "site"
response_headers = { set = { x-site = "local" } }

[[site.route]]
path = "/answer"
respond = { status = 418, body = "${WORD:-tea}" }

[[site.route]]
path = "/users/{id}/*"
protocol = "HTTP/1.1"
respond = "a user over HTTP/1.1"

[[site]]
host = "*.example.com"
respond = "wild"
"#;

#[test]
fn each_host_has_its_site_and_each_path_its_route() {
    let dir = dir_with(SITES);
    let server = dir.start(&["run", "-c", &dir.path("sterna.toml")]);
    for (host, path, status, content) in [
        ("localhost", "/hello.txt", "200", "hello"),
        ("LOCALHOST:8443", "/answer", "418", "tea"),
        ("localhost", "/users/7/posts", "200", "a user over HTTP/1.1"),
        ("www.example.com", "/anything", "200", "wild"),
    ] {
        let expected = (status.to_owned(), content.to_owned());
        assert_eq!(fetch(&server, host, path), expected, "{host}{path}");
    }
    assert_eq!(fetch(&server, "example.org", "/").0, "404", "no site has this host");
    assert!(server.fetch("/hello.txt").contains("\r\nx-site: local\r\n"));
}

#[test]
fn a_configuration_with_mistakes_is_told_whole_and_nothing_is_started() {
    let dir = dir_with("htp3 = true\n[timeouts]\nheader = 30\n[[site]]\nroot = \"nowhere\"\n");
    let file = dir.path("sterna.toml");
    for verb in ["run", "check", "adapt"] {
        let (code, stdout, stderr) = run(&dir, &[verb, "-c", &file]);
        assert_eq!((code, &*stdout), (Some(1), ""), "{verb}: {stderr}");
        assert!(stderr.contains(":1:1\n") && stderr.contains("did you mean `http3`?"), "{stderr}");
        assert!(stderr.contains("`30` is not a duration such as"), "{stderr}");
        assert!(!stderr.contains("ready in"), "{stderr}");
    }
}

#[test]
fn a_configuration_that_is_named_and_not_there_is_an_error() {
    let dir = Dir::new();
    for verb in ["run", "check", "adapt"] {
        let (code, _, stderr) = run(&dir, &[verb, "-c", "elsewhere.toml"]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains("cannot read elsewhere.toml"), "{stderr}");
    }
}

#[test]
fn check_tells_for_programs_what_it_tells_for_people() {
    let dir = dir_with("listen = [\"127.0.0.1:0\"]\n[[site]]\nroot = \"site\"\n");
    let (code, stdout, stderr) = run(&dir, &["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &json["ok"]), (Some(0), &serde_json::Value::Bool(true)), "{stderr}");
    fs::write(dir.path("sterna.toml"), "[[site]]\nhots = 1").expect("written");
    let (code, stdout, _) = run(&dir, &["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(code, Some(1));
    let mistakes = json["mistakes"].as_array().expect("a list");
    assert!(mistakes.iter().any(|mistake| mistake["line"] == 2), "{stdout}");
}

#[test]
fn check_prints_what_to_publish_in_dns() {
    let dir = dir_with("listen = [\":443\"]\n[[site]]\nhost = \"example.com\"\nroot = \"site\"\n");
    let record = "example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"";
    let (code, _, stderr) = run(&dir, &["check", "--no-preflight"]);
    assert!(code == Some(0) && stderr.contains(record), "{stderr}");
    let (_, stdout, _) = run(&dir, &["check", "--no-preflight", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(json["dns"][0], record, "{stdout}");
}

#[test]
fn check_finds_a_port_that_is_taken_unless_the_machine_is_left_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let dir = dir_with(&format!("listen = [\"{address}\"]\n[[site]]\nroot = \"site\"\n"));
    let (code, _, stderr) = run(&dir, &["check"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("TCP port {} of 127.0.0.1 is in use", address.port())));
    let (code, _, stderr) = run(&dir, &["check", "--no-preflight"]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn check_refuses_a_certificate_that_has_expired() {
    let dir = Dir::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut names = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("names");
    names.not_after = rcgen::date_time_ymd(2020, 1, 1);
    names.not_before = rcgen::date_time_ymd(2019, 1, 1);
    let certificate = names.self_signed(&key).expect("signed");
    fs::write(dir.path("old.pem"), certificate.pem()).expect("written");
    fs::write(dir.path("old.key"), key.serialize_pem()).expect("written");
    let other = rcgen::KeyPair::generate().expect("a key");
    fs::write(dir.path("other.key"), other.serialize_pem()).expect("written");
    for (key, told) in [
        ("old.key", "the certificate expired on"),
        ("other.key", "the private key does not match the certificate"),
    ] {
        let config = format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nroot = \"site\"\ntls = {{ cert = \"old.pem\", key = \"{key}\" }}\n"
        );
        fs::write(dir.path("sterna.toml"), config).expect("written");
        let (code, _, stderr) = run(&dir, &["check"]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn adapt_prints_what_schema_describes() {
    let dir = dir_with(SITES);
    let (code, adapted, stderr) = run(&dir, &["adapt"]);
    assert_eq!(code, Some(0), "{stderr}");
    let adapted: serde_json::Value = serde_json::from_str(&adapted).expect("JSON");
    assert_eq!(adapted["site"][0]["route"][0]["respond"]["body"], "${WORD:-tea}", "as written");
    let (code, schema, _) = run(&dir, &["schema"]);
    assert_eq!(code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    let known = schema["properties"].as_object().expect("an object");
    for key in adapted.as_object().expect("an object").keys() {
        assert!(known.contains_key(key), "{key}");
    }
}

#[test]
fn run_takes_the_file_of_its_directory_and_the_command_line_has_the_last_word() {
    let dir = dir_with("listen = [\"192.0.2.1:1\"]\n[[site]]\nrespond = \"from the file\"\n");
    let server = dir.start_in_its_directory(&["run"]);
    assert_eq!(fetch(&server, "localhost", "/").1, "from the file");
    assert!(server.report.contains("serves sterna.toml"), "{}", server.report);
}

#[test]
fn what_is_suggested_to_try_is_a_host_that_is_served() {
    for (hosts, suggested) in [
        ("[\"example.com\", \"app.localhost\"]", "https://app.localhost:"),
        ("[\"*.example.com\", \"example.org\"]", "https://example.org:"),
        ("[\"example.com\", \"*\"]", "https://127.0.0.1:"),
    ] {
        let dir = dir_with(&format!("[[site]]\nhost = {hosts}\nrespond = \"hello\"\n"));
        let server = dir.start(&["run", "-c", &dir.path("sterna.toml")]);
        let (_, commands) = server.report.split_once("try:").expect("commands to try");
        assert!(commands.contains(suggested), "{hosts}: {commands}");
    }
}

#[test]
fn the_configuration_says_where_the_secrets_of_connections_go_and_loudly() {
    let dir = dir_with("key_log = \"secrets\"\n[[site]]\nrespond = \"hello\"\n");
    let server = dir.start(&["run", "-c", &dir.path("sterna.toml")]);
    assert!(server.report.contains("warning: key_log is set: "), "{}", server.report);
    assert_eq!(fetch(&server, "localhost", "/").1, "hello");
    let secrets = fs::read_to_string(dir.path("secrets")).expect("beside the configuration");
    let line = secrets.lines().find(|line| line.starts_with("SERVER_TRAFFIC_SECRET_0 "));
    let words: Vec<usize> = line.expect("a secret").split(' ').map(str::len).collect();
    assert_eq!(words, ["SERVER_TRAFFIC_SECRET_0".len(), 64, 64], "{secrets}");
}

#[test]
fn the_configuration_says_where_the_access_log_goes_and_where_plain_http_is() {
    let log = "access_log = { file = \"access.log\", format = \"json\" }";
    let http = "http = \"127.0.0.1:0\"";
    let dir = dir_with(&format!("{log}\n{http}\n[[site]]\nrespond = \"hello\"\n"));
    let server = dir.start(&["run", "-c", &dir.path("sterna.toml")]);
    assert!(server.report.contains("to HTTPS from "), "{}", server.report);
    assert_eq!(fetch(&server, "localhost", "/logged").0, "200");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(server.wait().stdout, "");
    let line = fs::read_to_string(dir.path("access.log")).expect("beside the configuration");
    let line: serde_json::Value = serde_json::from_str(line.trim()).expect("one line of JSON");
    assert_eq!(line["path"], "/logged", "{line}");
}
