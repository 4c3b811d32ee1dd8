//! The keeper on real sockets: checks of each kind, discovery by a real name server, and their end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::uri::PathAndQuery;

use super::backends::{Grpc, Origin, Says};
use super::dns::NameServer;
use crate::Shared;
use crate::upstream::check::{self, HttpProbe, Probe};
use crate::upstream::{
    Address, BackendStatus, Condition, Config, Member, NoBackend, Place, Scheme, Source, Upstream,
    Wanted, discovery,
};

const SOON: Duration = Duration::from_millis(20);

/// No test waits for anything this long unless it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn at(scheme: Scheme, socket: SocketAddr) -> Address {
    Address { scheme, place: Place::Net { host: socket.ip().to_string(), port: socket.port() } }
}

fn checked(address: Address, probe: Probe) -> Config {
    let mut config = Config::new([address]);
    let often = check::Config::new(probe);
    config.check = Some(check::Config { interval: SOON, timeout: PATIENCE, ..often });
    config
}

fn http(path: &'static str) -> HttpProbe {
    HttpProbe::new(PathAndQuery::from_static(path))
}

fn first(upstream: &Upstream) -> BackendStatus {
    upstream.status(Instant::now()).backends.remove(0)
}

fn until_is(upstream: &Upstream, condition: Condition) {
    until(&format!("{condition:?}"), || first(upstream).condition == condition);
}

#[test]
fn a_backend_is_healthy_while_its_path_answers_2xx() {
    let origin = Origin::start(204, "");
    let config = checked(at(Scheme::Http, origin.address), Probe::Http(http("/healthz?deep")));
    let upstream = Shared::default().upstream(&config);
    until_is(&upstream, Condition::Healthy);
    let head = origin.heard.recv().unwrap().unwrap().to_lowercase();
    assert!(head.starts_with("get /healthz?deep http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", origin.address)), "{head}");
    assert!(head.contains("user-agent: sterna-health-check\r\n"), "{head}");
    origin.answers(503, "");
    until_is(&upstream, Condition::Unhealthy);
    assert!(first(&upstream).failed_checks >= 3, "three in a row");
    origin.answers(200, "");
    until_is(&upstream, Condition::Healthy);
}

#[test]
fn status_content_and_host_of_a_check_are_what_the_configuration_says() {
    let origin = Origin::start(418, "all is well");
    let mut probe = http("/");
    probe.status = (418, 418);
    probe.body = Some("is well".to_owned());
    probe.host = Some("app.example".parse().unwrap());
    let config = checked(at(Scheme::Http, origin.address), Probe::Http(probe));
    let upstream = Shared::default().upstream(&config);
    until_is(&upstream, Condition::Healthy);
    let head = origin.heard.recv().unwrap().unwrap().to_lowercase();
    assert!(head.contains("host: app.example\r\n"), "{head}");
    origin.answers(418, "all is lost");
    until_is(&upstream, Condition::Unhealthy);
    origin.answers(418, &format!("{}all is well", "x".repeat(check::MOST_BODY - 11)));
    until_is(&upstream, Condition::Healthy);
    origin.answers(418, &format!("{}all is well", "x".repeat(check::MOST_BODY - 10)));
    until_is(&upstream, Condition::Unhealthy);
}

#[test]
fn a_tcp_check_needs_a_connection_and_nothing_else() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let config = checked(at(Scheme::Http, listener.local_addr().unwrap()), Probe::Tcp);
    let upstream = Shared::default().upstream(&config);
    until_is(&upstream, Condition::Healthy);
    drop(listener);
    until_is(&upstream, Condition::Unhealthy);
}

#[test]
fn a_unix_socket_can_be_checked_for_a_connection() {
    let path = std::env::temp_dir().join(format!("sterna-check-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = Address { scheme: Scheme::Http, place: Place::Unix(path.clone()) };
    let upstream = Shared::default().upstream(&checked(address, Probe::Tcp));
    until_is(&upstream, Condition::Healthy);
    drop(listener);
    until_is(&upstream, Condition::Unhealthy);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_unix_socket_can_be_asked_for_a_path() {
    let path = std::env::temp_dir().join(format!("sterna-ask-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 1024];
            let len = stream.read(&mut head).unwrap_or_default();
            let is_asked = head[..len].starts_with(b"GET /healthz HTTP/1.1\r\n");
            let status = if is_asked { 200 } else { 500 };
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let address = Address { scheme: Scheme::Http, place: Place::Unix(path.clone()) };
    let upstream = Shared::default().upstream(&checked(address, Probe::Http(http("/healthz"))));
    until_is(&upstream, Condition::Healthy);
    std::fs::remove_file(path).unwrap();
    until_is(&upstream, Condition::Unhealthy);
}

#[test]
fn a_backend_that_takes_the_question_and_never_answers_is_unhealthy() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = at(Scheme::Http, listener.local_addr().unwrap());
    let mut config = checked(address, Probe::Http(http("/")));
    config.check.as_mut().unwrap().timeout = SOON;
    let upstream = Shared::default().upstream(&config);
    until_is(&upstream, Condition::Unhealthy);
}

#[test]
fn a_grpc_service_is_healthy_while_it_says_that_it_serves() {
    let grpc = Grpc::start(Says::State(1));
    let probe = Probe::Grpc { service: "a.B".to_owned() };
    let upstream = Shared::default().upstream(&checked(at(Scheme::H2c, grpc.address), probe));
    until_is(&upstream, Condition::Healthy);
    let (path, message) = grpc.asked.recv().unwrap();
    assert_eq!(path, "/grpc.health.v1.Health/Check");
    assert_eq!(message, [0, 0, 0, 0, 5, 0x0A, 3, b'a', b'.', b'B']);
    for bad in [Says::State(2), Says::Status("12"), Says::State(3)] {
        grpc.says(bad);
        until_is(&upstream, Condition::Unhealthy);
        grpc.says(Says::State(1));
        until_is(&upstream, Condition::Healthy);
    }
}

#[test]
fn an_http3_check_needs_http3() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate: rustls_pki_types::CertificateDer<'static> =
        params.self_signed(&key).unwrap().into();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    for is_on in [true, false] {
        let tls =
            sterna_net::ServerTls::from_der(vec![certificate.clone()], key.clone_key().into());
        let server = sterna_net::server::Config { http3: is_on, ..Default::default() };
        let bound = sterna_net::Server::builder()
            .listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .tls(tls.unwrap())
            .workers(1)
            .config(server)
            .bind()
            .unwrap();
        let address = bound.addresses()[0];
        let well = crate::handler::respond::Config::text("well");
        let route = crate::route::Config::new(
            crate::route::Pattern::any(),
            crate::handler::Config::Respond(well),
        );
        let gateway = crate::Config { routes: vec![route], ..Default::default() };
        let running = bound
            .serve_with(move |_| crate::Gateway::new(&gateway, &Shared::default(), None))
            .unwrap();
        let shared = Shared::default();
        for only_http3 in [false, true] {
            let probe = HttpProbe { only_http3, body: Some("well".to_owned()), ..http("/") };
            let mut config = checked(at(Scheme::H3, address), Probe::Http(probe));
            let check = config.check.as_mut().unwrap();
            check.asker.builder = check.asker.builder.clone().add_root(certificate.clone());
            check.timeout = Duration::from_secs(2);
            let upstream = shared.upstream(&config);
            let is_well = is_on || !only_http3;
            until_is(&upstream, if is_well { Condition::Healthy } else { Condition::Unhealthy });
        }
        running.shutdown(Duration::ZERO);
        running.wait().unwrap();
    }
}

#[test]
fn checks_end_with_their_upstream() {
    let origin = Origin::start(200, "");
    let config = checked(at(Scheme::Http, origin.address), Probe::Http(http("/")));
    let shared = Shared::default();
    let upstream = shared.upstream(&config);
    until_is(&upstream, Condition::Healthy);
    let inner = Arc::downgrade(&upstream.inner);
    drop(upstream);
    until("nothing holds the upstream", || inner.strong_count() == 0);
    // The connection that checks kept has no owner any more.
    until("the connection is closed", || matches!(origin.heard.try_recv(), Ok(None)));
}

#[test]
fn an_upstream_that_needs_neither_checks_nor_names_starts_no_thread() {
    let shared = Shared::default();
    let upstream = shared.upstream(&Config::new([super::address(0)]));
    assert!(upstream._alive.is_none());
}

#[test]
fn the_same_configuration_is_the_same_upstream_and_another_goes_on_with_what_is_known() {
    let origin = Origin::start(503, "");
    let config = checked(at(Scheme::Http, origin.address), Probe::Http(http("/")));
    let shared = Shared::default();
    let before = shared.upstream(&config);
    assert!(Arc::ptr_eq(&before, &shared.upstream(&config)));
    until_is(&before, Condition::Unhealthy);
    let name = first(&before).address.to_string();
    before.set_draining(&name, true).unwrap();
    before.set_weight(&name, 9).unwrap();
    let mut other = config.clone();
    other.slow_start = Duration::from_secs(10);
    other.check.as_mut().unwrap().interval = PATIENCE;
    let after = shared.upstream(&other);
    assert!(!Arc::ptr_eq(&before, &after));
    let backend = first(&after);
    assert!(backend.is_draining);
    assert_eq!((backend.weight, backend.condition), (9, Condition::Unhealthy));
    let mut unchecked = config.clone();
    unchecked.check = None;
    let backend = first(&shared.upstream(&unchecked));
    assert_eq!(backend.condition, Condition::Unchecked, "nobody would ever say that it is well");
}

/// An upstream of one name, which is looked up often.
fn named(server: &NameServer, source: Source) -> Config {
    let mut config = Config::new([]);
    config.backends = vec![Member { source, weight: 1, is_backup: false }];
    config.discovery =
        discovery::Config { server: Some(server.address), least: SOON, most: PATIENCE };
    config
}

fn app() -> Source {
    let place = Place::Net { host: "app.example".to_owned(), port: 8080 };
    Source::Names(Address { scheme: Scheme::Http, place })
}

fn sockets(upstream: &Upstream) -> Vec<String> {
    let backends = upstream.status(Instant::now()).backends;
    backends.iter().map(|backend| backend.socket.unwrap().to_string()).collect()
}

#[test]
fn each_address_of_a_name_is_a_backend_as_long_as_it_is_there() {
    let server = NameServer::start();
    server.addresses("app.example.", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    let upstream = Shared::default().upstream(&named(&server, app()));
    until("three", || sockets(&upstream).len() == 3);
    let expected = ["192.0.2.1:8080", "192.0.2.2:8080", "[2001:db8::1]:8080"];
    assert_eq!(sockets(&upstream), expected);
    let status = upstream.status(Instant::now());
    assert!(status.is_resolved);
    assert_eq!(status.backends[0].address.to_string(), "http://app.example:8080");
    upstream.set_draining("192.0.2.2:8080", true).unwrap();
    server.addresses("app.example.", &["192.0.2.2", "192.0.2.3"]);
    until("others", || sockets(&upstream) == ["192.0.2.2:8080", "192.0.2.3:8080"]);
    assert!(first(&upstream).is_draining, "what is known of one that stays is kept");
    let headers = HeaderMap::new();
    let wanted = Wanted { client: None, headers: &headers };
    let pick = upstream.pick(&wanted, &[], Instant::now()).unwrap();
    assert_eq!(pick.backend().connect_to(), Some("192.0.2.3:8080".parse().unwrap()));
}

#[test]
fn a_name_server_that_breaks_down_leaves_the_backends_and_is_counted() {
    let server = NameServer::start();
    server.addresses("app.example.", &["192.0.2.1"]);
    let upstream = Shared::default().upstream(&named(&server, app()));
    until("one", || sockets(&upstream).len() == 1);
    server.break_down(true);
    until("failures", || upstream.status(Instant::now()).lookups_failed >= 2);
    assert_eq!(sockets(&upstream), ["192.0.2.1:8080"]);
    server.addresses("app.example.", &["192.0.2.9"]);
    server.break_down(false);
    until("it is back", || sockets(&upstream) == ["192.0.2.9:8080"]);
}

#[test]
fn srv_records_give_ports_priorities_and_weights() {
    let server = NameServer::start();
    let name = "_http._tcp.app.example";
    server.services(
        "_http._tcp.app.example.",
        &[(20, 1, 81, "b.example."), (10, 3, 80, "a.example.")],
    );
    let source = Source::Services { scheme: Scheme::Http, name: name.to_owned() };
    let upstream = Shared::default().upstream(&named(&server, source));
    until("two", || upstream.status(Instant::now()).backends.len() == 2);
    let backends = upstream.status(Instant::now()).backends;
    let told: Vec<_> =
        backends.iter().map(|it| (it.address.to_string(), it.tier, it.weight)).collect();
    let expected =
        [("http://a.example:80".to_owned(), 0, 3), ("http://b.example:81".to_owned(), 1, 1)];
    assert_eq!(told, expected);
}

#[test]
fn the_first_request_can_wait_for_the_first_answer_but_not_for_ever() {
    let server = NameServer::start();
    let headers = HeaderMap::new();
    let wanted = Wanted { client: None, headers: &headers };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    server.addresses("app.example.", &["192.0.2.1"]);
    let upstream = Shared::default().upstream(&named(&server, app()));
    runtime.block_on(upstream.resolved(PATIENCE));
    assert!(upstream.pick(&wanted, &[], Instant::now()).is_ok());
    server.break_down(true);
    let broken = Shared::default().upstream(&named(&server, app()));
    runtime.block_on(broken.resolved(PATIENCE));
    let picked = broken.pick(&wanted, &[], Instant::now());
    assert_eq!(picked.map(drop), Err(NoBackend::Unresolved));
    let nobody = Upstream::new(&named(&server, app()));
    let began = Instant::now();
    runtime.block_on(nobody.resolved(SOON));
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn backends_that_are_found_are_checked_and_those_that_are_gone_no_longer() {
    let origin = Origin::start(200, "");
    let server = NameServer::start();
    server.addresses("app.example.", &["127.0.0.1"]);
    let place = Place::Net { host: "app.example".to_owned(), port: origin.address.port() };
    let mut config = named(&server, Source::Names(Address { scheme: Scheme::Http, place }));
    config.check = checked(super::address(0), Probe::Http(http("/"))).check;
    let upstream = Shared::default().upstream(&config);
    until("it is found", || sockets(&upstream).len() == 1);
    until_is(&upstream, Condition::Healthy);
    let head = origin.heard.recv().unwrap().unwrap().to_lowercase();
    assert!(head.contains(&format!("host: app.example:{}\r\n", origin.address.port())), "{head}");
    server.addresses("app.example.", &["127.0.0.2"]);
    until("its connection is closed", || matches!(origin.heard.try_recv(), Ok(None)));
    let queries = server.queries();
    drop(upstream);
    assert!(queries > 0);
}
