//! The same service over three versions of HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Request, StatusCode};

use crate::{
    client::head,
    world::{World, full, request, run, text},
};

#[test]
fn router_answers_over_three_versions_on_one_port() {
    run(async {
        let world = World::start();
        let (mut http1, mut http2) = (world.http1().await, world.http2().await);
        let http3 = world.http3().await;
        let hello = || request("GET", world.address, "/", full(""));
        assert_eq!(text(http1.send_request(hello()).await.unwrap()).await, "hello over HTTP/1.1");
        assert_eq!(text(http2.send_request(hello()).await.unwrap()).await, "hello over HTTP/2");
        assert_eq!(http3.get("/").await.text(), "hello over HTTP/3");
        let counters = world.running.counters();
        assert_eq!(
            (counters.http1_requests, counters.http2_requests, counters.http3_requests),
            (1, 1, 1)
        );
        assert_eq!((counters.tcp_connections, counters.quic_connections), (2, 1));
    });
}

#[test]
fn plain_listener_serves_both_versions_of_tcp_without_tls() {
    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpStream;

    run(async {
        let world = World::on(Default::default(), 1, false);
        let hello = || request("GET", world.address, "/", full(""));

        let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(hello()).await.unwrap();
        assert!(!response.headers().contains_key("alt-svc"), "no HTTP/3 without TLS");
        assert_eq!(text(response).await, "hello over HTTP/1.1");

        let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(hello()).await.unwrap();
        assert_eq!(text(response).await, "hello over HTTP/2");
    });
}

#[test]
fn alt_svc_names_the_port_on_every_version() {
    run(async {
        let world = World::start();
        let expected = format!("h3=\":{}\"; ma=86400", world.address.port());
        let hello = || request("GET", world.address, "/", full(""));
        let http1 = world.http1().await.send_request(hello()).await.unwrap();
        assert_eq!(http1.headers()["alt-svc"], expected);
        let http2 = world.http2().await.send_request(hello()).await.unwrap();
        assert_eq!(http2.headers()["alt-svc"], expected);
        let http3 = world.http3().await.get("/").await;
        assert_eq!(http3.header("alt-svc"), Some(&*expected));
    });
}

#[test]
fn alt_svc_is_silent_without_http3() {
    run(async {
        let config =
            sterna_net::server::Config { http3: false, ..sterna_net::server::Config::default() };
        let world = World::with(config);
        let hello = request("GET", world.address, "/", full(""));
        let response = world.http1().await.send_request(hello).await.unwrap();
        assert!(!response.headers().contains_key("alt-svc"));
    });
}

#[test]
fn context_tells_tls_facts_and_live_rtt_on_every_version() {
    run(async {
        let world = World::start();
        let facts = || request("GET", world.address, "/facts", full(""));
        let http1 = text(world.http1().await.send_request(facts()).await.unwrap()).await;
        let http2 = text(world.http2().await.send_request(facts()).await.unwrap()).await;
        let http3 = world.http3().await.get("/facts").await;
        let expected = |alpn| {
            format!("TLSv1.3 TLS13_AES_128_GCM_SHA256 {alpn} localhost rtt=true peer=127.0.0.1")
        };
        assert_eq!(http1, expected("http/1.1"));
        assert_eq!(http2, expected("h2"));
        assert_eq!(http3.text(), expected("h3"));
    });
}

#[test]
fn head_has_the_length_and_no_content_on_every_version() {
    run(async {
        let world = World::start();
        let hello = || request("HEAD", world.address, "/", full(""));
        for response in [
            world.http1().await.send_request(hello()).await.unwrap(),
            world.http2().await.send_request(hello()).await.unwrap(),
        ] {
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.headers().contains_key("content-length"));
            assert_eq!(text(response).await, "");
        }
        let client = world.http3().await;
        let ticket = client.request(head(http::Method::HEAD, "/"), true);
        let response = client.over(ticket).await;
        assert_eq!(response.status(), Some(StatusCode::OK));
        assert_eq!(response.header("content-length"), Some("17"));
        assert_eq!(response.body, b"");
        assert_eq!(world.running.counters().cancelled_requests, 0, "HEAD ends well");
    });
}

#[test]
fn panicking_handler_is_a_500_and_the_connection_goes_on() {
    run(async {
        let world = World::start();
        let panics = || request("GET", world.address, "/panic", full(""));
        let hello = || request("GET", world.address, "/", full(""));

        let mut http1 = world.http1().await;
        assert_eq!(http1.send_request(panics()).await.unwrap().status(), 500);
        http1.ready().await.unwrap();
        assert_eq!(http1.send_request(hello()).await.unwrap().status(), 200);

        let mut http2 = world.http2().await;
        assert_eq!(http2.send_request(panics()).await.unwrap().status(), 500);
        assert_eq!(http2.send_request(hello()).await.unwrap().status(), 200);

        let http3 = world.http3().await;
        assert_eq!(http3.get("/panic").await.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::OK));
        assert_eq!(world.running.counters().panics, 3);
    });
}

#[test]
fn service_whose_clone_panics_answers_500_and_the_worker_goes_on() {
    run(async {
        let fragile = Fragile::default();
        let world = World::of(fragile.clone());
        let hello = || request("GET", world.address, "/", full(""));
        assert_eq!(world.http1().await.send_request(hello()).await.unwrap().status(), 200);
        fragile.breaks.store(true, Ordering::Relaxed);
        assert_eq!(world.http1().await.send_request(hello()).await.unwrap().status(), 500);
        assert_eq!(world.http2().await.send_request(hello()).await.unwrap().status(), 500);
        let http3 = world.http3().await;
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!(world.running.counters().panics, 4);
    });
}

/// A service that cannot be cloned any more once it `breaks`.
#[derive(Default)]
struct Fragile {
    breaks: Arc<AtomicBool>,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.breaks.load(Ordering::Relaxed), "cannot be cloned");
        Self { breaks: self.breaks.clone() }
    }
}

impl tower::Service<Request<sterna_net::Body>> for Fragile {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<sterna_net::Body>) -> Self::Future {
        std::future::ready(Ok(axum::response::Response::default()))
    }
}

#[test]
fn panicking_body_resets_its_stream_and_nothing_else() {
    run(async {
        let world = World::start();
        let panics = || request("GET", world.address, "/panic-body", full(""));
        let hello = || request("GET", world.address, "/", full(""));
        use http_body_util::BodyExt;

        // hyper cuts the connection perhaps before the head has left.
        if let Ok(response) = world.http1().await.send_request(panics()).await {
            assert!(response.into_body().collect().await.is_err(), "HTTP/1.1 is cut");
        }

        let mut http2 = world.http2().await;
        if let Ok(response) = http2.send_request(panics()).await {
            assert!(response.into_body().collect().await.is_err(), "the stream is reset");
        }
        assert_eq!(http2.send_request(hello()).await.unwrap().status(), 200);

        let http3 = world.http3().await;
        let response = http3.get("/panic-body").await;
        assert_eq!((response.reset, response.finished), (Some(0x102), false));
        assert_eq!(http3.get("/").await.status(), Some(StatusCode::OK));
        assert_eq!(world.running.counters().panics, 3);
    });
}

#[test]
fn connect_is_refused_on_every_version() {
    run(async {
        let world = World::start();
        let connect = || {
            let connect = Request::connect("localhost:443").header("host", "localhost:443");
            connect.body(full("")).unwrap()
        };
        let response = world.http1().await.send_request(connect()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
        let response = world.http2().await.send_request(connect()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
        let mut connect = head(http::Method::CONNECT, "/");
        (connect.scheme, connect.path) = (None, None);
        connect.authority = Some("localhost:443".parse().unwrap());
        let client = world.http3().await;
        let ticket = client.request(connect, false);
        let response = client.over(ticket).await;
        assert_eq!(response.status(), Some(StatusCode::NOT_IMPLEMENTED));
    });
}

#[test]
fn several_workers_share_the_connections_of_every_version() {
    run(async {
        let world = World::on(Default::default(), 2, true);
        for _ in 0..8 {
            let hello = request("GET", world.address, "/", full(""));
            assert_eq!(world.http2().await.send_request(hello).await.unwrap().status(), 200);
            assert_eq!(world.http3().await.get("/").await.text(), "hello over HTTP/3");
        }
        let counters = world.running.counters();
        assert_eq!((counters.http2_requests, counters.http3_requests), (8, 8));
    });
}

#[test]
fn blocking_work_that_is_off_loaded_does_not_hold_up_the_others() {
    run(async {
        let world = World::start();
        let client = world.http3().await;
        let slow = client.start_get("/off-loaded");
        let quick = client.get("/").await;
        assert!(!client.exchange(slow).finished, "it blocks elsewhere");
        let slow = client.over(slow).await;
        assert_eq!((quick.text(), slow.text()), ("hello over HTTP/3", "off-loaded"));
    });
}

#[test]
fn request_that_names_no_host_or_two_is_a_400_on_tcp() {
    run(async {
        let world = World::start();
        let ask = |hosts: &[&str]| {
            let mut request = request("GET", world.address, "/", full(""));
            request.headers_mut().remove("host");
            for host in hosts {
                request.headers_mut().append("host", host.parse().unwrap());
            }
            request
        };
        let mut http2 = world.http2().await;
        for (hosts, status) in [
            (&["localhost"][..], StatusCode::OK),
            (&[], StatusCode::BAD_REQUEST),
            (&["localhost", "localhost"], StatusCode::BAD_REQUEST),
            (&["local/host"], StatusCode::BAD_REQUEST),
        ] {
            let mut http1 = world.http1().await;
            let response = http1.send_request(ask(hosts)).await.unwrap();
            assert_eq!(response.status(), status, "{hosts:?}");
            text(response).await;
            // Where such a request ends is doubtful: nothing behind it is read.
            let goes_on = http1.ready().await.is_ok();
            assert_eq!(goes_on, status == StatusCode::OK, "{hosts:?}");
        }
        let response = http2.send_request(ask(&["other"])).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(http2.send_request(ask(&[])).await.unwrap().status(), StatusCode::OK);
        assert_eq!(world.running.counters().refused_requests, 4);
    });
}
