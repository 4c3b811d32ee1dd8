//! A certificate for the servers under test, valid for one run's worth of purposes.

use std::{error::Error, fs, path::PathBuf};

#[derive(clap::Args)]
pub(crate) struct Config {
    /// Where to write; made if it does not exist.
    directory: PathBuf,
}

/// Writes a new self-signed P-256 certificate and its key.
pub(crate) fn write(config: &Config) -> Result<(), Box<dyn Error>> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    fs::create_dir_all(&config.directory)?;
    fs::write(config.directory.join("cert.pem"), made.cert.pem())?;
    fs::write(config.directory.join("key.pem"), made.signing_key.serialize_pem())?;
    Ok(())
}
