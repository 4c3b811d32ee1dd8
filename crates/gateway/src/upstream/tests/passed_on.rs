//! A configuration whose requests are passed on to real origins.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;

use super::backends::Origin;
use super::dns::NameServer;
use crate::config::{Environment, Loaded};
use crate::{Gateway, Shared};

/// Runs a test as a worker would.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("it hangs");
    });
}

fn gateway(shared: &Shared, keys: &str) -> Gateway {
    let text = format!("[[site]]\n{keys}");
    let built = Loaded::of_text("sterna.toml", &text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    Gateway::new(&built.gateway, shared, None)
}

async fn get(gateway: &Gateway, cookie: &str) -> (StatusCode, String) {
    let request = http::Request::get("/path").header("host", "site").header("cookie", cookie);
    let mut request = request.body(sterna_net::Body::empty()).unwrap();
    let response = gateway.handle(&mut request).await;
    let status = response.status();
    let content = response.into_body().collect().await.map(|content| content.to_bytes());
    (status, String::from_utf8(content.unwrap_or_default().to_vec()).unwrap())
}

/// A port where nobody listens.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn a_backend_that_is_down_costs_no_request_and_is_left_out() {
    run(async {
        let (one, other, dead) = (Origin::start(200, "1"), Origin::start(200, "2"), nobody());
        let shared = Shared::default();
        let keys = format!("proxy = ['{}', '{dead}', '{}']", one.address, other.address);
        let gateway = gateway(&shared, &keys);
        for _ in 0..60 {
            let (status, content) = get(&gateway, "").await;
            assert_eq!(status, StatusCode::OK, "{content}");
        }
        let status = shared.upstreams().all()[0].status(std::time::Instant::now());
        let dead = &status.backends[1];
        assert_eq!((dead.requests, dead.failures, dead.ejections), (5, 5, 1));
        assert_eq!(status.retries, 5);
        let rest: Vec<_> = [0, 2].map(|i| status.backends[i].requests).into();
        assert_eq!(rest.iter().sum::<u64>(), 60);
        assert!(rest.iter().all(|requests| *requests >= 15), "{rest:?}");
        assert!(status.backends.iter().all(|backend| backend.in_flight == 0));
    });
}

#[test]
fn what_a_breaker_has_no_place_for_is_answered_503_at_once() {
    run(async {
        // It takes connections and answers nothing.
        let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = mute.local_addr().unwrap();
        let shared = Shared::default();
        let keys = format!("proxy = '{address}'\nbreaker = {{ requests = 2 }}");
        let gateway = gateway(&shared, &keys);
        let held: Vec<_> = (0..2)
            .map(|_| {
                let gateway = gateway.clone();
                tokio::task::spawn_local(async move { get(&gateway, "").await })
            })
            .collect();
        let upstream = shared.upstreams().all().remove(0);
        let in_flight = || upstream.status(std::time::Instant::now()).backends[0].in_flight;
        while in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        let (status, _) = get(&gateway, "").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        held.iter().for_each(|task| task.abort());
        while in_flight() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(upstream.status(std::time::Instant::now()).full, 1);
    });
}

#[test]
fn requests_with_the_same_cookie_go_to_the_same_backend() {
    run(async {
        let origins: Vec<_> = ["a", "b", "c"].map(|name| Origin::start(200, name)).into();
        let list: Vec<_> = origins.iter().map(|origin| format!("'{}'", origin.address)).collect();
        let keys = format!("proxy = [{}]\nbalance = 'hash cookie sid'", list.join(", "));
        let gateway = gateway(&Shared::default(), &keys);
        let mut owners = std::collections::BTreeSet::new();
        for session in 0..30 {
            let cookie = format!("theme=dark; sid={session}");
            let (_, owner) = get(&gateway, &cookie).await;
            for _ in 0..3 {
                assert_eq!(get(&gateway, &cookie).await, (StatusCode::OK, owner.clone()));
            }
            owners.insert(owner);
        }
        assert_eq!(owners.len(), 3, "and all have their share");
    });
}

#[test]
fn backends_behind_a_name_are_reached_where_discovery_found_them_by_their_name() {
    run(async {
        let origin = Origin::start(200, "found");
        let port = origin.address.port();
        let server = NameServer::start();
        server.addresses("app.example.", &["127.0.0.1"]);
        let keys = format!(
            "proxy = {{ to = 'dns:app.example:{port}' }}\ndiscovery = {{ server = '{}', least = '20ms' }}",
            server.address
        );
        let gateway = gateway(&Shared::default(), &keys);
        // The first request waits until there is somebody.
        assert_eq!(get(&gateway, "").await, (StatusCode::OK, "found".to_owned()));
        server.break_down(true);
        assert_eq!(get(&gateway, "").await, (StatusCode::OK, "found".to_owned()));
    });
}

#[test]
fn a_name_that_cannot_be_resolved_is_told_as_such() {
    run(async {
        let server = NameServer::start();
        server.break_down(true);
        let keys = format!(
            "proxy = 'dns:app.example:80'\ndiscovery = {{ server = '{}' }}",
            server.address
        );
        let (status, _) = get(&gateway(&Shared::default(), &keys), "").await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    });
}

#[test]
fn a_reload_goes_on_with_the_upstreams_it_leaves_as_they_were_and_with_what_is_known_of_others() {
    run(async {
        let (one, other) = (Origin::start(200, "1"), Origin::start(200, "2"));
        let shared = Shared::default();
        let keys = format!("proxy = ['{}', '{}']\nhealth = '/'", one.address, other.address);
        let before = gateway(&shared, &keys);
        let upstream = shared.upstreams().all().remove(0);
        let name = format!("http://{}", one.address);
        upstream.set_draining(&name, true).unwrap();
        let same = gateway(&shared, &keys);
        assert_eq!(shared.upstreams().all().len(), 1, "nothing has changed");
        let changed = gateway(&shared, &format!("{keys}\nbalance = 'least_conn'"));
        assert_eq!(shared.upstreams().all().len(), 2);
        for _ in 0..6 {
            let expected = (StatusCode::OK, "2".to_owned());
            for gateway in [&before, &same, &changed] {
                assert_eq!(get(gateway, "").await, expected, "one is out of service for all");
            }
        }
        drop((before, same, upstream));
        assert_eq!(shared.upstreams().all().len(), 1, "the old one is forgotten");
    });
}
