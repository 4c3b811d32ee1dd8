//! A worker: one thread, one single-threaded runtime, its own sockets, its own service.
//!
//! Everything that can fail was made before the thread starts. Connections never move between workers, and nothing
//! on their path is shared but counters and the drain signal.

use std::{net::SocketAddr, panic::resume_unwind, rc::Rc, sync::Arc, time::Duration};

use http::HeaderValue;
use sterna_quic::{Application, Driver, Member, ServerConfig};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    task::{JoinSet, LocalSet},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    counters::WorkerCounters,
    server::{
        Config,
        h3::{Draining, H3Application},
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
    pub(crate) config: Arc<Config>,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) drain: Drain,
}

/// A worker's sockets on one listen address.
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: std::net::TcpListener,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) quic: Option<(Member, ServerConfig)>,
}

impl Worker {
    /// Serves until the drain is over.
    pub(crate) fn run<S: HttpService>(self, service: S) {
        let Self { index, runtime, sockets, config, counters, drain } = self;
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let mut tasks = JoinSet::new();
            for Sockets { address, tcp, tls, quic } in sockets {
                let dispatch = Rc::new(Dispatch {
                    service: service.clone(),
                    config: config.clone(),
                    counters: counters.clone(),
                    alt_svc: quic.as_ref().and_then(|_| announcement(&config, address)),
                    worker: index,
                    date: Default::default(),
                });
                match TcpListener::from_std(tcp) {
                    Ok(listener) => {
                        let tls = tls.map(TlsAcceptor::from);
                        let (dispatch, drain) = (dispatch.clone(), drain.clone());
                        let listener = Listener { listener, local: address, tls, dispatch, drain };
                        tasks.spawn_local(listener.run());
                    }
                    Err(error) => tracing::error!(%error, %address, "cannot poll TCP"),
                }
                if let Some((member, server)) = quic {
                    tasks.spawn_local(serve_quic(member, server, dispatch, address, drain.clone()));
                }
            }
            join(tasks).await;
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

fn announcement(config: &Config, address: SocketAddr) -> Option<HeaderValue> {
    config.alt_svc.as_ref()?.value(address.port())
}

/// Runs a QUIC endpoint with HTTP/3 on it until the drain is over.
async fn serve_quic<S: HttpService>(
    member: Member,
    server: ServerConfig,
    dispatch: Rc<Dispatch<S>>,
    address: SocketAddr,
    mut drain: Drain,
) {
    let draining = Draining::default();
    let app = H3Application::new(dispatch, address, draining.clone());
    let mut driver = match member.start(Some(server), app) {
        Ok(driver) => driver,
        Err(error) => {
            tracing::error!(%error, %address, "cannot poll UDP, HTTP/3 is not served");
            return;
        }
    };
    tokio::select! {
        () = turn_forever(&mut driver) => {}
        () = drain.started() => {}
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
