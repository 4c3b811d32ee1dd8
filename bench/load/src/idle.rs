//! Many connections that have each sent one request and then say nothing: what they cost in memory.

use std::{
    cell::RefCell,
    error::Error,
    rc::Rc,
    time::{Duration, Instant},
};

use quinn_proto::ClientConfig;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    Target,
    process::Server,
    report::{Report, Tally},
    session::{Failure, Session},
    transport::{self, Buffers},
};

#[derive(clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    target: Target,
    /// Seconds of silence before the memory is read.
    #[arg(long, default_value = "3", value_parser = crate::seconds)]
    hold: Duration,
}

/// Opens all connections, holds them, reads the server's memory before and after.
pub(crate) async fn run(config: &Config) -> Result<Report, Box<dyn Error>> {
    let target = &config.target;
    let server = Server::new(&target.server_pid);
    let opener = Rc::new(Opener {
        target: target.clone(),
        config: transport::config(target.group, transport::STREAM_WINDOW)?,
        buffers: Buffers::new(),
        tally: RefCell::new(Tally::new(0)),
        handshakes: Semaphore::new(HANDSHAKES_AT_ONCE),
    });
    // The first connection pays for what all share.
    opener.open().await?.close();
    sleep(config.hold).await;
    let before = server.as_ref().map(Server::resident).transpose()?;

    let started = Instant::now();
    let (ready, mut established) = mpsc::unbounded_channel();
    let mut resting = JoinSet::new();
    for _ in 0..target.connections {
        resting.spawn_local(hold_one(opener.clone(), ready.clone()));
    }
    drop(ready);
    let all = async {
        let mut count = 0;
        while count < target.connections && established.recv().await.is_some() {
            count += 1;
        }
    };
    let in_time = timeout(target.timeout, all).await.is_ok();
    let elapsed = started.elapsed();
    eprintln!("{} connections in {elapsed:.2?}", resting.len());
    if in_time {
        sleep(config.hold).await;
    }
    let after = server.as_ref().map(Server::resident).transpose()?;

    let tally = opener.tally.replace(Tally::new(0));
    // Less the one before the measurement.
    let requests = tally.done.saturating_sub(1);
    Ok(Report {
        connections: target.connections,
        requests,
        body_bytes: requests * target.size,
        errors: tally.errors,
        unfinished: (target.connections as u64 + 1).saturating_sub(tally.done + tally.errors),
        seconds: elapsed.as_secs_f64(),
        p50_us: tally.quantile(0.5),
        p99_us: tally.quantile(0.99),
        server_rss_before_kib: before,
        server_rss_after_kib: after,
        first_error: tally.first_error,
        ..Report::default()
    })
}

struct Opener {
    target: Target,
    config: ClientConfig,
    buffers: Rc<RefCell<Buffers>>,
    tally: RefCell<Tally>,
    handshakes: Semaphore,
}

impl Opener {
    /// Connects and gets one response.
    async fn open(&self) -> Result<Session, Failure> {
        let _permit = self.handshakes.acquire().await;
        let connecting = Session::connect(&self.target, self.config.clone(), self.buffers.clone());
        let mut session = connecting.await?;
        self.tally.borrow_mut().budget += 1;
        session.run(1, &self.tally).await;
        Ok(session)
    }
}

/// Holds one connection until the process ends; an early end is a failure.
async fn hold_one(opener: Rc<Opener>, ready: mpsc::UnboundedSender<()>) {
    let failure = match opener.open().await {
        Ok(mut session) => {
            // The receiver is gone only when the time limit has passed.
            let _ = ready.send(());
            drop(ready);
            session.rest().await
        }
        Err(failure) => failure,
    };
    opener.tally.borrow_mut().on_failure(&failure);
}

/// Few enough that a burst of Initials does not overflow the server's socket.
const HANDSHAKES_AT_ONCE: usize = 32;
