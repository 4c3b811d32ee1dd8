//! A running server, as signals, a watch on its files and the operator's interface see it.
//!
//! A reload plans everything anew, and only when all of it is there is anything replaced:
//! ```text
//!  files ── plan ── what needs a restart? ── access log opened ──▶ workers ──▶ told what changed
//!             │               │                    │
//!             └───────────────┴────────────────────┴──▶ an error, and all is as it was
//! ```

mod certificates;
mod log;
mod reloader;
pub(crate) mod renewal;
mod revisions;
mod site;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value as Json;
use sterna_gateway::access_log::Recorders;
use sterna_gateway::config::{Changes, Model};
use sterna_gateway::{Config, Shared};
use sterna_net::client::Transport;
use sterna_net::{Control, HandshakeFigures, Inspection, ServerTls, server};

pub(crate) use self::certificates::AUDIT;
pub(crate) use self::log::Log;
pub(crate) use self::reloader::Reloader;
pub(crate) use self::revisions::{Revision, Revisions};
pub(crate) use self::site::Site;
use crate::acme::Acme;
use crate::certificate::Certificate;
use crate::error::Error;
use crate::logging;
use crate::serve::{Args, Plan};

/// Where plans come from.
pub(crate) struct Planner {
    /// As at the start: by what the command line names.
    pub(crate) anew: Box<dyn Fn() -> Result<(Args, Plan), Error> + Send + Sync>,
    /// From canonical JSON, where there is a configuration.
    pub(crate) of_json: Option<OfJson>,
}

type OfJson = Box<dyn Fn(&Json) -> Result<(Args, Plan), Error> + Send + Sync>;

/// What stays as it is while a server runs.
pub(crate) struct Facts {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) plain: Vec<SocketAddr>,
    pub(crate) shared: Shared,
    pub(crate) acme: Acme,
}

/// A running server.
pub(crate) struct Operation {
    planner: Planner,
    /// That of HTTPS first.
    sites: Vec<(Site, Control)>,
    pub(crate) facts: Facts,
    pub(crate) what: String,
    pub(crate) started: SystemTime,
    /// Held for the length of a reload: one at a time.
    reloading: Mutex<()>,
    state: Mutex<State>,
}

struct State {
    args: Args,
    model: Option<Arc<Model>>,
    revisions: Revisions,
    tls: ServerTls,
    /// What is shown where no authority has issued anything.
    certificate: Certificate,
    files: Vec<PathBuf>,
    log: Log,
    history: History,
    is_draining: bool,
}

/// What became of reloads so far.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Counts the configurations that have been served, from 1.
    pub(crate) generation: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Certificates that were not good enough to be shown.
    pub(crate) refused_certificates: u64,
    /// When the last one ended, and why it failed if it did.
    pub(crate) last: Option<(SystemTime, Result<(), String>)>,
}

/// What came of a reload.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// Counts the configurations that have been served, from 1.
    pub(crate) generation: u64,
    pub(crate) changes: Changes,
    pub(crate) took: Duration,
}

impl Operation {
    pub(crate) fn new(
        planner: Planner,
        args: Args,
        plan: Plan,
        sites: Vec<(Site, Control)>,
        log: Log,
        facts: Facts,
    ) -> Self {
        let Plan { what, certificate, model, files, .. } = plan;
        let (succeeded, failed, refused_certificates) = (0, 0, 0);
        let history =
            History { generation: 1, succeeded, failed, refused_certificates, last: None };
        let (model, is_draining) = (model.map(Arc::new), false);
        let tls = facts.acme.tls(&certificate);
        let mut revisions = Revisions::default();
        if let Some(model) = &model {
            let (since, changes, model) = (SystemTime::now(), Arc::default(), model.clone());
            revisions.add(Revision { generation: 1, since, changes, model });
        }
        let state =
            State { args, model, revisions, tls, certificate, files, log, history, is_draining };
        let (started, reloading, state) = (SystemTime::now(), Mutex::new(()), Mutex::new(state));
        Self { planner, sites, facts, what, started, reloading, state }
    }

    /// Reads everything anew and serves it, or leaves all as it is.
    ///
    /// # Errors
    /// What cannot be served, or not without a restart.
    pub(crate) fn reload(&self) -> Result<Reloaded, Error> {
        let _one_at_a_time = lock(&self.reloading);
        self.note(self.serve(&self.planner.anew))
    }

    /// Serves this configuration from now on, or leaves all as it is; `is_current` tells whether the one that is served is
    /// the one that this was made from.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub(crate) fn put(
        &self,
        json: &Json,
        is_current: impl FnOnce(Option<&Model>) -> bool,
    ) -> Result<Reloaded, Error> {
        let _one_at_a_time = lock(&self.reloading);
        if !is_current(self.model().as_deref()) {
            return Err(Error::Overtaken);
        }
        let of_json = self.planner.of_json.as_ref().ok_or(Error::NoConfiguration)?;
        self.note(self.serve(|| of_json(json)))
    }

    /// Serves an earlier configuration again, the one before this one if none is named.
    ///
    /// # Errors
    /// As [`Self::reload`]; [`Error::NoRevision`] when it is not kept.
    pub(crate) fn roll_back(&self, generation: Option<u64>) -> Result<Reloaded, Error> {
        let _one_at_a_time = lock(&self.reloading);
        let revisions = self.revisions();
        let revision = match generation {
            Some(generation) => revisions.get(generation),
            None => revisions.previous(),
        };
        let model = revision.map(|revision| &revision.model).ok_or(Error::NoRevision)?;
        let of_json = self.planner.of_json.as_ref().ok_or(Error::NoConfiguration)?;
        self.note(self.serve(|| of_json(&model.to_json())))
    }

    fn serve(&self, plan: impl FnOnce() -> Result<(Args, Plan), Error>) -> Result<Reloaded, Error> {
        let begun = Instant::now();
        let (args, plan) = plan()?;
        let acme = self.facts.acme.prepare(plan.acme.clone());
        let tls = acme.tls(&plan.certificate);
        let (changes, recorders, output) = {
            let mut state = lock(&self.state);
            let mut keys = state.args.needs_restart(&args);
            if let (Some(before), Some(after)) = (&state.model, &plan.model) {
                keys.extend(need_restart(before, after));
            }
            if !keys.is_empty() {
                return Err(Error::NeedsRestart(keys));
            }
            certificates::check(&state.tls, &plan.certificate, SystemTime::now())?;
            let changes = state.changes(&plan, &tls);
            let (recorders, output) = state.log.prepare(&args)?;
            (changes, recorders, output)
        };
        let Plan { gateway, certificate, server, model, files, .. } = plan;
        self.replace(gateway, recorders.as_ref(), &tls, &server)?;
        self.facts.acme.follow(acme);
        let mut state = lock(&self.state);
        if state.args.log() != args.log() {
            logging::configure(args.log())?;
        }
        state.log.follow(output);
        state.history.generation += 1;
        (state.args, state.model, state.files) = (args, model.map(Arc::new), files);
        (state.tls, state.certificate) = (tls, certificate);
        let generation = state.history.generation;
        if let Some(model) = state.model.clone() {
            let (since, changes) = (SystemTime::now(), Arc::new(changes.clone()));
            state.revisions.add(Revision { generation, since, changes, model });
        }
        Ok(Reloaded { generation, changes, took: begun.elapsed() })
    }

    /// Shows what an authority has issued to connections that begin from now on; those that are open go on.
    ///
    /// # Errors
    /// [`Error::Reconfigure`]; what was shown before is shown on.
    pub(crate) fn show_issued(&self) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.reloading);
        let Some((_, control)) = self.sites.first() else { return Ok(()) };
        let tls = self.facts.acme.tls(&lock(&self.state).certificate);
        let server = server::Config::clone(&control.config());
        control.reconfigure(tls.clone(), server).map_err(Error::Reconfigure)?;
        lock(&self.state).tls = tls;
        Ok(())
    }

    /// Has the local authority sign anew what ends soon; whether it did.
    ///
    /// # Errors
    /// As [`Self::show_issued`]; [`Error::LocalCa`].
    pub(crate) fn renew_local(&self, now: SystemTime) -> Result<bool, Error> {
        {
            let _one_at_a_time = lock(&self.reloading);
            let mut state = lock(&self.state);
            let Some(renewed) = state.certificate.renewed(now)? else { return Ok(false) };
            state.certificate = renewed;
        }
        self.show_issued()?;
        Ok(true)
    }

    fn note(&self, outcome: Result<Reloaded, Error>) -> Result<Reloaded, Error> {
        let history = &mut lock(&self.state).history;
        let ended = match &outcome {
            Ok(_) => {
                history.succeeded += 1;
                Ok(())
            }
            Err(error) => {
                history.failed += 1;
                history.refused_certificates += certificates::audit(error);
                Err(error.in_full())
            }
        };
        history.last = Some((SystemTime::now(), ended));
        outcome
    }

    /// Has every worker serve this.
    fn replace(
        &self,
        config: Config,
        recorders: Option<&Recorders>,
        tls: &ServerTls,
        server: &server::Config,
    ) -> Result<(), Error> {
        let client = config.client.clone();
        let mut sites = self.sites.iter();
        if let Some((https, control)) = sites.next() {
            let before = https.next(config, recorders.cloned());
            if let Err(error) = control.reconfigure(tls.clone(), server.clone()) {
                https.restore(before);
                return Err(Error::Reconfigure(error));
            }
        }
        for (plain, control) in sites {
            plain.next_client(client.clone(), recorders.cloned());
            // It only redirects: what it had is good enough, and no reason to keep the rest from serving.
            if let Err(error) = control.reconfigure(None, server.clone()) {
                tracing::warn!(%error, "plain HTTP goes on as it was");
            }
        }
        Ok(())
    }

    /// Ends it in an orderly way, and what is left after `deadline` at once.
    pub(crate) fn drain(&self, deadline: Duration) {
        lock(&self.state).is_draining = true;
        for (_, control) in &self.sites {
            control.shutdown(deadline);
        }
    }

    /// Opens the file of the access log anew.
    pub(crate) fn reopen_log(&self) {
        lock(&self.state).log.reopen();
    }

    /// What was read for what is served now.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        lock(&self.state).files.clone()
    }

    /// The configuration that is served, where there is one.
    pub(crate) fn model(&self) -> Option<Arc<Model>> {
        lock(&self.state).model.clone()
    }

    /// The configurations that have been served.
    pub(crate) fn revisions(&self) -> Revisions {
        lock(&self.state).revisions.clone()
    }

    pub(crate) fn history(&self) -> History {
        lock(&self.state).history.clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        lock(&self.state).is_draining
    }

    /// The certificates that are shown.
    pub(crate) fn tls(&self) -> ServerTls {
        lock(&self.state).tls.clone()
    }

    /// The hash of the public key of the local authority's certificate, if one is shown.
    pub(crate) fn local_spki(&self) -> Option<String> {
        lock(&self.state).certificate.local_spki().map(str::to_owned)
    }

    /// Lines of the access log that were dropped.
    pub(crate) fn dropped_lines(&self) -> u64 {
        lock(&self.state).log.dropped()
    }

    /// What HTTPS is served with now.
    pub(crate) fn config(&self) -> Option<Arc<server::Config>> {
        self.sites.first().map(|(_, control)| control.config())
    }

    /// What is going on in all workers of HTTPS.
    pub(crate) fn inspect(&self, limit: usize) -> Inspection {
        self.sites.first().map(|(_, control)| control.inspect(limit)).unwrap_or_default()
    }

    /// What all workers have counted: of HTTPS, and of plain HTTP.
    pub(crate) fn counters(&self) -> Vec<sterna_net::Counters> {
        self.sites.iter().map(|(_, control)| control.counters()).collect()
    }

    /// How handshakes of HTTPS have ended.
    pub(crate) fn handshakes(&self, transport: Transport) -> HandshakeFigures {
        let https = self.sites.first();
        https.map(|(_, control)| control.handshakes(transport)).unwrap_or_default()
    }

    pub(crate) fn workers(&self) -> usize {
        self.sites.first().map_or(0, |(_, control)| control.workers())
    }

    /// After the last request: writes out what has been logged.
    pub(crate) fn finish(&self) {
        std::mem::take(&mut lock(&self.state).log).finish();
    }
}

#[cfg(test)]
impl Operation {
    /// A server without sockets.
    pub(crate) fn of_nothing() -> Self {
        use clap::Parser;

        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let key = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a pair");
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let tls = ServerTls::from_der(vec![key.cert.der().clone()], der.into()).expect("valid");
        let origin = crate::certificate::Origin::Files { certificates: Vec::new() };
        let plan = Plan {
            what: "nothing".to_owned(),
            host: None,
            certificate: Certificate::new(tls, origin),
            gateway: Config::default(),
            server: server::Config::default(),
            acme: None,
            model: None,
            files: Vec::new(),
        };
        let planner = Planner { anew: Box::new(|| Err(Error::NoConfiguration)), of_json: None };
        let (shared, acme) = (Shared::default(), Acme::default());
        let facts = Facts { addresses: vec![], plain: vec![], shared, acme };
        let args = Line::parse_from(["sterna"]).args;
        Self::new(planner, args, plan, Vec::new(), Log::default(), facts)
    }
}

impl State {
    fn changes(&self, plan: &Plan, tls: &ServerTls) -> Changes {
        let mut changes = match (&self.model, &plan.model) {
            (Some(before), Some(after)) => Changes::between(before, after),
            _ => Changes::default(),
        };
        if !self.tls.is_same_as(tls) {
            changes.add("changed certificates: new connections see the new ones".to_owned());
        }
        changes
    }
}

/// Keys of what belongs to sockets, or to tables that all workers share.
fn need_restart(before: &Model, after: &Model) -> Vec<&'static str> {
    let (was, is) = (&before.limits, &after.limits);
    let different = [
        ("http3", before.http3 != after.http3),
        ("quic.udp_buffer", before.quic.udp_buffer != after.quic.udp_buffer),
        ("quic.steering", before.quic.steering != after.quic.steering),
        ("limits.connections_per_ip", was.connections_per_ip != is.connections_per_ip),
        ("limits.handshakes_per_ip", was.handshakes_per_ip != is.handshakes_per_ip),
        ("limits.streams_per_ip", was.streams_per_ip != is.streams_per_ip),
        ("limits.requests_per_ip", was.requests_per_ip != is.requests_per_ip),
        ("limits.max_lag", was.max_lag != is.max_lag),
        ("limits.memory", was.memory != is.memory),
    ];
    different.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
