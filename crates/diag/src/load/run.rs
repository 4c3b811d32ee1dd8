//! The conductor: starts the workers, sets the stage of the run, and adds up what they counted.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Mode, Plan, Tally, TlsError, Verdict, Version, Work, h3,
    hub::{Hub, Live, Stage},
    tcp,
};

/// What a run has found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked for.
    pub plan: Arc<Plan>,
    /// What was counted.
    pub tally: Tally,
    /// Time of the measurement: from the first request (or handshake) to the end of the last.
    pub duration: Duration,
    /// It was ended before its time.
    pub is_interrupted: bool,
    /// What was asked of it beside that it ran; see [`Outcome::judge`].
    pub verdicts: Vec<Verdict>,
}

/// How far a run is, ten times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Since the first request; `None` while connections come up.
    pub running: Option<Duration>,
    /// Time of the warm-up that is left.
    pub warmup_left: Duration,
    /// Responses, or events.
    pub done: u64,
    /// Failures.
    pub failed: u64,
    /// Handshakes.
    pub handshakes: u64,
    /// Content received, in bytes.
    pub received: u64,
}

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// TLS cannot be configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket, a timer or a runtime could not be made.
    #[error(
        "cannot make a socket for the load: many connections need a higher limit of open files (`ulimit -n`)"
    )]
    Socket(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start a worker")]
    Thread(#[source] io::Error),
    /// The plan asks for something that does not go together.
    #[error("{0}")]
    Plan(&'static str),
    /// A worker was left without its conductor.
    #[error("a worker was left alone")]
    Abandoned,
}

/// Runs a plan to its end, or until `interrupted` is set. `watch` is called about ten times a second.
///
/// # Errors
/// Only what keeps the run from being made; what fails in it is in the [`Outcome`].
pub fn run(
    plan: Plan,
    interrupted: &AtomicBool,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Outcome, RunError> {
    let plan = Arc::new(plan);
    let (stages, stage) = watch::channel(Stage::Connecting);
    let (notices, inbox) = mpsc::channel();
    let mut lives = Vec::new();
    let mut threads = Vec::new();
    let shares = plan.shares();
    let workers = shares.len();
    for (index, numbers) in shares.into_iter().enumerate() {
        let live = Arc::new(Live::default());
        lives.push(live.clone());
        let worker = Worker {
            plan: plan.clone(),
            budget: budget(plan.work, index, workers),
            numbers,
            live,
            stages: stage.clone(),
            notices: notices.clone(),
        };
        let name = format!("load-{index}");
        let thread = thread::Builder::new().name(name).spawn(move || worker.run());
        threads.push(thread.map_err(RunError::Thread)?);
    }
    drop(notices);
    let conductor = Conductor { plan: &plan, stages, inbox, lives, interrupted, watch };
    let is_interrupted = conductor.conduct(threads.len());

    let mut tally = Tally::default();
    for thread in threads {
        tally.merge(&thread.join().expect("a worker does not panic")?);
    }
    let duration = match (tally.first_sent, tally.last_end) {
        (Some(first), Some(last)) => last.saturating_duration_since(first),
        _ => Duration::ZERO,
    };
    Ok(Outcome { plan, tally, duration, is_interrupted, verdicts: Vec::new() })
}

/// A worker's share of the requests.
fn budget(work: Work, index: usize, workers: usize) -> u64 {
    match work {
        Work::Time(_) => u64::MAX,
        Work::Requests(count) => {
            let (index, workers) = (index as u64, workers as u64);
            count / workers + u64::from(index < count % workers)
        }
    }
}

/// What a worker tells.
enum Notice {
    /// Every connection was tried once.
    Settled,
    /// It has ended.
    Ended,
}

struct Worker {
    plan: Arc<Plan>,
    budget: u64,
    numbers: std::ops::Range<usize>,
    live: Arc<Live>,
    stages: watch::Receiver<Stage>,
    notices: mpsc::Sender<Notice>,
}

impl Worker {
    fn run(self) -> Result<Tally, RunError> {
        let notices = self.notices.clone();
        let outcome = self.run_inside();
        // Nobody listens when the conductor has failed.
        let _ = notices.send(Notice::Ended);
        outcome
    }

    fn run_inside(self) -> Result<Tally, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RunError::Socket)?;
        let tasks = tokio::task::LocalSet::new();
        let Self { plan, budget, numbers, live, stages, notices } = self;
        let hub = Rc::new(Hub::new(plan, numbers.len(), budget, live, stages));
        let settled = {
            let hub = hub.clone();
            async move {
                hub.until(Hub::is_settled).await;
                let _ = notices.send(Notice::Settled);
            }
        };
        let work = async {
            tokio::task::spawn_local(settled);
            match hub.plan.version {
                Version::Http3 => {
                    let setup = Rc::new(h3::Setup::new(&hub.plan)?);
                    h3::run(setup, hub.clone(), numbers).await
                }
                Version::Http1 | Version::Http2 => {
                    let setup = Rc::new(tcp::Setup::new(&hub.plan)?);
                    tcp::run(setup, hub.clone(), numbers).await
                }
            }
        };
        tasks.block_on(&runtime, work)?;
        let left = hub.left();
        let mut tally = hub.tally.take();
        tally.unsent += left;
        Ok(tally)
    }
}

struct Conductor<'a> {
    plan: &'a Plan,
    stages: watch::Sender<Stage>,
    inbox: mpsc::Receiver<Notice>,
    lives: Vec<Arc<Live>>,
    interrupted: &'a AtomicBool,
    watch: &'a mut dyn FnMut(&Progress),
}

impl Conductor<'_> {
    /// Sets stages until all workers have ended; whether it was interrupted.
    fn conduct(mut self, workers: usize) -> bool {
        let (mut settled, mut ended) = (0, 0);
        let mut running = None;
        let mut draining = None;
        let mut is_interrupted = false;
        while ended < workers {
            let now = Instant::now();
            match self.inbox.recv_timeout(self.pause(now, running, draining)) {
                Ok(Notice::Settled) => settled += 1,
                Ok(Notice::Ended) => ended += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if running.is_none() && (settled == workers || ended > 0) {
                running = Some(now);
                let measured = now + self.plan.warmup;
                self.stages.send_replace(Stage::Running { start: now, measured });
            }
            is_interrupted |= self.interrupted.load(Ordering::Relaxed);
            let is_due = self.end(running).is_some_and(|end| end <= now);
            if draining.is_none() && (is_due || is_interrupted) {
                draining = Some(now);
                let since = self.end(running).map_or(now, |end| end.min(now));
                self.stages.send_replace(Stage::Draining { since });
            }
            if draining.is_some_and(|since| now - since >= self.grace(is_interrupted)) {
                self.stages.send_replace(Stage::Over);
            }
            self.tell(now, running);
        }
        is_interrupted
    }

    /// When the time of the run is over, if it has one.
    fn end(&self, running: Option<Instant>) -> Option<Instant> {
        match self.plan.work {
            Work::Requests(_) => None,
            Work::Time(time) => Some(running? + self.plan.warmup + time),
        }
    }

    /// How long what is under way may take when the time is over.
    fn grace(&self, is_interrupted: bool) -> Duration {
        if let Mode::Events(_) = self.plan.mode {
            // They are without an end.
            return Duration::ZERO;
        }
        let most = if is_interrupted { GRACE_INTERRUPTED } else { GRACE };
        self.plan.request_timeout.min(most)
    }

    fn pause(&self, now: Instant, running: Option<Instant>, draining: Option<Instant>) -> Duration {
        let end = match draining {
            Some(_) => None,
            None => self.end(running),
        };
        end.map_or(TICK, |end| end.saturating_duration_since(now).min(TICK))
    }

    fn tell(&mut self, now: Instant, running: Option<Instant>) {
        let sum = |of: fn(&Live) -> &std::sync::atomic::AtomicU64| {
            self.lives.iter().map(|live| of(live).load(Ordering::Relaxed)).sum()
        };
        let progress = Progress {
            running: running.map(|since| now - since),
            warmup_left: running.map_or(Duration::ZERO, |since| {
                (since + self.plan.warmup) - now.min(since + self.plan.warmup)
            }),
            done: sum(|live| &live.done),
            failed: sum(|live| &live.failed),
            handshakes: sum(|live| &live.handshakes),
            received: sum(|live| &live.received),
        };
        (self.watch)(&progress);
    }
}

/// Between two looks at what has to be done.
const TICK: Duration = Duration::from_millis(100);

/// How long what is under way may take when the time is over.
const GRACE: Duration = Duration::from_secs(5);

/// Likewise when someone has interrupted it.
const GRACE_INTERRUPTED: Duration = Duration::from_millis(500);
