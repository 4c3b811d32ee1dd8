//! The peer of Sterna's benchmarks: files from memory over hyperium h3, h3-quinn and quinn.
//!
//! Tuned in good faith: one current-thread runtime, segmentation offload, large socket buffers, AES-128 first, no
//! GREASE, bodies as shared `Bytes`. What remains is what those crates cost. Not a server to run on a network.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use quinn::Endpoint;

mod files;
mod serve;
mod transport;

/// Serve the files of a directory from memory over HTTP/3.
#[derive(Parser)]
struct Args {
    /// Directory whose files are loaded at the start.
    #[arg(long, default_value = "site")]
    site: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long)]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Requests at once on a connection.
    #[arg(long, default_value_t = 128)]
    streams: u32,
}

/// What both binaries run; they differ in their allocator only.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer-h3-quinn: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let started = std::time::Instant::now();
    let files = Arc::new(files::load(&args.site)?);
    let config = transport::server(&args.cert, &args.key, args.streams)?;
    let socket = transport::socket(args.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::new(
            quinn::EndpointConfig::default(),
            Some(config),
            socket,
            Arc::new(quinn::TokioRuntime),
        )?;
        eprintln!("serving https://{}", endpoint.local_addr()?);
        eprintln!("ready in {} ms", started.elapsed().as_millis());
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(serve::connection(incoming, files.clone()));
        }
        Ok(())
    })
}
