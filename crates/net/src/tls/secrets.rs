//! The secrets of connections in a file, one a line, as packet analysers read them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// Writes them, whole lines at a time.
#[derive(Debug)]
pub(super) struct SecretsFile(Mutex<File>);

impl SecretsFile {
    pub(super) fn new(file: File) -> Self {
        Self(Mutex::new(file))
    }
}

impl rustls::KeyLog for SecretsFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A disk that is full costs the analyser its secrets, and nobody a connection.
        let _ = file.write_all(line.as_bytes());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
