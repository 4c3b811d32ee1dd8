//! Many open streams on one connection: what each costs in memory, and what it costs to open and to end it.
//!
//! The client's window of a stream is smaller than a response, and nothing is read: the server has to keep every
//! response until the second half, in which all is read.

use std::{
    cell::RefCell,
    error::Error,
    time::{Duration, Instant},
};

use tokio::time::timeout;

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
    /// Streams to hold.
    #[arg(long)]
    streams: usize,
    /// Seconds of silence before the memory is read.
    #[arg(long, default_value = "1", value_parser = crate::seconds)]
    hold: Duration,
}

/// Opens all streams, reads the server's memory, lets all of them end.
pub(crate) async fn run(config: &Config) -> Result<Report, Box<dyn Error>> {
    let target = &config.target;
    let server = Server::new(&target.server_pid);
    let settings = transport::config(target.group, HELD_WINDOW)?;
    let connecting = Session::connect(target, settings, Buffers::new());
    let mut session = timeout(target.timeout, connecting).await??;
    let wanted = config.streams as u64;

    let before = server.as_ref().map(Server::resident).transpose()?;
    let cpu_before = server.as_ref().map(Server::cpu).transpose()?;
    let started = Instant::now();
    let tally = RefCell::new(Tally::new(wanted));
    let opened = timeout(target.timeout, session.hold(config.streams, &tally)).await;
    let unsent = tally.borrow().budget;
    if unsent > 0 {
        return Err(format!("the server allows {} streams at once", wanted - unsent).into());
    }
    opened.map_err(|_| "some streams had no answer within --timeout")??;
    // Ends early only with the connection.
    if let Ok(failure) = timeout(config.hold, session.rest()).await {
        return Err(format!("while the streams were held: {failure}").into());
    }
    let held = server.as_ref().map(Server::resident).transpose()?;
    session.release();
    // What the limit cuts off is found by counting.
    let _ = timeout(target.timeout, session.run(config.streams, &tally)).await;
    let elapsed = started.elapsed().saturating_sub(config.hold);
    let cpu_after = server.as_ref().map(Server::cpu).transpose()?;
    session.close();

    let tally = tally.replace(Tally::new(0));
    let cpu = cpu_before.zip(cpu_after);
    Ok(Report {
        connections: 1,
        requests: tally.done,
        body_bytes: tally.done * target.size,
        errors: tally.errors,
        unfinished: wanted.saturating_sub(tally.done + tally.errors),
        seconds: elapsed.as_secs_f64(),
        server_cpu_seconds: cpu.map(|(before, after)| (after - before) as f64 / 1e9),
        server_rss_before_kib: before,
        server_rss_after_kib: held,
        first_error: tally.first_error,
        ..Report::default()
    })
}

/// Bytes of a response that the client lets come.
const HELD_WINDOW: u32 = 256;
