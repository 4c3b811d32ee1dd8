//! A reload: an open connection goes by the limits and time-outs of now, as far as they can change on it.
//!
//! What they cannot change is settled by the handshake: the window of a stream, the idle time-out, the keep-alive and what SETTINGS
//! said.

use std::{sync::Arc, time::Instant};

use sterna_quic::Limits;

use super::{Connection, Phase};
use crate::{server::Config, service::HttpService};

impl<S: HttpService> Connection<S> {
    /// Goes by another configuration, if there is one since the last turn.
    pub(super) fn follow(&mut self, quic: &mut sterna_quic::Connection, now: Instant) {
        let Some(config) = self.dispatch.config_after(&self.config) else { return };
        let before = std::mem::replace(&mut self.config, config);
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.stream_limit = stream_limit(self.stream_limit, &before, &self.config);
        let max_bidi_streams = self.stream_limit;
        quic.set_limits(Limits { max_bidi_streams, ..self.config.quic.limits() });
        self.budget.resize(self.config.upload_buffer, self.config.upload_buffer_total);
        // A time-out may be over earlier than anybody looks.
        self.deadline = self.deadline.map(|_| now);
    }
}

/// Requests at once of a connection that may have `now`: what it has grown to stays, within what it may grow to.
fn stream_limit(now: u64, before: &Arc<Config>, after: &Arc<Config>) -> u64 {
    let least = after.quic.max_bidi_streams;
    let has_grown = now > before.quic.max_bidi_streams;
    let wanted = if has_grown { now.max(least) } else { least };
    wanted.min(after.max_http3_streams.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config((least, most): (u64, u64)) -> Arc<Config> {
        let mut config = Config { max_http3_streams: most, ..Config::default() };
        config.quic.max_bidi_streams = least;
        Arc::new(config)
    }

    #[test]
    fn a_connection_keeps_what_it_has_grown_to_within_what_it_may_grow_to() {
        for (now, before, after, expected) in [
            // As it began.
            (100, (100, 1000), (200, 1000), 200),
            (100, (100, 1000), (10, 1000), 10),
            (100, (100, 1000), (100, 100), 100),
            // Grown.
            (400, (100, 1000), (200, 1000), 400),
            (400, (100, 1000), (10, 1000), 400),
            (400, (100, 1000), (500, 1000), 500),
            (400, (100, 1000), (100, 250), 250),
            (400, (100, 1000), (100, 100), 100),
        ] {
            let granted = stream_limit(now, &config(before), &config(after));
            assert_eq!(granted, expected, "{now} of {before:?}, then {after:?}");
        }
    }
}
