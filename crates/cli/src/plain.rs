//! Plain HTTP beside the server: it sends everyone to HTTPS, and answers nothing itself but what
//! certificate authorities ask for.

use std::net::SocketAddr;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
pub(crate) use sterna_gateway::config::PlainHttp as Choice;
use sterna_gateway::handler::challenge::Tokens;
use sterna_gateway::handler::{self, redirect};
use sterna_gateway::middleware::{self, headers};
use sterna_gateway::route::{self, Pattern};
use sterna_net::{Bound, Server, server};

use crate::error::Error;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    pub(crate) bound: Option<Bound>,
    /// Why there is none, when it was not asked for and would be usual.
    pub(crate) note: Option<String>,
}

impl Plain {
    /// Binds what was asked for; without a choice, the usual port beside each usual port of HTTPS, if it is
    /// free. `proxies` begin with the PROXY protocol here too.
    ///
    /// # Errors
    /// When a place that was asked for cannot be had.
    pub(crate) fn bind(
        choice: Option<&Choice>,
        https: &[SocketAddr],
        config: &server::Config,
    ) -> Result<Self, Error> {
        match choice {
            Some(Choice::Off) => Ok(Self::default()),
            Some(Choice::At(listen)) => {
                let bound = server(listen.resolve()?, config).bind()?;
                Ok(Self { bound: Some(bound), note: None })
            }
            None => {
                let usual: Vec<SocketAddr> = https.iter().filter_map(|&at| beside(at)).collect();
                if usual.is_empty() {
                    return Ok(Self::default());
                }
                Ok(match server(usual, config).bind() {
                    Ok(bound) => Self { bound: Some(bound), note: None },
                    Err(error) => Self { bound: None, note: Some(error.to_string()) },
                })
            }
        }
    }

    /// The addresses, with their actual ports.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.as_ref().map(|bound| bound.addresses().to_vec()).unwrap_or_default()
    }
}

/// One worker is enough: nobody stays here. Clients have the limits and the time that they have elsewhere.
fn server(addresses: Vec<SocketAddr>, config: &server::Config) -> sterna_net::Builder {
    let builder = Server::builder().workers(1).config(config.clone());
    addresses.into_iter().fold(builder, sterna_net::Builder::listen)
}

/// Where people who write `http://` come out: 80 for 443, and 8080 for 8443.
fn beside(https: SocketAddr) -> Option<SocketAddr> {
    let port = match https.port() {
        443 => 80,
        8443 => 8080,
        _ => return None,
    };
    Some(SocketAddr::new(https.ip(), port))
}

/// What plain HTTP answers.
pub(crate) fn config(
    https_port: u16,
    client: sterna_gateway::client::Config,
    tokens: Tokens,
) -> sterna_gateway::Config {
    sterna_gateway::Config { routes: routes(https_port, tokens), client }
}

/// To the same place on the port of HTTPS, but for what certificate authorities ask for over plain HTTP.
fn routes(https_port: u16, tokens: Tokens) -> Vec<route::Config> {
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let target = format!("https://{{host}}{port}{{path}}{{query}}");
    let Ok(target) = target.parse() else { unreachable!("a constant but for a number") };
    let redirect = redirect::Config { status: StatusCode::PERMANENT_REDIRECT, target };
    let mut everything = route::Config::new(Pattern::any(), handler::Config::Redirect(redirect));
    // Browsers keep a 308 for ever, also for the port of a developer's machine, where tomorrow another
    // server answers.
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store").into());
    let response = headers::Edit { set: vec![no_store], ..headers::Edit::default() };
    let headers = headers::Config { response, ..headers::Config::default() };
    everything.middleware = vec![middleware::Config::Headers(headers)];
    let mut routes = vec![everything];
    if let Ok(well_known) = "/.well-known/acme-challenge/*".parse() {
        routes.push(route::Config::new(well_known, handler::Config::Challenge(tokens)));
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_or_off_and_nothing_else() {
        assert!(matches!("off".parse(), Ok(Choice::Off)));
        assert!(matches!("127.0.0.1:80".parse(), Ok(Choice::At(_))));
        assert!("on".parse::<Choice>().is_err());
    }

    #[test]
    fn only_the_usual_ports_have_one_beside_them() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(beside(at(443)), Some(at(80)));
        assert_eq!(beside(at(8443)), Some(at(8080)));
        assert_eq!(beside(at(8444)), None);
    }

    #[test]
    fn all_is_redirected_but_what_authorities_ask_for() {
        let routes = routes(443, Tokens::default());
        assert_eq!(routes.len(), 2);
        let handler::Config::Redirect(redirect) = &routes[0].handler else { panic!("no redirect") };
        let target = "https://{host}{path}{query}".parse().expect("a target");
        assert_eq!((redirect.status, &redirect.target), (StatusCode::PERMANENT_REDIRECT, &target));
    }
}
