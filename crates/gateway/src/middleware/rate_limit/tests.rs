use std::ops::ControlFlow;

use http::StatusCode;

use super::*;
use crate::Shared;

struct World {
    shared: Shared,
    limits: RateLimit,
}

fn build(shared: &Shared, scope: &str, limits: &[&str]) -> RateLimit {
    let limits = limits.iter().map(|limit| limit.parse().expect("a limit")).collect();
    let config = Config { scope: scope.to_owned(), route: format!("{scope}/route"), limits };
    config.build(Build { shared, path: None })
}

fn world(limits: &[&str]) -> World {
    let shared = Shared::default();
    let limits = build(&shared, "site", limits);
    World { shared, limits }
}

fn request(headers: &[(&'static str, &str)]) -> Request {
    let mut request = Request::default();
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::try_from(*value).expect("a value"));
    }
    request
}

/// The answer to a request: its status, and what the two fields say.
fn ask(limits: &RateLimit, headers: &[(&'static str, &str)]) -> (StatusCode, String, String) {
    let mut request = request(headers);
    let mut exchange = Exchange::begin(&request, None);
    let Step::Now(verdict) = limits.on_request(&mut exchange, &mut request) else {
        panic!("nothing has to be waited for")
    };
    let response = match verdict {
        ControlFlow::Continue(()) => Response::default(),
        ControlFlow::Break(Err(error)) => error.into_response(request.headers()),
        ControlFlow::Break(Ok(_)) => panic!("a limit has no answer of its own"),
    };
    let response = limits.on_response(&mut exchange, response);
    let field = |name| response.headers()[name].to_str().expect("text").to_owned();
    (response.status(), field("ratelimit"), field("ratelimit-policy"))
}

fn status(limits: &RateLimit, headers: &[(&'static str, &str)]) -> u16 {
    ask(limits, headers).0.as_u16()
}

#[test]
fn the_burst_is_answered_and_one_more_is_too_many() {
    let World { limits, shared } = world(&["2/h per ip"]);
    assert_eq!(status(&limits, &[]), 200);
    let (second, state, policy) = ask(&limits, &[]);
    assert_eq!((second, &*policy), (StatusCode::OK, "\"ip\";q=2;w=3600"));
    assert!(state.starts_with("\"ip\";r=0;t="), "{state}");
    let (third, state, _) = ask(&limits, &[]);
    assert_eq!(third, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(state, "\"ip\";r=0;t=1800", "half an hour until the next one");
    let [figures] = &*shared.limits() else { panic!("one limit") };
    assert_eq!((figures.refused, figures.known, figures.forgotten), (1, 1, 0), "and it is counted");
    assert_eq!((&*figures.scope, &*figures.limit), ("site", "2/h per ip"));
}

#[test]
fn a_refusal_says_when_to_come_again() {
    let error = Error::TooOften { retry_after: Duration::from_millis(1001) };
    let response = error.into_response(&http::HeaderMap::new());
    assert_eq!(response.headers()["retry-after"], "2");
}

#[test]
fn each_value_of_a_field_has_a_bucket_and_none_has_one_too() {
    let World { limits, .. } = world(&["1/h per header x-api-key"]);
    assert_eq!(status(&limits, &[("x-api-key", "a")]), 200);
    assert_eq!(status(&limits, &[("x-api-key", "a")]), 429);
    assert_eq!(status(&limits, &[("x-api-key", "b")]), 200);
    assert_eq!(status(&limits, &[]), 200);
    assert_eq!(status(&limits, &[]), 429, "leaving it out escapes nothing");
}

#[test]
fn each_value_of_a_cookie_has_a_bucket_wherever_it_stands() {
    let World { limits, .. } = world(&["1/h per cookie SID"]);
    assert_eq!(status(&limits, &[("cookie", "a=1; SID=x")]), 200);
    assert_eq!(status(&limits, &[("cookie", "SID=x;b=2")]), 429);
    assert_eq!(
        status(&limits, &[("cookie", "a=1"), ("cookie", "SID=x")]),
        429,
        "HTTP/2 and 3 split it"
    );
    assert_eq!(status(&limits, &[("cookie", "SIDE=x; SID=y")]), 200);
}

#[test]
fn of_several_limits_the_one_that_leaves_least_is_told_and_a_refusal_costs_nothing() {
    let World { limits, .. } = world(&["3/h global", "1/h per header k", "9/h global"]);
    let (_, state, policy) = ask(&limits, &[("k", "a")]);
    assert!(state.starts_with("\"header\";r=0"), "{state}");
    assert_eq!(policy, "\"global\";q=3;w=3600, \"header\";q=1;w=3600, \"global-2\";q=9;w=3600");
    for _ in 0..5 {
        assert_eq!(status(&limits, &[("k", "a")]), 429);
    }
    assert_eq!(status(&limits, &[("k", "b")]), 200, "the global limit has not lost a unit");
    assert_eq!(status(&limits, &[("k", "c")]), 200);
    assert_eq!(status(&limits, &[("k", "d")]), 429, "until its own three are used");
}

#[test]
fn workers_and_reloads_share_a_limit_and_another_scope_has_its_own() {
    let World { limits, shared } = world(&["1/h global"]);
    assert_eq!(status(&limits, &[]), 200);
    let again = build(&shared, "site", &["1/h global"]);
    assert_eq!(status(&again, &[]), 429, "the same limit of the same site");
    assert_eq!(status(&build(&shared, "other", &["1/h global"]), &[]), 200);
    assert_eq!(status(&build(&shared, "site", &["2/h global"]), &[]), 200, "another limit");
}
