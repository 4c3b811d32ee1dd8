//! What the file says about requests at once.

use std::time::Duration;

use serde::Serialize;

use crate::config::problem::Problems;
use crate::config::setting::{Setting, section, type_mistake};
use crate::config::shape::Shape;
use crate::config::units::Span;
use crate::config::value::{Kind, Value};
use crate::middleware::{bandwidth, in_flight, rate_limit};

section! {
    /// How many requests are in work at once, where a number alone is not enough.
    pub struct InFlightOptions {
        /// Requests at once, each until its response has been sent.
        pub max: u32,
        /// Requests that wait for a place; beyond it the answer is 503 at once.
        pub queue: usize = QUEUE,
        /// Longest time that one waits; then the answer is 503.
        pub wait: Span = WAIT,
    }
}

/// How many requests are in work at once: a number, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct InFlight(pub InFlightOptions);

impl Setting for InFlight {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => InFlightOptions::read(value, problems).map(Self),
            Kind::Integer(_) => {
                let max = u32::read(value, problems)?;
                let at = Default::default();
                Some(Self(InFlightOptions { max, queue: QUEUE, wait: WAIT, at }))
            }
            _ => type_mistake(value, "an integer or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![u32::shape(), InFlightOptions::shape()])
    }
}

impl InFlight {
    pub(in crate::config) fn check(&self, problems: &mut Problems) {
        let InFlightOptions { max: _, queue, wait, at } = &self.0;
        if *queue == 0 && *wait != WAIT {
            problems.contradiction(
                at.key("wait"),
                "nobody waits: `queue` is 0",
                "leave one of the two out",
            );
        }
        if *queue > 0 && wait.0.is_zero() {
            problems.contradiction(
                at.key("wait"),
                "no time at all: nobody in the queue would ever get a place",
                "write a duration above zero, or `queue = 0`",
            );
        }
    }

    /// The middleware, with places that belong to `scope`.
    pub(in crate::config) fn build(&self, scope: &str) -> in_flight::Config {
        let InFlightOptions { max, queue, wait, at: _ } = &self.0;
        let max = usize::try_from(*max).unwrap_or(usize::MAX);
        let limit = in_flight::Limit { max, queue: *queue, wait: wait.0 };
        in_flight::Config { scope: scope.to_owned(), limit }
    }
}

/// Requests that wait, and for how long, without another word.
const QUEUE: usize = 100;
const WAIT: Span = Span(Duration::from_secs(1));

crate::config::setting::word!(
    rate_limit::Limit,
    "rate limit",
    ["100/s per ip, burst 200", "5/m per header x-api-key", "1000/s global"]
);
crate::config::setting::word!(rate_limit::Frequency, "frequency", ["20/s", "20/s, burst 40"]);
crate::config::setting::word!(bandwidth::Limit, "bandwidth", ["2MiB/s", "500KB/s per ip"]);
