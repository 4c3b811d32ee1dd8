//! Requests at once on an HTTP/2 connection whose client was told that it may have more: those beyond stand in line.
//!
//! hyper says SETTINGS once, when a connection opens, and holds the client to what they said. A limit that a reload has lowered since
//! is held here; one that it has raised is for the connections that open from then on.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

use super::activity::Activity;

/// The requests of a connection that are being answered.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    inside: Cell<u32>,
    waiting: Cell<u32>,
    room: Notify,
}

/// A place among them; dropping it frees the place.
pub(super) struct Place(Rc<Activity>);

impl Place {
    /// Waits for one.
    pub(super) async fn of(activity: Rc<Activity>) -> Self {
        let crowd = activity.crowd();
        while crowd.inside.get() >= activity.config().max_http2_streams {
            let _waiting = Waiting::new(crowd);
            crowd.room.notified().await;
        }
        crowd.inside.set(crowd.inside.get() + 1);
        Self(activity)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let crowd = self.0.crowd();
        crowd.inside.set(crowd.inside.get() - 1);
        if crowd.waiting.get() > 0 {
            crowd.room.notify_one();
        }
    }
}

impl Crowd {
    /// The limit is another one.
    pub(super) fn look_again(&self) {
        self.room.notify_waiters();
    }
}

/// One in line.
struct Waiting<'a>(&'a Crowd);

impl<'a> Waiting<'a> {
    fn new(crowd: &'a Crowd) -> Self {
        crowd.waiting.set(crowd.waiting.get() + 1);
        Self(crowd)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}
