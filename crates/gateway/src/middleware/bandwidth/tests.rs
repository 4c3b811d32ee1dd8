use http_body::Body as _;
use http_body_util::BodyExt;

use super::*;
use crate::Shared;

fn build(shared: &Shared, limit: &str) -> Bandwidth {
    let limit = limit.parse().expect("a bandwidth");
    let (scope, route) = ("site".to_owned(), "site/route".to_owned());
    Config { scope, route, limit }.build(Build { shared, path: None })
}

fn response(bandwidth: &Bandwidth, bytes: usize) -> Response {
    let mut request = Request::default();
    let mut exchange = Exchange::begin(&request, None);
    let Step::Now(_) = bandwidth.on_request(&mut exchange, &mut request) else {
        panic!("nothing has to be waited for")
    };
    let content: Vec<u8> = (0..bytes).map(|i| u8::try_from(i % 251).expect("small")).collect();
    bandwidth.on_response(&mut exchange, Response::new(Body::full(content)))
}

/// The content, and milliseconds until its end.
async fn read(response: Response) -> (Bytes, u128) {
    let began = tokio::time::Instant::now();
    let content = response.into_body().collect().await.expect("it is whole").to_bytes();
    (content, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn content_leaves_at_the_rate_and_as_it_was() {
    let bandwidth = build(&Shared::default(), "1MiB/s");
    let bytes = 2 << 20;
    let response = response(&bandwidth, bytes);
    assert_eq!(
        response.body().size_hint().exact(),
        Some(bytes as u64),
        "its length is still known"
    );
    let (content, millis) = read(response).await;
    assert_eq!(content.len(), bytes);
    assert!(content.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251));
    assert!((1740..1800).contains(&millis), "{millis} ms for 2 MiB less the burst");
}

#[tokio::test(start_paused = true)]
async fn what_is_small_is_not_held_back() {
    let bandwidth = build(&Shared::default(), "1KiB/s");
    assert_eq!(read(response(&bandwidth, 200 * 1024)).await.1, 0);
}

#[tokio::test(start_paused = true)]
async fn each_response_has_the_rate_unless_they_share_it() {
    let shared = Shared::default();
    for (limit, expected) in [("1MiB/s", 700..800), ("1MiB/s global", 1400..1800)] {
        let bandwidth = build(&shared, limit);
        let both = [response(&bandwidth, 1 << 20), response(&bandwidth, 1 << 20)];
        let [one, two] = both.map(read);
        let ((_, one), (_, two)) = tokio::join!(one, two);
        assert!(expected.contains(&one) && expected.contains(&two), "{limit}: {one} and {two} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn workers_and_reloads_share_a_rate() {
    let shared = Shared::default();
    let first = build(&shared, "1MiB/s global");
    read(response(&first, 1 << 20)).await;
    let (_, millis) = read(response(&build(&shared, "1MiB/s global"), 1 << 20)).await;
    assert!(millis > 900, "{millis} ms: the burst had been used");
}
