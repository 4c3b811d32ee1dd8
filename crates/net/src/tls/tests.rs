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
    let quic = tls.quic_config().unwrap();
    assert_eq!(quic.alpn_protocols, [b"h3".to_vec()]);
    assert_eq!(quic.max_early_data_size, 0);
    let first = quic.crypto_provider().cipher_suites[0].suite();
    assert_eq!(first, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let tcp = tls.tcp_config().unwrap();
    assert_eq!(tcp.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}
