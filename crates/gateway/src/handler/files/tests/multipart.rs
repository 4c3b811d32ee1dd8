//! Several ranges at once.

use super::*;

/// The parts of a response: what each says it is, and its bytes. Fails on anything that RFC 2046 does not know.
fn parts(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    assert_eq!(answer.status, 206);
    // req: 9110-15.3.7.2-type
    let boundary = answer.field(CONTENT_TYPE).strip_prefix("multipart/byteranges; boundary=");
    let delimiter = format!("\r\n--{}", boundary.expect("a boundary")).into_bytes();
    // req: 9110-15.3.7.2-no-content-range
    assert_eq!(answer.headers.get(CONTENT_RANGE), None);
    assert_eq!(answer.field(CONTENT_LENGTH), answer.body.len().to_string());
    let mut rest = &answer.body[..];
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(&delimiter[..]).expect("a delimiter");
        if rest == b"--\r\n" {
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("a line");
        let head = rest.windows(4).position(|end| end == b"\r\n\r\n").expect("a head");
        let text = std::str::from_utf8(&rest[..head]).expect("text").to_owned();
        rest = &rest[head + 4..];
        let end = rest.windows(delimiter.len()).position(|window| window == delimiter);
        let (content, after) = rest.split_at(end.expect("an end"));
        parts.push((text, content.to_vec()));
        rest = after;
    }
}

#[tokio::test]
async fn several_ranges_are_parts_with_their_type_and_place() {
    let site = Site::new();
    let answer = site.fetch("/a.txt", &[(RANGE, "bytes=7-8,0-1,-1")]).await;
    // req: 9110-15.3.7.2-part-content-range
    // req: 9110-15.3.7.2-order
    let head = |range| format!("Content-Type: text/plain; charset=utf-8\r\nContent-Range: {range}");
    let expected =
        [(head("bytes 7-9/10"), b"789".to_vec()), (head("bytes 0-1/10"), b"01".to_vec())];
    assert_eq!(parts(&answer), expected);
    // req: 9110-15.3.7-validators
    let whole = site.fetch("/a.txt", &[]).await;
    assert_eq!(answer.field(ETAG), whole.field(ETAG));
    assert_eq!(answer.field(LAST_MODIFIED), whole.field(LAST_MODIFIED));
}

#[tokio::test]
async fn what_comes_to_one_range_is_no_multipart() {
    let site = Site::new();
    // req: 9110-15.3.7.2-not-for-one
    // req: 9110-15.3.7.1-content-range
    for set in ["2-3", "2-2,3-3", "2-3,10-", "2-3,2-3,2-3"] {
        let answer = site.fetch("/a.txt", &[(RANGE, &format!("bytes={set}"))]).await;
        let read = (answer.status, answer.field(CONTENT_RANGE), answer.text());
        assert_eq!(read, (206, "bytes 2-3/10", "23"), "{set}");
        assert_eq!(answer.field(CONTENT_TYPE), "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn parts_of_a_large_file_are_exact_and_in_the_order_of_the_field() {
    let site = Site::new();
    let (chunk, total) = (CHUNK as u64, big().len() as u64);
    let set = format!("bytes={}-{},0-0,{}-,9-{chunk}", chunk + 9, 2 * chunk + 9, total - 1);
    let answer = site.fetch("/big.bin", &[(RANGE, &set)]).await;
    let places = [(chunk + 9, 2 * chunk + 9), (0, 0), (total - 1, total - 1), (9, chunk)];
    let read = parts(&answer);
    assert_eq!(read.len(), places.len());
    for ((head, content), (first, last)) in read.iter().zip(places) {
        assert!(head.ends_with(&format!("Content-Range: bytes {first}-{last}/{total}")), "{head}");
        assert!(content == &big()[first as usize..=last as usize], "{head}");
    }
}

#[tokio::test]
async fn no_set_of_ranges_gets_more_bytes_than_the_file_has() {
    let site = Site::new();
    for range in ["0-", "-98304", "1-98304"] {
        let set = vec![range; 1000].join(",");
        let answer = site.fetch("/big.bin", &[(RANGE, &format!("bytes={set}"))]).await;
        assert_eq!((answer.status, answer.body.len()), (200, big().len()), "{range}");
    }
    let twice = site.fetch("/big.bin", &[(RANGE, "bytes=0-,0-,1-")]).await;
    assert_eq!((twice.status, twice.body.len()), (206, big().len()));
    let none = site.fetch("/a.txt", &[(RANGE, "bytes=10-,11-")]).await;
    assert_eq!((none.status, none.field(CONTENT_RANGE)), (416, "bytes */10"));
}

#[tokio::test]
async fn a_range_of_an_unknown_unit_is_no_range() {
    let site = Site::new();
    // req: 9110-14.2-unknown-unit
    let answer = site.fetch("/a.txt", &[(RANGE, "lines=0-1,3-4")]).await;
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
}
