//! Checks and discovery: one thread for all upstreams of the process, started when the first needs it.
//!
//! ```text
//!  thread ── upstream ─┬─ a task for each name: look up ─▶ Inner::found
//!                      └─ a task for each backend: ask ──▶ Backend::set_verdict
//! ```
//!
//! A task holds nothing of an upstream while it waits, and ends with it. At most one look-up of a name and one check of a
//! backend are under way, so there is nothing that could pile up.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use sterna_net::client::{Lookup, NameError, Resolver};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::sleep;

use super::backend::Backend;
use super::balance::Chance;
use super::check::probe::Prober;
use super::check::{self, Health};
use super::discovery::{self, Name, Next, at_addresses, of_services};
use super::inner::{Found, Inner};
use super::{Config, Member, Source};

/// Keeps upstreams up to date. Its thread ends when this and all upstreams that it keeps are gone.
pub(crate) struct Keeper {
    /// When the time of all upstreams began, so that one may go on with the moments of another.
    pub(super) epoch: Instant,
    thread: Mutex<Option<mpsc::UnboundedSender<Kept>>>,
}

/// An upstream that is to be kept, until `gone` closes.
#[derive(Debug)]
struct Kept {
    upstream: Weak<Inner>,
    gone: watch::Receiver<()>,
}

/// Held by an upstream: what is done for it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Alive {
    _gone: watch::Sender<()>,
}

impl Keeper {
    /// Checks the backends of an upstream and looks its names up, if it has either.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn keep(&self, upstream: &Arc<Inner>) -> io::Result<Option<Alive>> {
        if upstream.config.check.is_none() && !upstream.config.is_discovered() {
            return Ok(None);
        }
        let (alive, gone) = watch::channel(());
        let kept = Kept { upstream: Arc::downgrade(upstream), gone };
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // Unbounded, but there are only as many as a configuration has upstreams.
        let unsent = match &*thread {
            Some(thread) => thread.send(kept).err().map(|unsent| unsent.0),
            None => Some(kept),
        };
        if let Some(kept) = unsent {
            let sender = spawn()?;
            // Its receiver is on the thread that has just begun.
            let _ = sender.send(kept);
            *thread = Some(sender);
        }
        Ok(Some(Alive { _gone: alive }))
    }
}

impl Default for Keeper {
    fn default() -> Self {
        Self { epoch: Instant::now(), thread: Mutex::default() }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

fn spawn() -> io::Result<mpsc::UnboundedSender<Kept>> {
    let (sender, upstreams) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("upstreams".to_owned()).spawn(move || {
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, run(upstreams));
        // What is left ends with its upstream.
        runtime.block_on(tasks);
    })?;
    Ok(sender)
}

async fn run(mut upstreams: mpsc::UnboundedReceiver<Kept>) {
    while let Some(Kept { upstream, mut gone }) = upstreams.recv().await {
        tokio::task::spawn_local(async move {
            let Some(work) = Work::new(upstream) else { return };
            let work = Rc::new(work);
            let _names = Work::begin(&work);
            // Nothing is ever sent: this waits for its end, and everything that was begun ends with it.
            let _ = gone.changed().await;
            work.checks.borrow_mut().clear();
        });
    }
}

/// What is done for one upstream.
struct Work {
    upstream: Weak<Inner>,
    config: Config,
    resolver: Option<Resolver>,
    /// What has been found, by the place of the member in the configuration.
    names: RefCell<Vec<Name>>,
    checks: RefCell<Vec<(Weak<Backend>, Task)>>,
}

/// A task that ends when this is dropped.
struct Task(AbortHandle);

impl Task {
    fn spawn(task: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(task).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Work {
    fn new(upstream: Weak<Inner>) -> Option<Self> {
        let inner = upstream.upgrade()?;
        let config = inner.config.clone();
        let resolver = config.is_discovered().then(|| resolver(&config.discovery));
        let names = config.backends.iter().map(|_| Name::default()).collect();
        let (names, checks) = (RefCell::new(names), RefCell::default());
        Some(Self { upstream, config, resolver, names, checks })
    }

    fn begin(work: &Rc<Self>) -> Vec<Task> {
        work.check_all();
        let looked_up = work.config.backends.iter().enumerate();
        let looked_up = looked_up.filter(|(_, member)| !member.is_fixed());
        let follow = |(i, member): (usize, &Member)| {
            let (work, member) = (work.clone(), member.clone());
            Task::spawn(async move { work.follow(i, &member).await })
        };
        looked_up.map(follow).collect()
    }

    /// Looks a name up for as long as there is somebody to tell.
    async fn follow(&self, i: usize, member: &Member) {
        let Some(resolver) = &self.resolver else { return };
        loop {
            let next = match &member.source {
                Source::Fixed(_) => return,
                Source::Names(address) => {
                    let answer = resolver.addresses(address.host()).await;
                    self.take(i, answer, |found| at_addresses(member, address, found))
                }
                Source::Services { scheme, name } => {
                    let answer = resolver.services(name).await;
                    self.take(i, answer, |found| of_services(member, *scheme, found))
                }
            };
            let Some(inner) = self.upstream.upgrade() else { return };
            inner.note_lookup(next.has_failed);
            if next.has_changed {
                inner.found(&self.found(), self.is_whole(), Instant::now());
            }
            if self.is_answered() {
                inner.set_answered();
            }
            drop(inner);
            if next.has_changed {
                self.check_all();
            }
            sleep(next.wait).await;
        }
    }

    fn take<T>(
        &self,
        i: usize,
        answer: Result<Lookup<T>, NameError>,
        found: impl FnOnce(Vec<T>) -> Vec<Found>,
    ) -> Next {
        if let Err(error) = &answer {
            let name = self.config.backends.get(i).map(|member| member.source.to_string());
            tracing::warn!(name, %error, "backends cannot be looked up; those which are known stay");
        }
        let mut names = self.names.borrow_mut();
        match names.get_mut(i) {
            Some(name) => name.on_answer(&self.config.discovery, answer, found),
            None => Next { has_changed: false, has_failed: true, wait: self.config.discovery.most },
        }
    }

    /// Those which are fixed, and those which have been found.
    fn found(&self) -> Vec<Found> {
        let names = self.names.borrow();
        let found = names.iter().filter_map(|name| name.found.as_ref()).flatten().cloned();
        self.config.fixed().into_iter().chain(found).collect()
    }

    fn is_whole(&self) -> bool {
        self.all_names(|name| name.found.is_some())
    }

    /// Every name has an answer, of whichever kind.
    fn is_answered(&self) -> bool {
        self.all_names(Name::is_answered)
    }

    fn all_names(&self, is_so: impl Fn(&Name) -> bool) -> bool {
        let names = self.names.borrow();
        let mut all = self.config.backends.iter().zip(&*names);
        all.all(|(member, name)| member.is_fixed() || is_so(name))
    }

    /// A check for each backend that there is, and for no other.
    fn check_all(&self) {
        let Some(config) = &self.config.check else { return };
        let Some(inner) = self.upstream.upgrade() else { return };
        let set = inner.set.load();
        let mut checks = self.checks.borrow_mut();
        let is = |weak: &Weak<Backend>, backend: &Arc<Backend>| {
            std::ptr::eq(weak.as_ptr(), Arc::as_ptr(backend))
        };
        checks.retain(|(of, _)| set.backends().any(|backend| is(of, backend)));
        for backend in set.backends() {
            if checks.iter().any(|(of, _)| is(of, backend)) {
                continue;
            }
            let of = Arc::downgrade(backend);
            let task = Task::spawn(check_one(of.clone(), config.clone()));
            checks.push((of, task));
        }
    }
}

/// Asks one backend again and again.
async fn check_one(backend: Weak<Backend>, config: check::Config) {
    let Some(first) = backend.upgrade() else { return };
    let mut chance = Chance::new(first.seed);
    let mut health = Health::new(first.verdict());
    let prober = match Prober::new(&config, first.identity()) {
        Ok(prober) => prober,
        Err(error) => {
            let backend = first.identity();
            tracing::error!(%backend, %error, "a backend cannot be checked");
            return;
        }
    };
    drop(first);
    loop {
        let answer = prober.ask(&config).await;
        let Some(backend) = backend.upgrade() else { return };
        backend.on_check(&config, &mut health, answer.as_ref().err(), Instant::now());
        drop(backend);
        sleep(check::pause(config.interval, &mut chance)).await;
    }
}

fn resolver(config: &discovery::Config) -> Resolver {
    let Some(server) = config.server else { return Resolver::system() };
    Resolver::server(server, LOOKUP_TIMEOUT).unwrap_or_else(|error| {
        tracing::error!(%error, %server, "the name server cannot be asked; the system's are");
        Resolver::system()
    })
}

/// For each of two tries.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);
