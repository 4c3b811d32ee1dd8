//! Attempts to be somebody else, and the ways in which honest proxies write.

use http::HeaderValue;

use super::*;

/// Trusted are 10.0.0.0/8, 192.0.2.7 and fd00::/8. The peer is 10.0.0.1, unless another is named.
fn seen(field: Field, peer: &str, lines: &[&[u8]]) -> String {
    let network = |text: &str| text.parse().expect("a network");
    let trusted = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"].map(network).to_vec();
    let line = |line: &&[u8]| (field.name(), HeaderValue::from_bytes(line).expect("a value"));
    let headers: HeaderMap = lines.iter().map(line).collect();
    let peer = peer.parse().expect("an address");
    match (Config { trusted, field }).origin(peer, &headers) {
        Origin::Peer => "peer".to_owned(),
        Origin::Behind(client) => client.to_string(),
    }
}

const PROXY: &str = "10.0.0.1";

#[test]
fn x_forwarded_for_is_read_from_its_right_end_to_the_first_that_is_not_trusted() {
    let table: &[(&[&str], &str)] = &[
        // Nothing, and one.
        (&[], "peer"),
        (&["203.0.113.5"], "203.0.113.5"),
        (&["2001:db8::5"], "2001:db8::5"),
        // What clients write in front of it does not count.
        (&["6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6,203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6 , 203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6,\t203.0.113.5"], "203.0.113.5"),
        (&["10.9.9.9, 203.0.113.5"], "203.0.113.5"),
        (&["10.0.0.1, 203.0.113.5"], "203.0.113.5"),
        (&["127.0.0.1, 203.0.113.5"], "203.0.113.5"),
        (&["::1, 203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6, 6.6.6.7, 6.6.6.8, 203.0.113.5"], "203.0.113.5"),
        (&[", 203.0.113.5"], "203.0.113.5"),
        (&[",,,, 203.0.113.5"], "203.0.113.5"),
        (&["nonsense, 203.0.113.5"], "203.0.113.5"),
        (&["\"6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        (&["\"6.6.6.6\", 203.0.113.5"], "203.0.113.5"),
        (&["for=6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        (&["[6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        (&["unknown, 203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6;, 203.0.113.5"], "203.0.113.5"),
        // Several lines are one list, in order.
        (&["6.6.6.6", "203.0.113.5"], "203.0.113.5"),
        (&["203.0.113.5", "6.6.6.6"], "6.6.6.6"),
        (&["6.6.6.6", "6.6.6.7", "203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6, 6.6.6.7", "203.0.113.5"], "203.0.113.5"),
        (&["nonsense", "203.0.113.5"], "203.0.113.5"),
        (&["6.6.6.6,", "203.0.113.5"], "203.0.113.5"),
        (&["203.0.113.5", "10.0.0.2"], "203.0.113.5"),
        (&["6.6.6.6", "203.0.113.5, 10.0.0.2", "10.0.0.3"], "203.0.113.5"),
        (&["203.0.113.5", ""], "peer"),
        // Several proxies in a row.
        (&["203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        (&["203.0.113.5, 10.0.0.2, 192.0.2.7, fd00::3"], "203.0.113.5"),
        (&["6.6.6.6, 203.0.113.5, 10.0.0.2"], "203.0.113.5"),
        (&["203.0.113.5, 192.0.2.8"], "192.0.2.8"),
        (&["203.0.113.5, ::ffff:10.0.0.2"], "203.0.113.5"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["10.0.0.2"], "10.0.0.2"),
        // An address has one form in the end.
        (&["::ffff:203.0.113.5"], "203.0.113.5"),
        (&["::FFFF:203.0.113.5"], "203.0.113.5"),
        (&["0:0:0:0:0:ffff:cb00:7105"], "203.0.113.5"),
        (&["2001:DB8::5"], "2001:db8::5"),
        (&["2001:db8:0:0:0:0:0:5"], "2001:db8::5"),
        // Ports and brackets.
        (&["203.0.113.5:4711"], "203.0.113.5"),
        (&["[2001:db8::5]:4711"], "2001:db8::5"),
        (&["[2001:db8::5]"], "2001:db8::5"),
        (&["[::ffff:203.0.113.5]:1"], "203.0.113.5"),
        (&["203.0.113.5:_hidden"], "203.0.113.5"),
        (&["6.6.6.6, 203.0.113.5:4711, 10.0.0.2:80"], "203.0.113.5"),
        // What is malformed where reading gets to it is believed in no part.
        (&[""], "peer"),
        (&[","], "peer"),
        (&["203.0.113.5,"], "peer"),
        (&["203.0.113.5, "], "peer"),
        (&["unknown"], "peer"),
        (&["_hidden"], "peer"),
        (&["localhost"], "peer"),
        (&["203.0.113.5 10.0.0.2"], "peer"),
        (&["203.0.113.5;10.0.0.2"], "peer"),
        (&["203.0.113.05"], "peer"),
        (&["203.0.113"], "peer"),
        (&["203.0.113.5.6"], "peer"),
        (&["3405803781"], "peer"),
        (&["0xcb.0.113.5"], "peer"),
        (&["203.0.113.256"], "peer"),
        (&["203.0.113.5:"], "peer"),
        (&["203.0.113.5:port"], "peer"),
        (&["203.0.113.5:123456"], "peer"),
        (&["203.0.113.5:80:80"], "peer"),
        (&["203.0.113.5/32"], "peer"),
        (&["[203.0.113.5]"], "peer"),
        (&["[2001:db8::5"], "peer"),
        (&["2001:db8::5]"], "peer"),
        (&["[2001:db8::5]4711"], "peer"),
        (&["[[2001:db8::5]]"], "peer"),
        (&["2001:db8::5%eth0"], "peer"),
        (&["fe80::1%25eth0"], "peer"),
        (&["2001:db8::5::1"], "peer"),
        (&["\"203.0.113.5\""], "peer"),
        (&["for=203.0.113.5"], "peer"),
        (&["203.0.113.5, unknown, 10.0.0.2"], "peer"),
        (&["203.0.113.5, , 10.0.0.2"], "peer"),
        (&["203.0.113.5, _hidden"], "peer"),
        (&["203.0.113.5\t10.0.0.2"], "peer"),
    ];
    for (lines, expected) in table {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(seen(Field::XForwardedFor, PROXY, &lines), *expected, "{lines:?}");
    }
    assert!(table.len() >= 80, "{}", table.len());
}

#[test]
fn forwarded_is_read_from_its_right_end_to_the_first_that_is_not_trusted() {
    let table: &[(&[&str], &str)] = &[
        (&["for=203.0.113.5"], "203.0.113.5"),
        (&["For=203.0.113.5"], "203.0.113.5"),
        (&["FOR=203.0.113.5;PROTO=https"], "203.0.113.5"),
        (&["by=10.0.0.1;for=203.0.113.5;host=a.test;proto=http"], "203.0.113.5"),
        (&["for=\"203.0.113.5\""], "203.0.113.5"),
        (&["for=\"203.0.113.5:4711\""], "203.0.113.5"),
        (&["for=\"[2001:db8::5]\""], "2001:db8::5"),
        (&["for=\"[2001:db8::5]:4711\""], "2001:db8::5"),
        (&["for=\"[2001:DB8::5]:_port\""], "2001:db8::5"),
        (&["for=\"[::ffff:203.0.113.5]\""], "203.0.113.5"),
        (&["for=203.0.113.5;host=\"a.test:8443\""], "203.0.113.5"),
        // What clients write in front of it does not count, whatever they leave open.
        (&["for=6.6.6.6, for=203.0.113.5"], "203.0.113.5"),
        (&["for=6.6.6.6,for=203.0.113.5"], "203.0.113.5"),
        (&["for=6.6.6.6", "for=203.0.113.5"], "203.0.113.5"),
        (&["for=10.9.9.9, for=203.0.113.5"], "203.0.113.5"),
        (&["for=\", for=203.0.113.5"], "203.0.113.5"),
        (&["for=\"6.6.6.6, for=203.0.113.5"], "203.0.113.5"),
        (&["for=\"a\\\", for=\"[2001:db8::5]\""], "2001:db8::5"),
        (&["for=\", for=\"[2001:db8::5]:1\";proto=https"], "2001:db8::5"),
        (&["nonsense, for=203.0.113.5"], "203.0.113.5"),
        (&[", for=203.0.113.5"], "203.0.113.5"),
        (&["for=unknown, for=203.0.113.5"], "203.0.113.5"),
        (&["for=_hidden, for=203.0.113.5"], "203.0.113.5"),
        (&["secret=\"x, y\", for=203.0.113.5"], "203.0.113.5"),
        (&["for=203.0.113.5, for=10.0.0.2"], "203.0.113.5"),
        (&["for=6.6.6.6, for=203.0.113.5, for=\"[fd00::2]\";by=_a"], "203.0.113.5"),
        (&["for=203.0.113.5", "for=10.0.0.2, for=192.0.2.7"], "203.0.113.5"),
        // A comma within quotation marks is none.
        (&["for=203.0.113.5;note=\"a, for=6.6.6.6\""], "203.0.113.5"),
        (&["for=203.0.113.5;note=\"for=6.6.6.6,\""], "203.0.113.5"),
        // What is malformed where reading gets to it is believed in no part.
        (&[], "peer"),
        (&[""], "peer"),
        (&["for="], "peer"),
        (&["for"], "peer"),
        (&["=203.0.113.5"], "peer"),
        (&["203.0.113.5"], "peer"),
        (&["by=203.0.113.5"], "peer"),
        (&["for=unknown"], "peer"),
        (&["for=Unknown"], "peer"),
        (&["for=_hidden"], "peer"),
        (&["for=\"_hidden:_port\""], "peer"),
        (&["for=203.0.113.5, for=unknown"], "peer"),
        (&["for=203.0.113.5,"], "peer"),
        (&["for=203.0.113.5;"], "peer"),
        (&[";for=203.0.113.5"], "peer"),
        (&["for = 203.0.113.5"], "peer"),
        (&["for =203.0.113.5"], "peer"),
        (&["for= 203.0.113.5"], "peer"),
        (&["for=203.0.113.5; proto=http"], "peer"),
        (&["for=203.0.113.5:80"], "peer"),
        (&["for=[2001:db8::5]"], "peer"),
        (&["for=2001:db8::5"], "peer"),
        (&["for=\"203.0.113.5"], "peer"),
        (&["for=203.0.113.5\""], "peer"),
        (&["for=\"\""], "peer"),
        (&["for=\"203.0.113.5\\\""], "peer"),
        (&["for=\"203.0.113\\.5\""], "peer"),
        (&["for=203.0.113.5;for=6.6.6.6"], "peer"),
        (&["for=203.0.113.5;FOR=6.6.6.6"], "peer"),
        (&["for=203.0.113.5;proto=http;proto=https"], "peer"),
        (&["for=203.0.113.5 for=6.6.6.6"], "peer"),
        (&["for='203.0.113.5'"], "peer"),
        (&["xfor=203.0.113.5"], "peer"),
        (&["for=\"203.0.113.5\"x"], "peer"),
    ];
    for (lines, expected) in table {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(seen(Field::Forwarded, PROXY, &lines), *expected, "{lines:?}");
    }
    assert!(table.len() >= 60, "{}", table.len());
}

#[test]
fn the_word_of_a_peer_that_is_not_trusted_counts_for_nothing() {
    for peer in ["11.0.0.1", "192.0.2.8", "127.0.0.1", "::1", "fe00::1", "2001:db8::1"] {
        assert_eq!(seen(Field::XForwardedFor, peer, &[b"203.0.113.5"]), "peer", "{peer}");
        assert_eq!(seen(Field::Forwarded, peer, &[b"for=203.0.113.5"]), "peer", "{peer}");
    }
    assert_eq!(seen(Field::XForwardedFor, "192.0.2.7", &[b"203.0.113.5"]), "203.0.113.5");
    assert_eq!(seen(Field::XForwardedFor, "fd12::1", &[b"203.0.113.5"]), "203.0.113.5");
}

#[test]
fn the_field_that_proxies_do_not_write_is_not_read() {
    let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
    let peer = "10.0.0.1".parse().expect("an address");
    let value = |text| HeaderValue::from_static(text);
    let headers = HeaderMap::from_iter([
        (Field::XForwardedFor.name(), value("6.6.6.6")),
        (Field::Forwarded.name(), value("for=7.7.7.7")),
        (HeaderName::from_static("x-real-ip"), value("8.8.8.8")),
        (HeaderName::from_static("true-client-ip"), value("9.9.9.9")),
    ]);
    for (field, expected) in [(Field::XForwardedFor, "6.6.6.6"), (Field::Forwarded, "7.7.7.7")] {
        let config = Config { trusted: trusted.clone(), field };
        let expected = Origin::Behind(expected.parse().expect("an address"));
        assert_eq!(config.origin(peer, &headers), expected, "{field:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_no_address() {
    for line in [&b"203.0.113.5\xff"[..], b"\xff\xfe", b"203.0.113.5, \xff"] {
        assert_eq!(seen(Field::XForwardedFor, PROXY, &[line]), "peer", "{line:?}");
    }
    assert_eq!(seen(Field::XForwardedFor, PROXY, &[b"\xff, 203.0.113.5"]), "203.0.113.5");
    assert_eq!(seen(Field::Forwarded, PROXY, &[b"for=\"\xff\""]), "peer");
    assert_eq!(seen(Field::Forwarded, PROXY, &[b"\xff\", for=203.0.113.5"]), "203.0.113.5");
}

#[test]
fn a_row_of_trusted_proxies_is_read_to_its_bound() {
    let row = |proxies: usize| format!("203.0.113.5{}", ", 10.0.0.2".repeat(proxies));
    let seen = |text: String| seen(Field::XForwardedFor, PROXY, &[text.as_bytes()]);
    assert_eq!(seen(row(MAX_HOPS - 1)), "203.0.113.5");
    assert_eq!(seen(row(MAX_HOPS)), "10.0.0.2", "the last that was read");
}

proptest::proptest! {
    #[test]
    fn whatever_stands_left_of_what_a_proxy_added_changes_nothing(junk in "[ -~\t]{0,64}") {
        let (list, forwarded) = (format!("{junk}, 203.0.113.5"), format!("{junk}, for=\"203.0.113.5\""));
        proptest::prop_assert_eq!(seen(Field::XForwardedFor, PROXY, &[list.as_bytes()]), "203.0.113.5");
        proptest::prop_assert_eq!(seen(Field::Forwarded, PROXY, &[forwarded.as_bytes()]), "203.0.113.5");
    }
}
