//! Against a real name server, which lives in the test: small, and answering what it is told.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, UdpSocket},
    sync::mpsc,
    thread,
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, Record,
        rdata::{
            A, AAAA, CNAME, HTTPS, SRV, SVCB,
            svcb::{Alpn, EchConfigList, IpHint, Mandatory, SvcParamKey, SvcParamValue, Unknown},
        },
    },
};

use super::*;

/// A name server on loopback; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _stop: mpsc::Sender<()>,
}

#[derive(Default)]
pub(crate) struct Zone(BTreeMap<(Name, RecordType), Vec<Record>>);

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

impl Zone {
    pub(crate) fn with(mut self, owner: &str, data: RData) -> Self {
        let record = Record::from_rdata(name(owner), 60, data);
        self.0.entry((name(owner), record.record_type())).or_default().push(record);
        self
    }

    pub(crate) fn https(
        self,
        owner: &str,
        priority: u16,
        target: &str,
        params: Vec<(SvcParamKey, SvcParamValue)>,
    ) -> Self {
        self.with(owner, RData::HTTPS(HTTPS(SVCB::new(priority, name(target), params))))
    }

    fn answer(&self, query: &Message) -> Message {
        let mut response = Message::response(query.metadata.id, query.metadata.op_code);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.metadata.message_type = MessageType::Response;
        let Some(question) = query.queries.first().cloned() else { return response };
        response.add_query(question.clone());
        let mut owner = question.name().to_lowercase();
        while let Some(cnames) = self.0.get(&(owner.clone(), RecordType::CNAME)) {
            response.add_answers(cnames.iter().cloned());
            let RData::CNAME(CNAME(target)) = &cnames[0].data else { break };
            owner = target.clone();
        }
        match self.0.get(&(owner.clone(), question.query_type())) {
            Some(records) => {
                response.add_answers(records.iter().cloned());
            }
            None if self.0.keys().any(|(known, _)| *known == owner) => {}
            None => response.metadata.response_code = ResponseCode::NXDomain,
        }
        response
    }

    pub(crate) fn serve(self) -> Server {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = mpsc::channel();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                let Ok((len, from)) = socket.recv_from(&mut buf) else { continue };
                let Ok(query) = Message::from_vec(&buf[..len]) else { continue };
                let response = self.answer(&query).to_vec().unwrap();
                let _ = socket.send_to(&response, from);
            }
        });
        Server { address, _stop: stop }
    }
}

impl Server {
    fn ask(&self, owner: &str, kind: RecordKind) -> Result<Found, NameError> {
        let resolver = Resolver::server(self.address, Duration::from_secs(2)).unwrap();
        ask(&resolver, owner, kind)
    }

    fn service(&self, owner: &str) -> Service {
        match self.ask(owner, RecordKind::Https) {
            Ok(Found::Services(records)) => match &*records {
                [ServiceRecord::Service(service)] => service.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn ask(resolver: &Resolver, owner: &str, kind: RecordKind) -> Result<Found, NameError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(resolver.resolve(Question { name: owner.to_owned(), kind }))
}

pub(crate) fn alpn(names: &[&str]) -> (SvcParamKey, SvcParamValue) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(names)))
}

fn mandatory(keys: &[SvcParamKey]) -> (SvcParamKey, SvcParamValue) {
    (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(keys.to_vec())))
}

const NO_DEFAULT: (SvcParamKey, SvcParamValue) =
    (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn);

#[test]
fn addresses_come_by_family_and_through_cnames() {
    let server = Zone::default()
        .with("www.example.com.", RData::CNAME(CNAME(name("example.com."))))
        .with("example.com.", RData::A(A::new(192, 0, 2, 1)))
        .with("example.com.", RData::A(A::new(192, 0, 2, 2)))
        .with("example.com.", RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)))
        .with("four.example.com.", RData::A(A::new(192, 0, 2, 4)))
        .serve();
    let v4 = Found::Addresses(vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]);
    assert_eq!(server.ask("www.example.com", RecordKind::A), Ok(v4));
    let v6 = Found::Addresses(vec!["2001:db8::1".parse().unwrap()]);
    assert_eq!(server.ask("example.com.", RecordKind::Aaaa), Ok(v6));
    assert_eq!(server.ask("four.example.com", RecordKind::Aaaa), Err(NameError::NoRecords));
    assert_eq!(server.ask("four.example.com", RecordKind::Https), Err(NameError::NoRecords));
    assert_eq!(server.ask("none.example.com", RecordKind::A), Err(NameError::NotFound));
}

#[test]
fn https_record_gives_target_port_versions_and_hints() {
    let params = vec![
        alpn(&["h3", "h2"]),
        (SvcParamKey::Port, SvcParamValue::Port(8443)),
        (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 7)]))),
        (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![0, 1, 2]))),
        (
            SvcParamKey::Ipv6Hint,
            SvcParamValue::Ipv6Hint(IpHint(vec![AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)])),
        ),
    ];
    let server = Zone::default().https("example.com.", 3, "Svc.Example.NET.", params).serve();
    let expected = Service {
        priority: 3,
        target: "svc.example.net".to_owned(),
        port: Some(8443),
        h3: true,
        h2: true,
        h1: true,
        hints: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        ech: true,
        incompatible: false,
    };
    assert_eq!(server.service("example.com"), expected);
}

#[test]
fn root_as_target_means_the_owner_of_the_record() {
    let server = Zone::default()
        .with("www.example.com.", RData::CNAME(CNAME(name("cdn.example.net."))))
        .https("cdn.example.net.", 1, ".", vec![alpn(&["h3"])])
        .https("gone.example.com.", 0, ".", vec![])
        .https("alias.example.com.", 0, "cdn.example.net.", vec![])
        .serve();
    // req: 9460-2.5.2-owner-is-target
    assert_eq!(server.service("www.example.com").target, "cdn.example.net");
    let alias = |target: Option<&str>| {
        let target = target.map(str::to_owned);
        Ok(Found::Services(vec![ServiceRecord::Alias { target }]))
    };
    assert_eq!(server.ask("gone.example.com", RecordKind::Https), alias(None));
    let cdn = alias(Some("cdn.example.net"));
    assert_eq!(server.ask("alias.example.com", RecordKind::Https), cdn);
}

#[test]
fn http_1_1_is_offered_unless_the_record_says_otherwise() {
    let server = Zone::default()
        .https("plain.example.com.", 1, ".", vec![])
        .https("h2.example.com.", 1, ".", vec![alpn(&["h2"])])
        .https("only3.example.com.", 1, ".", vec![alpn(&["h3"]), NO_DEFAULT])
        .https("named.example.com.", 1, ".", vec![alpn(&["h3", "http/1.1"]), NO_DEFAULT])
        .https("wrong.example.com.", 1, ".", vec![NO_DEFAULT])
        .serve();
    let versions = |owner| {
        let Service { h1, h2, h3, .. } = server.service(owner);
        (h1, h2, h3)
    };
    // req: 9460-7.1.2-default-alpn
    assert_eq!(versions("plain.example.com"), (true, false, false));
    assert_eq!(versions("h2.example.com"), (true, true, false));
    assert_eq!(versions("only3.example.com"), (false, false, true));
    assert_eq!(versions("named.example.com"), (true, false, true));
    // req: 9460-7.1.1-no-default-needs-alpn
    let answer = server.ask("wrong.example.com", RecordKind::Https);
    assert!(matches!(answer, Err(NameError::Failed(_))), "{answer:?}");
}

#[test]
fn one_malformed_record_spoils_all_of_them() {
    let port = (SvcParamKey::Port, SvcParamValue::Port(0));
    let server = Zone::default()
        .https("example.com.", 1, ".", vec![alpn(&["h3"])])
        .https("example.com.", 2, ".", vec![port])
        .serve();
    // req: 9460-2.2-one-malformed-spoils-all
    let answer = server.ask("example.com", RecordKind::Https);
    assert!(matches!(answer, Err(NameError::Failed(_))), "{answer:?}");
}

#[test]
fn unknown_keys_are_ignored_unless_they_are_mandatory() {
    let key = SvcParamKey::Key(65_300);
    let unknown = || (key, SvcParamValue::Unknown(Unknown(vec![1])));
    let port = (SvcParamKey::Port, SvcParamValue::Port(1));
    let server = Zone::default()
        .https("a.example.com.", 1, ".", vec![alpn(&["h3"]), unknown()])
        .https("b.example.com.", 1, ".", vec![mandatory(&[key]), alpn(&["h3"]), unknown()])
        .https("c.example.com.", 1, ".", vec![mandatory(&[SvcParamKey::Port]), port])
        .serve();
    assert!(!server.service("a.example.com").incompatible);
    // req: 9460-8-unknown-mandatory
    assert!(server.service("b.example.com").incompatible);
    assert!(!server.service("c.example.com").incompatible);
}

#[test]
fn records_and_addresses_of_an_answer_are_bounded() {
    let mut zone = Zone::default();
    for n in 0..40 {
        zone = zone.with("many.example.com.", RData::A(A::new(192, 0, 2, n)));
        zone = zone.https("many.example.com.", 1, ".", vec![alpn(&["h3"])]);
    }
    let server = zone.serve();
    let count = |kind| match server.ask("many.example.com", kind).unwrap() {
        Found::Addresses(addresses) => addresses.len(),
        Found::Services(records) => records.len(),
    };
    assert_eq!(count(RecordKind::A), MOST_ADDRESSES);
    // Some of them do not fit a datagram without EDNS, and there is no TCP here.
    assert!(count(RecordKind::Https) <= MOST_RECORDS);
}

#[test]
fn server_that_is_silent_is_not_waited_for_for_ever() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let resolver = Resolver::server(address, Duration::from_millis(20)).unwrap();
    assert_eq!(ask(&resolver, "example.com", RecordKind::A), Err(NameError::TimedOut));
}

#[test]
fn fixed_addresses_are_taken_without_asking() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let resolver = Resolver::server(silent.local_addr().unwrap(), Duration::from_secs(9)).unwrap();
    let address: IpAddr = "192.0.2.8".parse().unwrap();
    let resolver = resolver.with_addresses("Example.com.", vec![address]);
    let found = Found::Addresses(vec![address]);
    assert_eq!(ask(&resolver, "example.com", RecordKind::A), Ok(found));
    assert_eq!(ask(&resolver, "example.com", RecordKind::Aaaa), Err(NameError::NoRecords));
    assert_eq!(ask(&resolver, "example.com", RecordKind::Https), Err(NameError::NoRecords));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_list_of_servers_has_both_families_and_its_time_to_live() {
    let server = Zone::default()
        .with("app.example.com.", RData::A(A::new(192, 0, 2, 1)))
        .with("app.example.com.", RData::A(A::new(192, 0, 2, 2)))
        .with("app.example.com.", RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)))
        .with("four.example.com.", RData::A(A::new(192, 0, 2, 4)))
        .serve();
    let resolver = Resolver::server(server.address, Duration::from_secs(2)).unwrap();
    let found = block_on(resolver.addresses("app.example.com")).unwrap();
    let addresses = found.records.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    let ttl = found.ttl.unwrap();
    assert!(ttl <= Duration::from_secs(60) && ttl > Duration::from_secs(50), "{ttl:?}");
    let four = block_on(resolver.addresses("four.example.com.")).unwrap();
    assert_eq!((four.records.len(), four.is_partial), (1, false));
    let none = block_on(resolver.addresses("none.example.com"));
    assert_eq!(none, Err(NameError::NotFound));
}

#[test]
fn a_family_that_could_not_be_looked_up_makes_the_list_a_part() {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    let v4 = || Ok((vec!["192.0.2.1".parse().unwrap()], until));
    let part = lookup::merge(v4(), Err(NameError::TimedOut)).unwrap();
    assert!(part.is_partial);
    let whole = lookup::merge(v4(), Err(NameError::NoRecords)).unwrap();
    assert!(!whole.is_partial);
    let failed = lookup::merge(Err(NameError::NoRecords), Err(NameError::TimedOut));
    assert_eq!(failed, Err(NameError::TimedOut), "nobody knows that there is none");
}

#[test]
fn servers_of_a_service_come_with_priority_and_weight() {
    let server = Zone::default()
        .with("_http._tcp.example.com.", RData::SRV(SRV::new(10, 3, 8080, name("A.example.com."))))
        .with("_http._tcp.example.com.", RData::SRV(SRV::new(20, 0, 8081, name("b.example.com."))))
        .with("_no._tcp.example.com.", RData::SRV(SRV::new(0, 0, 0, name("."))))
        .serve();
    let resolver = Resolver::server(server.address, Duration::from_secs(2)).unwrap();
    let found = block_on(resolver.services("_http._tcp.example.com")).unwrap();
    let of = |priority, weight, host: &str, port| ServiceServer {
        priority,
        weight,
        host: host.to_owned(),
        port,
    };
    let expected = [of(10, 3, "a.example.com", 8080), of(20, 0, "b.example.com", 8081)];
    let mut records = found.records;
    records.sort_by_key(|server| server.priority);
    assert_eq!(records, expected);
    assert_eq!(block_on(resolver.services("_no._tcp.example.com")), Err(NameError::NoRecords));
}
