//! `sterna get`: one request, and how it went.
//!
//! Data go to stdout or to a file, everything else to stderr. Each way to fail has an exit code of its own
//! ([`failure`]).

use std::path::PathBuf;

use sterna_gateway::config::Span;
use sterna_net::client::Versions;

use crate::error::Error;

pub(crate) use self::failure::GetError;
use self::run::Run;

mod connect;
mod early;
mod failure;
mod fetch;
mod json;
mod migrate;
mod narrate;
mod request;
mod run;
mod sink;
mod wire_code;

/// Arguments of `get`.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// What to ask for, such as https://example.com/. Without a scheme, https.
    #[arg(value_name = "URL")]
    url: String,

    /// HTTP/1.1 or nothing.
    #[arg(long = "http1.1", group = "version")]
    http1: bool,

    /// HTTP/2 or nothing.
    #[arg(long, group = "version")]
    http2: bool,

    /// HTTP/3 or nothing.
    #[arg(long, group = "version")]
    http3: bool,

    /// Method. Default: GET, or POST with --data.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<http::Method>,

    /// A field of the request, such as `accept: text/html`; `accept:` leaves a usual one out.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = request::field)]
    headers: Vec<request::Field>,

    /// Content of the request; `@FILE` reads it from a file, `@-` from stdin, as it is. Several are joined
    /// by `&`.
    #[arg(short, long, value_name = "TEXT")]
    data: Vec<String>,

    /// Write the content to this file, which appears when it is whole and not before.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the head of the response before its content.
    #[arg(short, long)]
    include: bool,

    /// Ask for the head alone, and print it.
    #[arg(short = 'I', long, conflicts_with = "data")]
    head: bool,

    /// Follow redirects.
    #[arg(short = 'L', long)]
    location: bool,

    /// Redirects that are followed at most.
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_redirects: u32,

    /// Print on stderr how long each phase took.
    #[arg(long)]
    timing: bool,

    /// Print one JSON object about the exchange on stdout; the content goes to --output, or nowhere.
    #[arg(long, conflicts_with_all = ["include", "head"])]
    json: bool,

    /// Print on stderr how the connection was made, and both heads.
    #[arg(short, long)]
    verbose: bool,

    /// Print the trailers on stderr.
    #[arg(long)]
    trailers: bool,

    /// Believe any certificate: anyone on the way can read and change everything.
    #[arg(short = 'k', long, conflicts_with = "cacert")]
    insecure: bool,

    /// Believe the authorities in this file (PEM) instead of the system's, or a server by its own certificate.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Certificate chain to show to the server (PEM, leaf first).
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Private key of that certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Connect once for a ticket, then again with the request in early data (0-RTT), and tell whether the
    /// server took it. Over HTTP/3 alone; whoever sees such a request on the way can repeat it.
    #[arg(long = "0rtt", conflicts_with_all = ["http1", "http2", "data"])]
    early_data: bool,

    /// Go on from another local port in the middle of the response, and tell whether it survived.
    /// Over HTTP/3 alone.
    #[arg(long, conflicts_with_all = ["http1", "http2"])]
    migrate: bool,

    /// Connect to this host and port, whatever the URL says.
    #[arg(long, value_name = "HOST:PORT", value_parser = connect::host_and_port)]
    connect_to: Option<(String, u16)>,

    /// Give a host these addresses without asking for them. A port between the two, as curl has it, is
    /// allowed and says nothing.
    #[arg(long, value_name = "HOST:ADDRESS[,ADDRESS…]", value_parser = connect::resolution)]
    resolve: Vec<connect::Resolution>,

    /// Time for the whole, redirects among it, such as `30s`. Default: as long as something comes.
    #[arg(long, value_name = "TIME")]
    max_time: Option<Span>,

    /// Time for one connection.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,

    /// Time without anything from the server.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    idle_timeout: Span,

    /// End with 0 whatever the status is.
    #[arg(long)]
    no_check_status: bool,

    /// Remember nothing of servers and their HTTP/3, and know nothing of what was remembered.
    #[arg(long)]
    no_memory: bool,
}

impl Args {
    /// Fetches it.
    pub(crate) fn run(self) -> Result<(), Error> {
        Ok(Run::new(self)?.run()?)
    }

    fn versions(&self) -> Versions {
        match (self.http1, self.http2, self.http3 || self.migrate || self.early_data) {
            (true, ..) => Versions::ONLY_H1,
            (_, true, _) => Versions::ONLY_H2,
            (_, _, true) => Versions::ONLY_H3,
            (false, false, false) => Versions::ALL,
        }
    }
}

#[cfg(test)]
mod tests;
