//! A name server on loopback whose answers a test may change; it ends with the test.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};

type Records = HashMap<(Name, RecordType), Vec<Record>>;

pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    records: Mutex<Records>,
    is_broken: Mutex<bool>,
    queries: AtomicU64,
}

impl NameServer {
    pub(super) fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let state = Arc::new(State::default());
        let ended = Arc::downgrade(&state);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(state) = ended.upgrade() {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
                state.queries.fetch_add(1, Relaxed);
                let _ = socket.send_to(&state.answer(&query).to_vec().unwrap(), from);
            }
        });
        Self { address, state }
    }

    /// The name has these addresses, which hold for no time at all.
    pub(super) fn addresses(&self, name: &str, addresses: &[&str]) {
        let name = Name::from_ascii(name).unwrap();
        let mut records = self.state.records.lock().unwrap();
        records.retain(|(owner, _), _| *owner != name);
        for address in addresses {
            let data = match address.parse().unwrap() {
                IpAddr::V4(ip) => RData::A(A(ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
            };
            let record = Record::from_rdata(name.clone(), 0, data);
            records.entry((name.clone(), record.record_type())).or_default().push(record);
        }
    }

    /// Priority, weight, port, target.
    pub(super) fn services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let name = Name::from_ascii(name).unwrap();
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let target = Name::from_ascii(target).unwrap();
            Record::from_rdata(
                name.clone(),
                0,
                RData::SRV(SRV::new(priority, weight, port, target)),
            )
        };
        let services = services.iter().map(record).collect();
        self.state.records.lock().unwrap().insert((name.clone(), RecordType::SRV), services);
    }

    /// From now on every answer is a failure, or no longer.
    pub(super) fn break_down(&self, is_broken: bool) {
        *self.state.is_broken.lock().unwrap() = is_broken;
    }

    pub(super) fn queries(&self) -> u64 {
        self.state.queries.load(Relaxed)
    }
}

impl State {
    fn answer(&self, query: &Message) -> Message {
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.metadata.message_type = MessageType::Response;
        let Some(question) = query.queries.first().cloned() else { return response };
        response.add_query(question.clone());
        if *self.is_broken.lock().unwrap() {
            response.metadata.response_code = ResponseCode::ServFail;
            return response;
        }
        let records = self.records.lock().unwrap();
        let owner = question.name().to_lowercase();
        match records.get(&(owner.clone(), question.query_type())) {
            Some(found) => drop(response.add_answers(found.iter().cloned())),
            None if records.keys().any(|(known, _)| *known == owner) => {}
            None => response.metadata.response_code = ResponseCode::NXDomain,
        }
        response
    }
}
