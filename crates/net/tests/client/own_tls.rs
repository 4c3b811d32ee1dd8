//! Certificates that a program chooses itself, and peers that it judges itself: over each version, in real handshakes.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::{
    Client, ServerTls,
    client::{Builder, ClientCertificate, Kind, PoolConfig, Roots},
    server::Config,
    tls::{Certificate, CertificateResolver, ClientAuth, Hello, Peer, PeerVerifier, Refusal},
};

use crate::world::{EACH, World, exchange, run, settled, text};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) der: CertificateDer<'static>,
    pem: String,
    key: Vec<u8>,
}

impl Pair {
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (der, pem) = (made.cert.der().clone(), made.cert.pem());
        Self { der, pem, key: made.signing_key.serialize_der() }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    fn shown(&self) -> Certificate {
        Certificate::from_der(vec![self.der.clone()], self.key()).unwrap()
    }

    pub(crate) fn of_client(&self) -> ClientCertificate {
        ClientCertificate::from_der(vec![self.der.clone()], self.key())
    }
}

/// Has a certificate for each of some names.
#[derive(Debug, Default)]
struct Tenants {
    certificates: HashMap<String, Certificate>,
    /// What was asked for: the name, and the protocols.
    asked: Mutex<Vec<(Option<String>, Vec<String>)>>,
    /// Connections serve every host.
    serves_all: AtomicBool,
    panics: AtomicBool,
}

impl Tenants {
    fn of(pairs: &[(&str, Certificate)]) -> Arc<Self> {
        let own = |(name, shown): &(&str, Certificate)| ((*name).to_owned(), shown.clone());
        Arc::new(Self { certificates: pairs.iter().map(own).collect(), ..Self::default() })
    }
}

impl CertificateResolver for Tenants {
    fn resolve(&self, hello: &Hello<'_>) -> Option<Certificate> {
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants");
        let name = hello.server_name().map(str::to_owned);
        let alpn = hello.alpn().map(|one| String::from_utf8_lossy(one).into_owned()).collect();
        self.asked.lock().unwrap().push((name.clone(), alpn));
        let chosen = self.certificates.get(&name?)?;
        hello.knows(chosen).then(|| chosen.clone())
    }

    fn serves(&self, name: &str, host: &str) -> bool {
        name == host || self.serves_all.load(Ordering::SeqCst)
    }
}

/// What was found by authorities, for whom, and how long the staple was.
type Heard = (Result<(), Refusal>, Option<String>, usize);

/// Lets in who is not on a list, as another condition beside the usual.
#[derive(Debug, Default)]
struct Listed {
    revoked: Mutex<Vec<Vec<u8>>>,
    calls: AtomicUsize,
    heard: Mutex<Vec<Heard>>,
    panics: AtomicBool,
}

impl PeerVerifier for Listed {
    fn verify(&self, peer: &Peer<'_>, usual: Result<(), Refusal>) -> Result<(), Refusal> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let name = peer.name().map(str::to_owned);
        self.heard.lock().unwrap().push((usual, name, peer.ocsp_response().len()));
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants");
        usual?;
        let revoked = self.revoked.lock().unwrap();
        let leaf = peer.certificates()[0].as_ref();
        if revoked.iter().any(|one| one == leaf) { Err(Refusal::Revoked) } else { Ok(()) }
    }
}

fn serve(tls: ServerTls, trusted: &Pair) -> World {
    World::showing(Config::default(), tls, trusted.der.clone())
}

/// A client that trusts these, and keeps no connection that nothing runs on.
fn client(world: &World, trusted: &[&Pair]) -> Builder {
    let roots = trusted.iter().map(|pair| pair.der.clone()).collect();
    let pool = PoolConfig { idle_timeout: Duration::from_millis(50), ..PoolConfig::default() };
    world.builder().roots(Roots::Only(roots)).pool(pool).retries(0)
}

/// One request on a connection of its own: the version that answered, or why none did.
async fn visit(world: &World, client: &Client) -> Result<String, Kind> {
    let answer = client.send(world.get("/")).await.map_err(|error| error.kind())?;
    assert_eq!((answer.status(), exchange(&answer).reused), (StatusCode::OK, false));
    let answer = text(answer).await;
    settled(|| client.counters().connections == 0).await;
    Ok(answer)
}

/// By the server, after the client's handshake was complete: its alert may be lost with the connection, or come as an end of HTTP/2.
fn is_refused(outcome: &Result<String, Kind>) -> bool {
    matches!(outcome, Err(Kind::TlsAlert | Kind::Lost | Kind::Malformed))
}

/// The authorities of one client: itself.
pub(crate) fn authorities(pair: &Pair, name: &str) -> ClientAuth {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    // Tests run at the same time.
    let number = FILES.fetch_add(1, Ordering::SeqCst);
    let file = format!("sterna-own-tls-{}-{number}-{name}.pem", std::process::id());
    let file: PathBuf = std::env::temp_dir().join(file);
    std::fs::write(&file, &pair.pem).unwrap();
    let policy = ClientAuth::from_pem_files([&file], true).unwrap();
    std::fs::remove_file(&file).unwrap();
    policy
}

#[test]
fn a_programs_resolver_is_asked_over_each_version_by_name_and_protocol() {
    let pair = Pair::of("localhost");
    let staple = staple(&pair.der);
    let shown = pair.shown().with_ocsp(staple.clone()).unwrap();
    let tenants = Tenants::of(&[("localhost", shown)]);
    let world = serve(ServerTls::from_resolver(tenants.clone()), &pair);
    run(async {
        for (versions, protocol) in EACH.into_iter().zip(["http/1.1", "h2", "h3"]) {
            let verifier = Arc::new(Listed::default());
            let client = client(&world, &[&pair]).versions(versions).verifier(verifier.clone());
            visit(&world, &client.build().unwrap()).await.unwrap();
            let asked = tenants.asked.lock().unwrap().pop().unwrap();
            assert_eq!(asked, (Some("localhost".to_owned()), vec![protocol.to_owned()]));
            let heard = verifier.heard.lock().unwrap().pop().unwrap();
            assert_eq!(heard, (Ok(()), Some("localhost".to_owned()), staple.len()), "{protocol}");
        }
    });
}

#[test]
fn whoever_the_resolver_has_nothing_for_is_refused_and_a_panic_of_it_ends_nothing_else() {
    let pair = Pair::of("localhost");
    let tenants = Tenants::of(&[("localhost", pair.shown())]);
    let world = serve(ServerTls::from_resolver(tenants.clone()), &pair);
    run(async {
        for versions in EACH {
            let builder = client(&world, &[&pair]).versions(versions);
            let other = builder.clone().server_name("other.example").build().unwrap();
            assert_eq!(visit(&world, &other).await, Err(Kind::TlsAlert), "{versions:?}");
            tenants.panics.store(true, Ordering::SeqCst);
            let client = builder.build().unwrap();
            assert_eq!(visit(&world, &client).await, Err(Kind::TlsAlert), "{versions:?}");
            tenants.panics.store(false, Ordering::SeqCst);
            visit(&world, &client).await.expect("the worker lives");
        }
    });
}

#[test]
fn a_request_for_a_host_that_was_not_asked_for_is_answered_421_unless_the_resolver_serves_it() {
    let (pair, other) = (Pair::of("localhost"), Pair::of("other.example"));
    let tenants = Tenants::of(&[("localhost", pair.shown()), ("other.example", other.shown())]);
    let world = serve(ServerTls::from_resolver(tenants.clone()), &pair);
    run(async {
        for versions in EACH {
            let client = client(&world, &[&other]).versions(versions);
            let client = client.server_name("other.example").build().unwrap();
            let answer = client.send(world.get("/")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{versions:?}");
            tenants.serves_all.store(true, Ordering::SeqCst);
            let answer = client.send(world.get("/")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{versions:?}");
            tenants.serves_all.store(false, Ordering::SeqCst);
        }
    });
}

#[test]
fn a_client_that_the_verifier_refuses_gets_nowhere_over_any_version() {
    let (pair, ours, revoked) = (Pair::of("localhost"), Pair::of("ours"), Pair::of("ours"));
    let listed = Arc::new(Listed::default());
    listed.revoked.lock().unwrap().push(revoked.der.to_vec());
    let policies =
        [&ours, &revoked].map(|one| authorities(one, "refused").with_verifier(listed.clone()));
    for (policy, shows, is_let_in) in [
        (&policies[0], &ours, true),
        (&policies[1], &revoked, false),
        (&policies[0], &revoked, false),
    ] {
        let tls = ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
        let world = serve(tls.with_client_auth(policy.clone()), &pair);
        run(async {
            for versions in EACH {
                let builder = client(&world, &[&pair]).versions(versions);
                let client = builder.clone().client_certificate(shows.of_client()).build().unwrap();
                assert_eq!(visit(&world, &client).await.is_ok(), is_let_in, "{versions:?}");
                let nobody = builder.build().unwrap();
                assert!(is_refused(&visit(&world, &nobody).await), "{versions:?}");
            }
        });
    }
}

#[test]
fn a_verifier_alone_lets_in_whom_no_authority_knows_and_a_panic_of_it_ends_nothing_else() {
    #[derive(Debug)]
    struct Pinned(Vec<u8>, AtomicBool);
    impl PeerVerifier for Pinned {
        fn verify(&self, peer: &Peer<'_>, usual: Result<(), Refusal>) -> Result<(), Refusal> {
            assert!(!self.1.load(Ordering::SeqCst), "as the test wants");
            assert_eq!(usual, Err(Refusal::UnknownAuthority));
            let is_pinned = peer.certificates()[0].as_ref() == self.0;
            if is_pinned { Ok(()) } else { Err(Refusal::NotAllowed) }
        }
    }
    let (pair, ours, other) = (Pair::of("localhost"), Pair::of("ours"), Pair::of("other"));
    let pinned = Arc::new(Pinned(ours.der.to_vec(), AtomicBool::new(false)));
    let tls = ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
    let clients = ClientAuth::from_verifier(pinned.clone(), true);
    let world = serve(tls.with_client_auth(clients), &pair);
    run(async {
        for versions in EACH {
            let of = |shows: &Pair| {
                let builder = client(&world, &[&pair]).versions(versions);
                builder.client_certificate(shows.of_client()).build().unwrap()
            };
            visit(&world, &of(&ours)).await.unwrap();
            assert!(is_refused(&visit(&world, &of(&other)).await), "{versions:?}");
            pinned.1.store(true, Ordering::SeqCst);
            assert!(is_refused(&visit(&world, &of(&ours)).await), "{versions:?}");
            pinned.1.store(false, Ordering::SeqCst);
            visit(&world, &of(&ours)).await.expect("the worker lives");
        }
    });
}

#[test]
fn nobody_comes_past_a_verifier_by_a_session_from_before() {
    let (pair, ours) = (Pair::of("localhost"), Pair::of("ours"));
    let listed = Arc::new(Listed::default());
    let policy = authorities(&ours, "resumed").with_verifier(listed.clone());
    let tls = ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
    let config = Config { early_data: true, ..Config::default() };
    let world = World::showing(config, tls.with_client_auth(policy), pair.der.clone());
    run(async {
        for versions in EACH {
            let before = listed.calls.load(Ordering::SeqCst);
            let builder = client(&world, &[&pair]).versions(versions).early_data(true);
            let client = builder.client_certificate(ours.of_client()).build().unwrap();
            for _ in 0..2 {
                visit(&world, &client).await.unwrap();
            }
            assert_eq!(listed.calls.load(Ordering::SeqCst) - before, 2, "{versions:?}");
            assert_eq!(client.counters().early_data_offered, 0);
            listed.revoked.lock().unwrap().push(ours.der.to_vec());
            assert!(is_refused(&visit(&world, &client).await), "{versions:?}");
            listed.revoked.lock().unwrap().clear();
        }
    });
}

#[test]
fn a_request_for_a_site_with_a_verifier_is_answered_421_on_a_connection_to_another_site() {
    let (pair, ours) = (Pair::of("localhost"), Pair::of("ours"));
    let policy = authorities(&ours, "421").with_verifier(Arc::new(Listed::default()));
    // The certificates are the same: it is the policy that counts.
    let tls = || ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
    let site = ("other.example".to_owned(), tls().with_client_auth(policy));
    let world = serve(tls().with_names([site]), &pair);
    run(async {
        for versions in EACH {
            let client = client(&world, &[&pair]).versions(versions).build().unwrap();
            let mut request = world.get("/");
            *request.uri_mut() = "https://other.example/".parse().unwrap();
            let client_of_other = self::client(&world, &[&pair]).versions(versions);
            let client_of_other = client_of_other.server_name("localhost").build().unwrap();
            let answer = client_of_other.send(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{versions:?}");
            visit(&world, &client).await.expect("the site without one is as it was");
        }
    });
}

#[test]
fn a_client_asks_its_verifier_in_each_handshake_and_leaves_whom_it_refuses() {
    let (pair, other) = (Pair::of("localhost"), Pair::of("localhost"));
    let tls = ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
    let world = serve(tls, &pair);
    run(async {
        for versions in EACH {
            let listed = Arc::new(Listed::default());
            let builder = client(&world, &[&pair]).versions(versions).early_data(true);
            let client = builder.clone().verifier(listed.clone()).build().unwrap();
            visit(&world, &client).await.unwrap();
            visit(&world, &client).await.unwrap();
            assert_eq!(listed.calls.load(Ordering::SeqCst), 2, "{versions:?}");
            listed.revoked.lock().unwrap().push(pair.der.to_vec());
            assert_eq!(visit(&world, &client).await, Err(Kind::Certificate), "{versions:?}");
            listed.revoked.lock().unwrap().clear();
            listed.panics.store(true, Ordering::SeqCst);
            assert_eq!(visit(&world, &client).await, Err(Kind::Certificate), "{versions:?}");
            listed.panics.store(false, Ordering::SeqCst);
            visit(&world, &client).await.expect("the client's thread lives");
            // What the usual check says is heard, and is not overruled by who asks for it.
            let strange = builder.roots(Roots::Only(vec![other.der.clone()]));
            let strange = strange.verifier(listed.clone()).build().unwrap();
            assert_eq!(visit(&world, &strange).await, Err(Kind::Certificate), "{versions:?}");
            let (usual, ..) = listed.heard.lock().unwrap().pop().unwrap();
            assert!(usual.is_err(), "{usual:?}");
        }
    });
}

/// A good OCSP response without an end (RFC 6960 §4.2.1), unsigned: nobody here checks that.
fn staple(leaf: &CertificateDer<'_>) -> Vec<u8> {
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 128 { vec![length] } else { vec![0x81, length] };
        [&[tag], &length[..], content].concat()
    }
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).unwrap();
    let (null, time) = (element(0x05, b""), element(0x18, b"20260101000000Z"));
    let id = [&null[..], &null, &null, &element(0x02, leaf.raw_serial())].concat();
    let single = [&element(0x30, &id)[..], &element(0x80, b""), &time].concat();
    let responses = element(0x30, &element(0x30, &single));
    let data = [&element(0xa2, &null)[..], &time, &responses].concat();
    let basic = element(0x30, &element(0x30, &data));
    let bytes = element(0x30, &[element(0x06, &[0x2b]), element(0x04, &basic)].concat());
    element(0x30, &[element(0x0a, &[0]), element(0xa0, &bytes)].concat())
}
