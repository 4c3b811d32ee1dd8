//! Keys from a URL: fetched once, again for an unknown one, and nobody is let in without them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::middleware::jwt::RemoteConfig;

/// Who has the keys: answers with what it is told to, and counts.
#[derive(Clone)]
struct Publisher {
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    url: http::Uri,
}

fn ok(content: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{content}",
        content.len()
    )
}

impl Publisher {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
        let url = url.parse().expect("a URL");
        let this = Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default(), url };
        let publisher = this.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.is_ok_and(|len| len == 0) {
                        break;
                    }
                }
                publisher.asked.fetch_add(1, Ordering::SeqCst);
                let answer = publisher.answer.lock().expect("not poisoned").clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        this
    }

    fn say(&self, answer: String) {
        *self.answer.lock().expect("not poisoned") = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn station(&self, shared: &Shared, refresh: Duration) -> Jwt {
        let url = self.url.clone();
        let keys = Keys::At(RemoteConfig { url, refresh });
        let config = Config { keys, ..config(&Issuer::new().set()) };
        config.build(Build { shared, path: None })
    }
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_need_them() {
    let issuer = Issuer::new();
    let publisher = Publisher::start(ok(&issuer.set().to_string())).await;
    let shared = Shared::default();
    let stations = [(); 2].map(|()| publisher.station(&shared, LONG));
    let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
    for station in stations.iter().cycle().take(6) {
        assert!(is_let_in(station, &token).await);
    }
    assert_eq!(publisher.asked(), 1);
    let secret = signed(&issuer.secret, Algorithm::HS256, Some("secret"), &claims());
    assert!(!is_let_in(&stations[0], &secret).await, "a secret that everyone can read is none");
}

#[tokio::test]
async fn tokens_with_unknown_keys_do_not_make_it_ask_again_and_again() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let publisher = Publisher::start(ok(&issuer.set().to_string())).await;
    let station = publisher.station(&Shared::default(), LONG);
    for id in ["a", "b", "c", "d"] {
        let token = signed(&stranger.p256, Algorithm::ES256, Some(id), &claims());
        assert!(!is_let_in(&station, &token).await);
    }
    assert_eq!(publisher.asked(), 1);
    let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
    assert!(is_let_in(&station, &token).await, "and those of the issuer let in all the same");
}

#[tokio::test]
async fn a_key_that_is_new_is_fetched_when_a_token_names_it_and_the_pause_is_over() {
    let (before, after) = (Issuer::new(), Issuer::new());
    let old = json!({ "keys": [Issuer::jwk(&before.p256, Algorithm::ES256, "old")] });
    let new = json!({ "keys": [
        Issuer::jwk(&before.p256, Algorithm::ES256, "old"),
        Issuer::jwk(&after.p256, Algorithm::ES256, "new"),
    ] });
    let publisher = Publisher::start(ok(&old.to_string())).await;
    let station = publisher.station(&Shared::default(), LONG);
    let by_old = signed(&before.p256, Algorithm::ES256, Some("old"), &claims());
    let by_new = signed(&after.p256, Algorithm::ES256, Some("new"), &claims());
    assert!(is_let_in(&station, &by_old).await);
    publisher.say(ok(&new.to_string()));
    assert!(!is_let_in(&station, &by_new).await, "it was fetched a moment ago");
    let Source::At(keys) = &station.keys else { panic!("they are fetched") };
    keys.forget_that_it_asked();
    assert!(is_let_in(&station, &by_new).await);
    assert!(is_let_in(&station, &by_old).await);
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let issuer = Issuer::new();
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for answer in [
        "HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 301 Elsewhere\r\nlocation: /\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ok("{\"keys\":[]}"),
        ok("<html>"),
        ok(&large),
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{".to_owned(),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let publisher = Publisher::start(answer.clone()).await;
        let station = publisher.station(&Shared::default(), LONG);
        let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
        let bearer = format!("Bearer {token}");
        let answer = answer.get(..60).unwrap_or(&answer);
        for _ in 0..2 {
            let (status, _) = judged(&station, &mut request(&[&bearer])).await.expect("refused");
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
        }
    }
}

#[tokio::test]
async fn stale_keys_do_while_fresh_ones_cannot_be_had_and_no_longer() {
    let issuer = Issuer::new();
    let publisher = Publisher::start(ok(&issuer.set().to_string())).await;
    let station = publisher.station(&Shared::default(), LONG);
    let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
    assert!(is_let_in(&station, &token).await);
    publisher.say("HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n".to_owned());
    let Source::At(keys) = &station.keys else { panic!("they are fetched") };
    keys.age(LONG);
    assert!(is_let_in(&station, &token).await, "stale");
    assert_eq!(publisher.asked(), 2, "and fresh ones were asked for");
    keys.age(LONG);
    let mut request = request(&[&format!("Bearer {token}")]);
    let (status, _) = judged(&station, &mut request).await.expect("refused");
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "gone");
}
