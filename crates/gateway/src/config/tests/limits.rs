//! Limits: their units, and which of them holds.

use super::*;

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
        .filter_map(|route| {
            route.middleware.iter().find_map(|station| match station {
                crate::middleware::Config::BodyLimit(limit) => Some(limit.max_size),
                _ => None,
            })
        })
        .collect();
    assert_eq!(limits, [1 << 20, 1 << 10, 1 << 20]);
    let above = mistakes("[[site]]\nrespond = ''\nbody_size = '11MiB'");
    assert_eq!(above, ["11MiB can never be sent: `limits.body_size` is 10MiB"]);
}

#[test]
fn limits_stand_in_their_order_and_the_innermost_replaces_the_others() {
    let text = r#"
        limits = { in_flight = 100, streams_per_ip = 50, handshakes_per_ip = "20/s" }
        [defaults]
        rate_limit = "100/s per ip"
        [[site]]
        host = "a.test"
        respond = "a"
        bandwidth = "1MiB/s"
        in_flight = { max = 5, queue = 0 }
        [[site.route]]
        path = "/b"
        respond = "b"
        rate_limit = ["1/s per route", "2/s global"]
        body_min_rate = "off"
    "#;
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let stations = |path: &str| {
        let route = built.gateway.routes.iter().find(|route| route.path.to_string() == path);
        let stations = route.expect("a route").middleware.iter().map(|station| match station {
            crate::middleware::Config::RateLimit(config) => {
                let limits = config.limits.iter().map(ToString::to_string).collect::<Vec<_>>();
                format!("rate {} in {}, {}", limits.join(" and "), config.scope, config.route)
            }
            crate::middleware::Config::InFlight(config) => {
                format!("{} at once in {}", config.limit.max, config.scope)
            }
            crate::middleware::Config::Bandwidth(config) => {
                format!("{} in {}", config.limit, config.scope)
            }
            crate::middleware::Config::Compress(_) | crate::middleware::Config::EarlyData(_) => {
                "everywhere".to_owned()
            }
            other => format!("{other:?}"),
        });
        stations.filter(|station| station != "everywhere").collect::<Vec<_>>()
    };
    assert_eq!(
        stations("/*"),
        [
            "rate 100/s per ip in defaults, a.test",
            "100 at once in process",
            "5 at once in a.test",
            "1MiB/s in a.test",
        ]
    );
    assert_eq!(
        stations("/b"),
        [
            "rate 1/s per route and 2/s global in a.test /b , a.test /b ",
            "100 at once in process",
            "5 at once in a.test",
            "1MiB/s in a.test",
            "BodyRate(Config { rate: None })",
        ]
    );
    let server = built.server;
    let streams =
        (server.max_http2_streams, server.max_http3_streams, server.quic.max_bidi_streams);
    assert_eq!(streams, (50, 50, 50), "no connection is allowed more than its address");
    assert!(server.handshakes_per_ip.is_some() && server.connections_per_ip.is_none());
}
