//! Load: many requests over HTTP/1.1, HTTP/2 or HTTP/3, and how long each took.
//!
//! ```text
//!  run ── conductor: starts workers, sets the stage, ends it ──┐ watch::Sender<Stage>
//!   └── worker (thread, current-thread runtime) × N ◄──────────┘
//!         └── Hub: budget, counts ◄── h3 (a driver for each socket) | tcp (a task for each connection)
//! ```
//!
//! Workers share nothing but the stage of the run and counters for people to look at; what they have counted is added up at
//! the end. In an open loop ([`Pace`]) a request is due at its moment whatever became of earlier ones, and the time from
//! that moment to the end of its response is measured beside the time from its sending.

mod alarm;
mod events;
mod failure;
mod h3;
mod http1;
mod http2;
mod hub;
mod latency;
mod pace;
mod plan;
mod report;
mod request;
mod run;
mod tally;
mod target;
mod tcp;
mod threshold;
mod tls;

pub use events::EventTally;
pub use failure::Failure;
pub use latency::Latency;
pub use plan::{Arrivals, Body, Events, Mode, Pace, Plan, Request, Version, Work};
pub use run::{Outcome, Progress, RunError, run};
pub use tally::{Kind, Quic, Tally};
pub use target::{Target, TargetError};
pub use threshold::{Baseline, NotABaseline, NotAThreshold, Threshold, Verdict};
pub use tls::{TlsError, Trust};
