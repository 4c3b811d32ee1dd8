//! Random play: a client and a server of ours, random calls, and a transport that reorders streams.
//!
//! Nothing panics, neither side finds the other at fault, and what one finishes the other finishes with the same content.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// The client asks: with content of this length, or none.
    Request(Option<u16>),
    /// The client sends content on its nth request.
    Upload(usize, u16),
    /// The client ends its nth request, with trailers or without.
    EndRequest(usize, bool),
    /// The server answers its nth request.
    Respond(usize, u16),
    /// The server sends content.
    Download(usize, u16),
    /// The server ends a response.
    EndResponse(usize, bool),
    /// Either side gives a stream up.
    ResetByClient(usize),
    ResetByServer(usize),
    StopReading(usize),
    Priority(usize, u8),
    /// The transport delivers what is oldest on the nth stream that has anything, in pieces of some size.
    Deliver(usize, usize),
    Shutdown,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..8_usize;
    let size = prop_oneof![Just(0_u16), 1..50_u16, 1000..1100_u16];
    prop_oneof![
        3 => prop::option::of(size.clone()).prop_map(Step::Request),
        2 => (stream.clone(), size.clone()).prop_map(|(n, size)| Step::Upload(n, size)),
        2 => (stream.clone(), any::<bool>()).prop_map(|(n, trailers)| Step::EndRequest(n, trailers)),
        3 => (stream.clone(), prop_oneof![Just(103), Just(200), Just(204), Just(404)])
            .prop_map(|(n, status)| Step::Respond(n, status)),
        2 => (stream.clone(), size).prop_map(|(n, size)| Step::Download(n, size)),
        3 => (stream.clone(), any::<bool>()).prop_map(|(n, trailers)| Step::EndResponse(n, trailers)),
        1 => stream.clone().prop_map(Step::ResetByClient),
        1 => stream.clone().prop_map(Step::ResetByServer),
        1 => stream.clone().prop_map(Step::StopReading),
        1 => (stream, 0..8_u8).prop_map(|(n, urgency)| Step::Priority(n, urgency)),
        12 => (0..20_usize, 1..600_usize).prop_map(|(n, size)| Step::Deliver(n, size)),
        1 => Just(Step::Shutdown),
    ]
}

/// Commands on their way to one side, in order for each stream.
#[derive(Default)]
struct Wire(BTreeMap<StreamId, VecDeque<Command>>);

impl Wire {
    fn take_from(&mut self, connection: &mut Connection) {
        for command in commands(connection) {
            let id = match &command {
                Command::Write { id, .. } | Command::Reset { id, .. } => *id,
                // Not ordered with the data of its stream, which goes the other way.
                Command::StopSending { id, .. } => StreamId(id.0 | 1 << 40),
                other => panic!("{other:?} in a play between two of us"),
            };
            if let Command::Reset { .. } = command {
                // What was not delivered may be lost; here all of it is.
                self.0.remove(&id);
            }
            self.0.entry(id).or_default().push_back(command);
        }
    }

    /// Delivers up to `size` bytes on the nth stream that has anything; whether there was one.
    fn deliver(&mut self, n: usize, size: usize, to: &mut Connection) -> bool {
        let Some(id) = self.0.keys().nth(n % self.0.len().max(1)).copied() else { return false };
        let queue = self.0.get_mut(&id).unwrap();
        let mut command = queue.pop_front().unwrap();
        if let Command::Write { id, data, fin } = &mut command
            && data.len() > size
        {
            let rest = Command::Write { id: *id, data: data.split_off(size), fin: *fin };
            *fin = false;
            queue.push_front(rest);
        }
        if queue.is_empty() {
            self.0.remove(&id);
        }
        deliver(&command, to).expect("we break no rule");
        true
    }
}

/// What one side heard of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    heads: usize,
    content: Vec<u8>,
    trailers: bool,
    finished: bool,
    given_up: bool,
}

impl Heard {
    fn on(&mut self, event: &Event) {
        assert!(
            !self.finished || matches!(event, Event::Stopped { .. } | Event::Priority { .. }),
            "{event:?} after the end"
        );
        match event {
            Event::Request { fin, .. } | Event::Response { fin, .. } => {
                self.heads += 1;
                self.finished = *fin;
            }
            Event::Data { data, .. } => self.content.extend_from_slice(data),
            Event::Trailers { .. } => self.trailers = true,
            Event::Finished { .. } => self.finished = true,
            Event::Reset { .. } | Event::Stopped { .. } => self.given_up = true,
            Event::Misbehaved { rule, .. } => panic!("{rule:?} in a play between two of us"),
            _ => {}
        }
    }
}

/// The whole world.
struct World {
    pair: Pair,
    to_server: Wire,
    to_client: Wire,
    opened: u64,
    sent_by_client: BTreeMap<StreamId, Vec<u8>>,
    sent_by_server: BTreeMap<StreamId, Vec<u8>>,
    heard_by_client: BTreeMap<StreamId, Heard>,
    heard_by_server: BTreeMap<StreamId, Heard>,
}

impl World {
    fn new() -> Self {
        let config = || Config {
            reset_budget: 10_000,
            qpack_encoder_blocked_streams: 4,
            ..Config::default()
        };
        let [client, server] = [config(), config()];
        Self {
            pair: Pair::new(client, server),
            to_server: Wire::default(),
            to_client: Wire::default(),
            opened: 0,
            sent_by_client: BTreeMap::new(),
            sent_by_server: BTreeMap::new(),
            heard_by_client: BTreeMap::new(),
            heard_by_server: BTreeMap::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        let id = |n: &usize| StreamId(*n as u64 * 4);
        let Pair { client, server } = &mut self.pair;
        let trailers = header_map(&[("x-sum", "1"), ("x-long-and-repeated", "some value")]);
        match step {
            Step::Request(size) => self.request(*size),
            Step::Upload(n, size) => {
                upload(client, id(n), *size, &mut self.sent_by_client);
            }
            Step::EndRequest(n, true) => {
                let _ = client.send_trailers(id(n), &trailers);
            }
            Step::EndRequest(n, false) => {
                let _ = client.finish(id(n));
            }
            Step::Respond(n, status) => {
                let status = StatusCode::from_u16(*status).unwrap();
                let head =
                    response(status, &[("server", "tern"), ("x-own-field", "of some length")]);
                let _ = server.send_response(id(n), &head, false);
            }
            Step::Download(n, size) => {
                upload(server, id(n), *size, &mut self.sent_by_server);
            }
            Step::EndResponse(n, true) => {
                let _ = server.send_trailers(id(n), &trailers);
            }
            Step::EndResponse(n, false) => {
                let _ = server.finish(id(n));
            }
            Step::ResetByClient(n) => client.reset(id(n), Code::RequestCancelled),
            Step::ResetByServer(n) => server.reset(id(n), Code::InternalError),
            Step::StopReading(n) => server.stop_reading(id(n), Code::NoError),
            Step::Priority(n, urgency) => {
                client.update_priority(id(n), Priority { urgency: *urgency, incremental: true });
            }
            Step::Deliver(n, size) => self.deliver(*n, *size),
            Step::Shutdown => server.shutdown(),
        }
        self.listen();
    }

    fn request(&mut self, size: Option<u16>) {
        let id = StreamId(self.opened * 4);
        let head = request(Method::POST, &[("user-agent", "a client with a name")]);
        if self.pair.client.send_request(id, &head, size.is_none()).is_ok() {
            self.opened += 1;
            if let Some(size) = size {
                upload(&mut self.pair.client, id, size, &mut self.sent_by_client);
            }
        }
    }

    fn deliver(&mut self, n: usize, size: usize) {
        if n.is_multiple_of(2) {
            self.to_server.deliver(n / 2, size, &mut self.pair.server);
        } else {
            self.to_client.deliver(n / 2, size, &mut self.pair.client);
        }
    }

    fn listen(&mut self) {
        self.to_server.take_from(&mut self.pair.client);
        self.to_client.take_from(&mut self.pair.server);
        hear(&mut self.pair.client, &mut self.heard_by_client);
        hear(&mut self.pair.server, &mut self.heard_by_server);
    }

    /// Delivers everything, ends or gives up what is open, delivers again.
    fn settle(&mut self) {
        self.drain();
        for n in 0..self.opened {
            let id = StreamId(n * 4);
            let _ = self.pair.client.finish(id);
            let _ = self.pair.server.send_response(id, &response(StatusCode::OK, &[]), false);
            let _ = self.pair.server.finish(id);
        }
        self.listen();
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let delivered = self.to_server.deliver(0, usize::MAX, &mut self.pair.server)
                | self.to_client.deliver(0, usize::MAX, &mut self.pair.client);
            self.listen();
            if !delivered {
                return;
            }
        }
    }
}

fn upload(
    connection: &mut Connection,
    id: StreamId,
    size: u16,
    sent: &mut BTreeMap<StreamId, Vec<u8>>,
) {
    let data = Bytes::from(vec![size as u8; usize::from(size)]);
    if connection.send_data(id, data.clone(), false).is_ok() {
        sent.entry(id).or_default().extend_from_slice(&data);
    }
}

fn hear(connection: &mut Connection, heard: &mut BTreeMap<StreamId, Heard>) {
    for event in events(connection) {
        let id = match &event {
            Event::Request { id, .. }
            | Event::Response { id, .. }
            | Event::Data { id, .. }
            | Event::Trailers { id, .. }
            | Event::Finished { id }
            | Event::Reset { id, .. }
            | Event::Stopped { id, .. }
            | Event::Misbehaved { id, .. }
            | Event::Priority { id, .. } => *id,
            _ => continue,
        };
        heard.entry(id).or_default().on(&event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn two_of_us_agree_whatever_they_do(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
        }
        world.settle();
        let directions = [
            (&world.heard_by_server, &world.sent_by_client),
            (&world.heard_by_client, &world.sent_by_server),
        ];
        for (heard, sent) in directions {
            for (id, heard) in heard.iter().filter(|(_, heard)| heard.finished) {
                let sent = sent.get(id).cloned().unwrap_or_default();
                prop_assert_eq!(&heard.content, &sent, "{:?}", id);
            }
        }
        // Nothing is left at the client; a server may still hold what its application never ended.
        prop_assert_eq!(world.pair.client.active_requests(), 0);
        prop_assert_eq!(world.pair.server.active_requests(), 0);
    }
}
