//! HTTP/1.1: requests one behind the other, responses in their order.

mod response;

use std::{collections::VecDeque, ops::ControlFlow, time::Instant};

use bytes::{Bytes, BytesMut};

use self::response::{Reader, Step};
use super::{
    Failure, Plan,
    events::Listener,
    hub::{Next, Ticket},
    plan::Body,
    request,
    tcp::{self, ENOUGH, Work},
};

/// A request as it is written.
pub(super) struct Request {
    head: Bytes,
    body: Body,
    /// Its response has no content, whatever its head says.
    is_head: bool,
}

impl Request {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut head = BytesMut::new();
        let mut put = |parts: &[&str]| {
            parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
        };
        put(&[plan.request.method.as_str(), " ", &plan.target.path, " HTTP/1.1\r\n"]);
        let given = plan.request.headers.iter().find(|(name, _)| name == "host");
        put(&["host: ", given.map_or(&plan.target.authority, |(_, host)| host), "\r\n"]);
        for (name, value) in request::regular(plan) {
            put(&[&name, ": ", &value, "\r\n"]);
        }
        put(&["\r\n"]);
        Self {
            head: head.freeze(),
            body: plan.request.body.clone(),
            is_head: plan.request.method == http::Method::HEAD,
        }
    }
}

/// One connection.
pub(super) struct Session<'a> {
    request: &'a Request,
    /// Sent and not answered, the oldest first.
    waiting: VecDeque<Ticket>,
    reader: Reader,
    /// Listens to the response at the front, if it is a stream of events.
    listener: Option<Box<Listener>>,
    /// Content of the last request that is still to be sent.
    body_left: u64,
    sent: u64,
    is_useful: bool,
    /// No more requests: the server said so, or it has had its number.
    is_finishing: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            waiting: VecDeque::new(),
            reader: Reader::new(request.is_head),
            listener: None,
            body_left: 0,
            sent: 0,
            is_useful: false,
            is_finishing: false,
        }
    }

    fn send_body(&mut self, work: &mut Work<'_>) {
        while self.body_left > 0 && work.out.len() < ENOUGH {
            let piece = self.request.body.next(self.body_left);
            work.out.extend_from_slice(&piece);
            self.body_left -= piece.len() as u64;
            work.hub.tally.borrow_mut().uploaded += piece.len() as u64;
        }
    }

    /// The response at the front is whole.
    fn end_response(&mut self, work: &mut Work<'_>, status: u16, content: u64, is_last: bool) {
        self.listener = None;
        if let Some(ticket) = self.waiting.pop_front() {
            self.is_useful = true;
            work.hub.done(ticket, status, content, work.now);
        }
        // An answer before the end of its request: what follows would be read as the rest of that.
        let is_cut = self.body_left > 0 && self.waiting.is_empty();
        self.is_finishing |= is_last || is_cut;
        if is_cut {
            self.body_left = 0;
        }
    }
}

impl tcp::Session for Session<'_> {
    fn handle(&mut self, mut data: &[u8], work: &mut Work<'_>) -> Result<(), Failure> {
        while !data.is_empty() {
            let Some(ticket) = self.waiting.front_mut() else {
                return Err(Failure::Protocol("a response that nobody asked for".to_owned()));
            };
            work.hub.answered(ticket, work.now);
            if self.listener.is_none() {
                self.listener = work.hub.listener();
            }
            let (hub, now, listener) = (work.hub, work.now, &mut self.listener);
            let mut content = |content: &[u8]| {
                if let Some(listener) = listener {
                    listener.handle(content, ticket, hub, now);
                }
            };
            match self.reader.handle(&mut data, &mut content)? {
                Step::More => {}
                Step::Whole { status, content, is_last } => {
                    self.end_response(work, status, content, is_last);
                    if is_last {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, work: &mut Work<'_>) -> Option<Instant> {
        self.send_body(work);
        let mut next = None;
        while self.waiting.len() < work.hub.plan.streams
            && self.body_left == 0
            && !self.is_finishing
            && work.out.len() < ENOUGH
        {
            let schedule = work.schedule.as_deref_mut()?;
            let due = match work.hub.next(schedule, work.now) {
                Next::Now(due) => due,
                Next::At(at) => {
                    next = Some(at);
                    break;
                }
                Next::Nothing => break,
            };
            self.waiting.push_back(work.hub.sent(schedule, due, work.now));
            work.out.extend_from_slice(&self.request.head);
            self.body_left = self.request.body.len();
            self.send_body(work);
            self.sent += 1;
            self.is_finishing |= work.hub.plan.reconnect.is_some_and(|most| self.sent >= most);
        }
        let tally = &mut *work.hub.tally.borrow_mut();
        tally.streams_at_once = tally.streams_at_once.max(self.waiting.len() as u64);
        next
    }

    fn finish(&mut self, work: &mut Work<'_>) {
        match self.reader.finish() {
            Ok(Some((status, content))) => self.end_response(work, status, content, true),
            Ok(None) => {}
            Err(failure) => {
                if let Some(ticket) = self.waiting.pop_front() {
                    work.hub.failed(ticket, &failure, work.now);
                }
            }
        }
    }

    fn expire(&mut self, work: &mut Work<'_>) -> ControlFlow<()> {
        let mut is_late = false;
        while let Some(ticket) = self.waiting.front().filter(|it| work.hub.is_late(it, work.now)) {
            work.hub.failed(*ticket, &Failure::Timeout, work.now);
            self.waiting.pop_front();
            is_late = true;
        }
        // The response that did not come would be taken for that of the next request.
        if is_late { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    fn starved_since(&self) -> Option<Instant> {
        None
    }

    fn drain(&mut self) -> Vec<Ticket> {
        self.waiting.drain(..).collect()
    }

    fn is_finished(&self) -> bool {
        self.is_finishing && self.waiting.is_empty()
    }

    fn is_useful(&self) -> bool {
        self.is_useful
    }
}
