use std::{io, path::PathBuf};

use super::*;

struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sterna-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file for the test");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, as PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn matching_pair_is_taken_also_from_one_file() {
    let files = Files::new("pair");
    let (certificate, key) = pair();
    let both = files.write("both.pem", &format!("{key}{certificate}"));
    let certificate = files.write("cert.pem", &certificate);
    let key = files.write("key.pem", &key);
    ServerTls::from_pem_files(&certificate, &key).unwrap();
    ServerTls::from_pem_files(&both, &both).unwrap();
}

#[test]
fn key_of_another_certificate_is_a_mismatch() {
    let files = Files::new("mismatch");
    let certificate = files.write("cert.pem", &pair().0);
    let key = files.write("key.pem", &pair().1);
    let error = ServerTls::from_pem_files(certificate, key).unwrap_err();
    assert!(matches!(error, TlsError::KeyMismatch), "{error:?}");
}

#[test]
fn missing_file_names_itself() {
    let files = Files::new("missing");
    let certificate = files.write("cert.pem", &pair().0);
    let absent = files.0.join("absent.pem");
    let error = ServerTls::from_pem_files(certificate, &absent).unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { path, .. } if path == absent));
}

#[test]
fn files_without_what_they_should_hold_are_told_apart() {
    let files = Files::new("swapped");
    let (certificate, key) = pair();
    let certificate = files.write("cert.pem", &certificate);
    let key = files.write("key.pem", &key);
    let garbage = files.write("garbage.pem", "-----BEGIN CERTIFICATE-----\n!!!\n");
    let error = ServerTls::from_pem_files(&key, &certificate).unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { path } if path == key));
    let error = ServerTls::from_pem_files(&certificate, &certificate).unwrap_err();
    assert!(matches!(error, TlsError::NoKey { path } if path == certificate));
    let error = ServerTls::from_pem_files(&garbage, &key).unwrap_err();
    assert!(matches!(error, TlsError::Pem { path, .. } if path == garbage));
}

// req: 9114-3.2-alpn
#[test]
fn quic_gets_aes_128_first_and_nothing_below_tls_13() {
    let files = Files::new("config");
    let (certificate, key) = pair();
    let tls = ServerTls::from_pem_files(
        files.write("cert.pem", &certificate),
        files.write("key.pem", &key),
    )
    .unwrap();
    let quic = tls.quic_config(Terms::default()).unwrap();
    assert_eq!(quic.alpn_protocols, [b"h3".to_vec()]);
    assert_eq!(quic.max_early_data_size, 0);
    let first = quic.crypto_provider().cipher_suites[0].suite();
    assert_eq!(first, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let tcp = tls.tcp_config(Terms::default()).unwrap();
    assert_eq!(tcp.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

/// What a client that asks for `name` is shown by `tls`.
fn shown(tls: &ServerTls, name: &str) -> CertificateDer<'static> {
    let server = Arc::new(tls.tcp_config(Terms::default()).expect("a configuration"));
    let mut server = rustls::ServerConnection::new(server).expect("a server");
    let mut client = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let seen = Arc::new(Seen::default());
    client.dangerous().set_certificate_verifier(seen.clone());
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut wire = Vec::new();
    while client.is_handshaking() && seen.certificate.lock().expect("not poisoned").is_none() {
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("written");
        }
        server.read_tls(&mut &wire[..]).expect("read");
        server.process_new_packets().expect("a good client");
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("written");
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("read");
            client.process_new_packets().expect("a good server");
        }
    }
    seen.certificate.lock().expect("not poisoned").take().expect("a certificate")
}

/// Takes every certificate, and remembers it.
#[derive(Debug, Default)]
struct Seen {
    certificate: std::sync::Mutex<Option<CertificateDer<'static>>>,
}

impl rustls::client::danger::ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.certificate.lock().expect("not poisoned") = Some(end_entity.clone().into_owned());
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn each_name_is_shown_its_own_certificate_and_every_other_the_first() {
    let made = || {
        let made = rcgen::generate_simple_self_signed(["any".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let certificate = made.cert.der().clone();
        (certificate.clone(), ServerTls::from_der(vec![certificate], key.into()).expect("a pair"))
    };
    let [(first, tls), (exact, of_exact), (wild, of_wild)] = [made(), made(), made()];
    let names = [("a.test".to_owned(), of_exact), ("*.test".to_owned(), of_wild)];
    let tls = tls.with_names(names);
    for (name, certificate) in [
        ("a.test", &exact),
        ("A.TEST", &exact),
        ("b.test", &wild),
        ("c.b.test", &first),
        ("test", &first),
        ("127.0.0.1", &first),
    ] {
        assert_eq!(shown(&tls, name), *certificate, "{name}");
    }
}

/// What one side has to say, told to the other.
fn carry<S, T>(from: &mut rustls::ConnectionCommon<S>, to: &mut rustls::ConnectionCommon<T>)
where
    S: rustls::SideData,
    T: rustls::SideData,
{
    let wire = said(from);
    let mut unread = wire.as_slice();
    while !unread.is_empty() {
        to.read_tls(&mut unread).expect("a handshake is short");
        to.process_new_packets().expect("the other side obeys TLS");
    }
}

fn said<S: rustls::SideData>(from: &mut rustls::ConnectionCommon<S>) -> Vec<u8> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).expect("a Vec takes everything");
    }
    wire
}

/// Ten segments of Ethernet's size (RFC 6928), of which the tickets and the head of a response take less than 1,000 bytes.
const FIRST_FLIGHT: usize = 14_480;

#[test]
fn a_client_can_read_from_the_first_flight_of_tcp() {
    let files = Files::new("record");
    let (certificate, key) = pair();
    let tls = ServerTls::from_pem_files(
        files.write("cert.pem", &certificate),
        files.write("key.pem", &key),
    )
    .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server =
        rustls::ServerConnection::new(Arc::new(tls.tcp_config(Terms::default()).unwrap())).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server);
        carry(&mut server, &mut client);
    }

    io::Write::write_all(&mut server.writer(), &[7; 40_000]).unwrap();
    let wire = said(&mut server);
    let mut longest = 0;
    let mut rest = wire.as_slice();
    while let [_, _, _, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        longest = longest.max(len);
        rest = &after[len..];
    }
    assert!((4_096..FIRST_FLIGHT - 1_000).contains(&longest), "one record has {longest} bytes");
}
