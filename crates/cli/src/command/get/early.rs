//! `--0rtt`: a request in early data (RFC 8470), which needs a ticket of an earlier connection.
//!
//! No ticket outlives the process, so the earlier connection is made for it: it carries no request.

use std::time::{Duration, Instant};

use sterna_net::client::{Client, EarlyData, PoolConfig};

use super::GetError;
use super::request::Ask;

/// A pool that gives connections up soon: the second one is to be made anew.
pub(super) fn pool() -> PoolConfig {
    PoolConfig { idle_timeout: TICKET_WITHIN, ..PoolConfig::default() }
}

/// Connects, and waits until that connection has gone; its ticket stays.
pub(super) async fn take_ticket(client: &Client, ask: &Ask) -> Result<(), GetError> {
    let uri = ask.to_request()?.into_parts().0.uri;
    client.warm_up(&uri).await?;
    let until = Instant::now() + GONE_WITHIN;
    while client.counters().connections > 0 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// What became of the early data, in words.
pub(super) const fn verdict(early_data: EarlyData) -> &'static str {
    match early_data {
        EarlyData::NotOffered => {
            "0-RTT: not offered: the server gave no ticket that allows it, or its handshake was \
             complete before the request was ready"
        }
        EarlyData::Accepted => "0-RTT: accepted",
        EarlyData::Rejected => {
            "0-RTT: rejected, and the request was sent again after the handshake"
        }
    }
}

/// Servers send their tickets at the end of the handshake: a round trip, of the longest that there are, and some patience.
const TICKET_WITHIN: Duration = Duration::from_secs(1);

/// When the first connection is not waited for any more.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks at whether it is gone.
const LOOK: Duration = Duration::from_millis(20);
