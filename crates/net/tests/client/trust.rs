//! Whom the client trusts, and what it shows.

use std::sync::Arc;

use http_body_util::BodyExt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::{
    Client, ServerTls,
    client::{ClientCertificate, Kind, Phase, Roots, Versions},
    server::Config,
};

use crate::{
    peer::Peer,
    world::{EACH, World, exchange, run, text},
};

/// A certificate of its own authority, and its key.
struct Made {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Made {
    fn new(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap().into();
        Self { certificate, key: key.serialize_der() }
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()))
    }
}

#[test]
fn certificate_that_is_out_of_its_time_is_refused() {
    let made = Made::new(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let tls = ServerTls::from_der(vec![made.certificate.clone()], made.key()).unwrap();
    let world = World::showing(Config::default(), tls, made.certificate);
    run(async {
        for versions in EACH {
            let error = world.client(versions).send(world.get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Certificate, "{versions:?} {error:?}");
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.to_lowercase().contains("expired"), "{source}");
            assert!(!error.trace().is_empty());
        }
    });
}

#[test]
fn server_that_wants_a_certificate_gets_the_one_that_was_given() {
    let ours = Made::new(|_| {});
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(ours.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider)
            .build()
            .unwrap();
    let peer = Peer::asking(Some(verifier));
    run(async {
        let certificate = ClientCertificate::from_der(vec![ours.certificate.clone()], ours.key());
        let client = peer.builder().client_certificate(certificate).build().unwrap();
        assert_eq!(text(client.send(peer.get("/")).await.unwrap()).await, "hello");

        // A server says so after the client's handshake is complete.
        let client = peer.builder().retries(0).build().unwrap();
        let error = client.send(peer.get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TlsAlert, "{error:?}");
    });
}

#[test]
fn what_tls_agreed_on_is_told() {
    let world = World::start();
    run(async {
        for (versions, alpn) in EACH.into_iter().zip(["http/1.1", "h2", "h3"]) {
            let response = world.client(versions).send(world.get("/")).await.unwrap();
            let tls = exchange(&response).tls.clone().unwrap();
            assert_eq!((tls.alpn.as_deref(), tls.version), (Some(alpn), Some("TLSv1.3")));
            assert!(tls.cipher_suite.is_some() && tls.key_exchange.is_some());
        }
    });
}

#[test]
fn client_that_trusts_nobody_is_not_built() {
    let error = Client::builder().roots(Roots::Only(Vec::new())).build().unwrap_err();
    assert!(error.to_string().contains("no trusted certificates"), "{error}");
    let none = Versions { h1: false, h2: false, h3: false };
    assert!(Client::builder().versions(none).build().is_err());
    assert!(Client::builder().connect_to("not a host", 1).build().is_err());
}

#[test]
fn client_on_the_callers_thread_does_the_same() {
    let world = World::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let test = async {
            for versions in EACH {
                let client = world.builder().versions(versions).build_local().unwrap();
                let response = client.send(world.get("/bytes/300000")).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(body == crate::world::pattern(300_000));
                client.close().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), test).await.expect("it hangs");
    });
}

#[test]
fn one_client_serves_many_runtimes_at_once() {
    let world = World::start();
    for versions in EACH {
        let client = world.client(versions);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (client, request) = (client.clone(), world.get("/bytes/100000"));
                std::thread::spawn(move || {
                    run(async move {
                        let response = client.send(request).await.unwrap();
                        let body = response.into_body().collect().await.unwrap().to_bytes();
                        assert_eq!(body.len(), 100_000);
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        // The runtimes are gone, the connections are not.
        run(async {
            let response = client.send(world.get("/")).await.unwrap();
            assert!(exchange(&response).reused, "{versions:?}");
        });
    }
}

#[test]
fn phases_have_words_for_people() {
    run(async {
        let client = Client::builder().danger_accept_any_certificate(true).build().unwrap();
        let request = http::Request::get("ftp://x/").body(sterna_net::Body::empty()).unwrap();
        let error = client.send(request).await.unwrap_err();
        assert_eq!(error.phase(), Phase::Prepare);
        let words = "the request cannot be sent as it is before anything was sent";
        assert_eq!(error.to_string(), words);
    });
}
