//! What happened in a race, for people: `sterna get -v` prints it, and an error about a connection carries it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{AttemptId, plan::Candidate};
use crate::client::{
    memory::Place,
    resolve::{Found, NameError, Question, RecordKind, ServiceRecord},
};

/// One line of a race's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Since the race began.
    pub at: Duration,
    /// What happened.
    pub event: TraceEvent,
}

/// What happened in a race. Attempts are numbered from 0 in the order of their start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// A name was asked for.
    Asked {
        /// The name.
        name: String,
        /// Which of its records.
        kind: RecordKind,
    },
    /// It was answered.
    Answered {
        /// The name.
        name: String,
        /// Which of its records.
        kind: RecordKind,
        /// What was found, one text for each record.
        answer: Result<Vec<String>, NameError>,
    },
    /// QUIC is said to be there, and was not tried.
    Skipped {
        /// Host and port.
        place: String,
        /// The reason.
        why: Skip,
    },
    /// An attempt began.
    Started {
        /// Its number.
        attempt: AttemptId,
        /// QUIC or TCP.
        transport: Transport,
        /// Where it goes.
        address: SocketAddr,
        /// Who said that the service is there.
        source: Source,
    },
    /// The first byte of the peer arrived.
    Heard {
        /// Of which attempt.
        attempt: AttemptId,
    },
    /// From now on, attempts over TCP are made.
    TcpReleased {
        /// The reason.
        why: Release,
    },
    /// An attempt failed.
    Failed {
        /// Its number.
        attempt: AttemptId,
        /// The error's words.
        why: String,
    },
    /// An attempt was ended.
    Stopped {
        /// Its number.
        attempt: AttemptId,
        /// The reason.
        why: Stop,
    },
    /// The handshake of this attempt was the first to be complete.
    Won {
        /// Its number.
        attempt: AttemptId,
    },
    /// An attempt over QUIC has lost and goes on, to tell whether QUIC works.
    RunsOn {
        /// Its number.
        attempt: AttemptId,
    },
    /// Something was learnt for the next time.
    Learnt {
        /// Host and port.
        place: String,
        /// What.
        lesson: Lesson,
    },
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC, for HTTP/3.
    Quic,
    /// TCP, for HTTP/1.1 and HTTP/2.
    Tcp,
}

/// Who said that a service is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An HTTPS record of this priority.
    Record(u16),
    /// An `Alt-Svc` field of an earlier response.
    AltSvc,
    /// The URL.
    Origin,
    /// Nobody: it is the URL's host, tried with QUIC.
    Guess,
}

/// Why TCP was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// There is nothing to try with QUIC.
    NoQuic,
    /// Nothing says that QUIC works there, or on this network.
    Unknown,
    /// QUIC has failed there not long ago.
    OnTrial,
    /// An attempt over QUIC failed.
    Failed,
    /// QUIC has received nothing for so long that it is not waited for.
    Silent,
    /// QUIC had its time: one and a half round trips, or 250 ms.
    Patience(Duration),
}

/// Why a place for QUIC was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It is broken for this long.
    Broken(Duration),
    /// Its port is one that any program may open, and the origin's is not.
    HighPort,
    /// The HTTPS records of the host have no HTTP/3.
    Denied,
}

/// Why an attempt was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Another one was faster.
    Lost,
    /// Its time was over.
    TimedOut,
    /// It has received nothing, and the others have failed.
    Silent,
}

/// What a race has shown about QUIC at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// It works.
    Works {
        /// The round-trip time.
        rtt: Duration,
        /// At which of its addresses.
        address: IpAddr,
    },
    /// It was waited for, and TCP was faster.
    Late,
    /// It does not, though TCP does.
    Broken,
}

/// The history, while it is made.
#[derive(Debug)]
pub(super) struct Trace {
    began: Instant,
    entries: Vec<TraceEntry>,
}

impl Trace {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, entries: Vec::new() }
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn entries(&self) -> &[TraceEntry] {
        &self.entries
    }

    /// Bounded by what a race may ask and start; each of these ends once.
    pub(super) fn push(&mut self, now: Instant, event: TraceEvent) {
        self.entries.push(TraceEntry { at: now - self.began, event });
    }

    pub(super) fn answer(
        &mut self,
        now: Instant,
        question: &Question,
        answer: &Result<Found, NameError>,
    ) {
        let answer = answer.as_ref().map(shown).map_err(Clone::clone);
        let Question { name, kind } = question.clone();
        self.push(now, TraceEvent::Answered { name, kind, answer });
    }

    /// Once for each place.
    pub(super) fn skipped(&mut self, now: Instant, place: &Place, why: Skip) {
        let place = place.to_string();
        let is_known = |entry: &TraceEntry| matches!(&entry.event, TraceEvent::Skipped { place: known, .. } if *known == place);
        if !self.entries.iter().any(is_known) {
            self.push(now, TraceEvent::Skipped { place, why });
        }
    }

    /// False if the same was learnt of the place before.
    pub(super) fn learnt(&mut self, now: Instant, lesson: Lesson, place: &Place) -> bool {
        let event = TraceEvent::Learnt { place: place.to_string(), lesson };
        let is_news = !self.entries.iter().any(|entry| entry.event == event);
        if is_news {
            self.push(now, event);
        }
        is_news
    }
}

impl TraceEvent {
    pub(super) fn asked(question: &Question) -> Self {
        Self::Asked { name: question.name.clone(), kind: question.kind }
    }

    pub(super) fn started(attempt: AttemptId, candidate: &Candidate) -> Self {
        let Candidate { transport, address, source, .. } = *candidate;
        Self::Started { attempt, transport, address, source }
    }
}

/// One text for each record, as a zone file has it.
fn shown(found: &Found) -> Vec<String> {
    match found {
        Found::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect(),
        Found::Services(records) => records.iter().map(ToString::to_string).collect(),
    }
}

impl fmt::Display for ServiceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = match self {
            Self::Alias { target: Some(target) } => return write!(f, "0 {target}"),
            Self::Alias { target: None } => return f.write_str("0 ."),
            Self::Service(service) => service,
        };
        write!(f, "{} {}", service.priority, service.target)?;
        let versions = [(service.h3, "h3"), (service.h2, "h2"), (service.h1, "http/1.1")];
        let names: Vec<_> =
            versions.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        write!(f, " alpn={}", names.join(","))?;
        if let Some(port) = service.port {
            write!(f, " port={port}")?;
        }
        if !service.hints.is_empty() {
            let hints: Vec<_> = service.hints.iter().map(ToString::to_string).collect();
            write!(f, " hints={}", hints.join(","))?;
        }
        if service.ech {
            f.write_str(" ech (not used)")?;
        }
        if service.incompatible {
            f.write_str(" (wants what we do not have)")?;
        }
        Ok(())
    }
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.1} ms  {}", self.at.as_secs_f64() * 1e3, self.event)
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { name, kind } => write!(f, "asks for {kind} of {name}"),
            Self::Answered { name, kind, answer: Ok(records) } => {
                write!(f, "{kind} of {name}: {}", records.join("; "))
            }
            Self::Answered { name, kind, answer: Err(error) } => {
                write!(f, "{kind} of {name}: {error}")
            }
            Self::Skipped { place, why } => write!(f, "no QUIC to {place}: {why}"),
            Self::Started { attempt, transport, address, source } => {
                write!(f, "#{attempt} {transport} to {address}, {source}")
            }
            Self::Heard { attempt } => write!(f, "#{attempt} hears from the server"),
            Self::TcpReleased { why } => write!(f, "TCP is released: {why}"),
            Self::Failed { attempt, why } => write!(f, "#{attempt} failed: {why}"),
            Self::Stopped { attempt, why } => write!(f, "#{attempt} is stopped: {why}"),
            Self::Won { attempt } => write!(f, "#{attempt} wins"),
            Self::RunsOn { attempt } => {
                write!(f, "#{attempt} has lost and runs on, to learn whether QUIC works")
            }
            Self::Learnt { place, lesson } => write!(f, "learnt of {place}: {lesson}"),
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Quic, Self::Tcp];

    /// In small letters, for a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(priority) => write!(f, "by an HTTPS record of priority {priority}"),
            Self::AltSvc => f.write_str("by Alt-Svc"),
            Self::Origin => f.write_str("by the URL"),
            Self::Guess => f.write_str("by the URL, as a guess"),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoQuic => f.write_str("there is no QUIC to try"),
            Self::Unknown => f.write_str("QUIC is not known to work here"),
            Self::OnTrial => f.write_str("QUIC failed there not long ago"),
            Self::Failed => f.write_str("QUIC failed"),
            Self::Silent => f.write_str("QUIC has received nothing"),
            Self::Patience(span) => write!(f, "QUIC had its {:.0} ms", span.as_secs_f64() * 1e3),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(span) => write!(f, "it is broken for {} s more", span.as_secs()),
            Self::HighPort => f.write_str("any program may open that port, but not the origin's"),
            Self::Denied => f.write_str("the host's HTTPS records have no HTTP/3"),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "another one was faster",
            Self::TimedOut => "its time is over",
            Self::Silent => "it has received nothing, and the others have failed",
        })
    }
}

impl fmt::Display for Lesson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works { rtt, .. } => {
                write!(f, "QUIC works, {:.1} ms away", rtt.as_secs_f64() * 1e3)
            }
            Self::Late => f.write_str("QUIC was waited for in vain, and is on trial"),
            Self::Broken => f.write_str("QUIC is broken"),
        }
    }
}
