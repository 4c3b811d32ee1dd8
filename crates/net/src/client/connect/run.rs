//! One race, with real time, names and sockets.

use std::collections::HashMap;

use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use super::{
    Action, Arc, AtomicBool, Attempt, AttemptId, Blame, Cause, Connected, Connector, Defeat, Dial,
    Duration, Event, Goal, Instant, NameError, NotConnected, Progress, Race, Reason, Resolve,
};
use crate::client::{
    race::Candidate,
    resolve::{Found, Question},
};

/// A race that runs. Dropping it ends all of its tasks.
pub(super) struct Runner<R: Resolve, D: Dial> {
    connector: Connector<R>,
    race: Race,
    origin: crate::client::origin::Origin,
    early_data: bool,
    /// The network on which it began.
    network: u64,
    dial: D,
    began: Instant,
    tasks: JoinSet<Happened<D>>,
    attempts: HashMap<AttemptId, Running>,
    questions: HashMap<Id, Question>,
    heard: mpsc::Receiver<AttemptId>,
    tell: mpsc::Sender<AttemptId>,
    connections: HashMap<AttemptId, D::Connection>,
    errors: HashMap<AttemptId, D::Error>,
}

struct Running {
    candidate: Candidate,
    began: Instant,
    task: AbortHandle,
}

enum Happened<D: Dial> {
    Answer(Question, Result<Found, NameError>),
    Dialled(AttemptId, Result<D::Connection, D::Error>),
}

/// What the race has come to.
enum Outcome<D: Dial> {
    Won(Connected<D::Connection>),
    Lost(Reason<D::Error>),
}

impl<R: Resolve, D: Dial> Runner<R, D> {
    pub(super) fn new(connector: Connector<R>, goal: Goal, early_data: bool, dial: D) -> Self {
        let began = now();
        let (tell, heard) = mpsc::channel(MOST_HEARD);
        Self {
            network: connector.network(),
            connector,
            origin: goal.origin.clone(),
            race: Race::new(goal, began),
            early_data,
            dial,
            began,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            questions: HashMap::new(),
            heard,
            tell,
            connections: HashMap::new(),
            errors: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Connected<D::Connection>, NotConnected<D::Error>> {
        self.race.handle(Event::Tick, now());
        loop {
            match self.act() {
                Some(Outcome::Won(won)) => {
                    self.learn_on();
                    return Ok(won);
                }
                Some(Outcome::Lost(reason)) => {
                    return Err(NotConnected { reason, trace: self.race.trace().to_vec() });
                }
                None => self.wait().await,
            }
        }
    }

    /// Lets the lost QUIC attempts run on, by themselves.
    fn learn_on(mut self) {
        // Answers serve nobody any more.
        self.questions.clear();
        let has_more = self.act().is_none() && self.race.deadline(now()).is_some();
        if has_more {
            tokio::spawn(async move {
                while self.race.deadline(now()).is_some() {
                    self.wait().await;
                    self.act();
                }
            });
        }
    }

    /// Does what the race says, until it says nothing more or is decided.
    fn act(&mut self) -> Option<Outcome<D>> {
        let mut outcome = None;
        while let Some(action) = self.race.poll_action() {
            match action {
                Action::Ask(question) => self.ask(question),
                Action::Start(id, candidate) => self.start(id, candidate),
                Action::Stop(id) => {
                    if let Some(running) = self.attempts.remove(&id) {
                        running.task.abort();
                    }
                    self.connections.remove(&id);
                }
                Action::Learn(lesson, place) => {
                    tracing::debug!(origin = %self.origin, %place, %lesson, "learnt");
                    self.connector.learn(&self.origin, lesson, &place);
                }
                Action::Win(id) => outcome = self.won(id),
                Action::Fail(defeat) => outcome = Some(Outcome::Lost(self.reason(defeat))),
                Action::Done => {}
            }
        }
        outcome
    }

    fn won(&mut self, id: AttemptId) -> Option<Outcome<D>> {
        let connection = self.connections.remove(&id)?;
        let Running { candidate, began, .. } = self.attempts.remove(&id)?;
        let first = self.race.first_attempt().unwrap_or(began);
        Some(Outcome::Won(Connected {
            connection,
            transport: candidate.transport,
            address: candidate.address,
            place: candidate.place,
            resolved_after: first - self.began,
            connected_after: now() - began,
            trace: self.race.trace().to_vec(),
        }))
    }

    fn reason(&mut self, defeat: Defeat) -> Reason<D::Error> {
        match defeat {
            Defeat::Name(error) => Reason::Name(error),
            Defeat::NameTimedOut => Reason::NameTimedOut,
            Defeat::Nothing => Reason::Nothing,
            Defeat::TimedOut => Reason::TimedOut,
            Defeat::Attempt(id) => {
                self.errors.remove(&id).map_or(Reason::TimedOut, Reason::Attempt)
            }
        }
    }

    fn ask(&mut self, question: Question) {
        let asked = question.clone();
        let answer = self.connector.resolver.resolve(question.clone());
        let task = self.tasks.spawn(async move { Happened::Answer(asked, answer.await) });
        self.questions.insert(task.id(), question);
    }

    fn start(&mut self, id: AttemptId, candidate: Candidate) {
        let progress = Progress {
            attempt: id,
            was_told: Arc::new(AtomicBool::new(false)),
            events: self.tell.clone(),
        };
        let dialled = self.dial.dial(Attempt {
            transport: candidate.transport,
            address: candidate.address,
            server_name: self.origin.server_name(),
            versions: candidate.versions,
            early_data: self.early_data && candidate.may_be_early(),
            progress,
        });
        let task = self.tasks.spawn(async move { Happened::Dialled(id, dialled.await) });
        self.attempts.insert(id, Running { candidate, began: now(), task });
    }

    /// Waits until something happens, and tells the race.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    async fn wait(&mut self) {
        let began = now();
        let deadline = self.race.deadline(began).unwrap_or(began + SHORTEST_WAIT);
        let event = tokio::select! {
            Some(id) = self.heard.recv() => Event::Heard(id),
            Some(ended) = self.tasks.join_next_with_id() => match self.ended(ended) {
                Some(event) => event,
                None => return,
            },
            () = tokio::time::sleep_until(deadline.into()) => Event::Tick,
        };
        // First what the event may be due to.
        let network = self.connector.network();
        if std::mem::replace(&mut self.network, network) != network {
            self.race.handle(Event::NetworkChanged, now());
        }
        self.race.handle(event, now());
    }

    fn ended(&mut self, ended: Result<(Id, Happened<D>), JoinError>) -> Option<Event> {
        match ended {
            Ok((task, Happened::Answer(question, answer))) => {
                self.questions.remove(&task);
                Some(Event::Answer(question, answer))
            }
            Ok((_, Happened::Dialled(id, Ok(connection)))) => {
                // One that was stopped at the last moment is dropped here.
                self.attempts.get(&id)?;
                let proof = D::proof(&connection);
                self.connections.insert(id, connection);
                Some(Event::Connected(id, proof))
            }
            Ok((_, Happened::Dialled(id, Err(error)))) => {
                let failed = Event::Failed(id, error.cause(), words(&error));
                self.errors.insert(id, error);
                Some(failed)
            }
            Err(error) => self.died(&error),
        }
    }

    /// A task was aborted, or panicked: the race must not wait for it.
    fn died(&mut self, error: &JoinError) -> Option<Event> {
        if error.is_cancelled() {
            return None;
        }
        tracing::error!(%error, "a task of a race for a connection panicked");
        if let Some(question) = self.questions.remove(&error.id()) {
            let failed = NameError::Failed("the resolver panicked".to_owned());
            return Some(Event::Answer(question, Err(failed)));
        }
        let mut attempts = self.attempts.iter();
        let (id, _) = attempts.find(|(_, running)| running.task.id() == error.id())?;
        Some(Event::Failed(*id, Cause::Local, "the attempt panicked".to_owned()))
    }
}

/// An error with what caused it, in one line.
fn words<E: Blame>(error: &E) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    words
}

/// The time of the runtime, which is the one that its sleeps go by.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// First bytes that may wait to be told to the race: one for each attempt there can be.
const MOST_HEARD: usize = 64;

/// For a race without a deadline, which has ended.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
