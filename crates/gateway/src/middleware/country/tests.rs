//! Countries out of a small database that is written here (MaxMind DB file format 2.0).

use std::ops::ControlFlow;

use sterna_net::Body;

use super::*;

/// A database of IPv4 networks, as prefixes of bits, and their countries.
pub(crate) fn database(kind: &str, networks: &[(&str, &str)]) -> Vec<u8> {
    let (mut data, mut offsets) = (Vec::new(), Vec::new());
    for (_, code) in networks {
        offsets.push(data.len());
        map(1, &mut data);
        text("country", &mut data);
        map(1, &mut data);
        text("iso_code", &mut data);
        text(code, &mut data);
    }
    // A node is two records: another node, nothing, or data.
    let mut nodes: Vec<[Option<Record>; 2]> = vec![[None, None]];
    for ((network, _), offset) in networks.iter().zip(offsets) {
        let (address, bits) = network.split_once('/').expect("a prefix");
        let address = address.parse::<std::net::Ipv4Addr>().expect("an address").to_bits();
        let bits: u32 = bits.parse().expect("a number");
        let mut at = 0;
        for bit in 0..bits {
            let side = (address >> (31 - bit) & 1) as usize;
            if bit + 1 == bits {
                nodes[at][side] = Some(Record::Data(offset));
            } else if let Some(Record::Node(next)) = nodes[at][side] {
                at = next;
            } else {
                nodes.push([None, None]);
                let next = nodes.len() - 1;
                nodes[at][side] = Some(Record::Node(next));
                at = next;
            }
        }
    }
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            None => nodes.len(),
            Some(Record::Node(next)) => *next,
            Some(Record::Data(offset)) => nodes.len() + 16 + offset,
        };
        file.extend_from_slice(&u32::try_from(value).expect("small").to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    map(9, &mut file);
    for (key, value) in [
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
        ("build_epoch", 1),
        ("ip_version", 4),
        ("node_count", u32::try_from(nodes.len()).expect("few")),
        ("record_size", 24),
    ] {
        text(key, &mut file);
        // An unsigned integer of four bytes; the time is one of eight, which is an extended type.
        if key == "build_epoch" {
            file.extend_from_slice(&[8, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        } else if key == "node_count" {
            file.push(0b1100_0100);
            file.extend_from_slice(&value.to_be_bytes());
        } else {
            file.push(0b1010_0010);
            file.extend_from_slice(&value.to_be_bytes()[2..]);
        }
    }
    text("database_type", &mut file);
    text(kind, &mut file);
    text("description", &mut file);
    map(0, &mut file);
    text("languages", &mut file);
    file.extend_from_slice(&[0, 4]);
    file
}

#[derive(Clone, Copy)]
enum Record {
    Node(usize),
    Data(usize),
}

fn map(len: u8, to: &mut Vec<u8>) {
    to.push(0b1110_0000 | len);
}

fn text(text: &str, to: &mut Vec<u8>) {
    let len = u8::try_from(text.len()).expect("short");
    if len < 29 {
        to.push(0b0100_0000 | len);
    } else {
        to.extend_from_slice(&[0b0100_0000 | 29, len - 29]);
    }
    to.extend_from_slice(text.as_bytes());
}

fn passes(rule: Rule, client: Option<&str>) -> bool {
    let networks = [("203.0.113.0/24", "DE"), ("198.51.100.0/25", "FR"), ("192.0.2.0/24", "??")];
    let database = Database::of_bytes(database("Test-Country", &networks)).expect("a database");
    let station = Config { database: Arc::new(database), rule }.build();
    let mut request = Request::new(Body::empty());
    let client = client.map(|client| client.parse().expect("an address"));
    let mut exchange = Exchange::of_client(client, &request);
    let Step::Now(verdict) = station.on_request(&mut exchange, &mut request) else {
        panic!("nothing has to be waited for")
    };
    match verdict {
        ControlFlow::Continue(()) => true,
        ControlFlow::Break(Err(Error::Denied)) => false,
        ControlFlow::Break(_) => panic!("another answer"),
    }
}

#[test]
fn whose_country_is_not_known_is_not_allowed_and_not_denied() {
    let codes = |codes: &[&str]| codes.iter().map(|code| code.parse().expect("one")).collect();
    for (client, allowed, not_denied) in [
        (Some("203.0.113.0"), true, false),
        (Some("203.0.113.255"), true, false),
        (Some("203.0.114.0"), false, true),
        (Some("198.51.100.127"), false, true),
        (Some("198.51.100.128"), false, true),
        (Some("192.0.2.1"), false, true),
        (Some("10.0.0.1"), false, true),
        (Some("2001:db8::1"), false, true),
        (None, false, true),
    ] {
        assert_eq!(passes(Rule::Allow(codes(&["DE"])), client), allowed, "{client:?}");
        assert_eq!(passes(Rule::Deny(codes(&["DE"])), client), not_denied, "{client:?}");
    }
    assert!(passes(Rule::Allow(codes(&["DE", "FR"])), Some("198.51.100.127")));
}

#[test]
fn what_is_no_database_of_countries_is_refused() {
    let networks = database("Test-ASN", &[("203.0.113.0/24", "DE")]);
    assert!(matches!(Database::of_bytes(networks), Err(DatabaseError::OfSomethingElse(_))));
    for bytes in [&b""[..], b"nonsense", b"\xab\xcd\xefMaxMind.com"] {
        assert!(matches!(Database::of_bytes(bytes.to_vec()), Err(DatabaseError::Unusable(_))));
    }
    let whole = database("Test-Country", &[("203.0.113.0/24", "DE")]);
    for cut in 0..whole.len() {
        // Opened or not: no lookup may panic.
        if let Ok(database) = Database::of_bytes(whole[..cut].to_vec()) {
            let _ = database.country(IpAddr::from([203, 0, 113, 5]));
        }
    }
}

#[test]
fn a_country_is_two_capital_letters() {
    assert_eq!("DE".parse::<Code>().map(|code| code.to_string()), Ok("DE".to_owned()));
    for text in ["", "D", "de", "DEU", "D1", "\u{c4}"] {
        assert_eq!(text.parse::<Code>(), Err(NotACountry), "{text}");
    }
}
