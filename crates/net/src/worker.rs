//! A worker: one thread, one single-threaded runtime, its own sockets, its own service.
//!
//! Everything that can fail was made before the thread starts. Connections never move between workers, and nothing
//! on their path is shared but counters and the drain signal.

use std::{net::SocketAddr, panic::resume_unwind, rc::Rc, sync::Arc, time::Duration};

use http::HeaderValue;
use sterna_quic::{Application, Driver, Member};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::watch,
    task::{JoinSet, LocalSet},
};

use crate::{
    counters::WorkerCounters,
    generation::Generation,
    inspect::{Asked, Question, Registry},
    limit::per_source::PerSource,
    memory::{Account, Ledger},
    server::{
        Config,
        h3::{Draining, H3Application},
        lag::Lag,
        tcp::Listener,
    },
    service::{Dispatch, HttpService},
    shutdown::Drain,
};

/// What a worker's thread is given.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) runtime: Runtime,
    pub(crate) sockets: Vec<Sockets>,
    pub(crate) generations: watch::Receiver<Generation>,
    pub(crate) asked: Asked,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) drain: Drain,
    pub(crate) limits: Option<Arc<PerSource>>,
    pub(crate) ledger: Arc<Ledger>,
}

/// A worker's sockets on one listen address.
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: std::net::TcpListener,
    pub(crate) udp: Option<Member>,
}

impl Worker {
    /// Serves what `make` makes until the drain is over.
    pub(crate) fn run<S: HttpService>(self, make: impl Fn() -> S + 'static) {
        let Self { index, runtime, sockets, generations, asked, counters, drain, limits, ledger } =
            self;
        let (config, shown) = {
            let generation = generations.borrow();
            (generation.config.clone(), generation.shown())
        };
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            // Here and not before: a service may have tasks of its own on this thread.
            let service = make();
            let (mut tasks, mut served) = (JoinSet::new(), Vec::new());
            let registry = Rc::new(Registry::default());
            let memory = Rc::new(Account::new(ledger));
            let lag = config.max_lag.map(|bound| Rc::new(Lag::new(bound)));
            if let Some(lag) = lag.clone() {
                // Not among those that the end waits for.
                tokio::task::spawn_local(lag.watch());
            }
            for Sockets { address, tcp, udp } in sockets {
                let place = Place { address, has_udp: udp.is_some() };
                let (alt_svc, counters) = (place.announcement(&config), counters.clone());
                let dispatch =
                    Dispatch::new(service.clone(), config.clone(), counters, alt_svc, index);
                let dispatch = dispatch.limited(limits.clone(), lag.clone()).showing(shown.clone());
                let dispatch = dispatch.accounted(memory.clone());
                dispatch.enter_era_of(&generations.borrow());
                let dispatch = Rc::new(dispatch);
                served.push((place, dispatch.clone()));
                match TcpListener::from_std(tcp) {
                    Ok(listener) => {
                        let (dispatch, drain) = (dispatch.clone(), drain.clone());
                        let (generations, registry) = (generations.clone(), registry.clone());
                        let local = address;
                        let listener =
                            Listener { listener, local, generations, registry, dispatch, drain };
                        tasks.spawn_local(listener.run());
                    }
                    Err(error) => tracing::error!(%error, %address, "cannot poll TCP"),
                }
                if let Some(member) = udp {
                    let ears = Ears {
                        generations: generations.clone(),
                        asked: asked.clone(),
                        drain: drain.clone(),
                    };
                    tasks.spawn_local(serve_quic(member, ears, dispatch, address));
                }
            }
            tokio::select! {
                biased;
                () = join(tasks) => {}
                () = follow(generations, &served, &registry, make) => {}
                () = tell(asked, &registry, index) => {}
            }
        });
        // A handler's blocking work must not hold up the end.
        runtime.shutdown_background();
    }
}

/// Waits until all tasks have ended.
///
/// # Panics
/// With what a task panicked: a worker that has lost a socket must not look alive. Requests cannot cause it, their
/// panics end at [`Dispatch::answer`].
async fn join(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            tracing::error!("a worker panicked and ends; the others go on");
            resume_unwind(panic);
        }
    }
}

/// Goes by each new generation from its moment on; never ends.
async fn follow<S: HttpService>(
    mut generations: watch::Receiver<Generation>,
    served: &[(Place, Rc<Dispatch<S>>)],
    registry: &Registry,
    make: impl Fn() -> S,
) {
    while generations.changed().await.is_ok() {
        let generation = generations.borrow_and_update().clone();
        let service = make();
        for (place, dispatch) in served {
            let config = generation.config.clone();
            let alt_svc = place.announcement(&config);
            dispatch.replace(service.clone(), config, alt_svc, generation.shown());
            dispatch.enter_era_of(&generation);
        }
        registry.follow(&generation.config);
        generation.is_applied();
    }
    std::future::pending::<()>().await;
}

/// Tells of the connections over TCP when it is asked; never ends.
async fn tell(mut asked: Asked, registry: &Registry, worker: usize) {
    loop {
        registry.answer(asked.next().await, worker);
    }
}

/// What an endpoint hears of.
struct Ears {
    generations: watch::Receiver<Generation>,
    asked: Asked,
    drain: Drain,
}

/// A listen address of the worker.
struct Place {
    address: SocketAddr,
    has_udp: bool,
}

impl Place {
    /// What responses over TCP say of HTTP/3 here.
    fn announcement(&self, config: &Config) -> Option<HeaderValue> {
        config.alt_svc.as_ref().filter(|_| self.has_udp)?.value(self.address.port())
    }
}

/// Runs a QUIC endpoint with HTTP/3 on it until the drain is over.
async fn serve_quic<S: HttpService>(
    member: Member,
    ears: Ears,
    dispatch: Rc<Dispatch<S>>,
    address: SocketAddr,
) {
    let Ears { mut generations, mut asked, mut drain } = ears;
    let worker = dispatch.worker;
    let draining = Draining::default();
    let app = H3Application::new(dispatch.clone(), address, draining.clone());
    let server = generations.borrow_and_update().quic_at(address);
    let mut driver = match member.start(server, app) {
        Ok(driver) => driver,
        Err(error) => {
            tracing::error!(%error, %address, "cannot poll UDP, HTTP/3 is not served");
            return;
        }
    };
    loop {
        tokio::select! {
            // No datagram is looked at with what was replaced: whoever has heard of the next generation meets it here.
            biased;
            () = drain.started() => break,
            () = changed(&mut generations) => {}
            question = asked.next() => {
                answer(question, &mut driver, worker);
                continue;
            }
            () = dispatch.memory.short() => {
                // Whoever holds much and says nothing takes no turn by itself.
                driver.endpoint().touch_all();
                continue;
            }
            () = turn_forever(&mut driver) => break,
        }
        // Until `follow` has had its turn, connections would find what they have.
        while !Arc::ptr_eq(&dispatch.config(), &generations.borrow().config) {
            tokio::task::yield_now().await;
        }
        let generation = generations.borrow_and_update().clone();
        dispatch.enter_era_of(&generation);
        // They go by its limits, and learn when to go.
        driver.endpoint().touch_all();
        if let Some(server) = generation.quic_at(address)
            && let Err(error) = driver.endpoint().set_server(&server)
        {
            // It was built by the same rules as the one before.
            tracing::error!(%error, %address, "HTTP/3 goes on with what it had");
        }
    }
    if let Some(deadline) = drain.deadline() {
        draining.begin(deadline);
    }
    driver.endpoint().refuse_new();
    driver.endpoint().touch_all();
    let mut deadline = drain.clone();
    tokio::select! {
        () = turn_until_all_ended(&mut driver) => {}
        () = deadline.expired() => {
            // What is left is closed by its next run.
            if let Some(deadline) = drain.deadline() {
                draining.begin(deadline);
            }
            driver.endpoint().touch_all();
        }
    }
    let _ = tokio::time::timeout(LAST_WORDS, turn_until_empty(&mut driver)).await;
}

/// What is going on in an endpoint.
fn answer<S: HttpService>(
    question: Question,
    driver: &mut Driver<H3Application<S>>,
    worker: usize,
) {
    let mut counters = driver.counters();
    for (_, quic) in driver.endpoint().connections() {
        let stats = quic.stats();
        counters.packets_sent += stats.sent_packets;
        counters.packets_lost += stats.lost_packets;
        counters.congestion_events += stats.congestion_events;
    }
    let open = driver.endpoint().connections();
    question.answer(open.map(|(connection, quic)| connection.describe(quic, worker)), counters);
}

/// Waits for the next generation; for ever when there will be none.
async fn changed(generations: &mut watch::Receiver<Generation>) {
    if generations.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn turn_forever<A: Application>(driver: &mut Driver<A>) {
    while turn(driver).await {}
}

async fn turn_until_all_ended<A: Application>(driver: &mut Driver<A>) {
    while driver.endpoint().open_connections() > 0 && turn(driver).await {}
}

async fn turn_until_empty<A: Application>(driver: &mut Driver<A>) {
    while !driver.endpoint().is_empty() && turn(driver).await {}
}

/// False when the socket is beyond use.
async fn turn<A: Application>(driver: &mut Driver<A>) -> bool {
    if let Err(error) = driver.turn().await {
        tracing::error!(%error, "the UDP socket failed, HTTP/3 ends on this worker");
        return false;
    }
    true
}

/// For the last CONNECTION_CLOSE, and for saying it again to a peer that has lost it (RFC 9000 §10.2).
const LAST_WORDS: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lost its socket")]
    fn panic_of_a_task_is_the_workers() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let mut tasks = JoinSet::new();
            tasks.spawn_local(async {});
            tasks.spawn_local(async { panic!("lost its socket") });
            join(tasks).await;
        });
    }
}
