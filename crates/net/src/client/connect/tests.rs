//! The connector with a dialer that does as it is told, and tokio's clock, which jumps.

use std::{collections::BTreeMap, future, sync::mpsc};

use hickory_proto::rr::{
    RData,
    rdata::{
        A,
        svcb::{SvcParamKey, SvcParamValue},
    },
};

use super::*;
use crate::client::{
    memory::Health,
    race::TraceEvent,
    resolve::{
        Found, Question, RecordKind, Resolver,
        tests::{Zone, alpn},
    },
};

/// What a dialer does with attempts of a transport.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Connects(u64),
    Hears(u64),
    Silence,
    Refuses(u64),
    Panics,
}

#[derive(Clone)]
struct Dialer {
    fates: Arc<BTreeMap<&'static str, Fate>>,
    dialled: mpsc::Sender<Attempt>,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Blame for Refused {
    fn cause(&self) -> Cause {
        Cause::Refused
    }
}

impl Dial for Dialer {
    type Connection = SocketAddr;
    type Error = Refused;

    fn dial(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<SocketAddr, Refused>> + Send + 'static {
        let name = match attempt.transport {
            Transport::Quic => "QUIC",
            Transport::Tcp => "TCP",
        };
        let fate = self.fates[name];
        self.dialled.send(attempt.clone()).unwrap();
        async move {
            let wait = |millis| tokio::time::sleep(Duration::from_millis(millis));
            match fate {
                Fate::Connects(after) => {
                    wait(after).await;
                    Ok(attempt.address)
                }
                Fate::Hears(after) => {
                    wait(after).await;
                    attempt.progress.heard();
                    attempt.progress.heard();
                    future::pending().await
                }
                Fate::Silence => future::pending().await,
                Fate::Refuses(after) => {
                    wait(after).await;
                    Err(Refused)
                }
                Fate::Panics => panic!("the dialer is broken"),
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Names(Result<&'static str, NameError>);

impl Resolve for Names {
    fn resolve(
        &self,
        question: Question,
    ) -> impl Future<Output = Result<Found, NameError>> + Send + 'static {
        let answer = self.0.clone();
        async move {
            match question.kind {
                RecordKind::A => Ok(Found::Addresses(vec![answer?.parse().unwrap()])),
                RecordKind::Aaaa | RecordKind::Https => Err(NameError::NoRecords),
            }
        }
    }
}

struct World {
    connector: Connector<Names>,
    dialer: Dialer,
    dialled: mpsc::Receiver<Attempt>,
}

fn origin() -> Origin {
    Origin::of(&"https://example.com/".parse().unwrap()).unwrap()
}

fn here() -> Place {
    Place { host: super::super::origin::Host::parse("example.com").unwrap(), port: 443 }
}

fn options() -> Options {
    Options {
        versions: Versions::ALL,
        connect_to: None,
        speculate: true,
        expects_h3: false,
        early_data: true,
        resolve_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(10),
    }
}

impl World {
    fn new(quic: Fate, tcp: Fate) -> Self {
        let (sender, dialled) = mpsc::channel();
        let fates = Arc::new(BTreeMap::from([("QUIC", quic), ("TCP", tcp)]));
        let connector = Connector::new(Names(Ok("192.0.2.1")), None);
        Self { connector, dialer: Dialer { fates, dialled: sender }, dialled }
    }

    async fn connect(&self) -> Result<Connected<SocketAddr>, NotConnected<Refused>> {
        self.connector.connect(&origin(), &options(), &self.dialer).await
    }

    fn health(&self) -> Health {
        self.connector.kept().memory.of(&origin(), SystemTime::now()).health(&here())
    }
}

#[tokio::test(start_paused = true)]
async fn winner_is_returned_with_its_trace_and_learnt_of() {
    let world = World::new(Fate::Connects(20), Fate::Connects(50));
    let connected = world.connect().await.unwrap();
    assert_eq!(connected.transport, Transport::Quic);
    assert_eq!(connected.address, "192.0.2.1:443".parse().unwrap());
    assert!(connected.trace.iter().any(|entry| entry.event == TraceEvent::Won { attempt: 0 }));
    assert!(matches!(world.health(), Health::Works { .. }));
    let attempt = world.dialled.recv().unwrap();
    assert_eq!((attempt.server_name.as_str(), attempt.early_data), ("example.com", true));
    assert_eq!(attempt.versions, Versions::ONLY_H3);
}

#[tokio::test(start_paused = true)]
async fn lost_quic_runs_on_and_is_learnt_of_after_the_request_has_its_connection() {
    let world = World::new(Fate::Silence, Fate::Connects(50));
    let connected = world.connect().await.unwrap();
    assert_eq!(connected.transport, Transport::Tcp);
    assert_eq!(world.health(), Health::Unknown, "it may still answer");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(matches!(world.health(), Health::Broken { .. }));
    assert_eq!(world.connect().await.unwrap().transport, Transport::Tcp);
    let second: Vec<_> = world.dialled.try_iter().skip(2).collect();
    assert_eq!(second.len(), 1, "what is broken is not tried: {second:?}");
}

#[tokio::test(start_paused = true)]
async fn change_of_the_network_during_a_race_is_held_against_nobody() {
    let world = World::new(Fate::Silence, Fate::Connects(50));
    world.connect().await.unwrap();
    // The attempt that lost is waited for already.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.connector.on_network_change();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(world.health(), Health::Unknown);
}

#[tokio::test(start_paused = true)]
async fn everything_refused_gives_the_error_and_the_trace() {
    let world = World::new(Fate::Refuses(1), Fate::Refuses(2));
    let failed = world.connect().await.unwrap_err();
    assert!(matches!(failed.reason, Reason::Attempt(Refused)));
    let failures =
        failed.trace.iter().filter(|entry| matches!(entry.event, TraceEvent::Failed { .. }));
    assert_eq!(failures.count(), 2);
    assert_eq!(world.health(), Health::Unknown);
}

#[tokio::test(start_paused = true)]
async fn dialer_that_panics_is_a_failed_attempt() {
    let world = World::new(Fate::Panics, Fate::Connects(5));
    assert_eq!(world.connect().await.unwrap().transport, Transport::Tcp);
    assert_eq!(world.health(), Health::Unknown, "it is our fault, not QUIC's");
}

#[tokio::test(start_paused = true)]
async fn first_byte_is_told_once() {
    let world = World::new(Fate::Hears(5), Fate::Connects(50));
    let connected = world.connect().await.unwrap();
    let heard = connected.trace.iter().filter(|e| matches!(e.event, TraceEvent::Heard { .. }));
    assert_eq!(heard.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropped_connect_ends_its_attempts() {
    let world = World::new(Fate::Silence, Fate::Silence);
    let connecting = tokio::time::timeout(Duration::from_secs(1), world.connect());
    assert!(connecting.await.is_err());
    tokio::task::yield_now().await;
    let attempts: Vec<_> = world.dialled.try_iter().collect();
    assert_eq!(attempts.len(), 2);
    for attempt in attempts {
        let Progress { was_told, .. } = attempt.progress;
        assert_eq!(Arc::strong_count(&was_told), 1, "its future is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_of_all_ends_with_the_time_out() {
    let world = World::new(Fate::Silence, Fate::Silence);
    let failed = world.connect().await.unwrap_err();
    assert!(matches!(failed.reason, Reason::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn name_without_addresses_is_an_error_of_its_own() {
    let mut world = World::new(Fate::Silence, Fate::Silence);
    world.connector = Connector::new(Names(Err(NameError::NotFound)), None);
    let failed = world.connect().await.unwrap_err();
    assert!(matches!(failed.reason, Reason::Name(NameError::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn alt_svc_of_a_response_leads_the_next_race() {
    let world = World::new(Fate::Connects(5), Fate::Connects(50));
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::ALT_SVC, "h3=\":444\"".parse().unwrap());
    world.connector.on_response(&origin(), &headers);
    let connected = world.connect().await.unwrap();
    assert_eq!(connected.address, "192.0.2.1:444".parse().unwrap());
    world.connector.on_h3_failure(&origin(), &connected.place);
    let health =
        world.connector.kept().memory.of(&origin(), SystemTime::now()).health(&connected.place);
    assert_eq!(health, Health::OnTrial);
    let plain = Origin::of(&"http://example.com/".parse().unwrap()).unwrap();
    world.connector.on_response(&plain, &headers);
    assert_eq!(world.connector.kept().alt_svc.of(&plain, SystemTime::now()), []);
}

/// A name server that is asked by UDP, as any other; the clock is a real one.
#[tokio::test]
async fn records_of_a_name_server_lead_to_where_they_say() {
    let port = (SvcParamKey::Port, SvcParamValue::Port(8443));
    let server = Zone::default()
        .https("example.com.", 1, "cdn.example.net.", vec![alpn(&["h3"]), port])
        .with("example.com.", RData::A(A::new(192, 0, 2, 1)))
        .with("cdn.example.net.", RData::A(A::new(192, 0, 2, 50)))
        .serve();
    let world = World::new(Fate::Connects(5), Fate::Connects(2000));
    let resolver = Resolver::server(server.address, Duration::from_secs(2)).unwrap();
    let connector = Connector::new(resolver, None);
    let connected = connector.connect(&origin(), &options(), &world.dialer).await.unwrap();
    assert_eq!(connected.address, "192.0.2.50:8443".parse().unwrap());
    assert_eq!(connected.place.to_string(), "cdn.example.net:8443");
    let attempt = world.dialled.recv().unwrap();
    assert_eq!(attempt.server_name, "example.com", "the certificate is the origin's");
}

#[test]
fn another_network_by_name_forgets_and_the_file_keeps_the_rest() {
    let dir = std::env::temp_dir().join(format!("sterna-connector-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("state.json");
    let open = || Connector::new(Names(Ok("192.0.2.1")), Some(file.clone()));
    let rtt = Duration::from_millis(7);
    let connector = open();
    connector.on_network("home");
    connector.save().unwrap();
    assert!(!file.exists(), "nothing was learnt");
    connector.learn(
        &origin(),
        Lesson::Works { rtt, address: "192.0.2.1".parse().unwrap() },
        &here(),
    );
    connector.save().unwrap();
    let health = |connector: &Connector<Names>| {
        connector.kept().memory.of(&origin(), SystemTime::now()).health(&here())
    };
    let connector = open();
    connector.on_network("home");
    assert_eq!(health(&connector), Health::Works { srtt: rtt });
    let connector = open();
    connector.on_network("café");
    assert_eq!(health(&connector), Health::Unknown);
    std::fs::remove_dir_all(&dir).unwrap();
}
