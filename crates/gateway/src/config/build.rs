//! From what a file means to what is served: directories and certificates are opened here.

use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderName;
use sterna_net::tls::ClientAuth;
use sterna_net::{Protocol, ServerTls};

use super::Model;
use super::canary::Canary;
use super::clients::Clients;
use super::policies::{Layers, Opening};
use super::problem::{Mistake, Place, Problems};
use super::proxy::{Proxy, Pseudonym, Reaching};
use super::quic::ZeroRtt;
use super::setting::Several;
use super::site::{Edit, Files, Redirect, Respond, Root, Route, Site, Version};
use super::tls::Tls;
use super::upstream::{Around, Balancing};
use crate::handler::{self, files, redirect, respond};
use crate::middleware::{self, client_auth, early_data, headers};
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
    /// What TLS agrees to.
    pub tls: sterna_net::tls::Settings,
    /// What policies and TLS to backends have read.
    opened: Vec<PathBuf>,
}

/// The hosts of a site, and what it shows them.
#[derive(Debug)]
pub struct Certificate {
    /// For whom.
    pub hosts: Vec<host::Pattern>,
    /// Its file and what was read from it, or `None` for the local authority.
    pub tls: Option<(PathBuf, ServerTls)>,
    /// Whom it lets in by their certificates, if it asks for any.
    pub clients: Option<ClientAuth>,
}

impl Built {
    /// The files that were read when it was built, and whose change is a reason to build it anew.
    pub fn files(&self) -> Vec<PathBuf> {
        let tls = self.model.site.iter().filter_map(|site| site.tls.as_ref());
        let tls = tls.chain(self.model.defaults.tls.as_ref());
        let shown = tls.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.ocsp.as_ref()]);
        let shown = shown.flatten().map(|file| file.0.clone());
        let clients = self.model.site.iter().map(|site| &site.clients);
        let clients = clients.chain([&self.model.defaults.clients]).flat_map(Clients::files);
        shown.chain(clients).chain(self.opened.iter().cloned()).collect()
    }
}

impl Model {
    fn client(&self) -> crate::client::Config {
        let trusted = self.trusted_proxies.iter().flat_map(|networks| networks.0.iter().copied());
        crate::client::Config { trusted: trusted.collect(), field: self.client_field.build() }
    }

    /// Opens what it names; what cannot be opened is added to `problems`.
    pub(super) fn build(self, problems: &mut Problems) -> Option<Built> {
        let (mut routes, mut certificates) = (Vec::new(), Vec::new());
        let mut opening = Opening::new(&self.name, problems);
        for site in &self.site {
            let (built, certificate) = self.build_site(site, &mut opening);
            routes.extend(built);
            certificates.push(certificate);
        }
        if let Some(limit) = &self.limits.in_flight {
            for route in &mut routes {
                let limit = middleware::Config::InFlight(limit.build("process"));
                // Behind the rate limits: who is refused by them waits for no place.
                let is_rate = |config| matches!(config, &middleware::Config::RateLimit(_));
                let rates = route.middleware.iter().rposition(is_rate);
                // And behind the question who is let in at all.
                let asks = |config| matches!(config, &middleware::Config::ClientAuth(_));
                let first = usize::from(route.middleware.first().is_some_and(asks));
                route.middleware.insert(rates.map_or(first, |at| at + 1), limit);
            }
        }
        let opened = opening.files.into_iter().collect();
        for route in &mut routes {
            self.build_early_data(route);
        }
        problems.is_empty().then(|| Built {
            opened,
            tls: self.tls.build(),
            gateway: crate::Config { routes, client: self.client() },
            server: self.server(),
            certificates,
            model: self,
        })
    }

    /// Outermost of all: what a request meets before its handshake is complete, it meets as somebody's replay.
    fn build_early_data(&self, route: &mut route::Config) {
        use middleware::Config::EarlyData;
        if self.quic.zero_rtt == ZeroRtt::Off {
            return;
        }
        let is_early = |config: &middleware::Config| matches!(config, EarlyData(_));
        let own = route.middleware.iter().position(is_early);
        let mode = match own.map(|at| route.middleware.remove(at)) {
            Some(EarlyData(config)) => config.mode,
            _ => self.quic.zero_rtt.mode(),
        };
        // The address of early data is what its sender says: it proves it by the handshake.
        let goes_by_address = route.middleware.iter().any(middleware::Config::goes_by_address);
        let mode = if goes_by_address { early_data::Mode::Off } else { mode };
        let config = early_data::Config { mode, tells: self.debug_headers };
        route.middleware.insert(0, EarlyData(config));
    }

    fn build_site(
        &self,
        site: &Site,
        opening: &mut Opening<'_>,
    ) -> (Vec<route::Config>, Certificate) {
        let policies = Layers::of(&self.defaults.policies).and(&site.policies, site.name());
        opening.files.extend(site.reaching.files());
        let mut routes = Vec::new();
        let actions = Actions {
            root: site.root.as_ref(),
            place: site.at.key("root"),
            proxy: site.proxy.as_ref(),
            around: Around(&[&site.balancing, &self.defaults.balancing]),
            name: &self.name,
            reaching: &site.reaching,
            respond: site.respond.as_ref(),
            redirect: site.redirect.as_ref(),
        };
        let balancing = Around(&[&site.balancing, &self.defaults.balancing]);
        let around = (&self.name, &site.reaching, balancing);
        if let Some(handler) = actions.build(opening.problems) {
            let rest = route::Config::new(Pattern::any(), handler);
            let mut middleware = policies.build(opening);
            let canary = site.canary.as_ref();
            let canary = build_canary(canary, around, &mut middleware, opening.problems);
            routes.push(route::Config { middleware, canary, ..rest });
        }
        for route in &site.route {
            let around = (&site.balancing, &self.defaults.balancing);
            routes.extend(route.build(&policies, around, &site.name(), &self.name, opening));
        }
        let routes = site.host.0.iter().flat_map(|host| {
            let of_host =
                |route: &route::Config| route::Config { host: host.clone(), ..route.clone() };
            routes.iter().map(of_host).collect::<Vec<_>>()
        });
        let tls = site.tls.as_ref().or(self.defaults.tls.as_ref()).filter(|_| !site.acme);
        let tls = tls.and_then(|tls| tls.build(opening.problems));
        let mut routes: Vec<route::Config> = routes.collect();
        let clients = site.clients.build(&self.defaults.clients, opening.problems);
        if let Some(clients) = &clients {
            // Before anything that tells what there is.
            let config = client_auth::Config { clients: clients.clone() };
            for route in &mut routes {
                route.middleware.insert(0, middleware::Config::ClientAuth(config.clone()));
            }
        }
        (routes, Certificate { hosts: site.host.0.clone(), tls, clients })
    }
}

impl Site {
    /// What it is called where its state outlives a configuration.
    fn name(&self) -> String {
        let hosts: Vec<String> = self.host.0.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }
}

impl Route {
    fn build(
        &self,
        outer: &Layers<'_>,
        around: (&Balancing, &Balancing),
        site: &str,
        name: &Pseudonym,
        opening: &mut Opening<'_>,
    ) -> Vec<route::Config> {
        opening.files.extend(self.reaching.files());
        let actions = Actions {
            root: self.root.as_ref(),
            place: self.at.key("root"),
            proxy: self.proxy.as_ref(),
            around: Around(&[&self.balancing, around.0, around.1]),
            name,
            reaching: &self.reaching,
            respond: self.respond.as_ref(),
            redirect: self.redirect.as_ref(),
        };
        let balancing = Around(&[&self.balancing, around.0, around.1]);
        let around = (name, &self.reaching, balancing);
        let handler = actions.build(opening.problems);
        let Some(handler) = handler else { return Vec::new() };
        let policies = outer.and(&self.policies, self.name(site));
        let mut middleware = policies.build(opening);
        let canary = self.canary.as_ref();
        let canary = build_canary(canary, around, &mut middleware, opening.problems);
        let preflights = policies.has_cors();
        let build = |path: &Pattern| route::Config {
            conditions: Conditions { preflights, ..self.conditions() },
            middleware: middleware.clone(),
            canary: canary.clone(),
            ..route::Config::new(path.clone(), handler.clone())
        };
        self.path.0.iter().map(build).collect()
    }

    /// What it is called where its state outlives a configuration: it takes no other route's requests.
    fn name(&self, site: &str) -> String {
        let paths: Vec<String> = self.path.0.iter().map(ToString::to_string).collect();
        format!("{site} {} {}", paths.join(","), self.conditions())
    }

    /// What must hold beside host and path.
    pub(super) fn conditions(&self) -> Conditions {
        let header = |(name, wanted): (&String, &super::site::WantedValue)| {
            Some((HeaderName::try_from(name).ok()?, wanted.0.clone()))
        };
        Conditions {
            preflights: false,
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

/// What a site or a route says that answers; one of them, which has been checked.
struct Actions<'a> {
    root: Option<&'a Root>,
    /// That of the root.
    place: &'a Place,
    proxy: Option<&'a Proxy>,
    around: Around<'a>,
    name: &'a Pseudonym,
    reaching: &'a Reaching,
    respond: Option<&'a Respond>,
    redirect: Option<&'a Redirect>,
}

impl Actions<'_> {
    fn build(self, problems: &mut Problems) -> Option<handler::Config> {
        if let Some(Root(options)) = self.root {
            let opened = files::Root::open(&options.path.0);
            return match opened {
                Ok(root) => Some(handler::Config::Files(options.build(root))),
                Err(error) => {
                    problems.add(self.place, unusable(&error));
                    None
                }
            };
        }
        if let Some(proxy) = self.proxy {
            let config = proxy.build(self.name, self.reaching, self.around, problems)?;
            return Some(handler::Config::Proxy(Box::new(config)));
        }
        if let Some(Redirect(elsewhere)) = self.redirect {
            let (status, target) = (elsewhere.status.0, elsewhere.to.target.clone());
            return Some(handler::Config::Redirect(redirect::Config { status, target }));
        }
        let Respond(answer) = self.respond?;
        Some(handler::Config::Respond(respond::Config {
            status: answer.status.0,
            content_type: answer.content_type.0.clone(),
            content: Bytes::from(answer.body.text.clone()),
        }))
    }
}

/// What answers in place of the handler, with the station behind all others that chooses.
fn build_canary(
    canary: Option<&Canary>,
    (name, reaching, around): (&Pseudonym, &Reaching, Around<'_>),
    middleware: &mut Vec<middleware::Config>,
    problems: &mut Problems,
) -> Option<handler::Config> {
    let canary = canary?;
    let actions = Actions {
        root: canary.root.as_ref(),
        place: canary.at.key("root"),
        proxy: canary.proxy.as_ref(),
        around,
        name,
        reaching,
        respond: canary.respond.as_ref(),
        redirect: None,
    };
    let handler = actions.build(problems)?;
    middleware.push(middleware::Config::Canary(canary.choice()));
    Some(handler)
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

impl Edit {
    /// What was checked before: a name or a value that is none is left out.
    pub(super) fn build(&self) -> headers::Edit {
        let field = |(name, value): (&String, &super::Text)| {
            Some((HeaderName::try_from(name).ok()?, value.text.parse().ok()?))
        };
        let each = |(name, values): (&'_ String, &'_ Several<super::Text>)| {
            let fields = values.0.iter().filter_map(|value| field((name, value)));
            fields.collect::<Vec<_>>()
        };
        headers::Edit {
            set: self.set.iter().filter_map(field).collect(),
            add: self.add.iter().flat_map(each).collect(),
            remove: self.remove.iter().map(|name| name.0.clone()).collect(),
        }
    }
}

impl Tls {
    fn build(&self, problems: &mut Problems) -> Option<(PathBuf, ServerTls)> {
        let tls = ServerTls::from_pem_files(&self.cert.0, &self.key.0);
        let stapled = |tls: ServerTls| match &self.ocsp {
            Some(file) => tls.with_staple(&file.0),
            None => Ok(tls),
        };
        match tls.and_then(stapled) {
            Ok(tls) => Some((self.cert.0.clone(), tls)),
            Err(error) => {
                let (file, reason) = (self.cert.0.clone(), in_full(&error));
                problems.add(self.at.key("cert"), Mistake::Certificate { file, reason });
                None
            }
        }
    }
}

/// What a layer below refused, with its causes.
pub(super) fn unusable(error: &dyn std::error::Error) -> Mistake {
    Mistake::Unusable(in_full(error))
}

pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        what.push_str(": ");
        what.push_str(&error.to_string());
        cause = error.source();
    }
    what
}
