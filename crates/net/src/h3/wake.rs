//! Wakers of request tasks: from any thread, to the connection that owns the task.
//!
//! A waker puts its slot on its connection's list, and the connection's key on the worker's list, which wakes the
//! driver. While a connection runs, its own tasks only reach the first list: it looks there before it ends its turn.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use sterna_quic::ConnectionKey;

use crate::context::lock;

/// The connections of one worker that have something to do.
#[derive(Debug, Default)]
pub(crate) struct WakeQueue(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    keys: Vec<ConnectionKey>,
    driver: Option<Waker>,
}

impl WakeQueue {
    /// Moves the woken connections to `woken`; `cx` is woken for later ones.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, woken: &mut Vec<ConnectionKey>) {
        let mut queue = lock(&self.0);
        woken.append(&mut queue.keys);
        match &mut queue.driver {
            Some(driver) => driver.clone_from(cx.waker()),
            None => queue.driver = Some(cx.waker().clone()),
        }
    }

    fn push(&self, key: ConnectionKey) {
        let mut queue = lock(&self.0);
        queue.keys.push(key);
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// The tasks of one connection that have something to do.
#[derive(Debug)]
pub(crate) struct ConnectionWake {
    key: ConnectionKey,
    worker: Arc<WakeQueue>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<usize>,
    /// The connection runs, or its key is on the worker's list.
    expected: bool,
}

impl ConnectionWake {
    pub(crate) fn new(key: ConnectionKey, worker: Arc<WakeQueue>) -> Self {
        Self { key, worker, state: Mutex::default() }
    }

    /// The connection begins its turn.
    pub(crate) fn enter(&self) {
        lock(&self.state).expected = true;
    }

    /// Moves the woken slots to `ready`.
    pub(crate) fn take(&self, ready: &mut Vec<usize>) {
        ready.append(&mut lock(&self.state).ready);
    }

    /// The connection ends its turn; what was woken meanwhile and not taken gets another.
    pub(crate) fn leave(&self) {
        let mut state = lock(&self.state);
        state.expected = !state.ready.is_empty();
        let again = state.expected;
        drop(state);
        if again {
            self.worker.push(self.key);
        }
    }

    fn wake(&self, slot: usize) {
        let mut state = lock(&self.state);
        state.ready.push(slot);
        let first = !std::mem::replace(&mut state.expected, true);
        drop(state);
        if first {
            self.worker.push(self.key);
        }
    }
}

/// The waker of one slot; it lives as long as the connection and serves every request that the slot ever holds. A
/// wake that comes late, for a request that has gone, costs the next one a look.
#[derive(Debug)]
pub(crate) struct SlotWaker {
    connection: Arc<ConnectionWake>,
    slot: usize,
    /// On the connection's list already: the list never grows beyond the slots.
    queued: AtomicBool,
}

impl SlotWaker {
    pub(crate) fn new(connection: Arc<ConnectionWake>, slot: usize) -> Self {
        Self { connection, slot, queued: AtomicBool::new(false) }
    }

    /// The slot was taken from the list.
    pub(crate) fn rearm(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.connection.wake(self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn world() -> (Arc<WakeQueue>, Arc<ConnectionWake>, Arc<Count>, Waker) {
        let queue = Arc::new(WakeQueue::default());
        let connection = Arc::new(ConnectionWake::new(ConnectionKey(7), queue.clone()));
        let count = Arc::new(Count::default());
        let driver = Waker::from(count.clone());
        queue.poll(&mut Context::from_waker(&driver), &mut Vec::new());
        (queue, connection, count, driver)
    }

    #[test]
    fn two_wakes_of_one_slot_are_one_turn() {
        let (queue, connection, count, driver) = world();
        let slot = Arc::new(SlotWaker::new(connection.clone(), 3));
        slot.wake_by_ref();
        slot.wake_by_ref();
        let (mut woken, mut ready) = (Vec::new(), Vec::new());
        queue.poll(&mut Context::from_waker(&driver), &mut woken);
        connection.enter();
        connection.take(&mut ready);
        connection.leave();
        assert_eq!((woken, ready), (vec![ConnectionKey(7)], vec![3]));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn wake_during_the_turn_that_is_not_taken_gets_another_turn() {
        let (queue, connection, count, driver) = world();
        let slot = Arc::new(SlotWaker::new(connection.clone(), 0));
        connection.enter();
        slot.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "the connection runs already");
        connection.leave();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let mut woken = Vec::new();
        queue.poll(&mut Context::from_waker(&driver), &mut woken);
        assert_eq!(woken, [ConnectionKey(7)]);
    }

    #[test]
    fn rearmed_slot_can_be_woken_again() {
        let (_, connection, _, _) = world();
        let slot = Arc::new(SlotWaker::new(connection.clone(), 1));
        let mut ready = Vec::new();
        slot.wake_by_ref();
        connection.take(&mut ready);
        slot.wake_by_ref();
        connection.take(&mut ready);
        assert_eq!(ready, [1], "queued until it is rearmed");
        slot.rearm();
        slot.wake_by_ref();
        connection.take(&mut ready);
        assert_eq!(ready, [1, 1]);
    }
}
