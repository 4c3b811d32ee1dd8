//! The model from end to end: what a text means, and that it comes back from canonical JSON.

use proptest::prelude::*;

use super::*;

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
        max_header_size: 16 << 10,
        max_body_size: Some(1_000_000),
        alt_svc: Some(sterna_net::server::AltSvc {
            max_age: std::time::Duration::from_secs(3600),
            persist: true,
            port: Some(443),
        }),
        quic: sterna_net::quic::Config {
            congestion: sterna_net::quic::Algorithm::Reno,
            retry: sterna_net::quic::Retry::Always,
            keep_alive: Some(std::time::Duration::from_secs(15)),
            ..Default::default()
        },
        ..Default::default()
    };
    assert_eq!(format!("{server:?}"), format!("{expected:?}"));
}

#[test]
fn an_empty_model_is_the_endpoint_s_own_default_but_for_the_body_limit() {
    let server = Model::missing().expect("every key has a default").server();
    let expected =
        sterna_net::server::Config { max_body_size: Some(10 << 20), ..Default::default() };
    assert_eq!(format!("{server:?}"), format!("{expected:?}"));
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
fn a_bare_number_where_a_unit_is_needed_is_refused() {
    let expected = ["`30` is not a duration such as `250ms`, `30s` or `5m`"];
    for number in ["30", "\"30\""] {
        assert_eq!(
            mistakes(&format!("timeouts.header = {number}\n[[site]]\nrespond = ''")),
            expected
        );
    }
}

#[test]
fn the_limit_of_a_body_is_that_of_the_route_else_of_the_site_and_never_above_all() {
    let text = "[[site]]
        respond = ''
        body_size = '1MiB'
        [[site.route]]
        path = '/small'
        body_size = '1KiB'
        respond = ''
        [[site.route]]
        path = '/as-the-site'
        respond = ''";
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let limits: Vec<u64> = built
        .gateway
        .routes
        .iter()
        .map(|route| match &route.middleware[..] {
            [crate::middleware::Config::BodyLimit(limit)] => limit.max_size,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(limits, [1 << 20, 1 << 10, 1 << 20]);
    let above = mistakes("[[site]]\nrespond = ''\nbody_size = '11MiB'");
    assert_eq!(above, ["11MiB can never be sent: `limits.body_size` is 10MiB"]);
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
fn a_redirect_to_itself_is_refused_and_one_that_another_route_takes_is_not() {
    let route =
        |path: &str, to: &str| format!("[[site.route]]\npath = '{path}'\nredirect = '{to}'\n");
    let site = |rest: &str| mistakes(&format!("[[site]]\nhost = 'a.test'\n{rest}")).len();
    for (path, to, count) in [
        ("/a", "/a", 1),
        ("/a", "https://a.test/%61?x=1", 1),
        ("/a", "https://a.test:443{path}", 1),
        ("/a/*", "/a/b", 1),
        ("/*", "https://{host}{path}{query}", 1),
        ("/users/{id}", "/users/me", 1),
        ("/a", "/a/", 0),
        ("/a", "/b", 0),
        ("/a/*", "/b{path}", 0),
        ("/a", "https://b.test/a", 0),
        ("/a", "http://a.test:8080/a", 0),
    ] {
        assert_eq!(site(&route(path, to)), count, "{path} to {to}");
    }
    assert_eq!(site("redirect = '/new'"), 1);
    assert_eq!(site("redirect = '/new'\n[[site.route]]\npath = '/new'\nrespond = ''"), 0);
    assert_eq!(site("redirect = { to = 'https://b.test/', status = 200 }"), 1);
    assert_eq!(site("redirect = 'x'"), 1);
}

#[test]
fn routes_differ_by_path_or_conditions() {
    let route = |rest: &str| format!("[[site.route]]\nrespond = ''\n{rest}\n");
    let site = |routes: &[&str]| {
        let routes: Vec<String> = routes.iter().map(|rest| route(rest)).collect();
        mistakes(&format!("[[site]]\nroot = '.'\n{}", routes.concat())).len()
    };
    assert_eq!(site(&["path = '/a'", "path = '/a'\nmethod = 'GET'", "path = '/b'"]), 0);
    assert_eq!(site(&["path = '/a'", "path = '/a'"]), 1);
    assert_eq!(site(&["path = '/{a}'", "path = '/{b}'"]), 1);
    assert_eq!(site(&["path = ['/a', '/b', '/a']"]), 1);
    assert_eq!(site(&["path = '/*'"]), 1, "the site itself answers it");
    let get = "path = '/a'\nmethod = ['GET', 'HEAD']";
    assert_eq!(site(&[get, "path = '/a'\nmethod = ['HEAD', 'GET']"]), 1, "in another order");
}

#[test]
fn fields_of_the_route_have_the_last_word() {
    let text = "
        [defaults.response_headers]
        set = { a = 'defaults', b = 'defaults', c = 'defaults' }
        [[site]]
        response_headers = { set = { b = 'site' }, remove = ['c'] }
        [[site.route]]
        path = '/'
        respond = ''
        response_headers = { set = { c = 'route' } }
    ";
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let [crate::middleware::Config::Headers(headers)] = &built.gateway.routes[0].middleware[..]
    else {
        panic!("one middleware");
    };
    let set: Vec<String> = headers
        .response
        .set
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().expect("text")))
        .collect();
    assert_eq!(set, ["a=defaults", "b=site", "c=route"]);
    assert_eq!(headers.response.remove, Vec::<http::HeaderName>::new());
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
listen = ["127.0.0.1:0", ":8443", "[::1]:1", "example.com:443"]
http = ":8080"
workers = 2
http3 = true
access_log = { file = "/var/log/access.log", format = "json", max_size = "1GiB", keep = 3 }

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
retry = "always"

[defaults]
tls = { cert = "site.pem", key = "site.key" }
response_headers = { set = { x-content-type-options = "nosniff" }, remove = ["server"] }

[[site]]
host = ["example.com", "*.example.com"]
root = "public"
request_headers.remove = ["x-internal"]

[[site.route]]
path = ["/api/*", "/users/{id}"]
method = ["GET", "HEAD"]
header = { x-env = "beta", authorization = "*" }
query = { v = "2" }
client = ["10.0.0.0/8", "::1"]
protocol = "HTTP/3"
respond = { status = 201, body = "hello", content_type = "text/html" }

[[site]]
host = "old.example"
redirect = { to = "https://example.com{path}{query}", status = 301 }

[[site]]
root = { path = "app", fallback = "index.html", index = ["a.html"], listing = true }
"#;
