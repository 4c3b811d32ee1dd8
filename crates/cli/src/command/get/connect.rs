//! The client: versions, trust, names and time-outs, from the command line.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sterna_net::client::{Client, ClientCertificate, Host, Resolver, Roots, Timeouts};
use url::Url;

use super::{Args, GetError, early};
use crate::local_ca;

/// Addresses of a host, from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    host: String,
    addresses: Vec<IpAddr>,
}

/// Clients, made when they are needed: they differ in whom they believe.
pub(super) struct Clients {
    args: Args,
    made: Vec<(Trust, Client)>,
}

/// Whom a client believes, beside what the command line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// This machine: its own authority too.
    Here,
    Elsewhere,
    /// There is no TLS, so that no authority need be read.
    InTheClear,
}

impl Clients {
    pub(super) fn new(args: &Args) -> Self {
        Self { args: args.clone(), made: Vec::new() }
    }

    /// The client for this URL.
    pub(super) fn of(&mut self, url: &Url) -> Result<Client, GetError> {
        let trust = Trust::of(url);
        if let Some((_, client)) = self.made.iter().find(|(known, _)| *known == trust) {
            return Ok(client.clone());
        }
        let client = build(&self.args, trust)?;
        self.made.push((trust, client.clone()));
        Ok(client)
    }

    /// Ends them in order, which is bounded.
    pub(super) async fn close(self) {
        for (_, client) in self.made {
            client.close().await;
        }
    }
}

impl Trust {
    fn of(url: &Url) -> Self {
        let host = url.host_str().and_then(|host| Host::parse(host).ok());
        match url.scheme() {
            "http" => Self::InTheClear,
            _ if host.is_some_and(|host| host.is_loopback()) => Self::Here,
            _ => Self::Elsewhere,
        }
    }
}

fn build(args: &Args, trust: Trust) -> Result<Client, GetError> {
    let mut builder = Client::builder()
        .versions(args.versions())
        .early_data(args.early_data)
        .danger_accept_any_certificate(args.insecure)
        // The network of one request does not change, unless it is told to.
        .watch_network(false)
        .timeouts(Timeouts {
            connect: args.connect_timeout.0,
            tls: args.connect_timeout.0,
            first_byte: args.idle_timeout.0,
            idle: args.idle_timeout.0,
            total: Duration::MAX,
            ..Timeouts::default()
        });
    if args.early_data {
        builder = builder.pool(early::pool());
    }
    if let Some(file) = &args.cacert {
        builder = builder.roots(Roots::from_pem_file(file)?);
    } else if trust == Trust::InTheClear {
        builder = builder.roots(Roots::Nobody);
    } else if trust == Trust::Here
        && let Some(root) = local_root()
    {
        builder = builder.add_root(root);
    }
    if let (Some(certificate), Some(key)) = (&args.cert, &args.key) {
        builder = builder.client_certificate(ClientCertificate::from_pem_files(certificate, key)?);
    }
    if let Some((host, port)) = &args.connect_to {
        builder = builder.connect_to(host, *port);
    }
    if !args.resolve.is_empty() {
        let fixed = |resolver: Resolver, Resolution { host, addresses }: &Resolution| {
            resolver.with_addresses(host, addresses.clone())
        };
        builder = builder.resolver(args.resolve.iter().fold(Resolver::system(), fixed));
    }
    if !args.no_memory
        && let Some(directory) = memory()
    {
        builder = builder.state_file(directory.join("alternatives.json"));
    }
    builder.build().map_err(GetError::Build)
}

/// The authority that a server on this machine has made, if there is one.
fn local_root() -> Option<CertificateDer<'static>> {
    let path = local_ca::directory().ok()?.join("root.crt");
    CertificateDer::from_pem_slice(&fs::read(path).ok()?).ok()
}

/// Where it is kept what was learnt of servers: beside the local authority, or nowhere.
fn memory() -> Option<PathBuf> {
    let directory = local_ca::directory().ok()?.parent()?.join("client");
    fs::create_dir_all(&directory).ok()?;
    Some(directory)
}

/// Reads `host:port`.
pub(super) fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let refuse = || format!("`{text}` is not a host and a port, such as `example.com:8443`");
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(refuse)?;
    Host::parse(host).map_err(|_| refuse())?;
    Ok((host.to_owned(), port))
}

/// Reads `host:address,address`, with a port in between or without.
pub(super) fn resolution(text: &str) -> Result<Resolution, String> {
    let refuse =
        || format!("`{text}` is not a host and an address, such as `example.com:127.0.0.1`");
    let (host, rest) = text.split_once(':').ok_or_else(refuse)?;
    let parsed = addresses(rest).or_else(|| {
        let (port, rest) = rest.split_once(':')?;
        port.parse::<u16>().ok().and_then(|_| addresses(rest))
    });
    match (Host::parse(host), parsed) {
        (Ok(Host::Name(host)), Some(addresses)) => Ok(Resolution { host, addresses }),
        _ => Err(refuse()),
    }
}

fn addresses(list: &str) -> Option<Vec<IpAddr>> {
    let address = |text: &str| text.trim_matches(['[', ']']).parse().ok();
    list.split(',').map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_with_an_address_in_brackets_too() {
        assert_eq!(host_and_port("example.com:1"), Ok(("example.com".to_owned(), 1)));
        assert_eq!(host_and_port("[::1]:8443"), Ok(("[::1]".to_owned(), 8443)));
        for wrong in ["example.com", "example.com:", "example.com:0", "a b:1", ":1", "x:65536"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn resolution_is_read_with_a_port_or_without() {
        let read = |text| {
            let Resolution { host, addresses } = resolution(text).unwrap();
            format!("{host} {addresses:?}")
        };
        assert_eq!(read("Example.com:192.0.2.1"), "example.com [192.0.2.1]");
        assert_eq!(read("example.com:443:192.0.2.1,::1"), "example.com [192.0.2.1, ::1]");
        assert_eq!(read("example.com:2001:db8::1"), "example.com [2001:db8::1]");
        assert_eq!(read("example.com:443:[2001:db8::1]"), "example.com [2001:db8::1]");
        for wrong in ["example.com", "example.com:443", "127.0.0.1:127.0.0.1", "x:y:127.0.0.1"] {
            assert!(resolution(wrong).is_err(), "{wrong}");
        }
    }
}
