use std::ops::ControlFlow;

use http::header::{CONTENT_TYPE, VARY};

use super::*;
use crate::error::Error;

fn config() -> Config {
    Config {
        origins: vec!["https://app.example".parse().expect("an origin")],
        methods: vec![Method::GET, Method::PUT],
        headers: None,
        expose: vec![HeaderName::from_static("x-total")],
        credentials: false,
        max_age: Duration::from_secs(7200),
        private_network: false,
    }
}

fn request(method: Method, fields: &[(&'static str, &'static str)]) -> Request {
    let mut request = Request::new(sterna_net::Body::empty());
    *request.method_mut() = method;
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

/// The answer to a request, as a route with only these stations gives it.
fn answer(config: &Config, mut request: Request, handler: fn() -> Response) -> Response {
    let (cors, preflight) = (config.build(), config.build_preflight());
    let mut exchange = Exchange::begin(&request, None);
    let step = cors.on_request(&mut exchange, &mut request);
    assert!(matches!(step, Step::Now(ControlFlow::Continue(()))), "the first never answers");
    drop(step);
    let response = match preflight.on_request(&mut exchange, &mut request) {
        Step::Now(ControlFlow::Break(Ok(answer))) => answer,
        Step::Now(ControlFlow::Continue(())) => handler(),
        _ => panic!("nothing to wait for, nothing to refuse"),
    };
    cors.on_response(&mut exchange, response)
}

fn fields(response: &Response) -> Vec<String> {
    let fields = response.headers().iter();
    let mut fields: Vec<String> =
        fields.map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
    fields.sort();
    fields
}

fn ok() -> Response {
    let mut response = Response::new(Body::full("ok"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://app.example"),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "authorization,x-a"),
];

#[test]
fn a_preflight_of_an_origin_that_may_read_is_answered_with_all_that_is_allowed() {
    let response = answer(&config(), request(Method::OPTIONS, &PREFLIGHT), || panic!("answered"));
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        fields(&response),
        [
            "access-control-allow-headers: authorization,x-a",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://app.example",
            "access-control-max-age: 7200",
            "vary: access-control-request-headers",
            "vary: access-control-request-method",
            "vary: origin",
        ]
    );
}

#[test]
fn a_preflight_of_another_origin_is_answered_without_a_word_about_what_is_allowed() {
    let fields_of_it = [("origin", "https://evil.example"), PREFLIGHT[1], PREFLIGHT[2]];
    let response =
        answer(&config(), request(Method::OPTIONS, &fields_of_it), || panic!("answered"));
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(fields(&response).iter().all(|field| field.starts_with("vary: ")), "{response:?}");
}

#[test]
fn a_response_says_who_may_read_it_and_what_of_it() {
    let response = answer(&config(), request(Method::GET, &PREFLIGHT[..1]), ok);
    assert_eq!(
        fields(&response),
        [
            "access-control-allow-origin: https://app.example",
            "access-control-expose-headers: x-total",
            "content-type: text/plain",
            "vary: origin",
        ]
    );
    for origin in [&[][..], &[("origin", "null")], &[("origin", "https://app.example.evil")]] {
        let response = answer(&config(), request(Method::GET, origin), ok);
        assert_eq!(fields(&response), ["content-type: text/plain", "vary: origin"], "{origin:?}");
    }
}

#[test]
fn every_origin_is_a_star_without_vary() {
    let config = Config { origins: vec![Origin::Any], expose: vec![], ..config() };
    let response = answer(&config, request(Method::GET, &PREFLIGHT[..1]), ok);
    assert_eq!(fields(&response), ["access-control-allow-origin: *", "content-type: text/plain"]);
}

#[test]
fn credentials_are_allowed_where_they_are_configured() {
    let config = Config { credentials: true, ..config() };
    for method in [Method::OPTIONS, Method::GET] {
        let response = answer(&config, request(method, &PREFLIGHT), ok);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }
    let other = answer(&config, request(Method::GET, &[("origin", "https://b.example")]), ok);
    assert_eq!(other.headers().get(ACCESS_CONTROL_ALLOW_CREDENTIALS), None);
}

#[test]
fn what_the_handler_says_about_origins_is_replaced() {
    let says = || {
        let mut response = ok();
        let any = HeaderValue::from_static("*");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, any);
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        response
    };
    let response =
        answer(&config(), request(Method::GET, &[("origin", "https://b.example")]), says);
    assert_eq!(fields(&response), ["content-type: text/plain", "vary: origin"]);
}

#[test]
fn options_without_the_fields_of_a_preflight_goes_to_the_handler() {
    for without in [&PREFLIGHT[..1], &PREFLIGHT[1..]] {
        let response = answer(&config(), request(Method::OPTIONS, without), ok);
        assert_eq!(response.status(), StatusCode::OK, "{without:?}");
    }
    let get = answer(&config(), request(Method::GET, &PREFLIGHT), ok);
    assert_eq!(get.status(), StatusCode::OK);
}

#[test]
fn an_error_of_a_later_station_can_be_read_by_the_page_that_asked() {
    let refused = || Error::TooLarge.into_response(&HeaderMap::new());
    let response = answer(&config(), request(Method::PUT, &PREFLIGHT[..1]), refused);
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
    let varies: Vec<_> = response.headers().get_all(VARY).iter().collect();
    assert_eq!(varies, ["accept", "origin"]);
}

#[test]
fn listed_fields_are_told_whatever_is_asked_for() {
    let headers = Some(vec![CONTENT_TYPE]);
    let config = Config { headers, ..config() };
    let response = answer(&config, request(Method::OPTIONS, &PREFLIGHT), ok);
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
}

#[test]
fn fields_that_are_no_list_of_names_are_not_said_again() {
    let odd = [PREFLIGHT[0], PREFLIGHT[1], ("access-control-request-headers", "a;<b>")];
    let response = answer(&config(), request(Method::OPTIONS, &odd), ok);
    assert_eq!(response.headers().get(ACCESS_CONTROL_ALLOW_HEADERS), None);
}

#[test]
fn a_private_network_is_opened_only_where_it_is_configured() {
    let asks = ("access-control-request-private-network", "true");
    let asking = [PREFLIGHT[0], PREFLIGHT[1], asks];
    for (private_network, expected) in [(false, None), (true, Some("true"))] {
        let config = Config { private_network, ..config() };
        let response = answer(&config, request(Method::OPTIONS, &asking), ok);
        let allowed = response.headers().get(ALLOW_PRIVATE_NETWORK);
        assert_eq!(allowed.and_then(|value| value.to_str().ok()), expected);
    }
}

#[test]
fn a_star_in_an_origin_is_one_name_or_more_of_the_same_scheme() {
    let origin: Origin = "https://*.app.example".parse().expect("an origin");
    for yes in ["https://a.app.example", "https://a.b-1.app.example"] {
        assert!(origin.takes(yes.as_bytes()), "{yes}");
    }
    for no in [
        "https://app.example",
        "https://.app.example",
        "http://a.app.example",
        "https://evil.example/.app.example",
        "https://evil.example#.app.example",
        "https://u@a.app.example",
        "https://evilapp.example",
        "https://a.app.example:8443",
        "null",
    ] {
        assert!(!origin.takes(no.as_bytes()), "{no}");
    }
}

#[test]
fn an_origin_is_a_scheme_and_a_host_as_browsers_write_them() {
    for text in [
        "https://app.example",
        "http://localhost:3000",
        "https://[::1]:8443",
        "*",
        "https://*.app.example:8443",
        "chrome-extension://abc",
    ] {
        assert_eq!(text.parse::<Origin>().expect(text).to_string(), text);
    }
    for text in [
        "app.example",
        "https://",
        "https://App.example",
        "https://app.example/",
        "https://app.example:443",
        "http://a.example:80",
        "null",
        "https://a.*.example",
        "",
    ] {
        assert_eq!(text.parse::<Origin>(), Err(NotAnOrigin), "{text}");
    }
}
