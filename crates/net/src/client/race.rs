//! Which connection to an origin: resolves names, plans attempts, races them, and learns. Sans-IO.
//!
//! ```text
//! Event, now ──► Race::handle ──► Action…      ask, start, stop, win, fail, learn
//!                Race::deadline ──► when to call again with Event::Tick
//! ```
//!
//! Names are asked for in parallel ([`names`]); 50 ms after the first answer the race begins with what is there, and what
//! comes later joins it. The order is that of [`plan`]. QUIC goes first. TCP is released when QUIC has failed, is silent, has had
//! its time, or deserves none here ([`Release`]). The first completed handshake wins. If that is TCP, the QUIC attempts
//! run on for a while, to learn whether QUIC works here; no request is on them.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

pub(crate) use self::plan::Candidate;
use self::{names::Names, plan::Plan, trace::Trace};
use super::{
    alt_svc::AltService,
    memory::{Health, Known, Place},
    origin::Origin,
    resolve::{Found, NameError, Question},
    versions::Versions,
};

mod cause;
mod names;
mod plan;
mod trace;
mod track;

pub(crate) use cause::Cause;
pub use trace::{Lesson, Release, Skip, Source, Stop, TraceEntry, TraceEvent, Transport};
use track::Track;

/// What a race is for, and what is known before it.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) origin: Origin,
    pub(crate) versions: Versions,
    /// Go there and nowhere else, whatever the URL and the records say.
    pub(crate) connect_to: Option<Place>,
    /// What the origin's `Alt-Svc` has said.
    pub(crate) alternatives: Vec<AltService>,
    pub(crate) known: Known,
    /// Try QUIC where nobody has said that it is there.
    pub(crate) speculate: bool,
    /// When names have to be known.
    pub(crate) resolve_timeout: Duration,
    /// When a handshake has to be completed, from the first attempt on.
    pub(crate) connect_timeout: Duration,
    /// Chance, for records of equal priority.
    pub(crate) seed: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Nothing but time. The first one begins the race.
    Tick,
    Answer(Question, Result<Found, NameError>),
    /// The first byte of the peer arrived.
    Heard(AttemptId),
    /// There is a connection.
    Connected(AttemptId, Proof),
    /// It is over; the cause and its words.
    Failed(AttemptId, Cause, String),
    /// The machine has another network. Nothing of this race is held against QUIC.
    NetworkChanged,
}

/// What a connection shows of the way to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The handshake is complete; the round-trip time, where it is known.
    Complete(Option<Duration>),
    /// It is for early data, and nothing has come from the server yet.
    Early,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(Question),
    Start(AttemptId, Candidate),
    /// End it and forget what comes of it.
    Stop(AttemptId),
    /// This connection gets the request. Questions need no answer any more.
    Win(AttemptId),
    /// There is none. Nothing follows.
    Fail(Defeat),
    Learn(Lesson, Place),
    /// Nothing follows.
    Done,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Defeat {
    /// No name gave an address.
    Name(NameError),
    /// No address was known in time.
    NameTimedOut,
    /// What is allowed does not exist: `http` over QUIC, or HTTP/3 alone where it may not be tried.
    Nothing,
    /// All attempts failed; this one says best why.
    Attempt(AttemptId),
    /// No handshake was completed in time.
    TimedOut,
}

/// Which attempt of a race, from 0.
pub(crate) type AttemptId = u32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Race {
    goal: Goal,
    names: Names,
    stage: Stage,
    quic: Track,
    tcp: Track,
    hold: Hold,
    /// QUIC had its time before TCP was let go, and gave nothing.
    was_in_vain: bool,
    attempts: Vec<Attempt>,
    /// The failure that says best why there is no connection.
    best: Option<(u8, AttemptId)>,
    network_changed: bool,
    actions: VecDeque<Action>,
    trace: Trace,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Resolving { until: Instant },
    Racing { until: Instant },
    Learning { until: Instant },
    Over,
}

/// Whether TCP waits for QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Released,
    Held { began: Instant, patience: Duration },
}

#[derive(Debug)]
struct Attempt {
    id: AttemptId,
    candidate: Candidate,
    began: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come from the peer.
    Silent,
    Heard,
    Failed(Cause),
    /// Won, or was stopped.
    Ended,
}

impl Race {
    pub(crate) fn new(goal: Goal, now: Instant) -> Self {
        let until = now + goal.resolve_timeout;
        let names = Names::new(&goal);
        Self {
            names,
            goal,
            stage: Stage::Resolving { until },
            quic: Track::default(),
            tcp: Track::default(),
            hold: Hold::Released,
            was_in_vain: false,
            attempts: Vec::new(),
            best: None,
            network_changed: false,
            actions: VecDeque::new(),
            trace: Trace::new(now),
        }
    }

    /// Takes what happened, and all that is due at `now`.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Tick => {}
            Event::Answer(question, answer) => {
                if self.names.is_waiting_for(&question) && !self.is_decided() {
                    self.trace.answer(now, &question, &answer);
                    self.names.on_answer(&question, answer, now);
                }
            }
            Event::Heard(id) => {
                if let Some(attempt) = self.running(id)
                    && attempt.state == State::Silent
                {
                    attempt.state = State::Heard;
                    self.trace.push(now, TraceEvent::Heard { attempt: id });
                }
            }
            Event::Connected(id, proof) => self.on_connected(id, proof, now),
            Event::Failed(id, cause, words) => self.on_failed(id, cause, words, now),
            Event::NetworkChanged => self.network_changed = true,
        }
        self.advance(now);
    }

    /// What to do next, until `None`.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back if nothing happens; always later than the last `now`. `None` only when nothing can follow.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let mut earliest = None::<Instant>;
        let mut at = |time: Instant| {
            if time > now {
                earliest = Some(earliest.map_or(time, |earliest| earliest.min(time)));
            }
        };
        match self.stage {
            Stage::Over => return None,
            Stage::Resolving { until } => {
                at(until);
                self.names.grace_until().into_iter().for_each(at);
            }
            Stage::Racing { until } => {
                at(until);
                if let Hold::Held { began, patience } = self.hold {
                    at(began + patience);
                    at(began + SILENCE);
                }
                self.quic.next_at().into_iter().for_each(&mut at);
                self.tcp.next_at().into_iter().for_each(&mut at);
                self.alone_until().into_iter().for_each(at);
            }
            Stage::Learning { until } => at(until),
        }
        earliest
    }

    /// What has happened so far, for people.
    pub(crate) fn trace(&self) -> &[TraceEntry] {
        self.trace.entries()
    }

    /// When the first attempt began.
    pub(crate) fn first_attempt(&self) -> Option<Instant> {
        self.attempts.first().map(|attempt| attempt.began)
    }

    fn advance(&mut self, now: Instant) {
        self.ask(now);
        match self.stage {
            Stage::Resolving { until } => self.resolving(until, now),
            Stage::Racing { until } => self.racing(until, now),
            Stage::Learning { until } if now >= until => self.stop_learning(now),
            Stage::Learning { .. } => {
                if !self.quic_runs() {
                    self.finish(Action::Done);
                }
            }
            Stage::Over => {}
        }
    }

    fn ask(&mut self, now: Instant) {
        if self.is_decided() {
            return;
        }
        while let Some(question) = self.names.poll_question() {
            self.trace.push(now, TraceEvent::asked(&question));
            self.actions.push_back(Action::Ask(question));
        }
    }

    fn resolving(&mut self, until: Instant, now: Instant) {
        let is_late = now >= until;
        if !is_late && !self.names.may_begin(now) {
            return;
        }
        self.refill(now);
        if self.quic.is_empty() && self.tcp.is_empty() {
            if self.names.all_answered() {
                let defeat = self.names.error().map_or(Defeat::Nothing, Defeat::Name);
                self.finish(Action::Fail(defeat));
            } else if is_late {
                self.finish(Action::Fail(Defeat::NameTimedOut));
            }
            return;
        }
        self.stage = Stage::Racing { until: now + self.goal.connect_timeout };
        self.decide_hold(now);
        self.racing(now + self.goal.connect_timeout, now);
    }

    fn racing(&mut self, until: Instant, now: Instant) {
        self.refill(now);
        if now >= until {
            self.stop_all(Stop::TimedOut, now);
            let defeat = match self.best {
                // Others were stopped in the middle, so nobody knows what they would have said.
                Some((severity, id)) if severity >= Cause::CERTAIN => Defeat::Attempt(id),
                _ => Defeat::TimedOut,
            };
            return self.finish(Action::Fail(defeat));
        }
        self.release(now);
        self.start_due(now);
        if self.alone_until().is_some_and(|until| now >= until) {
            self.stop_all(Stop::Silent, now);
        }
        let is_idle = self.quic.is_empty() && self.tcp.is_empty() && !self.any_runs();
        // An answer that is still to come may bring addresses.
        if is_idle
            && self.names.all_answered_or_late(self.trace.began(), self.goal.resolve_timeout, now)
        {
            let defeat = self.best.map_or(Defeat::TimedOut, |(_, id)| Defeat::Attempt(id));
            self.finish(Action::Fail(defeat));
        }
    }

    /// Puts what the names have brought on the tracks.
    fn refill(&mut self, now: Instant) {
        if !self.names.take_news() {
            return;
        }
        let Plan { quic, tcp, skipped } = plan::plan(&self.goal, &self.names);
        self.quic.extend(quic);
        self.tcp.extend(tcp);
        for (place, why) in skipped {
            self.trace.skipped(now, &place, why);
        }
    }

    fn decide_hold(&mut self, now: Instant) {
        let Some(first) = self.quic.first() else {
            return self.release_tcp(Release::NoQuic, now);
        };
        let patience = match (first.health, first.source) {
            (Health::Works { srtt }, _) => {
                (srtt + srtt / 2).clamp(SHORTEST_PATIENCE, LONGEST_PATIENCE)
            }
            (Health::OnTrial | Health::Broken { .. }, _) => {
                return self.release_tcp(Release::OnTrial, now);
            }
            // Nobody has said that QUIC is there: it must not cost anything.
            (Health::Unknown, Source::Guess) => return self.release_tcp(Release::Unknown, now),
            (Health::Unknown, _) if !self.goal.known.works_here => {
                return self.release_tcp(Release::Unknown, now);
            }
            (Health::Unknown, _) => DEFAULT_PATIENCE,
        };
        self.hold = Hold::Held { began: now, patience };
    }

    fn release(&mut self, now: Instant) {
        let Hold::Held { began, patience } = self.hold else { return };
        let quic = || self.attempts.iter().filter(|a| a.candidate.transport == Transport::Quic);
        let waited = now - began;
        if quic().any(|attempt| matches!(attempt.state, State::Failed(_))) {
            self.release_tcp(Release::Failed, now);
        } else if waited >= patience {
            self.release_tcp(Release::Patience(patience), now);
        } else if waited >= SILENCE && quic().all(|attempt| attempt.state == State::Silent) {
            self.release_tcp(Release::Silent, now);
        }
    }

    fn release_tcp(&mut self, why: Release, now: Instant) {
        self.hold = Hold::Released;
        self.was_in_vain = matches!(why, Release::Silent | Release::Patience(_));
        if self.goal.versions.tcp() {
            self.trace.push(now, TraceEvent::TcpReleased { why });
        }
    }

    fn start_due(&mut self, now: Instant) {
        // A share of the sockets is TCP's, so that addresses where QUIC is silent cannot take them all.
        let most_quic = if self.goal.versions.tcp() { MOST_QUIC } else { MOST_SOCKETS };
        while self.quic.is_due(now) && self.open() < MOST_SOCKETS && self.open_quic() < most_quic {
            let Some(candidate) = self.quic.pop(now, STEP) else { break };
            self.start(candidate, now);
        }
        while self.hold == Hold::Released && self.tcp.is_due(now) && self.open() < MOST_SOCKETS {
            let Some(candidate) = self.tcp.pop(now, STEP) else { break };
            self.start(candidate, now);
        }
    }

    fn start(&mut self, candidate: Candidate, now: Instant) {
        let id = AttemptId::try_from(self.attempts.len()).unwrap_or(AttemptId::MAX);
        self.trace.push(now, TraceEvent::started(id, &candidate));
        self.actions.push_back(Action::Start(id, candidate.clone()));
        self.attempts.push(Attempt { id, candidate, began: now, state: State::Silent });
    }

    fn on_connected(&mut self, id: AttemptId, proof: Proof, now: Instant) {
        let Some(attempt) = self.running(id) else { return };
        attempt.state = State::Ended;
        let Candidate { transport, place, address, .. } = attempt.candidate.clone();
        let lesson = match proof {
            Proof::Complete(rtt) => {
                let rtt = rtt.unwrap_or(now - attempt.began);
                Some(Lesson::Works { rtt, address: address.ip() })
            }
            Proof::Early => None,
        };
        match (self.stage, transport) {
            (Stage::Racing { .. }, Transport::Quic) => {
                self.win(id, now);
                if let Some(lesson) = lesson {
                    self.learn(lesson, place, now);
                }
                self.stop_all(Stop::Lost, now);
                self.finish(Action::Done);
            }
            (Stage::Racing { .. }, Transport::Tcp) => {
                self.win(id, now);
                // req: 8305-5-others-end
                self.stop_lost_tcp(now);
                self.judge(now);
                self.put_on_trial(now);
                self.stage = Stage::Learning { until: now + LEARNING };
            }
            (Stage::Learning { .. }, Transport::Quic) => {
                if let Some(lesson) = lesson {
                    self.learn(lesson, place, now);
                }
                self.actions.push_back(Action::Stop(id));
                self.stop_all(Stop::Lost, now);
                self.finish(Action::Done);
            }
            // Nothing runs in the other stages, and no TCP while learning.
            (Stage::Learning { .. } | Stage::Resolving { .. } | Stage::Over, _) => {}
        }
    }

    fn on_failed(&mut self, id: AttemptId, cause: Cause, words: String, now: Instant) {
        let Some(attempt) = self.running(id) else { return };
        attempt.state = State::Failed(cause);
        let Candidate { transport, address, .. } = attempt.candidate;
        self.trace.push(now, TraceEvent::Failed { attempt: id, why: words });
        let severity = cause.severity(transport);
        if self.best.is_none_or(|(best, _)| severity > best) {
            self.best = Some((severity, id));
        }
        match transport {
            Transport::Quic => self.quic.hurry(now),
            Transport::Tcp => {
                self.tcp.hurry(now);
                // Nobody is there, and a socket for UDP is not always told.
                if cause.is_nobody() && self.is_silent_at(address) {
                    self.quic.hurry(now);
                }
            }
        }
        if let Stage::Learning { .. } = self.stage {
            self.judge(now);
        }
    }

    fn win(&mut self, id: AttemptId, now: Instant) {
        self.trace.push(now, TraceEvent::Won { attempt: id });
        self.actions.push_back(Action::Win(id));
    }

    fn stop_lost_tcp(&mut self, now: Instant) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.is_running()) {
            let id = attempt.id;
            match attempt.candidate.transport {
                Transport::Tcp => {
                    attempt.state = State::Ended;
                    self.trace.push(now, TraceEvent::Stopped { attempt: id, why: Stop::Lost });
                    self.actions.push_back(Action::Stop(id));
                }
                Transport::Quic => self.trace.push(now, TraceEvent::RunsOn { attempt: id }),
            }
        }
    }

    fn stop_all(&mut self, why: Stop, now: Instant) {
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.is_running()) {
            let id = attempt.id;
            attempt.state = match why {
                Stop::Lost => State::Ended,
                Stop::TimedOut | Stop::Silent => State::Failed(Cause::TimedOut),
            };
            self.trace.push(now, TraceEvent::Stopped { attempt: id, why });
            self.actions.push_back(Action::Stop(id));
        }
    }

    /// The time of the QUIC attempts that run on is over: they had longer than anyone waits for a page.
    fn stop_learning(&mut self, now: Instant) {
        self.stop_all(Stop::TimedOut, now);
        self.judge(now);
        self.finish(Action::Done);
    }

    /// TCP got through: each place where all of QUIC has failed is broken.
    fn judge(&mut self, now: Instant) {
        if self.network_changed {
            return;
        }
        let mut places: Vec<Place> = Vec::new();
        for attempt in self.attempts.iter().filter(|a| a.candidate.transport == Transport::Quic) {
            if !places.contains(&attempt.candidate.place) {
                places.push(attempt.candidate.place.clone());
            }
        }
        for place in places {
            let here = || {
                let quic =
                    self.attempts.iter().filter(|a| a.candidate.transport == Transport::Quic);
                quic.filter(|attempt| attempt.candidate.place == place)
            };
            let counts = |attempt: &Attempt| match attempt.state {
                State::Failed(cause) => cause.counts(),
                State::Silent | State::Heard | State::Ended => false,
            };
            if !here().any(Attempt::is_running) && here().any(counts) {
                self.learn(Lesson::Broken, place, now);
            }
        }
    }

    /// Whoever comes next need not wait for what was waited for in vain; the attempts that run on may clear it.
    fn put_on_trial(&mut self, now: Instant) {
        if !self.was_in_vain || self.network_changed {
            return;
        }
        let running = self.running_attempts().map(|attempt| attempt.candidate.place.clone());
        for place in running.collect::<Vec<_>>() {
            self.learn(Lesson::Late, place, now);
        }
    }

    fn learn(&mut self, lesson: Lesson, place: Place, now: Instant) {
        let is_news = self.trace.learnt(now, lesson, &place);
        if is_news {
            self.actions.push_back(Action::Learn(lesson, place));
        }
    }

    fn finish(&mut self, last: Action) {
        self.stage = Stage::Over;
        self.actions.push_back(last);
    }

    /// Until when silent QUIC is waited for, when others have told how it stands: nobody listens on TCP, or the server was
    /// reached and it failed for another reason.
    fn alone_until(&self) -> Option<Instant> {
        let is_tcp = |attempt: &&Attempt| attempt.candidate.transport == Transport::Tcp;
        let tcp = || self.attempts.iter().filter(is_tcp);
        let was_reached = self.attempts.iter().any(|attempt| attempt.has_reached_the_server());
        let is_told = was_reached || tcp().next().is_some();
        let tcp_is_over = self.tcp.is_empty() && !tcp().any(Attempt::is_running);
        let nothing_comes = tcp_is_over && self.quic.is_empty() && self.names.all_answered();
        let all_silent = self.running_attempts().all(|attempt| attempt.state == State::Silent);
        let all_guessed = self.running_attempts().all(|a| a.candidate.source == Source::Guess);
        let patience = if all_guessed { ALONE_BY_GUESS } else { ALONE };
        let last = self.running_attempts().map(|attempt| attempt.began).max()?;
        (is_told && nothing_comes && all_silent).then(|| last + patience)
    }

    /// The last QUIC attempt goes to this host, and has heard nothing of it.
    fn is_silent_at(&self, address: SocketAddr) -> bool {
        let mut quic = self.attempts.iter().filter(|a| a.candidate.transport == Transport::Quic);
        quic.next_back().is_some_and(|attempt| {
            attempt.state == State::Silent && attempt.candidate.address.ip() == address.ip()
        })
    }

    fn running(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.id == id && attempt.is_running())
    }

    fn running_attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.is_running())
    }

    fn open(&self) -> usize {
        self.running_attempts().count()
    }

    fn open_quic(&self) -> usize {
        self.running_attempts().filter(|a| a.candidate.transport == Transport::Quic).count()
    }

    fn any_runs(&self) -> bool {
        self.open() > 0
    }

    fn quic_runs(&self) -> bool {
        self.open_quic() > 0
    }

    fn is_decided(&self) -> bool {
        matches!(self.stage, Stage::Learning { .. } | Stage::Over)
    }
}

impl Attempt {
    /// It failed, and not because there is no server.
    fn has_reached_the_server(&self) -> bool {
        matches!(self.state, State::Failed(cause) if cause.is_of_a_server())
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Silent | State::Heard)
    }
}

/// Sockets that are open at once.
const MOST_SOCKETS: usize = 6;

/// Of these for QUIC, if TCP may be tried.
const MOST_QUIC: usize = 3;

/// Between two attempts of one transport (RFC 8305 §5).
const STEP: Duration = Duration::from_millis(250);

/// How long TCP waits for QUIC which ought to work and whose round-trip time is not known.
const DEFAULT_PATIENCE: Duration = Duration::from_millis(250);

/// Bounds of one and a half round trips.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(50);
const LONGEST_PATIENCE: Duration = Duration::from_secs(3);

/// After this much time without a byte, QUIC is not waited for.
const SILENCE: Duration = Duration::from_millis(100);

/// How long a lost QUIC attempt runs on.
const LEARNING: Duration = Duration::from_secs(10);

/// How long silent QUIC may still begin to speak when the others have failed: two retransmissions of its first packet.
const ALONE: Duration = Duration::from_secs(3);

/// The same where nobody has said that QUIC is there.
const ALONE_BY_GUESS: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests;
