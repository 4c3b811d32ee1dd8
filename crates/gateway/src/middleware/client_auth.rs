//! Whom a site lets in by their certificates of TLS, asked once more of each request.
//!
//! The handshake has asked already, for the name that the client gave (SNI). A request may name another host, and its connection may be
//! older than what the site asks for now: whoever is let in is decided here, by the site that the request came to.

use sterna_net::RequestContext;
use sterna_net::tls::ClientAuth;

use super::{Middleware, Step};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;

/// Configuration of `tls.client_ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who is let in.
    pub clients: ClientAuth,
}

impl Config {
    pub(crate) fn build(&self) -> ClientCertificate {
        ClientCertificate(self.clients.clone())
    }
}

/// Turns requests away on connections whose client the site does not let in.
#[derive(Debug)]
pub(crate) struct ClientCertificate(ClientAuth);

impl Middleware for ClientCertificate {
    fn on_request<'a>(&'a self, _: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let is_admitted = match RequestContext::of(request).and_then(RequestContext::tls) {
            Some(tls) => tls.is_admitted_by(&self.0),
            // Without TLS nobody has a certificate.
            None => !self.0.is_required(),
        };
        if is_admitted { Step::pass() } else { Step::refuse(Error::Misdirected) }
    }
}
