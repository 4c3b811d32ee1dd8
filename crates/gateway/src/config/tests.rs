//! The model from end to end: what a text means, and that it comes back from canonical JSON.

use proptest::prelude::*;

use super::*;

mod limits;
mod policies;
mod routes;

fn read(text: &str) -> Result<Model, Problems> {
    Loaded::of_text("sterna.toml", text, &Environment::empty()).model()
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.mistakes().map(ToString::to_string).collect(),
    }
}

#[test]
fn settings_of_tls_with_which_nobody_could_be_served_are_refused() {
    let of = |top: &str| mistakes(&format!("{top}\n[[site]]\nrespond = ''"));
    let only = "tls.ciphers = 'TLS_CHACHA20_POLY1305_SHA256'";
    let expected =
        ["HTTP/3 needs `TLS_AES_128_GCM_SHA256`, which protects the first packets of QUIC"];
    assert_eq!(of(only), expected);
    assert_eq!(of(&format!("http3 = false\n{only}")), [""; 0]);
    let old = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    let two = format!("tls.ciphers = ['TLS_AES_128_GCM_SHA256', '{old}']");
    assert_eq!(of(&two), [""; 0]);
    let expected = [format!("`{old}` is of TLS 1.2, which `min_version` excludes")];
    assert_eq!(of(&format!("{two}\ntls.min_version = '1.3'")), expected);
    assert_eq!(of("tls.key_exchange = 'X448'").len(), 1);
}

#[test]
fn every_key_of_the_model_can_be_written() {
    let model = read(WHOLE).unwrap_or_else(|problems| panic!("{problems}"));
    let json = model.to_json();
    let object = json.as_object().expect("an object");
    let Shape::Section(section) = Model::shape() else { panic!("a table") };
    for key in section.keys {
        assert!(object.contains_key(key.name), "{} is not tried here", key.name);
    }
}

#[test]
fn what_is_written_arrives_at_the_endpoint() {
    let server = read(WHOLE).expect("a configuration").server();
    let expected = sterna_net::server::Config {
        handshake_timeout: std::time::Duration::from_secs(5),
        early_data: true,
        steering: false,
        max_header_size: 16 << 10,
        proxy_protocol: vec!["192.0.2.0/24".parse().expect("a network")],
        max_body_size: Some(1_000_000),
        alt_svc: Some(sterna_net::server::AltSvc {
            max_age: std::time::Duration::from_secs(3600),
            persist: true,
            port: Some(443),
        }),
        quic: sterna_net::quic::Config {
            congestion: sterna_net::quic::Congestion {
                algorithm: sterna_net::quic::Algorithm::Reno,
                initial_window: Some(32 << 10),
            },
            retry: sterna_net::quic::Retry::Always,
            migration: false,
            keep_alive: Some(std::time::Duration::from_secs(15)),
            ..Default::default()
        },
        congestion_at: vec![(
            "[::1]:1".parse().expect("an address"),
            sterna_net::quic::Congestion {
                algorithm: sterna_net::quic::Algorithm::Bbr,
                initial_window: Some(32 << 10),
            },
        )],
        ..Default::default()
    };
    assert_eq!(format!("{server:?}"), format!("{expected:?}"));
}

#[test]
fn an_empty_model_is_the_endpoint_s_own_default_but_for_the_body_limit() {
    let server = Model::missing().expect("every key has a default").server();
    let expected = sterna_net::server::Config {
        max_body_size: Some(10 << 20),
        early_data: true,
        ..Default::default()
    };
    assert_eq!(format!("{server:?}"), format!("{expected:?}"));
}

#[test]
fn what_is_written_of_backends_arrives_at_the_handler() {
    use crate::handler::{self, proxy};
    let built = |text: &str| {
        let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
        let built = built.unwrap_or_else(|problems| panic!("{problems}"));
        match built.gateway.routes.into_iter().next().map(|route| route.handler) {
            Some(handler::Config::Proxy(config)) => *config,
            other => panic!("{other:?}"),
        }
    };
    let plain = built("[[site]]\nproxy = 'localhost:8080'");
    assert_eq!(plain.upstream.backends[0].source.to_string(), "http://localhost:8080");
    assert_eq!((plain.retries, plain.try_timeout, plain.underscores), (1, None, false));
    assert_eq!((plain.host, &*plain.name), (proxy::ToldHost::Client, "sterna"));
    let table = "name = 'edge'\n[[site]]\n\
        proxy = { to = ['a:1', 'b:2'], host = 'app.example', retries = 3, try_timeout = '2s', underscores = true }";
    let table = built(table);
    assert_eq!(table.upstream.backends.len(), 2);
    assert_eq!((table.retries, table.underscores), (3, true));
    assert_eq!(table.try_timeout, Some(std::time::Duration::from_secs(2)));
    let host = proxy::ToldHost::Fixed("app.example".parse().expect("a host"));
    assert_eq!((table.host, &*table.name), (host, "edge"));
}

#[test]
fn canonical_json_comes_back_as_the_same_model() {
    for text in [
        WHOLE,
        "[[site]]\nrespond = 'a $${b}'\n",
        "[[site]]\nroute = [{ path = '/*', respond = '' }]",
    ] {
        let model = read(text).unwrap_or_else(|problems| panic!("{problems}"));
        let json = model.to_json();
        let again = Loaded::of_json(&json, &Environment::empty()).model();
        let again = again.unwrap_or_else(|problems| panic!("{json:#}\n{problems}"));
        assert_eq!(again, model);
        assert_eq!(again.to_json(), json);
    }
}

#[test]
fn a_secret_stays_where_it_is() {
    let environment = Environment { file: |_| Ok("s3cret".to_owned()), ..Environment::empty() };
    let text = "[[site]]\nrespond = \"${file:/run/secret}\"";
    let model = Loaded::of_text("sterna.toml", text, &environment).model().expect("a model");
    assert_eq!(model.site[0].respond.as_ref().expect("one").0.body.text, "s3cret");
    assert!(!model.to_json().to_string().contains("s3cret"), "{}", model.to_json());
    let wrong = "listen = [\"${file:/run/secret}\"]\n[[site]]\nroot = \".\"";
    let problems = Loaded::of_text("sterna.toml", wrong, &environment).model();
    assert!(!problems.expect_err("no place").to_string().contains("s3cret"));
}

#[test]
fn the_operators_interface_is_never_open_to_everybody() {
    let site = "[[site]]\nrespond = ''";
    let environment =
        Environment { variable: |_| Some("0123456789abcdef".to_owned()), ..Environment::empty() };
    let told = |admin: &str| {
        let text = format!("admin = {{ {admin} }}\n{site}");
        let model = Loaded::of_text("sterna.toml", &text, &environment).model();
        model.err().map(|problems| problems.to_string())
    };
    for fine in [
        "listen = 'off'",
        "listen = 'unix:/run/s'",
        "listen = 'localhost:1'",
        "listen = '[::1]:1'",
        "listen = ':1', token = '${T}'",
    ] {
        assert_eq!(told(fine), None, "{fine}");
    }
    for (wrong, why) in [
        ("listen = ':1'", "whoever reaches `:1`"),
        ("listen = '10.0.0.1:1'", "whoever reaches"),
        ("listen = 'a.example:1'", "whoever reaches"),
        ("token = '0123456789abcdef'", "stands in the file"),
        ("token = '${T:-short}x y'", "too short or has a character"),
        ("listen = 'off', token = '${T}'", "without use"),
        ("listen = 'unix:s'", "is no place for it"),
    ] {
        let told = told(wrong).unwrap_or_else(|| panic!("{wrong} is refused"));
        assert!(told.contains(why), "{wrong}: {told}");
    }
}

#[test]
fn the_fields_of_the_access_log_are_known_and_each_is_there_once() {
    let with = |fields: &str| {
        mistakes(&format!("access_log = {{ fields = {fields} }}\n[[site]]\nrespond = ''"))
    };
    assert!(with("['time', 'route', 'proxy_error']").is_empty());
    assert_eq!(with("['time', 'time']").len(), 1);
    assert_eq!(with("[]").len(), 1);
    assert_eq!(with("['tmie']").len(), 1);
}

#[test]
fn reading_goes_on_after_each_kind_of_mistake() {
    let text = r#"
        listen = ["nowhere"]
        workers = 0
        htp3 = false
        [timeouts]
        header = 30
        write = "1 s"
        [limits]
        body_size = "10"
        [[site]]
        host = ["a b", 7]
        respond = { status = 99 }
    "#;
    assert_eq!(mistakes(text).len(), 9, "{:#?}", mistakes(text));
}

#[test]
fn whoever_is_trusted_is_somebody_and_a_field_is_read_from_somebody() {
    let mistakes = |text: &str| mistakes(&format!("{text}\n[[site]]\nrespond = ''"));
    for (text, expected) in [
        ("trusted_proxies = '10.0.0.0/8'", None),
        ("trusted_proxies = ['10.0.0.7', 'fd00::/8']\nclient_field = 'forwarded'", None),
        ("trusted_proxies = ['10.0.0.7', '::/0']", Some("`::/0` is everyone")),
        ("trusted_proxies = '10.0.0.7/8'", Some("names an address inside the network")),
        ("trusted_proxies = []", Some("the list is empty")),
        ("client_field = 'forwarded'", Some("there are none")),
        ("client_field = 'x-real-ip'", Some("`x-real-ip`")),
        ("proxy_protocol = 'loopback'", Some("is not a network")),
    ] {
        let told = mistakes(text).join("\n");
        match expected {
            None => assert_eq!(told, "", "{text}"),
            Some(expected) => assert!(told.contains(expected), "{text}: {told}"),
        }
    }
}

#[test]
fn the_access_log_is_on_or_off_or_a_table() {
    let log =
        |text: &str| read(&format!("{text}\n[[site]]\nrespond = ''")).expect("a model").access_log;
    assert_eq!(log(""), log("access_log = true"));
    assert_eq!(log("access_log = false"), log("access_log = { enabled = false }"));
    assert_eq!(log("access_log = true").file().map(|file| file.path), None);
    let file = log("access_log = { file = 'a.log', max_age = '1h' }").file().expect("a file");
    assert_eq!((file.path.to_str(), file.max_age.as_secs(), file.keep), (Some("a.log"), 3600, 7));
    let both = "access_log = { file = 'a.log', enabled = false }\n[[site]]\nrespond = ''";
    assert_eq!(mistakes(both), ["`enabled = false` leaves this file unwritten"]);
}

#[test]
fn a_directory_is_a_path_or_a_table_with_the_same_defaults() {
    let root = |root: &str| {
        read(&format!("[[site]]\nroot = {root}")).expect("a model").site[0].root.clone()
    };
    assert_eq!(root("'public'"), root("{ path = 'public' }"));
    assert_eq!(mistakes("[[site]]\nroot = { listing = true }"), ["the key `path` is missing"]);
}

#[test]
fn what_cannot_be_opened_is_told_with_its_place() {
    let text = "[[site]]\nroot = '/nowhere/at/all'\ntls = { cert = '/no.pem', key = '/no.key' }";
    let problems = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let problems = problems.expect_err("nothing is there").to_string();
    assert!(problems.contains("sterna.toml:2:8"), "{problems}");
    assert!(problems.contains("sterna.toml:3:16"), "{problems}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z_=.\"'0-9{}$:/*# \n,]{0,200}") {
        let _ = read(&text).map_err(|problems| (problems.to_string(), problems.to_json()));
    }

    #[test]
    fn a_broken_configuration_is_refused_and_never_a_panic(
        at in 0..WHOLE.len(),
        len in 0..20usize,
        insert in "[\\[\\]a-z=\"'0-9{}$\n\u{e4}]{0,4}",
    ) {
        let end = (at + len).min(WHOLE.len());
        let text = format!("{}{insert}{}", &WHOLE[..at], &WHOLE[end..]);
        match read(&text) {
            Ok(model) => {
                let again = Loaded::of_json(&model.to_json(), &Environment::empty()).model();
                prop_assert_eq!(again.expect("it was right before"), model);
            }
            Err(problems) => prop_assert!(!problems.to_string().is_empty()),
        }
    }
}

/// Every key of the file, and most of those below.
const WHOLE: &str = r#"
include = []
log = "sterna_net=debug,warn"
    admin = { listen = "127.0.0.1:9180" }
    listen = ["127.0.0.1:0", ":8443", "[::1]:1", "example.com:443"]
http = ":8080"
workers = 2
http3 = true
access_log = { file = "/var/log/access.log", format = "json", max_size = "1GiB", keep = 3 }
trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
client_field = "forwarded"
proxy_protocol = "192.0.2.0/24"
key_log = "/var/lib/sterna/secrets"
acme = { agree_to_terms = true, email = "ops@a.example", storage = "/var/lib/sterna/acme", ca = "ca.pem" }
name = "edge-1"

[alt_svc]
max_age = "1h"
persist = true
port = 443

[limits]
header_size = "16KiB"
body_size = "1MB"

[timeouts]
handshake = "5s"

[quic]
keep_alive = "15s"
congestion = "reno"
initial_window = "32KiB"
retry = "always"
migration = false
steering = false
listener = { "[::1]:1" = { congestion = "bbr" } }

[defaults]
tls = { cert = "site.pem", key = "site.key" }
response_headers = { set = { x-content-type-options = "nosniff" }, remove = ["server"] }
request_id = { header = "x-id", keep = "always", response = false }
trace_context = "start"
cors = { origins = ["https://a.test", "https://*.b.test"], methods = ["GET"], headers = ["x-a"], expose = ["x-b"], credentials = true, max_age = "1h", private_network = true }
compress = { algorithms = ["br", "gzip"], level = "best", min_size = "1KB", types = ["text/*"], breach_safe = false }

[[site]]
host = ["example.com", "*.example.com"]
root = "public"
request_headers.remove = ["x-internal"]
response_headers.add = { link = ["</a.css>; rel=preload", "</b.js>; rel=preload"], x-path = "{path}" }
compress = false
cors = false
mirror = { proxy = "https://shadow.test", percent = 10, buffer = "1MiB", timeout = "1s" }
canary = { percent = 5, by = "header x-user", header = "x-canary", respond = "new" }

[[site.route]]
path = ["/api/*", "/{app}/{id}"]
method = ["GET", "HEAD"]
header = { x-env = "beta", authorization = "*" }
query = { v = "2" }
client = ["10.0.0.0/8", "::1"]
protocol = "HTTP/3"
strip_prefix = "/api"
rewrite = "/v2{path}"
request_id = true
cors = true
respond = { status = 201, body = "hello", content_type = "text/html" }

[[site]]
host = "old.example"
redirect = { to = "https://example.com{path}{query}", status = 301 }

[[site]]
host = "api.example"
proxy = { to = ["https://a.internal", "h3://b.internal:444"], host = "backend", retries = 3, try_timeout = "2s", underscores = true }
upstream_tls = { ca = "ca.pem", name = "internal", cert = "edge.pem", key = "edge.key" }
upstream_timeouts = { connect = "1s", first_byte = "10s", idle = "1h", total = "2h" }

[[site.route]]
path = "/jobs/*"
proxy = "unix:/run/jobs.sock"

[[site]]
root = { path = "app", fallback = "index.html", index = ["a.html"], listing = true }
"#;
