//! Policies: their order, what they are by default, and what they cannot mean.

use super::*;

/// The stations of the first route, by their names.
fn stations(text: &str) -> Vec<String> {
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let name = |station| {
        let text = format!("{station:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    };
    built.gateway.routes[0].middleware.iter().map(name).collect()
}

#[test]
fn the_order_of_the_stations_is_always_the_same() {
    let text = "[[site]]
        canary = { percent = 1, respond = '' }
        early_data = 'off'
        mirror = '127.0.0.1:1'
        compress = true
        rewrite = '/'
        request_headers.set = { a = '1' }
        body_size = '1KiB'
        cors = true
        response_headers.set = { a = '1' }
        trace_context = 'start'
        request_id = true
        respond = ''";
    let expected = [
        "EarlyData",
        "RequestId",
        "TraceContext",
        "Headers",
        "Cors",
        "BodyLimit",
        "Preflight",
        "Headers",
        "Rewrite",
        "Compress",
        "Mirror",
        "Canary",
    ];
    assert_eq!(stations(text), expected);
}

#[test]
fn what_goes_by_the_client_s_address_waits_for_the_handshake() {
    for (policy, waits) in [
        ("allow = '10.0.0.0/8'", true),
        ("deny = '10.0.0.0/8'", true),
        ("rate_limit = '5/s per ip'", true),
        ("rate_limit = '5/s global'", false),
        ("compress = true", false),
    ] {
        for zero_rtt in ["safe", "all"] {
            let text = format!("quic.zero_rtt = '{zero_rtt}'\n[[site]]\nrespond = ''\n{policy}");
            let built = Loaded::of_text("sterna.toml", &text, &Environment::empty()).build();
            let built = built.unwrap_or_else(|problems| panic!("{problems}"));
            let Some(crate::middleware::Config::EarlyData(early)) =
                built.gateway.routes[0].middleware.first()
            else {
                panic!("{policy}: nothing looks at early data");
            };
            assert_eq!(early.mode == crate::middleware::early_data::Mode::Off, waits, "{policy}");
        }
    }
}

#[test]
fn only_two_are_there_without_being_asked_for_and_an_inner_table_takes_things_away() {
    assert_eq!(stations("[[site]]\nrespond = ''"), ["EarlyData", "Compress"]);
    let all = "quic.zero_rtt = 'off'\n[defaults]\ncompress = true\ncors = true\nrequest_id = true\ntrace_context = 'start'\n";
    assert_eq!(stations(&format!("{all}[[site]]\nrespond = ''")).len(), 5);
    let none = "compress = false\ncors = false\nrequest_id = false\ntrace_context = 'off'\n";
    assert_eq!(stations(&format!("{all}[[site]]\nrespond = ''\n{none}")), [""; 0]);
}

#[test]
fn another_site_may_be_told_in_three_ways() {
    let cors = |text: &str| {
        let text = format!("[[site]]\nrespond = ''\ncors = {text}");
        read(&text).unwrap_or_else(|problems| panic!("{problems}")).site[0].policies.cors.clone()
    };
    assert_eq!(cors("true"), cors("'*'"));
    assert_eq!(cors("true"), cors("{}"));
    assert_eq!(cors("'https://a.test'"), cors("['https://a.test']"));
    assert_eq!(cors("'https://a.test'"), cors("{ origins = 'https://a.test' }"));
    assert_ne!(cors("false"), cors("true"));
}

#[test]
fn what_a_policy_cannot_mean_is_refused_with_what_to_do() {
    let site = |rest: &str| mistakes(&format!("[[site]]\nrespond = ''\n{rest}"));
    for (text, expected) in [
        (
            "cors = { credentials = true }",
            "every site of the world could read what a user sees here",
        ),
        ("cors = ['*', 'https://a.test']", "`*` is everybody already"),
        (
            "cors = 'a.test'",
            "`a.test` is not an origin: write a scheme and a host, such as `https://app.example`, without a path",
        ),
        ("cors = 7", "expected `true`, `false`, an origin, a list or a table, found an integer"),
        ("compress = { algorithms = ['gzip', 'gzip'] }", "a coding is there twice"),
        ("compress = { algorithms = 'deflate' }", "`deflate` is not one of `zstd`, `gzip`, `br`"),
        (
            "compress = { types = 'html' }",
            "`html` is not a type of content such as `text/html`, `text/*` or `*+json`",
        ),
        ("rewrite = '/u/{id}'", "`/*` has no parameter `{id}`"),
        ("rewrite = 'u'", "`u` is not a path: begin with `/` or `{path}`"),
        (
            "strip_prefix = '/a/'",
            "`/a/` is not the beginning of a path: write `/api`, without a slash at the end, a star or a query",
        ),
        (
            "[[site.route]]\npath = '/b/*'\nrespond = ''\nstrip_prefix = '/a'",
            "no path of `/b/*` begins with `/a`",
        ),
        (
            "[[site.route]]\npath = ['/u/{id}', '/v']\nrespond = ''\nrewrite = '/{id}'",
            "`/v` has no parameter `{id}`",
        ),
        ("canary = { percent = 101, respond = '' }", "101 is out of range: from 0 to 100"),
        ("canary = { percent = 1 }", "this canary answers nothing"),
        ("canary = { percent = 1, respond = '', root = '.' }", "`root` and `respond` both answer"),
        (
            "canary = { percent = 1, respond = '', by = 'client', cookie = 'a' }",
            "nothing is kept in a cookie of ours: `by` is `client`",
        ),
        (
            "canary = { percent = 1, respond = '', by = 'user' }",
            "`user` is not `visitor`, `request`, `client`, `header NAME` or `cookie NAME`",
        ),
        (
            "response_headers.set = { a = '{clinet}' }",
            "`{clinet}` has `{clinet}`, which is not known: `{client}`, `{host}`, `{proto}`, `{method}`, `{path}`, `{query}` and `{request_id}` are",
        ),
        (
            "response_headers.add = { content-length = '1' }",
            "`content-length` says where a message ends, which the server knows better",
        ),
        ("trace_context = 'on'", "`on` is not one of `off`, `continue`, `start`"),
    ] {
        assert_eq!(site(text), [expected], "{text}");
    }
    let alone = "[[site]]\ncanary = { percent = 1, respond = '' }\n[[site.route]]\npath = '/'\nrespond = ''";
    assert_eq!(mistakes(alone), ["there is nothing that the canary could answer in place of"]);
}
