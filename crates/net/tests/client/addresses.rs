//! Sites that are called by their address: nobody asks for those by SNI, and everybody comes there.

use http::{Request, StatusCode};
use sterna_net::{
    Body, Client, Running, Server, ServerTls,
    client::{Builder, Kind, Roots, Versions},
};

use crate::{
    own_tls::{Pair, authorities},
    world::{EACH, run, text},
};

/// One server on every address of loopback, and what it shows.
struct Addresses {
    running: Running,
    /// `127.0.0.1`, `[::1]`, and `127.0.0.2` where clients need a certificate; then whoever asks for nothing of that, and `localhost`.
    one: Pair,
    six: Pair,
    asks: Pair,
    otherwise: Pair,
    localhost: Pair,
    alice: Pair,
}

impl Addresses {
    fn start() -> Self {
        let names = ["127.0.0.1", "::1", "127.0.0.2", "127.0.0.3", "localhost", "alice"];
        let [one, six, asks, otherwise, localhost, alice] = names.map(Pair::of);
        let tls = |pair: &Pair| ServerTls::from_der(vec![pair.der.clone()], pair.key()).unwrap();
        let clients = authorities(&alice, "addresses");
        let all = tls(&otherwise).with_names([
            ("127.0.0.1".to_owned(), tls(&one)),
            ("[::1]".to_owned(), tls(&six)),
            ("127.0.0.2".to_owned(), tls(&asks).with_client_auth(clients)),
            ("localhost".to_owned(), tls(&localhost)),
        ]);
        let router = axum::Router::new().route("/", axum::routing::get(|| async { "in" }));
        let listen = |address: &str| address.parse().unwrap();
        let bound = Server::builder().listen(listen("0.0.0.0:0")).listen(listen("[::1]:0"));
        let running = bound.tls(all).workers(1).bind().unwrap().serve(router).unwrap();
        Self { running, one, six, asks, otherwise, localhost, alice }
    }

    fn port(&self, host: &str) -> u16 {
        self.running.addresses()[usize::from(host.starts_with('['))].port()
    }

    /// A client that trusts this alone.
    fn client(versions: Versions, trusted: &Pair) -> Builder {
        let roots = Roots::Only(vec![trusted.der.clone()]);
        Client::builder().roots(roots).versions(versions).watch_network(false).retries(0)
    }

    async fn get(&self, client: Client, host: &str) -> Result<String, Kind> {
        let uri = format!("https://{host}:{}/", self.port(host));
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let answer = client.send(request).await.map_err(|error| error.kind())?;
        let status = answer.status();
        match status {
            StatusCode::OK => Ok(text(answer).await),
            _ => Ok(status.as_u16().to_string()),
        }
    }
}

#[test]
fn whoever_asks_for_no_name_is_shown_what_belongs_to_the_address_it_came_to() {
    let world = Addresses::start();
    run(async {
        for versions in EACH {
            for (host, trusted) in [
                ("127.0.0.1", &world.one),
                ("[::1]", &world.six),
                ("127.0.0.3", &world.otherwise),
                ("localhost", &world.localhost),
            ] {
                let client = Addresses::client(versions, trusted).build().unwrap();
                let answer = world.get(client, host).await;
                assert_eq!(answer.as_deref(), Ok("in"), "{host} {versions:?}");
            }
            let client = Addresses::client(versions, &world.otherwise).build().unwrap();
            assert_eq!(world.get(client, "127.0.0.1").await, Err(Kind::Certificate));
        }
    });
}

#[test]
fn an_address_may_ask_for_certificates_and_another_one_is_no_way_in() {
    let world = Addresses::start();
    run(async {
        for versions in EACH {
            let builder = Addresses::client(versions, &world.asks);
            let nobody = builder.clone().build().unwrap();
            assert!(world.get(nobody, "127.0.0.2").await.is_err(), "{versions:?}");
            let alice = builder.client_certificate(world.alice.of_client());
            let answer = world.get(alice.build().unwrap(), "127.0.0.2").await;
            assert_eq!(answer.as_deref(), Ok("in"), "{versions:?}");
            // The handshake is for the one address, and the request for the other.
            let beside = Addresses::client(versions, &world.one).server_name("127.0.0.1");
            let beside = beside.connect_to("127.0.0.1", world.port("127.0.0.1"));
            let answer = world.get(beside.build().unwrap(), "127.0.0.2").await;
            assert_eq!(answer.as_deref(), Ok("421"), "{versions:?}");
        }
    });
}
