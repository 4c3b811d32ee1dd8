//! The race against networks that are written down: which lines of its trace come when.

use std::collections::BTreeMap;

use super::*;
use crate::client::{
    origin::Host,
    resolve::{RecordKind, Service, ServiceRecord},
};

mod golden;
mod play;
mod rules;

/// What the network does with an attempt; times since its start.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// A byte, then the end of the handshake.
    Connects(u64, u64),
    /// Nothing, for ever.
    Silence,
    /// A byte, and then nothing.
    Stalls(u64),
    Fails(u64, Cause),
}

/// A race, its network, and a clock that moves when the race waits.
#[derive(Debug)]
struct World {
    goal: Goal,
    names: BTreeMap<(String, RecordKind), (u64, Result<Found, NameError>)>,
    fates: BTreeMap<(&'static str, String), Fate>,
    /// Of an attempt that is not written down.
    quic: Fate,
    tcp: Fate,
}

/// What came of it.
#[derive(Default)]
struct Played {
    trace: String,
    won: Option<(AttemptId, Candidate)>,
    failed: Option<Defeat>,
    lessons: Vec<(Lesson, String)>,
    started: Vec<(u64, Candidate)>,
    stopped: BTreeMap<AttemptId, u64>,
    most_open: usize,
    end: u64,
}

fn origin(url: &str) -> Origin {
    Origin::of(&url.parse().unwrap()).unwrap()
}

fn place(host: &str, port: u16) -> Place {
    Place { host: Host::parse(host).unwrap(), port }
}

fn addresses(list: &str) -> Result<Found, NameError> {
    match list {
        "" => Err(NameError::NoRecords),
        list => Ok(Found::Addresses(list.split(' ').map(|ip| ip.parse().unwrap()).collect())),
    }
}

/// A record with HTTP/3 and HTTP/2.
fn h3_record(priority: u16, target: &str) -> Service {
    let target = target.to_owned();
    Service { priority, target, h3: true, h2: true, h1: true, ..Service::default() }
}

impl World {
    /// Both families at once, no records, both transports fast.
    fn new(url: &str) -> Self {
        let origin = origin(url);
        let host = origin.host().bare();
        let goal = Goal {
            origin,
            versions: Versions::ALL,
            connect_to: None,
            alternatives: Vec::new(),
            known: Known::default(),
            speculate: false,
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            seed: 0,
        };
        let mut world = Self {
            goal,
            names: BTreeMap::new(),
            fates: BTreeMap::new(),
            quic: Fate::Connects(20, 40),
            tcp: Fate::Connects(20, 60),
        };
        world.name(&host, "2001:db8::1", "192.0.2.1", 10);
        world
    }

    /// The addresses of a host, known after so long.
    fn name(&mut self, host: &str, v6: &str, v4: &str, after: u64) {
        self.names.insert((host.to_owned(), RecordKind::Aaaa), (after, addresses(v6)));
        self.names.insert((host.to_owned(), RecordKind::A), (after, addresses(v4)));
    }

    fn records(&mut self, name: &str, records: Vec<Service>, after: u64) {
        let records = records.into_iter().map(ServiceRecord::Service).collect();
        let key = (name.to_owned(), RecordKind::Https);
        self.names.insert(key, (after, Ok(Found::Services(records))));
    }

    /// The origin's Alt-Svc has said this.
    fn alt_svc(&mut self, host: Option<&str>, port: u16) {
        let host = host.map(|host| Host::parse(host).unwrap());
        self.goal.alternatives.push(AltService { protocol: b"h3".to_vec(), host, port });
    }

    fn health(&mut self, place: Place, health: Health) {
        self.goal.known.places.push((place, health));
        self.goal.known.works_here |= matches!(health, Health::Works { .. });
    }

    fn fate(&mut self, transport: &'static str, address: &str, fate: Fate) {
        self.fates.insert((transport, address.to_owned()), fate);
    }

    fn fate_of(&self, candidate: &Candidate) -> Fate {
        let (name, otherwise) = match candidate.transport {
            Transport::Quic => ("QUIC", self.quic),
            Transport::Tcp => ("TCP", self.tcp),
        };
        let key = (name, candidate.address.to_string());
        self.fates.get(&key).copied().unwrap_or(otherwise)
    }

    fn answer(&self, question: &Question) -> (u64, Result<Found, NameError>) {
        let key = (question.name.clone(), question.kind);
        self.names.get(&key).cloned().unwrap_or((10, Err(NameError::NoRecords)))
    }

    /// Runs the race to its very end.
    fn play(&self) -> Played {
        let start = Instant::now();
        let mut race = Race::new(self.goal.clone(), start);
        let mut played = Played::default();
        let mut coming: Vec<(u64, Event)> = Vec::new();
        let mut open: Vec<AttemptId> = Vec::new();
        let mut now = 0;
        race.handle(Event::Tick, start);
        for _ in 0..1000 {
            let at = start + Duration::from_millis(now);
            while let Some(action) = race.poll_action() {
                match action {
                    Action::Ask(question) => {
                        let (after, answer) = self.answer(&question);
                        coming.push((now + after, Event::Answer(question, answer)));
                    }
                    Action::Start(id, candidate) => {
                        open.push(id);
                        played.most_open = played.most_open.max(open.len());
                        coming.extend(comes_of(id, self.fate_of(&candidate), now));
                        played.started.push((now, candidate));
                    }
                    Action::Stop(id) => {
                        open.retain(|open| *open != id);
                        played.stopped.insert(id, now);
                    }
                    Action::Win(id) => {
                        assert!(open.contains(&id), "it was not stopped");
                        let (_, candidate) = played.started[id as usize].clone();
                        assert_eq!(played.won.replace((id, candidate)), None, "one wins");
                    }
                    Action::Fail(defeat) => {
                        assert_eq!(played.failed.replace(defeat), None, "it fails once");
                    }
                    Action::Learn(lesson, place) => {
                        played.lessons.push((lesson, place.to_string()));
                    }
                    Action::Done => {}
                }
            }
            coming.sort_by_key(|(when, _)| *when);
            let Some(deadline) = race.deadline(at) else { break };
            assert!(deadline > at, "a deadline lies ahead");
            let deadline =
                u64::try_from((deadline - start).as_nanos().div_ceil(1_000_000)).unwrap();
            let event = match coming.first() {
                Some((when, _)) if *when <= deadline => coming.remove(0),
                _ => (deadline, Event::Tick),
            };
            now = event.0;
            if let Event::Failed(id, ..) = &event.1 {
                open.retain(|open| open != id);
            }
            race.handle(event.1, start + Duration::from_millis(now));
        }
        assert!(matches!(race.stage, Stage::Over), "it ends");
        assert!(played.won.is_some() != played.failed.is_some(), "it wins or fails");
        played.trace = race.trace().iter().map(|entry| format!("{entry}\n")).collect();
        played.end = now;
        played
    }
}

impl Played {
    /// The trace without names, which most tests are not about.
    fn connecting(&self) -> String {
        let lines = self.trace.lines();
        let about_names = |line: &&str| {
            [" asks for ", "HTTPS of", "AAAA of", "  A of"].iter().any(|text| line.contains(text))
        };
        lines.filter(|line| !about_names(line)).map(|line| format!("{line}\n")).collect()
    }

    fn order(&self) -> Vec<String> {
        let shown = |(at, candidate): &(u64, Candidate)| {
            format!("{at} {} {}", candidate.transport, candidate.address)
        };
        self.started.iter().map(shown).collect()
    }
}

fn comes_of(id: AttemptId, fate: Fate, now: u64) -> Vec<(u64, Event)> {
    match fate {
        Fate::Connects(heard, connected) => {
            vec![
                (now + heard, Event::Heard(id)),
                (now + connected, Event::Connected(id, Proof::Complete(None))),
            ]
        }
        Fate::Silence => vec![],
        Fate::Stalls(heard) => vec![(now + heard, Event::Heard(id))],
        Fate::Fails(after, cause) => {
            vec![(now + after, Event::Failed(id, cause, format!("{cause:?}")))]
        }
    }
}

/// Compares line by line, without the indentation of the source.
#[track_caller]
fn assert_trace(trace: &str, expected: &str) {
    let lines = |text: &str| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let expected: Vec<_> = lines(expected).into_iter().filter(|line| !line.is_empty()).collect();
    let trace = lines(trace);
    assert!(trace == expected, "the trace is\n{}\n", trace.join("\n"));
}
