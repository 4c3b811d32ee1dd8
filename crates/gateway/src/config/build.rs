//! From what a file means to what is served: directories and certificates are opened here.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use sterna_net::{Protocol, ServerTls};

use super::Model;
use super::problem::{Mistake, Place, Problems};
use super::setting::Several;
use super::site::{Edit, Files, Redirect, Respond, Root, Route, Site, Version};
use super::tls::Tls;
use super::units::ByteSize;
use crate::handler::{self, files, redirect, respond};
use crate::middleware::{self, body_limit, headers};
use crate::route::{self, Conditions, Pattern, host};

/// A configuration that can be served.
#[derive(Debug)]
pub struct Built {
    /// What it was built from.
    pub model: Model,
    /// What answers requests.
    pub gateway: crate::Config,
    /// The endpoint.
    pub server: sterna_net::server::Config,
    /// The certificate of each site.
    pub certificates: Vec<Certificate>,
}

/// The hosts of a site, and what it shows them.
#[derive(Debug)]
pub struct Certificate {
    /// For whom.
    pub hosts: Vec<host::Pattern>,
    /// Its file and what was read from it, or `None` for the local authority.
    pub tls: Option<(PathBuf, ServerTls)>,
}

impl Model {
    /// Opens what it names; what cannot be opened is added to `problems`.
    pub(super) fn build(self, problems: &mut Problems) -> Option<Built> {
        let (mut routes, mut certificates) = (Vec::new(), Vec::new());
        for site in &self.site {
            let (built, certificate) = self.build_site(site, problems);
            routes.extend(built);
            certificates.push(certificate);
        }
        problems.is_empty().then(|| Built {
            gateway: crate::Config { routes },
            server: self.server(),
            certificates,
            model: self,
        })
    }

    fn build_site(
        &self,
        site: &Site,
        problems: &mut Problems,
    ) -> (Vec<route::Config>, Certificate) {
        let headers = headers::Config {
            request: self.defaults.request_headers.build().then(&site.request_headers.build()),
            response: self.defaults.response_headers.build().then(&site.response_headers.build()),
        };
        let mut routes = Vec::new();
        let place = site.at.key("root");
        let actions = (site.root.as_ref(), site.respond.as_ref(), site.redirect.as_ref());
        if let Some(handler) = build_handler(actions, place, problems) {
            let rest = route::Config::new(Pattern::any(), handler);
            let middleware = build_middleware(&headers, site.body_size);
            routes.push(route::Config { middleware, ..rest });
        }
        for route in &site.route {
            routes.extend(route.build(&headers, site.body_size, problems));
        }
        let routes = site.host.0.iter().flat_map(|host| {
            let of_host =
                |route: &route::Config| route::Config { host: host.clone(), ..route.clone() };
            routes.iter().map(of_host).collect::<Vec<_>>()
        });
        let tls = site.tls.as_ref().or(self.defaults.tls.as_ref());
        let tls = tls.and_then(|tls| tls.build(problems));
        (routes.collect(), Certificate { hosts: site.host.0.clone(), tls })
    }
}

impl Route {
    fn build(
        &self,
        outer: &headers::Config,
        body_size: Option<ByteSize>,
        problems: &mut Problems,
    ) -> Vec<route::Config> {
        let place = self.at.key("root");
        let actions = (self.root.as_ref(), self.respond.as_ref(), self.redirect.as_ref());
        let handler = build_handler(actions, place, problems);
        let Some(handler) = handler else { return Vec::new() };
        let headers = headers::Config {
            request: outer.request.then(&self.request_headers.build()),
            response: outer.response.then(&self.response_headers.build()),
        };
        let build = |path: &Pattern| route::Config {
            conditions: self.conditions(),
            middleware: build_middleware(&headers, self.body_size.or(body_size)),
            ..route::Config::new(path.clone(), handler.clone())
        };
        self.path.0.iter().map(build).collect()
    }

    /// What must hold beside host and path.
    pub(super) fn conditions(&self) -> Conditions {
        let header = |(name, wanted): (&String, &super::site::WantedValue)| {
            Some((HeaderName::try_from(name).ok()?, wanted.0.clone()))
        };
        Conditions {
            methods: listed(self.method.as_ref(), |method| method.0.clone()),
            headers: self.header.iter().filter_map(header).collect(),
            query: self.query.iter().map(|(key, wanted)| (key.clone(), wanted.0.clone())).collect(),
            clients: listed(self.client.as_ref(), |network| *network),
            protocols: listed(self.protocol.as_ref(), |version| match version {
                Version::Http1 => Protocol::Http1,
                Version::Http2 => Protocol::Http2,
                Version::Http3 => Protocol::Http3,
            }),
        }
    }
}

fn listed<T, U>(several: Option<&Several<T>>, of: impl Fn(&T) -> U) -> Vec<U> {
    several.map_or_else(Vec::new, |several| several.0.iter().map(of).collect())
}

fn build_handler(
    (root, respond, redirect): (Option<&Root>, Option<&Respond>, Option<&Redirect>),
    place: &Place,
    problems: &mut Problems,
) -> Option<handler::Config> {
    if let Some(Root(options)) = root {
        let opened = files::Root::open(&options.path.0);
        return match opened {
            Ok(root) => Some(handler::Config::Files(options.build(root))),
            Err(error) => {
                problems.add(place, unusable(&error));
                None
            }
        };
    }
    if let Some(Redirect(elsewhere)) = redirect {
        let (status, target) = (elsewhere.status.0, elsewhere.to.target.clone());
        return Some(handler::Config::Redirect(redirect::Config { status, target }));
    }
    let Respond(answer) = respond?;
    Some(handler::Config::Respond(respond::Config {
        status: answer.status.0,
        content_type: answer.content_type.0.clone(),
        content: Bytes::from(answer.body.text.clone()),
    }))
}

impl Files {
    fn build(&self, opened: files::Root) -> files::Config {
        let Self { path: _, index, precompressed, fallback, not_found, listing, at: _ } = self;
        files::Config {
            root: opened,
            index: index.iter().map(|name| name.text.clone()).collect(),
            precompressed: *precompressed,
            fallback: fallback.as_ref().map(|name| name.text.clone()),
            not_found: not_found.as_ref().map(|name| name.text.clone()),
            listing: *listing,
        }
    }
}

/// In the one order that there is: limits, then fields.
fn build_middleware(
    headers: &headers::Config,
    body_size: Option<ByteSize>,
) -> Vec<middleware::Config> {
    let limit = body_size.map(|size| body_limit::Config { max_size: size.0 });
    let is_empty = headers.request.is_empty() && headers.response.is_empty();
    let headers = (!is_empty).then(|| middleware::Config::Headers(headers.clone()));
    limit.map(middleware::Config::BodyLimit).into_iter().chain(headers).collect()
}

impl Edit {
    /// What was checked before: a name or a value that is none is left out.
    fn build(&self) -> headers::Edit {
        let field = |(name, value): (&String, &super::Text)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(&value.text).ok()?))
        };
        headers::Edit {
            set: self.set.iter().filter_map(field).collect(),
            remove: self.remove.iter().map(|name| name.0.clone()).collect(),
        }
    }
}

impl Tls {
    fn build(&self, problems: &mut Problems) -> Option<(PathBuf, ServerTls)> {
        match ServerTls::from_pem_files(&self.cert.0, &self.key.0) {
            Ok(tls) => Some((self.cert.0.clone(), tls)),
            Err(error) => {
                problems.add(self.at.key("cert"), unusable(&error));
                None
            }
        }
    }
}

/// What a layer below refused, with its causes.
fn unusable(error: &dyn std::error::Error) -> Mistake {
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        what.push_str(": ");
        what.push_str(&error.to_string());
        cause = error.source();
    }
    Mistake::Unusable(what)
}
