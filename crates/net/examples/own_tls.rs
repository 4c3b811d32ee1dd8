//! Certificates that the program chooses at each handshake, and peers that it judges itself, over HTTP/1.1, HTTP/2 and HTTP/3.
//!
//! ```text
//! cargo run -p sterna-net --example own_tls
//! ```
//! It serves two tenants on loopback, each with a certificate of its own; lets in clients whose certificate is on a list;
//! and visits both tenants with a client that trusts the certificates that it has been told, and no authority.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{Arc, RwLock},
};

use axum::{Extension, Router, routing::get};
use http::Request;
use http_body_util::BodyExt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sterna_net::{
    Body, Client, RequestContext, Server, ServerTls,
    client::{ClientCertificate, Roots, Versions},
    tls::{Certificate, CertificateResolver, ClientAuth, Hello, Peer, PeerVerifier, Refusal},
};

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["a.example", "b.example"];
    let (tenants, pinned) = (Arc::new(Tenants::default()), Arc::new(Pinned::default()));
    for name in names {
        let (certificate, key) = make(name)?;
        // In a program that runs, another thread would do this, whenever a certificate is new.
        pinned.add(&certificate);
        tenants.add(name, Certificate::from_der(vec![certificate], key)?);
    }
    let (alice, her_key) = make("alice")?;
    let welcome = Arc::new(Pinned::default());
    welcome.add(&alice);

    let tls = ServerTls::from_resolver(tenants)
        .with_client_auth(ClientAuth::from_verifier(welcome.clone(), true));
    let router = Router::new().route("/", get(hello));
    let bound = Server::builder().listen("127.0.0.1:0".parse()?).tls(tls).workers(1).bind()?;
    let running = bound.serve(router)?;
    let port = running.addresses()[0].port();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let builder = Client::builder()
            .roots(Roots::Nobody)
            .verifier(pinned)
            .client_certificate(ClientCertificate::from_der(vec![alice], her_key))
            .connect_to("127.0.0.1", port);
        for versions in [Versions::ONLY_H1, Versions::ONLY_H2, Versions::ONLY_H3] {
            let client = builder.clone().versions(versions).build()?;
            for name in names {
                println!("{}", visit(&client, name).await?);
            }
        }
        // Whoever is taken off the list is not let in again, whatever it remembers of the server.
        welcome.clear();
        let client = builder.versions(Versions::ONLY_H3).build()?;
        match visit(&client, "a.example").await {
            Ok(_) => Err("alice is let in".into()),
            Err(error) => {
                println!("alice is not let in any more: {error}");
                Ok(())
            }
        }
    })
}

async fn hello(Extension(context): Extension<RequestContext>) -> String {
    let tls = context.tls();
    let name = tls.and_then(|tls| tls.server_name.as_deref()).unwrap_or("nobody");
    format!("{name} says hello over {}", context.protocol())
}

async fn visit(client: &Client, name: &str) -> Result<String, Box<dyn Error>> {
    let request = Request::get(format!("https://{name}/")).body(Body::empty())?;
    let content = client.send(request).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(content.to_vec())?)
}

/// A certificate for each name.
#[derive(Debug, Default)]
struct Tenants(RwLock<HashMap<String, Certificate>>);

impl Tenants {
    fn add(&self, name: &str, certificate: Certificate) {
        if let Ok(mut tenants) = self.0.write() {
            tenants.insert(name.to_owned(), certificate);
        }
    }
}

impl CertificateResolver for Tenants {
    fn resolve(&self, hello: &Hello<'_>) -> Option<Certificate> {
        // Held for a moment alone: a worker that waits here serves nobody.
        self.0.read().ok()?.get(hello.server_name()?).cloned()
    }
}

/// The certificates that are good, and no authority's word for them.
#[derive(Debug, Default)]
struct Pinned(RwLock<HashSet<Vec<u8>>>);

impl Pinned {
    fn add(&self, certificate: &CertificateDer<'_>) {
        if let Ok(mut pinned) = self.0.write() {
            pinned.insert(certificate.to_vec());
        }
    }

    fn clear(&self) {
        if let Ok(mut pinned) = self.0.write() {
            pinned.clear();
        }
    }
}

impl PeerVerifier for Pinned {
    fn verify(&self, peer: &Peer<'_>, _usual: Result<(), Refusal>) -> Result<(), Refusal> {
        let pinned = self.0.read().map_err(|_| Refusal::Other)?;
        let leaf = peer.certificates().first().ok_or(Refusal::Unreadable)?;
        if pinned.contains(leaf.as_ref()) { Ok(()) } else { Err(Refusal::NotAllowed) }
    }
}

fn make(name: &str) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((made.cert.der().clone(), key.into()))
}
