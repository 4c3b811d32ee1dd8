//! Datagrams that reached the wrong worker, on their way to the right one.
//!
//! A bounded queue for each worker: a full one drops, as a full socket would, and the sender
//! counts it. Waking is the receiver's waker, so the owner's driver sleeps until something comes.

use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::wire::Datagram;

/// One worker's inbox, and the way to the others'.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inbox: mpsc::Receiver<Datagram>,
    workers: Vec<mpsc::Sender<Datagram>>,
}

impl Mailbox {
    /// The mailboxes of `workers` workers, each with room for `capacity` datagrams.
    pub(crate) fn group(workers: usize, capacity: usize) -> Vec<Self> {
        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| mpsc::channel(capacity)).unzip();
        inboxes.into_iter().map(|inbox| Self { inbox, workers: senders.clone() }).collect()
    }

    /// Hands a datagram to a sibling; false when its mailbox is full or it is gone.
    pub(crate) fn forward(&self, worker: u8, datagram: Datagram) -> bool {
        let sibling = self.workers.get(usize::from(worker));
        sibling.is_some_and(|sibling| sibling.try_send(datagram).is_ok())
    }

    /// Takes what has come, at most one mailbox full, and leaves a waker for more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, datagrams: &mut Vec<Datagram>) {
        while datagrams.len() < self.inbox.max_capacity() {
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => datagrams.push(datagram),
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::BytesMut;

    use super::*;

    fn datagram(byte: u8) -> Datagram {
        let remote = ([127, 0, 0, 1], 1).into();
        Datagram { remote, local_ip: None, ecn: 0, data: BytesMut::from(&[byte][..]) }
    }

    #[test]
    fn a_full_mailbox_drops_and_takes_again_once_it_is_emptied() {
        let mut group = Mailbox::group(2, 3);
        let mut second = group.pop().unwrap();
        let first = group.pop().unwrap();
        for byte in 0..3 {
            assert!(first.forward(1, datagram(byte)));
        }
        assert!(!first.forward(1, datagram(3)), "one past the bound");

        let (mut cx, mut got) = (Context::from_waker(Waker::noop()), Vec::new());
        second.poll(&mut cx, &mut got);
        assert_eq!(got.iter().map(|datagram| datagram.data[0]).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(first.forward(1, datagram(4)));
    }

    #[test]
    fn a_worker_that_does_not_exist_takes_nothing() {
        let group = Mailbox::group(2, 3);
        assert!(!group[0].forward(2, datagram(0)));
    }
}
