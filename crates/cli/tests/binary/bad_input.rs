//! What cannot be done is refused with one message, before anything is started.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::server::Dir;

/// Runs it to its end; exit code and stderr. Nothing may be on stdout, and it never becomes ready.
fn refused(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("run");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(output.stdout.is_empty(), "stdout is for data");
    assert!(!stderr.contains("ready in") && !stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

/// Asserts exit code 1 and one message with these parts.
fn fails(command: Command, parts: &[&str]) {
    let (code, stderr) = refused(command);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 1, "one message: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
}

/// Asserts exit code 2, which is for a wrong command line, and a message with these parts.
fn misused(command: Command, parts: &[&str]) {
    let (code, stderr) = refused(command);
    assert_eq!(code, Some(2), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
}

/// Paths of a certificate and its key, made by starting once.
fn pair(dir: &Dir) -> (String, String) {
    drop(dir.start(&["run"]));
    (dir.path("data/local-ca/leaf.crt"), dir.path("data/local-ca/leaf.key"))
}

#[test]
fn a_port_in_use_is_named() {
    let dir = Dir::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("bound").to_string();
    let port = address.rsplit(':').next().expect("a port");
    fails(dir.sterna(&["run", "--listen", &address]), &["TCP", port, "in use", "choose another"]);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let address = udp.local_addr().expect("bound").to_string();
    let port = address.rsplit(':').next().expect("a port");
    fails(dir.sterna(&["run", "--listen", &address]), &["UDP", port, "in use", "choose another"]);
}

#[test]
fn a_port_for_plain_http_that_was_asked_for_and_is_in_use_is_named() {
    let dir = Dir::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = tcp.local_addr().expect("bound").to_string();
    let port = address.rsplit(':').next().expect("a port");
    let args = ["run", "--listen", "127.0.0.1:0", "--http", &address];
    fails(dir.sterna(&args), &["TCP", port, "in use"]);
    misused(dir.sterna(&["run", "--http", "on"]), &["--http", "localhost:8443"]);
}

#[test]
fn a_file_for_the_access_log_that_cannot_be_is_named() {
    let dir = Dir::new();
    let log = dir.path("none/access.log");
    let args = ["run", "--listen", "127.0.0.1:0", "--access-log", &log];
    fails(dir.sterna(&args), &[&log, "help: "]);
    misused(dir.sterna(&["run", "--access-log", &log, "--quiet"]), &["--access-log"]);
}

#[test]
fn one_address_in_use_leaves_the_other_unused() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let in_use = taken.local_addr().expect("bound").to_string();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let free = free.expect("bound").to_string();
    fails(dir.sterna(&["run", "--listen", &free, "--listen", &in_use]), &["in use"]);
    TcpListener::bind(free).expect("nothing is left listening");
}

#[test]
fn a_directory_that_is_none_is_named() {
    let dir = Dir::new();
    for name in ["missing", "site/hello.txt"] {
        let path = dir.path(name);
        fails(dir.sterna(&["files", &path]), &[&path, "help: name a directory"]);
    }
}

#[test]
fn a_certificate_or_key_that_cannot_be_used_is_named() {
    let dir = Dir::new();
    let (certificate, key) = pair(&dir);
    let (missing, site, text) =
        (dir.path("none.pem"), dir.path("site"), dir.path("site/hello.txt"));
    for (cert, key, named) in [
        (&missing, &key, &missing),
        (&certificate, &missing, &missing),
        (&text, &key, &text),
        (&certificate, &text, &text),
        (&site, &key, &site),
        (&key, &key, &key),
        (&certificate, &certificate, &certificate),
    ] {
        let args = ["files", &site, "--cert", cert, "--key", key];
        fails(dir.sterna(&args), &[named]);
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let dir = Dir::new();
    let other = Dir::new();
    let ((certificate, _), (_, key)) = (pair(&dir), pair(&other));
    let args = ["files", &dir.path("site"), "--cert", &certificate, "--key", &key];
    fails(dir.sterna(&args), &["key does not match the certificate"]);
}

#[test]
fn a_file_without_permission_is_named() {
    let dir = Dir::new();
    let (certificate, key) = pair(&dir);
    let (own_certificate, own_key) = (dir.path("cert.pem"), dir.path("key.pem"));
    fs::copy(certificate, &own_certificate).expect("copied");
    fs::copy(key, &own_key).expect("copied");
    fs::set_permissions(&own_key, fs::Permissions::from_mode(0o000)).expect("set");
    let args = ["files", &dir.path("site"), "--cert", &own_certificate, "--key", &own_key];
    fails(as_nobody(dir.sterna(&args)), &[&own_key, "Permission denied"]);
}

#[test]
fn a_port_without_permission_says_what_to_do() {
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let lowest: u16 = lowest.expect("read").trim().parse().expect("a port");
    if lowest < 2 {
        return; // Here every user may have every port.
    }
    let dir = Dir::new();
    let (certificate, key) = pair(&dir);
    let (own_certificate, own_key) = (dir.path("cert.pem"), dir.path("key.pem"));
    fs::copy(certificate, &own_certificate).expect("copied");
    fs::copy(key, &own_key).expect("copied");
    fs::set_permissions(&own_key, fs::Permissions::from_mode(0o644)).expect("set");
    let site = dir.path("site");
    let args =
        ["files", &site, "--cert", &own_certificate, "--key", &own_key, "--listen", "127.0.0.1:1"];
    fails(as_nobody(dir.sterna(&args)), &["127.0.0.1:1", "1024", "CAP_NET_BIND_SERVICE"]);
}

/// As a user without privileges, when the tests have them.
fn as_nobody(mut command: Command) -> Command {
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command
}

#[test]
fn a_place_for_the_local_authority_that_cannot_be_is_named() {
    let dir = Dir::new();
    let mut command = dir.sterna(&["run", "--listen", "127.0.0.1:0"]);
    command.env("STERNA_DATA", dir.path("site/hello.txt"));
    fails(command, &["site/hello.txt", "help: ", "STERNA_DATA"]);
}

#[test]
fn an_address_that_is_not_ours_is_named() {
    let dir = Dir::new();
    let args = ["run", "--listen", "192.0.2.123:8443"];
    fails(dir.sterna(&args), &["192.0.2.123", "not an address of this machine"]);
}

#[test]
fn a_filter_that_is_none_is_shown() {
    let dir = Dir::new();
    fails(dir.sterna(&["run", "--log", "a=b=c"]), &["a=b=c", "help: "]);
}

#[test]
fn a_command_line_that_is_wrong_is_another_code() {
    let dir = Dir::new();
    let (site, hello) = (dir.path("site"), dir.path("site/hello.txt"));
    misused(dir.sterna(&["files", &site, "--cert", &hello]), &["--key"]);
    misused(dir.sterna(&["files", &site, "--key", &hello]), &["--cert"]);
    misused(dir.sterna(&["run", "--workers", "0"]), &["--workers", "1..=256"]);
    misused(dir.sterna(&["run", "--workers", "257"]), &["--workers", "1..=256"]);
    misused(dir.sterna(&["run", "--listen", "8443"]), &["--listen", "localhost:8443"]);
    misused(dir.sterna(&["fly"]), &["fly"]);
}
