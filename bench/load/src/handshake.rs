//! Full handshakes, each on a connection of its own that is closed as soon as it stands.

use std::{cell::RefCell, error::Error, rc::Rc, time::Instant};

use quinn_proto::ClientConfig;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    Target,
    process::Server,
    report::{Report, Tally},
    session::Session,
    transport::{self, Buffers},
};

#[derive(clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    target: Target,
    /// Handshakes to measure, `--connections` of them under way at once.
    #[arg(long)]
    handshakes: u64,
    /// Handshakes before them that do not count.
    #[arg(long, default_value_t = 0)]
    warmup: u64,
}

/// Warms up, measures. What the report calls requests are handshakes here.
pub(crate) async fn run(config: &Config) -> Result<Report, Box<dyn Error>> {
    let target = &config.target;
    let server = Server::new(&target.server_pid);
    let dialer = Rc::new(Dialer {
        target: target.clone(),
        config: transport::config(target.group, transport::STREAM_WINDOW)?,
        buffers: Buffers::new(),
    });
    let warm = dialer.phase(config.warmup).await;
    if warm.done < config.warmup {
        let cause = warm.first_error.unwrap_or_else(|| "time is over".into());
        return Err(format!("warm-up stopped at {} handshakes: {cause}", warm.done).into());
    }

    let before = server.as_ref().map(Server::cpu).transpose()?;
    let started = Instant::now();
    let tally = dialer.phase(config.handshakes).await;
    let elapsed = started.elapsed();
    let after = server.as_ref().map(Server::cpu).transpose()?;
    Ok(Report {
        connections: target.connections,
        requests: tally.done,
        errors: tally.errors,
        unfinished: config.handshakes.saturating_sub(tally.done + tally.errors),
        seconds: elapsed.as_secs_f64(),
        p50_us: tally.quantile(0.5),
        p99_us: tally.quantile(0.99),
        server_cpu_seconds: before.zip(after).map(|(before, after)| (after - before) as f64 / 1e9),
        first_error: tally.first_error,
        ..Report::default()
    })
}

struct Dialer {
    target: Target,
    config: ClientConfig,
    buffers: Rc<RefCell<Buffers>>,
}

impl Dialer {
    /// Makes `count` handshakes, or as many as the time limit allows.
    async fn phase(self: &Rc<Self>, count: u64) -> Tally {
        let tally = Rc::new(RefCell::new(Tally::new(count)));
        let mut running = JoinSet::new();
        for _ in 0..self.target.connections {
            running.spawn_local(self.clone().dial(tally.clone()));
        }
        // What the limit cuts off is found by counting.
        let _ =
            timeout(self.target.timeout, async { while running.join_next().await.is_some() {} })
                .await;
        tally.replace(Tally::new(0))
    }

    /// One after the other, until the tally wants no more.
    async fn dial(self: Rc<Self>, tally: Rc<RefCell<Tally>>) {
        while tally.borrow().budget > 0 {
            tally.borrow_mut().budget -= 1;
            let started = Instant::now();
            let buffers = self.buffers.clone();
            match Session::connect(&self.target, self.config.clone(), buffers).await {
                Ok(session) => {
                    tally.borrow_mut().on_response(started.elapsed());
                    session.close();
                }
                Err(failure) => tally.borrow_mut().on_failure(&failure),
            }
        }
    }
}
