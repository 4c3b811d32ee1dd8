use std::ops::ControlFlow;

use http::StatusCode;

use super::*;
use crate::Shared;
use crate::body::Body;

fn station(strip: &str, template: &str, pattern: &str) -> Rewrite {
    let config = Config {
        strip: (!strip.is_empty()).then(|| strip.parse().expect("a prefix")),
        template: (!template.is_empty()).then(|| template.parse().expect("a template")),
    };
    let pattern: Pattern = pattern.parse().expect("a pattern");
    config.build(Build { shared: &Shared::default(), path: Some(&pattern) })
}

/// What the handler sees, or the status of the refusal.
fn seen(station: &Rewrite, uri: &str) -> Result<String, u16> {
    let request = http::Request::builder().uri(uri);
    let mut request = request.body(sterna_net::Body::empty()).expect("a request");
    let mut exchange = Exchange::begin(&request, None);
    match station.on_request(&mut exchange, &mut request) {
        Step::Now(ControlFlow::Continue(())) => {}
        Step::Now(ControlFlow::Break(Err(error))) => return Err(error.status().as_u16()),
        _ => panic!("neither waits nor answers"),
    }
    Ok(request.uri().to_string())
}

#[test]
fn a_prefix_is_taken_off_in_whatever_spelling_and_only_where_it_is() {
    let strip = station("/api/v1", "", "/api/*");
    for (uri, expected) in [
        ("/api/v1/users?x=1", "/users?x=1"),
        ("/api/v1", "/"),
        ("/api/v1/", "/"),
        ("/api/v1?x", "/?x"),
        ("/%61pi/v1/a%20b", "/a%20b"),
        ("/api/v1/v1", "/v1"),
        ("/api/v1x", "/api/v1x"),
        ("/api", "/api"),
        ("/api/", "/api/"),
        ("/api%2Fv1/x", "/api%2Fv1/x"),
        ("https://a.test/api/v1/x", "https://a.test/x"),
    ] {
        assert_eq!(seen(&strip, uri).as_deref(), Ok(expected), "{uri}");
    }
}

#[test]
fn a_path_becomes_what_the_template_makes_of_it() {
    for (template, pattern, uri, expected) in [
        ("/new", "/*", "/old?x=1", "/new?x=1"),
        ("/v2{path}", "/*", "/users?x=1", "/v2/users?x=1"),
        ("/v2/{path}", "/*", "/users", "/v2/users"),
        ("/u/{id}/all", "/users/{id}/*", "/users/7/posts?x", "/u/7/all?x"),
        ("/{b}/{a}", "/{a}/{b}", "/1/2", "/2/1"),
        ("/find?id={id}", "/users/{id}", "/users/a%26b", "/find?id=a%26b"),
        ("/find?id={id}{query}", "/users/{id}", "/users/7?x=1", "/find?id=7&x=1"),
        ("/bare?", "/*", "/a?x=1", "/bare?"),
        ("{path}/index{query}", "/*", "/a?x=1", "/a/index?x=1"),
    ] {
        let station = station("", template, pattern);
        assert_eq!(seen(&station, uri).as_deref(), Ok(expected), "{template} {uri}");
    }
}

#[test]
fn the_path_in_a_template_is_what_is_left_after_the_prefix() {
    let both = station("/api", "/v2{path}", "/api/*");
    assert_eq!(seen(&both, "/api/users?x=1").as_deref(), Ok("/v2/users?x=1"));
    assert_eq!(seen(&both, "/api").as_deref(), Ok("/v2/"));
}

#[test]
fn no_path_leads_out_of_what_the_configuration_says() {
    let below = station("/files", "/public{path}", "/files/*");
    for climbing in [
        "/files/../secret",
        "/files/..",
        "/files/./x",
        "/files/%2e%2e/secret",
        "/files/%2E./secret",
        "/files/..%2fsecret",
        "/files/a%2f..%2f..%2fsecret",
        "/files/..%5csecret",
        "/files/..;x=1/secret",
        "/../x",
    ] {
        assert_eq!(seen(&below, climbing), Err(400), "{climbing}");
    }
    for plain in ["/files/...", "/files/a..b", "/files/.hidden", "/files/a%2eb"] {
        assert!(seen(&below, plain).is_ok(), "{plain}");
    }
}

#[test]
fn no_path_becomes_another_host_or_another_line() {
    let strip = station("/a", "", "/*");
    assert_eq!(seen(&strip, "/a//evil.example/x").as_deref(), Ok("/evil.example/x"));
    assert_eq!(seen(&strip, "/a////evil.example").as_deref(), Ok("/evil.example"));
    let parameter = station("", "/{a}/{b}", "/{a}/{b}");
    assert_eq!(seen(&parameter, "/x%0d%0aset-cookie:y/b").as_deref(), Ok("/x%0d%0aset-cookie:y/b"));
    let same = station("", "{path}", "/*");
    assert_eq!(seen(&same, "//evil.example/x").as_deref(), Ok("/evil.example/x"));
}

#[test]
fn what_is_about_the_whole_server_stays() {
    assert_eq!(seen(&station("", "/new", "/*"), "*").as_deref(), Ok("*"));
}

#[test]
fn what_is_no_template_or_prefix_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", NotATemplate::NoSlash),
        ("new", NotATemplate::NoSlash),
        ("{id}", NotATemplate::NoSlash),
        ("/{", NotATemplate::Brace),
        ("/}", NotATemplate::Brace),
        ("/{}", NotATemplate::Brace),
        ("/{a{b}", NotATemplate::Brace),
        ("/a b", NotATemplate::Character(' ')),
        ("/a\r\nb", NotATemplate::Character('\r')),
        ("/a#b", NotATemplate::Character('#')),
    ] {
        assert_eq!(text.parse::<Template>(), Err(reason), "{text:?}");
    }
    for text in ["", "api", "/", "/api/", "//api", "/a/../b", "/api/*", "/{id}", "/a?b", "/a%20b"] {
        assert_eq!(text.parse::<Prefix>(), Err(NotAPrefix), "{text:?}");
    }
}

#[test]
fn a_prefix_that_no_path_of_the_route_has_is_known() {
    let prefix: Prefix = "/api/v1".parse().expect("a prefix");
    for (pattern, can) in [
        ("/api/v1/*", true),
        ("/api/*", true),
        ("/*", true),
        ("/api/{version}/users", true),
        ("/api/v1", true),
        ("/app/*", false),
        ("/api/v2/*", false),
    ] {
        let pattern: Pattern = pattern.parse().expect("a pattern");
        assert_eq!(prefix.can_begin(&pattern), can, "{pattern}");
    }
}

#[test]
fn the_handler_is_told_what_was_taken_off() {
    let station = station("/app", "", "/*");
    for (uri, expected) in [("/app/x", Some("/app")), ("/other", None)] {
        let request = http::Request::builder().uri(uri);
        let mut request = request.body(sterna_net::Body::empty()).expect("a request");
        let mut exchange = Exchange::begin(&request, None);
        drop(station.on_request(&mut exchange, &mut request));
        let told = request.headers().get(FORWARDED_PREFIX).and_then(|value| value.to_str().ok());
        assert_eq!(told, expected, "{uri}");
    }
}

#[test]
fn a_redirect_to_the_directory_is_one_to_the_client_s_own_path() {
    let station = station("/docs", "", "/*");
    for (location, expected) in [
        ("/sub/?x=1", "/docs/sub/?x=1"),
        ("/other/", "/other/"),
        ("https://a.test/sub/", "https://a.test/sub/"),
    ] {
        let request = http::Request::builder().uri("/docs/sub?x=1");
        let mut request = request.body(sterna_net::Body::empty()).expect("a request");
        let mut exchange = Exchange::begin(&request, None);
        drop(station.on_request(&mut exchange, &mut request));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
        let response = station.on_response(&mut exchange, response);
        assert_eq!(response.headers()[LOCATION], expected);
    }
}
