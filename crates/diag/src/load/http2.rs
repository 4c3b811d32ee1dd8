//! HTTP/2: one connection, framed by hand, because a load generator needs little of it (RFC 9113).
//!
//! Requests are encoded once ([`Request`]), frames are counted as they come ([`frame::Reader`]), windows are so large that
//! they are seldom told of. What the server may do to end a request is all here: RST_STREAM, GOAWAY, its limit of streams.

mod frame;
mod hpack;

use std::{ops::ControlFlow, time::Instant};

use bytes::{BufMut, BytesMut};
use rustc_hash::FxHashMap;

pub(super) use self::hpack::Request;
use self::{
    frame::{Frame, Reader},
    hpack::Form,
};
use super::{
    Failure,
    events::Listener,
    hub::{Next, Ticket},
    tcp::{self, ENOUGH, Work},
};

/// One connection.
pub(super) struct Session<'a> {
    request: &'a Request,
    reader: Reader,
    /// SETTINGS of the server have come.
    is_open: bool,
    form: Form,
    requests: FxHashMap<u32, InFlight>,
    next_id: u32,
    peer: Peer,
    /// Content received since the connection's window was last enlarged.
    unacknowledged: u64,
    /// Streams with content left to be sent, and room for it.
    uploading: std::collections::VecDeque<u32>,
    sent: u64,
    is_useful: bool,
    is_limited: bool,
    /// Since when the server allows nothing, and nothing is under way.
    starved_since: Option<Instant>,
    is_finishing: bool,
}

/// What the server allows.
struct Peer {
    streams: u32,
    stream_window: i64,
    window: i64,
    frame: usize,
}

struct InFlight {
    ticket: Ticket,
    /// Of the final head, once it has come.
    status: Option<u16>,
    content: u64,
    /// Content since the stream's window was last enlarged.
    unacknowledged: u64,
    body_left: u64,
    window: i64,
    /// It is among those that upload.
    is_queued: bool,
    listener: Option<Box<Listener>>,
    /// What the head says of the length, if responses are checked.
    promised: Option<u64>,
}

impl InFlight {
    /// It can upload again, and has to be entered among those that do; once, however often it is asked.
    fn wants_queue(&mut self) -> bool {
        let is_wanted = !self.is_queued && self.window > 0 && self.body_left > 0;
        self.is_queued |= is_wanted;
        is_wanted
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            reader: Reader::default(),
            is_open: false,
            form: request.form(),
            requests: FxHashMap::default(),
            next_id: 0,
            peer: Peer {
                streams: u32::MAX,
                stream_window: DEFAULT_WINDOW,
                window: DEFAULT_WINDOW,
                frame: frame::LARGEST,
            },
            unacknowledged: 0,
            uploading: std::collections::VecDeque::new(),
            sent: 0,
            is_useful: false,
            is_limited: false,
            starved_since: None,
            is_finishing: false,
        }
    }

    /// Sends requests as long as any are due and the server allows streams.
    fn send_due(&mut self, work: &mut Work<'_>) -> Option<Instant> {
        if self.is_finishing {
            return None;
        }
        if !self.is_open {
            self.starved_since.get_or_insert(work.now);
            return None;
        }
        self.starved_since.take_if(|_| !self.requests.is_empty());
        let most = work.hub.plan.streams.min(self.peer.streams as usize);
        while self.requests.len() < work.hub.plan.streams && work.out.len() < ENOUGH {
            let schedule = work.schedule.as_deref_mut()?;
            let due = match work.hub.next(schedule, work.now) {
                Next::Now(due) => due,
                Next::At(at) => return Some(at),
                Next::Nothing => return None,
            };
            if self.requests.len() >= most {
                if !std::mem::replace(&mut self.is_limited, true) {
                    work.hub.tally.borrow_mut().limit_waits += 1;
                }
                if self.requests.is_empty() {
                    self.starved_since.get_or_insert(work.now);
                }
                return None;
            }
            self.is_limited = false;
            self.starved_since = None;
            let ticket = work.hub.sent(schedule, due, work.now);
            self.send_request(ticket, work);
            self.sent += 1;
            if self.next_id > LAST_ID || work.hub.plan.reconnect.is_some_and(|n| self.sent >= n) {
                self.is_finishing = true;
                return None;
            }
        }
        None
    }

    fn send_request(&mut self, ticket: Ticket, work: &mut Work<'_>) {
        let id = self.next_id;
        self.next_id += 2;
        let body_left = work.hub.plan.request.body.len();
        let section = self.request.section(&mut self.form);
        frame::put_headers(work.out, id, section, self.peer.frame, body_left == 0);
        let window = self.peer.stream_window;
        let request = InFlight {
            ticket,
            status: None,
            content: 0,
            unacknowledged: 0,
            body_left,
            window,
            is_queued: body_left > 0,
            listener: work.hub.listener(),
            promised: None,
        };
        self.requests.insert(id, request);
        if body_left > 0 {
            self.uploading.push_back(id);
        }
    }

    /// Sends content, a frame of each stream in turn, as far as the windows allow.
    fn send_content(&mut self, work: &mut Work<'_>) {
        while work.out.len() < ENOUGH && self.peer.window > 0 {
            let Some(id) = self.uploading.pop_front() else { return };
            let Some(request) = self.requests.get_mut(&id) else { continue };
            let window = usize::try_from(request.window.min(self.peer.window)).unwrap_or(0);
            if window == 0 {
                // Whatever enlarges it enters it again.
                request.is_queued = false;
                continue;
            }
            let mut piece = work.hub.plan.request.body.next(request.body_left);
            piece.truncate(window.min(self.peer.frame));
            let length = piece.len() as u64;
            request.body_left -= length;
            request.window -= piece.len() as i64;
            self.peer.window -= piece.len() as i64;
            work.hub.tally.borrow_mut().uploaded += length;
            let is_last = request.body_left == 0;
            frame::put_header(work.out, piece.len(), frame::DATA, u8::from(is_last), id);
            work.out.extend_from_slice(&piece);
            if !is_last {
                self.uploading.push_back(id);
            }
        }
    }

    fn on_frame(&mut self, frame: Frame<'_>, work: &mut Work<'_>) -> Result<(), Failure> {
        match frame {
            Frame::Data { id, content, length, is_last } => {
                self.on_data(id, content, length, is_last, work);
            }
            Frame::Headers { id, section, is_last } => {
                return self.on_headers(id, section, is_last, work);
            }
            Frame::Reset { id, code } => {
                if let Some(request) = self.requests.remove(&id) {
                    let failure = match code {
                        REFUSED_STREAM => Failure::RefusedStream,
                        code => Failure::Reset(code.into()),
                    };
                    work.hub.failed(request.ticket, &failure, work.now);
                }
            }
            Frame::Settings { settings } => {
                settings.for_each(|(name, value)| self.on_setting(name, value));
                frame::put_header(work.out, 0, frame::SETTINGS, frame::ACK, 0);
                self.is_open = true;
            }
            Frame::Ping { data } => {
                frame::put_header(work.out, data.len(), frame::PING, frame::ACK, 0);
                work.out.extend_from_slice(&data);
            }
            Frame::Goaway { last, code } => self.on_goaway(last, code, work),
            Frame::WindowUpdate { id: 0, increment } => self.peer.window += i64::from(increment),
            Frame::WindowUpdate { id, increment } => {
                if let Some(request) = self.requests.get_mut(&id) {
                    request.window += i64::from(increment);
                    if request.wants_queue() {
                        self.uploading.push_back(id);
                    }
                }
            }
            Frame::Other => {}
        }
        Ok(())
    }

    fn on_setting(&mut self, name: u16, value: u32) {
        match name {
            0x1 if value < hpack::DEFAULT_TABLE => self.form = Form::Plain,
            0x3 => self.peer.streams = value,
            0x4 => {
                let value = i64::from(value);
                let grown = value - self.peer.stream_window;
                self.peer.stream_window = value;
                let uploading = &mut self.uploading;
                self.requests.iter_mut().for_each(|(id, request)| {
                    request.window += grown;
                    if request.wants_queue() {
                        uploading.push_back(*id);
                    }
                });
            }
            0x5 => self.peer.frame = (value as usize).clamp(frame::LARGEST, ENOUGH),
            _ => {}
        }
    }

    fn on_data(
        &mut self,
        id: u32,
        content: &[u8],
        length: u32,
        is_last: bool,
        work: &mut Work<'_>,
    ) {
        self.unacknowledged += u64::from(length);
        if self.unacknowledged > WINDOW / 2 {
            frame::put_window_update(work.out, 0, self.unacknowledged);
            self.unacknowledged = 0;
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        work.hub.answered(&mut request.ticket, work.now);
        request.content += content.len() as u64;
        if let Some(listener) = &mut request.listener {
            listener.handle(content, &request.ticket, work.hub, work.now);
        }
        request.unacknowledged += u64::from(length);
        if is_last {
            self.end(id, work);
        } else if request.unacknowledged > WINDOW / 2 {
            frame::put_window_update(work.out, id, request.unacknowledged);
            request.unacknowledged = 0;
        }
    }

    fn on_headers(
        &mut self,
        id: u32,
        section: &[u8],
        is_last: bool,
        work: &mut Work<'_>,
    ) -> Result<(), Failure> {
        let Some(request) = self.requests.get_mut(&id) else {
            // Of a request that was given up. Its section needs no decoding, for there is no table to keep in step.
            return Ok(());
        };
        work.hub.answered(&mut request.ticket, work.now);
        if request.status.is_none() {
            let status = hpack::status(section)?;
            request.status = (status >= 200).then_some(status);
            if work.hub.plan.verify {
                request.promised = hpack::content_length(section)?;
            }
        } else if work.hub.plan.verify {
            hpack::content_length(section)?;
        }
        if is_last {
            self.end(id, work);
        }
        Ok(())
    }

    /// The stream's response has ended.
    fn end(&mut self, id: u32, work: &mut Work<'_>) {
        let Some(request) = self.requests.remove(&id) else { return };
        if request.body_left > 0 {
            // Answered before all was sent: the rest is of no use.
            frame::put_reset(work.out, id, CANCEL);
        }
        let has_content = work.hub.plan.request.method != http::Method::HEAD;
        match request.status {
            Some(status)
                if has_content
                    && !matches!(status, 204 | 304)
                    && request.promised.is_some_and(|length| length != request.content) =>
            {
                let failure = Failure::Truncated("content is not of content-length");
                work.hub.failed(request.ticket, &failure, work.now);
            }
            Some(status) => {
                self.is_useful = true;
                work.hub.done(request.ticket, status, request.content, work.now);
            }
            None => {
                let failure = Failure::Truncated("no response");
                work.hub.failed(request.ticket, &failure, work.now);
            }
        }
    }

    /// The server takes no requests above `last`.
    fn on_goaway(&mut self, last: u32, code: u32, work: &mut Work<'_>) {
        work.hub.tally.borrow_mut().goaways += 1;
        self.is_finishing = true;
        let failure = match code {
            0 => Failure::Goaway,
            code => Failure::Closed { code: code.into(), reason: "GOAWAY".to_owned() },
        };
        for (_, request) in self.requests.extract_if(|id, _| *id > last) {
            work.hub.failed(request.ticket, &failure, work.now);
        }
    }
}

impl tcp::Session for Session<'_> {
    fn handle(&mut self, data: &[u8], work: &mut Work<'_>) -> Result<(), Failure> {
        let mut reader = std::mem::take(&mut self.reader);
        let outcome = reader.handle(data, &mut |frame| self.on_frame(frame, work));
        self.reader = reader;
        outcome
    }

    fn send(&mut self, work: &mut Work<'_>) -> Option<Instant> {
        if self.next_id == 0 {
            self.next_id = 1;
            put_preface(work.out);
        }
        let next = self.send_due(work);
        self.send_content(work);
        let tally = &mut *work.hub.tally.borrow_mut();
        tally.streams_at_once = tally.streams_at_once.max(self.requests.len() as u64);
        next
    }

    fn finish(&mut self, _: &mut Work<'_>) {}

    fn expire(&mut self, work: &mut Work<'_>) -> ControlFlow<()> {
        let (hub, now) = (work.hub, work.now);
        for (id, request) in self.requests.extract_if(|_, it| hub.is_late(&it.ticket, now)) {
            frame::put_reset(work.out, id, CANCEL);
            hub.failed(request.ticket, &Failure::Timeout, now);
        }
        ControlFlow::Continue(())
    }

    fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    fn starved_since(&self) -> Option<Instant> {
        self.starved_since
    }

    fn drain(&mut self) -> Vec<Ticket> {
        self.requests.drain().map(|(_, request)| request.ticket).collect()
    }

    fn is_finished(&self) -> bool {
        self.is_finishing && self.requests.is_empty()
    }

    fn is_useful(&self) -> bool {
        self.is_useful
    }
}

/// The preface (RFC 9113 §3.4), settings, and a connection window as large as a stream's.
fn put_preface(out: &mut BytesMut) {
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    // No table for responses, no push, and the window of each stream.
    let settings = [(0x1, 0), (0x2, 0), (0x4, WINDOW as u32)];
    frame::put_header(out, settings.len() * 6, frame::SETTINGS, 0, 0);
    for (name, value) in settings {
        out.put_u16(name);
        out.put_u32(value);
    }
    frame::put_window_update(out, 0, WINDOW - DEFAULT_WINDOW as u64);
}

/// Window of the connection and of each stream, in bytes: nothing is held back here, since nothing is kept.
const WINDOW: u64 = 1 << 30;

/// RFC 9113 §6.9.2.
const DEFAULT_WINDOW: i64 = 65_535;

/// Error codes (RFC 9113 §7).
const REFUSED_STREAM: u32 = 0x7;
const CANCEL: u32 = 0x8;

/// The last stream that a client can open, but for one.
const LAST_ID: u32 = (1 << 31) - 3;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::load::{
        Body, Plan, Target, Work as Amount,
        hub::{Hub, Stage},
        pace::Schedule,
        tcp::Session as _,
    };

    #[test]
    fn windows_that_open_and_close_without_end_queue_an_upload_once() {
        let target = Target::resolve("http://127.0.0.1:1/", None).unwrap();
        let mut plan = Plan::new(target, Amount::Requests(1));
        plan.request.body = Body::zeros(1 << 20);
        let request = Request::new(&plan);
        let now = Instant::now();
        let (_stages, stage) = watch::channel(Stage::Running { start: now, measured: now });
        let hub = Hub::new(Arc::new(plan), 1, 1, Arc::default(), stage);
        hub.update_stage();
        let (mut out, mut schedule) = (BytesMut::new(), Schedule::Closed);
        let mut work = Work { hub: &hub, schedule: Some(&mut schedule), out: &mut out, now };
        let mut session = Session::new(&request);
        session.is_open = true;
        session.send(&mut work);
        assert_eq!((session.requests.len(), session.uploading.len()), (1, 1));

        // The connection's window is used up, so that nothing leaves the queue.
        assert_eq!(session.peer.window, 0);
        for _ in 0..1000 {
            session.on_setting(0x4, 0);
            session.on_setting(0x4, 1 << 20);
            session.on_frame(Frame::WindowUpdate { id: 1, increment: 1 }, &mut work).unwrap();
        }
        assert_eq!(session.uploading.len(), 1);
    }
}
