//! The closed loop: so many connections, so many requests in flight on each, until all are answered.

use std::{cell::RefCell, error::Error, rc::Rc, time::Instant};

use tokio::{task::JoinSet, time::timeout};

use crate::{
    Target,
    process::Server,
    report::{Report, Tally},
    session::Session,
    transport,
};

#[derive(clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    target: Target,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Requests to measure, over all connections.
    #[arg(long)]
    requests: u64,
    /// Requests before them that do not count.
    #[arg(long, default_value_t = 0)]
    warmup: u64,
}

/// Connects, warms up, measures.
pub(crate) async fn run(config: &Config) -> Result<Report, Box<dyn Error>> {
    let target = &config.target;
    let server = Server::new(&target.server_pid);
    let sessions = timeout(target.timeout, connect(target))
        .await
        .map_err(|_| "connecting took longer than --timeout")??;

    let (sessions, warm) = phase(config, sessions, config.warmup).await;
    if warm.done < config.warmup {
        let cause = warm.first_error.unwrap_or_else(|| "time is over".into());
        return Err(format!("warm-up stopped at {} requests: {cause}", warm.done).into());
    }

    let before = server.as_ref().map(Server::cpu).transpose()?;
    let started = Instant::now();
    let (sessions, tally) = phase(config, sessions, config.requests).await;
    let elapsed = started.elapsed();
    let after = server.as_ref().map(Server::cpu).transpose()?;
    sessions.into_iter().for_each(Session::close);

    Ok(Report {
        connections: target.connections,
        requests: tally.done,
        body_bytes: tally.done * target.size,
        errors: tally.errors,
        unfinished: config.requests.saturating_sub(tally.done + tally.errors),
        seconds: elapsed.as_secs_f64(),
        p50_us: tally.quantile(0.5),
        p99_us: tally.quantile(0.99),
        server_cpu_seconds: before.zip(after).map(|(before, after)| (after - before) as f64 / 1e9),
        first_error: tally.first_error,
        ..Report::default()
    })
}

/// One connection after the other: handshakes are not what is measured here.
async fn connect(target: &Target) -> Result<Vec<Session>, Box<dyn Error>> {
    let config = transport::config(target.group, transport::STREAM_WINDOW)?;
    let buffers = transport::Buffers::new();
    let mut sessions = Vec::with_capacity(target.connections);
    for _ in 0..target.connections {
        sessions.push(Session::connect(target, config.clone(), buffers.clone()).await?);
    }
    Ok(sessions)
}

/// Sends `requests` over all sessions and waits for their answers, or for the time limit.
async fn phase(config: &Config, sessions: Vec<Session>, requests: u64) -> (Vec<Session>, Tally) {
    let tally = Rc::new(RefCell::new(Tally::new(requests)));
    let streams = config.streams;
    let mut running = JoinSet::new();
    for mut session in sessions {
        let tally = tally.clone();
        running.spawn_local(async move {
            session.run(streams, &tally).await;
            session
        });
    }
    let mut rested = Vec::new();
    let all = async {
        while let Some(joined) = running.join_next().await {
            rested.extend(joined);
        }
    };
    // What the limit cuts off is found by counting.
    let _ = timeout(config.target.timeout, all).await;
    let tally = tally.replace(Tally::new(0));
    (rested, tally)
}
