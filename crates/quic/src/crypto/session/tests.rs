use quinn_proto::crypto::{ClientConfig as _, ServerConfig as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use std::sync::Mutex;

use super::*;
use crate::{
    ByName, Chosen,
    crypto::{Client, Server, VERSION_1},
};

/// Both sides of a handshake that has not begun.
fn sessions() -> [Box<dyn Session>; 2] {
    sessions_with(|server| Server::new(server, None, true).unwrap())
}

/// With a server of this TLS.
fn sessions_with(serve: impl FnOnce(Arc<rustls::ServerConfig>) -> Server) -> [Box<dyn Session>; 2] {
    let (client, server) = sides(serve);
    begin(&client, &server)
}

/// A client and a server that take early data, once they know each other.
fn sides(serve: impl FnOnce(Arc<rustls::ServerConfig>) -> Server) -> (Arc<Client>, Arc<Server>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = CertificateDer::from(params.self_signed(&key).unwrap());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"echo".to_vec()];
    server.max_early_data_size = u32::MAX;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"echo".to_vec()];
    client.enable_early_data = true;
    let (server, client) = (serve(Arc::new(server)), Client::new(Arc::new(client), None));
    (Arc::new(client.unwrap()), Arc::new(server))
}

/// A handshake that has not begun.
fn begin(client: &Arc<Client>, server: &Arc<Server>) -> [Box<dyn Session>; 2] {
    // An empty initial_source_connection_id, and the defaults for the rest.
    let params = TransportParameters::read(Side::Server, &mut &[0x0F, 0x00][..]).unwrap();
    let client = client.clone().start_session(VERSION_1, "localhost", &params).unwrap();
    [client, server.clone().start_session(VERSION_1, &params)]
}

/// Has TLS for one name, and notes which were asked for.
#[derive(Debug)]
struct Names {
    tls: Arc<rustls::ServerConfig>,
    asked: Mutex<Vec<Option<String>>>,
}

impl ByName for Names {
    fn choose(&self, name: Option<&str>, _: Option<std::net::IpAddr>) -> Chosen {
        self.asked.lock().unwrap().push(name.map(str::to_owned));
        Chosen { tls: self.tls.clone(), tickets: None }
    }
}

/// A client, and a server that has no TLS but for names; and what it was asked for.
fn sessions_by_name() -> ([Box<dyn Session>; 2], Arc<Names>) {
    let mut names = None;
    let sessions = sessions_with(|tls| {
        let mut useless = rustls::ServerConfig::clone(&tls);
        useless.cert_resolver = Arc::new(rustls::server::ResolvesServerCertUsingSni::new());
        let kept = names.insert(Arc::new(Names { tls, asked: Mutex::default() })).clone();
        Server::new(Arc::new(useless), None, true).unwrap().with_choice(Some(kept))
    });
    (sessions, names.unwrap())
}

/// Carries what one side has to say to the other; whether there was anything.
fn carry(from: &mut dyn Session, to: &mut dyn Session) -> bool {
    let mut any = false;
    loop {
        let mut said = Vec::new();
        let keys = from.write_handshake(&mut said);
        if !said.is_empty() {
            any = true;
            to.read_handshake(&said).unwrap();
        }
        if keys.is_none() && said.is_empty() {
            return any;
        }
    }
}

fn facts(session: &dyn Session) -> HandshakeData {
    let data = session.handshake_data().unwrap().downcast::<Arc<HandshakeData>>().unwrap();
    HandshakeData::clone(&data)
}

#[test]
fn a_server_keeps_the_facts_of_a_handshake_and_takes_no_message_after_it() {
    let [mut client, mut server] = sessions();
    while carry(&mut *client, &mut *server) | carry(&mut *server, &mut *client) {}
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let (of_client, of_server) = (facts(&*client), facts(&*server));
    assert_eq!(of_server.server_name.as_deref(), Some("localhost"));
    assert_eq!(of_server.alpn.as_deref(), Some(&b"echo"[..]));
    assert_eq!(of_server.cipher_suite, of_client.cipher_suite);
    assert_eq!(of_server.key_exchange, of_client.key_exchange);
    assert!(server.peer_identity().is_none() && client.peer_identity().is_some());
    assert!(server.next_1rtt_keys().is_some(), "keys can be updated all the same");

    // req: 9001-4.8-alert-is-the-code
    let key_update = [24, 0, 0, 1, 0];
    let error = server.read_handshake(&key_update).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::crypto(10), "unexpected_message");
}

#[test]
fn what_early_data_makes_a_server_hold_is_counted_like_the_rest() {
    let (client, server) = sides(|tls| Server::new(tls, None, true).unwrap());
    let [mut a, mut b] = begin(&client, &server);
    while carry(&mut *a, &mut *b) | carry(&mut *b, &mut *a) {}
    let [mut client, mut server] = begin(&client, &server);
    let mut hello = Vec::new();
    client.write_handshake(&mut hello);
    server.read_handshake(&hello).unwrap();
    let (_, of_client) = client.early_crypto().expect("it is known");
    let (_, of_server) = server.early_crypto().expect("it is taken");
    // STREAM with an offset and a length: nothing before it has come.
    let frame = [0x0E, 0, 9, 1, 7];
    let mut packet = [&b"header"[..], &frame, &[0; 16]].concat();
    of_client.encrypt(0, &mut packet, 6);
    let mut frames = bytes::BytesMut::from(&packet[6..]);
    of_server.decrypt(0, b"header", &mut frames).unwrap();
    assert_eq!(frames[..], frame);
    let path = facts(&*server).path.expect("a server looks");
    assert!(path.held.total() > 0);
}

#[test]
fn a_server_goes_on_with_the_tls_of_the_name_however_the_hello_is_split() {
    for size in [1, 7, 100, 10_000] {
        let ([mut client, mut server], names) = sessions_by_name();
        let mut hello = Vec::new();
        assert!(client.write_handshake(&mut hello).is_none());
        for part in hello.chunks(size) {
            assert!(names.asked.lock().unwrap().is_empty(), "not before it is whole");
            assert!(server.is_handshaking() && server.handshake_data().is_none());
            assert!(server.write_handshake(&mut Vec::new()).is_none());
            server.read_handshake(part).unwrap();
        }
        assert_eq!(*names.asked.lock().unwrap(), [Some("localhost".to_owned())]);
        while carry(&mut *server, &mut *client) | carry(&mut *client, &mut *server) {}
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(facts(&*server).server_name.as_deref(), Some("localhost"));
    }
}

// req: 9001-4.8-alert-is-the-code
#[test]
fn what_is_no_hello_gets_the_alert_that_it_gets_without_a_choice() {
    let whole = |kind: u8, body: &[u8]| [&[kind, 0, 0, body.len() as u8], body].concat();
    for message in [whole(1, &[]), whole(1, &[3; 40]), whole(2, &[0; 50]), whole(20, &[0; 32])] {
        let [_, mut plain] = sessions();
        let ([_, mut server], _) = sessions_by_name();
        let expected = plain.read_handshake(&message).unwrap_err();
        assert_eq!(server.read_handshake(&message).unwrap_err().code, expected.code);
        assert_ne!(expected.code, TransportErrorCode::INTERNAL_ERROR);
    }
}

#[test]
fn a_hello_without_an_end_is_kept_up_to_a_bound() {
    let ([_, mut server], names) = sessions_by_name();
    let mut sent = 0;
    let begin = [1, 0xFF, 0xFF, 0xFF];
    assert!(server.read_handshake(&begin).is_ok());
    while server.read_handshake(&[0; 1000]).is_ok() {
        sent += 1000;
        assert!(sent <= 1 << 17, "kept {sent} bytes");
    }
    assert_eq!(names.asked.lock().unwrap().len(), 1);
}

#[test]
fn both_sides_have_the_same_keys_in_every_later_phase_and_others_in_the_next() {
    let [mut client, mut server] = sessions();
    while carry(&mut *client, &mut *server) | carry(&mut *server, &mut *client) {}
    let mut sealed = Vec::new();
    for phase in 1..=4 {
        let (of_client, of_server) =
            (client.next_1rtt_keys().unwrap(), server.next_1rtt_keys().unwrap());
        for (from, to) in [(&of_client, &of_server), (&of_server, &of_client)] {
            let mut packet = [&b"header"[..], b"frames", &[0; 16]].concat();
            from.local.encrypt(7, &mut packet, 6);
            let mut frames = bytes::BytesMut::from(&packet[6..]);
            to.remote.decrypt(7, b"header", &mut frames).unwrap();
            assert_eq!(&frames[..], b"frames", "in phase {phase}");
            assert!(!sealed.contains(&packet), "the keys of phase {phase} are new");
            sealed.push(packet);
        }
    }
}
