//! Where a copy of requests goes.

use std::time::Duration;

use serde::Serialize;

use crate::config::canary::OfHundred;
use crate::config::problem::Problems;
use crate::config::proxy::{Proxy, Pseudonym, Reaching};
use crate::config::setting::{Setting, Several, section, type_mistake};
use crate::config::shape::Shape;
use crate::config::units::{ByteSize, Span};
use crate::config::upstream::{Around, Balancing, Member};
use crate::config::value::{Kind, Value};
use crate::middleware::mirror;

section! {
    /// Where a copy of requests goes, where an address alone is not enough.
    pub struct MirrorOptions {
        /// The backends: an address, a list of them, or a table.
        pub proxy: Proxy,
        /// How many of a hundred requests are copied, from 0 to 100.
        pub percent: OfHundred = OfHundred(100),
        /// How far behind the content of a copy may be before the copy is given up.
        pub buffer: ByteSize = ByteSize(256 << 10),
        /// How long a copy may take.
        pub timeout: Span = Span(Duration::from_secs(30)),
    }
}

/// Where a copy of requests goes: an address, a list of them, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Mirror(pub MirrorOptions);

impl Setting for Mirror {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => MirrorOptions::read(value, problems).map(Self),
            Kind::Text(_) | Kind::List(_) => {
                let proxy = Proxy::read(value, problems)?;
                let (percent, buffer) = (OfHundred(100), ByteSize(256 << 10));
                let timeout = Span(Duration::from_secs(30));
                let at = Default::default();
                Some(Self(MirrorOptions { proxy, percent, buffer, timeout, at }))
            }
            _ => type_mistake(value, "`false`, an address, a list or a table", problems),
        }
    }

    fn shape() -> Shape {
        Shape::Either(vec![Several::<Member>::shape(), MirrorOptions::shape()])
    }
}

impl Mirror {
    /// What cannot be had of the system is added to `problems`.
    pub(super) fn build(
        &self,
        name: &Pseudonym,
        problems: &mut Problems,
    ) -> Option<mirror::Config> {
        let MirrorOptions { proxy, percent, buffer, timeout, at: _ } = &self.0;
        let balancing = Balancing::missing()?;
        let around = Around(&[&balancing]);
        let mut proxy = proxy.build(name, &Reaching::missing()?, around, problems)?;
        // A copy that failed is none that has to arrive.
        proxy.retries = 0;
        let (percent, buffer, timeout) = (percent.0, buffer.as_len(), timeout.0);
        Some(mirror::Config { proxy, percent, buffer, timeout })
    }
}
