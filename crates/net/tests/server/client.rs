//! A client for HTTP/3 tests, on the client roles of sterna-quic and sterna-h3.
//!
//! [`App`] runs on any endpoint, that of a real socket or that of the simulated network. A test drives it through
//! [`Client`]: it queues actions and looks at what has come so far. It may misbehave where a test needs that.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use sterna_h3::{Command, Event, Priority, RequestHead, ResponseHead, Role};
use sterna_quic::{Application, CloseReason, ConnectionKey, Dir, Read, Write};

/// Names one exchange of a [`Client`].
pub(crate) type Ticket = usize;

/// What came of a request so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) interim: Vec<ResponseHead>,
    pub(crate) head: Option<ResponseHead>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The request has got a stream.
    pub(crate) sent: bool,
    /// The response is complete and valid.
    pub(crate) finished: bool,
    /// The server reset the response.
    pub(crate) reset: Option<u64>,
    /// The server asked to stop the request.
    pub(crate) stopped: Option<u64>,
    /// The response broke a rule.
    pub(crate) misbehaved: Option<String>,
    /// Bytes of the request that the transport has not taken.
    pub(crate) unsent: usize,
    /// When the response was complete, as a count of those that were before.
    pub(crate) order: usize,
    /// When it was over, from the connection's start.
    pub(crate) over_at: Option<Duration>,
}

impl Exchange {
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.head.as_ref().map(|head| head.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.as_ref()?.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.finished || self.reset.is_some() || self.misbehaved.is_some()
    }
}

/// What a test wants done.
#[derive(Debug)]
pub(crate) enum Action {
    Request {
        ticket: Ticket,
        head: Box<RequestHead>,
        fin: bool,
    },
    Data {
        ticket: Ticket,
        data: Bytes,
        fin: bool,
    },
    Trailers {
        ticket: Ticket,
        trailers: HeaderMap,
    },
    /// RESET_STREAM for the request and STOP_SENDING for the response.
    Cancel {
        ticket: Ticket,
        code: u64,
    },
    /// RESET_STREAM alone.
    ResetUpload {
        ticket: Ticket,
        code: u64,
    },
    /// Bytes on a new stream that no HTTP/3 library made.
    Raw {
        ticket: Ticket,
        data: Bytes,
        fin: bool,
    },
    Reprioritise {
        ticket: Ticket,
        priority: Priority,
    },
    Close {
        code: u64,
    },
}

/// What a test and the connection share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) goaways: Vec<u64>,
    pub(crate) connected: bool,
    pub(crate) closed: Option<CloseReason>,
    /// The server's SETTINGS arrived.
    pub(crate) settings: bool,
    /// The server's unidirectional streams are not read: it gets no more credit for them.
    pub(crate) deaf: bool,
    actions: VecDeque<Action>,
    /// Responses that are not read.
    paused: Vec<Ticket>,
    /// Those of them from which one piece is read.
    sips: Vec<Ticket>,
    completed: usize,
    started: Option<Instant>,
    now: Option<Instant>,
    key: Option<ConnectionKey>,
    driver: Option<Waker>,
    test: Option<Waker>,
}

/// The test's end.
#[derive(Clone, Default)]
pub(crate) struct Client(Rc<RefCell<Shared>>);

impl Client {
    /// The application for an endpoint.
    pub(crate) fn app(&self) -> App {
        App(self.0.clone())
    }

    pub(crate) fn shared(&self) -> std::cell::RefMut<'_, Shared> {
        self.0.borrow_mut()
    }

    pub(crate) fn act(&self, action: Action) {
        let mut shared = self.0.borrow_mut();
        shared.actions.push_back(action);
        if let Some(driver) = shared.driver.take() {
            driver.wake();
        }
    }

    /// Starts a request; `fin` when it has no content.
    pub(crate) fn request(&self, head: RequestHead, fin: bool) -> Ticket {
        let ticket = self.ticket();
        self.act(Action::Request { ticket, head: Box::new(head), fin });
        ticket
    }

    pub(crate) fn raw(&self, data: impl Into<Bytes>, fin: bool) -> Ticket {
        let ticket = self.ticket();
        self.act(Action::Raw { ticket, data: data.into(), fin });
        ticket
    }

    pub(crate) fn start_get(&self, path: &str) -> Ticket {
        self.request(head(Method::GET, path), true)
    }

    pub(crate) fn start_post(&self, path: &str) -> Ticket {
        self.request(head(Method::POST, path), false)
    }

    pub(crate) fn data(&self, ticket: Ticket, data: impl Into<Bytes>, fin: bool) {
        self.act(Action::Data { ticket, data: data.into(), fin });
    }

    pub(crate) fn pause(&self, ticket: Ticket) {
        self.0.borrow_mut().paused.push(ticket);
    }

    pub(crate) fn resume(&self, ticket: Ticket) {
        let mut shared = self.0.borrow_mut();
        shared.paused.retain(|paused| *paused != ticket);
        if let Some(driver) = shared.driver.take() {
            driver.wake();
        }
    }

    /// Reads one piece of a response that is paused: how much is taken does not depend on how fast this machine is.
    pub(crate) fn sip(&self, ticket: Ticket) {
        let mut shared = self.0.borrow_mut();
        shared.sips.push(ticket);
        if let Some(driver) = shared.driver.take() {
            driver.wake();
        }
    }

    pub(crate) fn exchange(&self, ticket: Ticket) -> Exchange {
        self.0.borrow().exchanges[ticket].clone()
    }

    /// Waits until `look` gives something.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&Shared) -> Option<T>) -> T {
        std::future::poll_fn(|cx| {
            let mut shared = self.0.borrow_mut();
            match look(&shared) {
                Some(found) => std::task::Poll::Ready(found),
                None => {
                    shared.test = Some(cx.waker().clone());
                    std::task::Poll::Pending
                }
            }
        })
        .await
    }

    pub(crate) async fn over(&self, ticket: Ticket) -> Exchange {
        self.until(|shared| {
            let exchange = &shared.exchanges[ticket];
            (exchange.is_over() || shared.closed.is_some()).then(|| exchange.clone())
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Exchange {
        self.over(self.start_get(path)).await
    }

    pub(crate) async fn post(&self, path: &str, data: impl Into<Bytes>) -> Exchange {
        let ticket = self.start_post(path);
        self.data(ticket, data, true);
        self.over(ticket).await
    }

    fn ticket(&self) -> Ticket {
        let mut shared = self.0.borrow_mut();
        shared.exchanges.push(Exchange::default());
        shared.exchanges.len() - 1
    }
}

/// A request's head for `https://localhost`.
pub(crate) fn head(method: Method, path: &str) -> RequestHead {
    let uri = Uri::builder()
        .scheme("https")
        .authority("localhost")
        .path_and_query(path)
        .build()
        .expect("a valid path")
        .into_parts();
    RequestHead {
        method,
        scheme: uri.scheme,
        authority: uri.authority,
        path: uri.path_and_query,
        protocol: None,
        headers: HeaderMap::new(),
        priority: Priority::default(),
    }
}

/// The connection's end: an application of a QUIC endpoint.
pub(crate) struct App(Rc<RefCell<Shared>>);

/// One client connection.
#[derive(Default)]
pub(crate) struct State {
    http: Option<sterna_h3::Connection>,
    streams: BTreeMap<u64, Stream>,
    tickets: BTreeMap<Ticket, u64>,
}

#[derive(Default)]
struct Stream {
    ticket: Option<Ticket>,
    raw: bool,
    out: Vec<Bytes>,
    fin: bool,
    read_over: bool,
}

impl Application for App {
    type State = State;

    fn opened(&mut self, quic: &mut sterna_quic::Connection, now: Instant) -> State {
        let mut shared = self.0.borrow_mut();
        shared.key = Some(quic.key());
        shared.started = Some(now);
        State::default()
    }

    fn run(&mut self, state: &mut State, quic: &mut sterna_quic::Connection, now: Instant) {
        let shared = &mut *self.0.borrow_mut();
        shared.now = Some(now);
        while let Some(event) = quic.poll_event() {
            match event {
                sterna_quic::Event::Connected => state.open(quic, shared),
                sterna_quic::Event::Opened(id) => {
                    state.streams.insert(id.0, Stream::default());
                }
                sterna_quic::Event::Stopped(id, code) => state.stopped(id.0, code, shared),
                _ => {}
            }
        }
        if state.http.is_some() {
            state.act(quic, shared);
            state.read(quic, shared);
            state.write(quic, shared);
        }
        if let Some(test) = shared.test.take() {
            test.wake();
        }
    }

    fn poll_woken(&mut self, cx: &mut Context<'_>, woken: &mut Vec<ConnectionKey>) {
        let mut shared = self.0.borrow_mut();
        // A wake-up takes the waker: it was for actions, or for a response that is read again.
        if shared.driver.is_none() {
            woken.extend(shared.key);
        }
        shared.driver = Some(cx.waker().clone());
    }

    fn closed(&mut self, _state: State, reason: &CloseReason, _now: Instant) {
        let mut shared = self.0.borrow_mut();
        shared.closed = Some(reason.clone());
        shared.key = None;
        if let Some(test) = shared.test.take() {
            test.wake();
        }
    }
}

impl State {
    fn open(&mut self, quic: &mut sterna_quic::Connection, shared: &mut Shared) {
        let mut own = || {
            let id = quic.open(Dir::Uni).expect("three streams").0;
            self.streams.insert(id, Stream { read_over: true, ..Stream::default() });
            sterna_h3::StreamId(id)
        };
        let (control, encoder, decoder) = (own(), own(), own());
        self.http = Some(sterna_h3::Connection::new(
            Role::Client,
            sterna_h3::Config::default(),
            control,
            encoder,
            decoder,
        ));
        shared.connected = true;
    }

    fn act(&mut self, quic: &mut sterna_quic::Connection, shared: &mut Shared) {
        let http = self.http.as_mut().expect("open");
        while let Some(action) = shared.actions.pop_front() {
            match action {
                Action::Request { ticket, head, fin } => {
                    let Some(id) = quic.open(Dir::Bi) else {
                        shared.actions.push_front(Action::Request { ticket, head, fin });
                        break;
                    };
                    self.tickets.insert(ticket, id.0);
                    shared.exchanges[ticket].sent = true;
                    self.streams.insert(id.0, Stream { ticket: Some(ticket), ..Stream::default() });
                    if http.send_request(sterna_h3::StreamId(id.0), &head, fin).is_err() {
                        shared.exchanges[ticket].misbehaved = Some("refused by the client".into());
                        quic.reset(id, 0x10c);
                    }
                }
                Action::Raw { ticket, data, fin } => {
                    let Some(id) = quic.open(Dir::Bi) else {
                        shared.actions.push_front(Action::Raw { ticket, data, fin });
                        break;
                    };
                    self.tickets.insert(ticket, id.0);
                    let stream = Stream {
                        ticket: Some(ticket),
                        raw: true,
                        out: vec![data],
                        fin,
                        read_over: false,
                    };
                    self.streams.insert(id.0, stream);
                }
                Action::Data { ticket, data, fin } => {
                    let id = sterna_h3::StreamId(self.tickets[&ticket]);
                    // Refused when the server has stopped the request.
                    let _ = http.send_data(id, data, fin);
                }
                Action::Trailers { ticket, trailers } => {
                    let id = sterna_h3::StreamId(self.tickets[&ticket]);
                    http.send_trailers(id, &trailers).expect("open");
                }
                Action::Cancel { ticket, code } => {
                    let id = sterna_quic::StreamId(self.tickets[&ticket]);
                    quic.reset(id, code);
                    quic.stop_sending(id, code);
                    self.streams.remove(&id.0);
                }
                Action::ResetUpload { ticket, code } => {
                    let id = self.tickets[&ticket];
                    quic.reset(sterna_quic::StreamId(id), code);
                    let stream = self.streams.get_mut(&id).expect("open");
                    stream.out.clear();
                    stream.fin = false;
                }
                Action::Reprioritise { ticket, priority } => {
                    http.update_priority(sterna_h3::StreamId(self.tickets[&ticket]), priority);
                }
                Action::Close { code } => quic.close(code, b"test"),
            }
        }
    }

    fn read(&mut self, quic: &mut sterna_quic::Connection, shared: &mut Shared) {
        let http = self.http.as_mut().expect("open");
        for (&id, stream) in &mut self.streams {
            let is_paused = stream.ticket.is_some_and(|ticket| shared.paused.contains(&ticket));
            let mut pieces = match stream.ticket.filter(|_| is_paused) {
                Some(ticket) => usize::from(shared.sips.contains(&ticket)),
                None => usize::MAX,
            };
            shared.sips.retain(|sip| Some(*sip) != stream.ticket);
            if shared.deaf && stream.ticket.is_none() {
                continue;
            }
            while !stream.read_over && pieces > 0 {
                pieces -= 1;
                match quic.read(sterna_quic::StreamId(id), 1 << 16) {
                    Read::Data(data) if stream.raw => {
                        let ticket = stream.ticket.expect("raw streams are requests");
                        shared.exchanges[ticket].body.extend_from_slice(&data);
                    }
                    Read::Data(data) => {
                        let _ = http.handle_stream(sterna_h3::StreamId(id), data, false);
                    }
                    Read::Finished => {
                        stream.read_over = true;
                        if let (true, Some(ticket)) = (stream.raw, stream.ticket) {
                            shared.exchanges[ticket].finished = true;
                        } else {
                            let _ = http.handle_stream(sterna_h3::StreamId(id), Bytes::new(), true);
                        }
                    }
                    Read::Reset(code) => {
                        stream.read_over = true;
                        if let Some(ticket) = stream.ticket {
                            shared.exchanges[ticket].reset = Some(code);
                            shared.exchanges[ticket].over_at = shared.elapsed();
                        }
                        let _ = http.handle_reset(sterna_h3::StreamId(id), code);
                    }
                    Read::Blocked => break,
                    Read::Closed => stream.read_over = true,
                }
            }
        }
        while let Some(event) = http.poll_event() {
            Self::on_event(&self.streams, event, shared);
        }
    }

    fn on_event(streams: &BTreeMap<u64, Stream>, event: Event, shared: &mut Shared) {
        let ticket = |id: sterna_h3::StreamId| streams.get(&id.0).and_then(|stream| stream.ticket);
        match event {
            Event::Settings(_) => shared.settings = true,
            Event::Goaway { id } => shared.goaways.push(id),
            Event::Response { id, head, fin } => {
                let Some(ticket) = ticket(id) else { return };
                if head.status.is_informational() {
                    shared.exchanges[ticket].interim.push(*head);
                } else {
                    shared.exchanges[ticket].head = Some(*head);
                    if fin {
                        shared.complete(ticket);
                    }
                }
            }
            Event::Data { id, data } => {
                if let Some(ticket) = ticket(id) {
                    shared.exchanges[ticket].body.extend_from_slice(&data);
                }
            }
            Event::Trailers { id, trailers } => {
                if let Some(ticket) = ticket(id) {
                    shared.exchanges[ticket].trailers = Some(*trailers);
                }
            }
            Event::Finished { id } => {
                if let Some(ticket) = ticket(id) {
                    shared.complete(ticket);
                }
            }
            Event::Misbehaved { id, rule } => {
                if let Some(ticket) = ticket(id) {
                    shared.exchanges[ticket].misbehaved = Some(rule.to_string());
                }
            }
            _ => {}
        }
    }

    fn stopped(&mut self, id: u64, code: u64, shared: &mut Shared) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.out.clear();
            stream.fin = false;
            if let Some(ticket) = stream.ticket {
                shared.exchanges[ticket].stopped = Some(code);
                shared.exchanges[ticket].unsent = 0;
            }
        }
        if let Some(http) = &mut self.http {
            let _ = http.handle_stop_sending(sterna_h3::StreamId(id), code);
        }
    }

    fn write(&mut self, quic: &mut sterna_quic::Connection, shared: &mut Shared) {
        let http = self.http.as_mut().expect("open");
        while let Some(command) = http.poll_command() {
            match command {
                Command::Write { id, data, fin } => {
                    if let Some(stream) = self.streams.get_mut(&id.0) {
                        stream.out.push(data);
                        stream.fin |= fin;
                    }
                }
                Command::Reset { id, code } => {
                    quic.reset(sterna_quic::StreamId(id.0), code.value());
                }
                Command::StopSending { id, code } => {
                    quic.stop_sending(sterna_quic::StreamId(id.0), code.value());
                }
                Command::Datagram { data } => {
                    quic.send_datagram(data);
                }
                Command::Close { code, reason } => quic.close(code.value(), reason.as_bytes()),
            }
        }
        for (&id, stream) in &mut self.streams {
            stream.out.retain(|chunk| !chunk.is_empty());
            while !stream.out.is_empty() {
                match quic.write(sterna_quic::StreamId(id), &mut stream.out) {
                    Write::Taken(len) if len > 0 => stream.out.retain(|chunk| !chunk.is_empty()),
                    _ => break,
                }
            }
            if let Some(ticket) = stream.ticket {
                shared.exchanges[ticket].unsent = stream.out.iter().map(Bytes::len).sum();
            }
            if stream.out.is_empty() && std::mem::take(&mut stream.fin) {
                quic.finish(sterna_quic::StreamId(id));
            }
        }
    }
}

impl Shared {
    /// Time since the connection was started, when it last ran.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        Some(self.now? - self.started?)
    }

    fn complete(&mut self, ticket: Ticket) {
        self.completed += 1;
        self.exchanges[ticket].finished = true;
        self.exchanges[ticket].order = self.completed;
        self.exchanges[ticket].over_at = self.elapsed();
    }
}
