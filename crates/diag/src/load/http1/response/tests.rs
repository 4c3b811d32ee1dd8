use proptest::prelude::*;

use super::*;

/// Status, bytes of content, and whether it was the last.
type Whole = (u16, u64, bool);

/// What the end of the connection adds.
type End = Result<Option<(u16, u64)>, Failure>;

/// All responses in the parts, and what the end of the connection adds.
fn read(parts: &[&[u8]], is_head: bool) -> (Vec<Whole>, End) {
    let mut reader = Reader::new(is_head);
    let mut whole = Vec::new();
    for part in parts {
        let mut data = *part;
        while !data.is_empty() {
            match reader.handle(&mut data, &mut |_| {}) {
                Ok(Step::More) => assert!(data.is_empty(), "all is taken"),
                Ok(Step::Whole { status, content, is_last }) => {
                    whole.push((status, content, is_last));
                }
                Err(failure) => return (whole, Err(failure)),
            }
        }
    }
    (whole, reader.finish())
}

fn responses(text: &[u8]) -> Vec<Whole> {
    let (whole, rest) = read(&[text], false);
    assert_eq!(rest, Ok(None));
    whole
}

fn breach(text: &[u8]) -> &'static str {
    read(&[text], false).1.expect_err("it is broken").kind()
}

#[test]
fn responses_one_behind_the_other_are_told_apart_wherever_they_are_split() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
        HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
        HTTP/1.1 404 Not Found\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n0a\r\n0123456789\r\n0\r\nt: x\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\n\
        HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n\
        HTTP/1.1 200\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let expected =
        [(200, 3, false), (404, 12, false), (204, 0, false), (304, 0, false), (200, 0, true)];
    assert_eq!(responses(text), expected);
    for at in 0..text.len() {
        let (head, tail) = text.split_at(at);
        assert_eq!(read(&[head, tail], false), (expected.to_vec(), Ok(None)), "split at {at}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(read(&bytes, false).0, expected);
}

#[test]
fn content_without_a_length_ends_with_the_connection() {
    let (whole, rest) = read(&[b"HTTP/1.1 200 OK\r\n\r\nabc", b"def"], false);
    assert_eq!((whole, rest), (vec![], Ok(Some((200, 6)))));
}

#[test]
fn a_response_to_head_has_no_content_whatever_it_says() {
    let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(read(&[text], true), (vec![(200, 0, false)], Ok(None)));
}

#[test]
fn the_older_version_ends_its_connection_unless_it_says_otherwise() {
    let text = |fields: &str| format!("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n{fields}\r\n");
    assert_eq!(responses(text("").as_bytes()), [(200, 0, true)]);
    assert_eq!(responses(text("Connection: Keep-Alive\r\n").as_bytes()), [(200, 0, false)]);
}

#[test]
fn a_response_that_ends_early_is_truncated() {
    for text in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\na",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
    ] {
        assert_eq!(breach(text), "truncated");
    }
}

#[test]
fn what_is_no_response_breaks_the_protocol() {
    for text in [
        &b"HTTP/2.0 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n+1\r\na\r\n",
    ] {
        assert_eq!(breach(text), "protocol", "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn heads_and_lines_have_a_bound() {
    let mut reader = Reader::new(false);
    let mut fed = 0;
    let outcome = loop {
        let mut data = &[b'x'; 1000][..];
        match reader.handle(&mut data, &mut |_| {}) {
            Ok(_) => fed += 1000,
            Err(failure) => break failure,
        }
    };
    assert_eq!(outcome.kind(), "protocol");
    assert!(fed <= MOST_HEAD && reader.held.len() <= MOST_HEAD, "{fed}");

    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let line = [&head[..], &[b'1'; MOST_LINE + 1]].concat();
    assert_eq!(breach(&line), "protocol");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_no_split_makes_a_difference(
        text in "(HTTP/1\\.[01] [0-9]{3}( OK)?\r\n)?((content-length: ?[0-9]{1,2}|transfer-encoding: chunked|connection: close|x: y)\r\n){0,3}(\r\n)?[0-9a-f\r\n;]{0,40}",
        junk in proptest::collection::vec(any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1_usize..20, 1..20),
    ) {
        let data = [text.as_bytes(), &junk].concat();
        let (mut parts, mut rest) = (Vec::new(), &data[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, tail) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        prop_assert_eq!(read(&parts, false), read(&[&data], false));
    }
}
