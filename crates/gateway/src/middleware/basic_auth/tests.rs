//! Right and wrong passwords, what is remembered, and floods.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::time::Duration;

use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use sterna_net::Body;

use super::verifier::{MAX_OF_CLIENT, MAX_PLACES};
use super::*;
use crate::shared::Shared;

/// Cheap to verify: 8 KiB, one round. The password is `secret`.
fn line(name: &str) -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    let params = Params::new(8, 1, 1, None).expect("parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(b"secret", b"a salt of sixteen").expect("a hash");
    format!("{name}:{hash}")
}

fn users() -> Arc<Users> {
    let lines = [line("alice"), line("bob"), line("zo\u{eb}")];
    Arc::new(Users::of(&lines.each_ref().map(String::as_str)).expect("well-formed"))
}

fn station(shared: &Shared) -> BasicAuth {
    Config { realm: "Staff".to_owned(), users: users() }.build(Build { shared, path: None })
}

fn request(fields: &[&str]) -> Request {
    let mut request = Request::new(Body::empty());
    for field in fields {
        let value = HeaderValue::from_bytes(field.as_bytes()).expect("a value");
        request.headers_mut().append(AUTHORIZATION, value);
    }
    request
}

fn basic(text: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

async fn judged(station: &BasicAuth, client: Option<IpAddr>, fields: &[&str]) -> Option<Error> {
    let mut request = request(fields);
    let mut exchange = Exchange::of_client(client, &request);
    match station.on_request(&mut exchange, &mut request).verdict().await {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(Err(error)) => Some(error),
        ControlFlow::Break(Ok(_)) => panic!("it answers nothing itself"),
    }
}

const LOCAL: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

#[tokio::test]
async fn the_right_password_passes_and_all_else_is_401_with_the_realm() {
    let station = station(&Shared::default());
    let right = [&b"alice:secret"[..], b"bob:secret", "zo\u{eb}:secret".as_bytes()].map(basic);
    let lower = right[0].replace("Basic", "bAsIc");
    let spaced = right[0].replace("Basic ", "Basic   ");
    for field in [&right[0], &right[1], &right[2], &lower, &spaced] {
        assert!(judged(&station, LOCAL, &[field]).await.is_none(), "{field}");
    }
    let wrong = [
        &b"alice:Secret"[..],
        b"alice:secret ",
        b"alice: secret",
        b"alice:",
        b"alice",
        b"alice:secret:",
        b"alice:secret\0",
        b"Alice:secret",
        b"carol:secret",
        b":secret",
        b"",
        b":",
        b"\xff:secret",
    ]
    .map(basic);
    let malformed = ["Basic", "Basic ", "Basic !!!!", "Bearer abc", "YWxpY2U6c2VjcmV0", ""];
    let long = basic(format!("alice:{}", "x".repeat(MAX_TOKEN)).as_bytes());
    let all = wrong.iter().map(String::as_str).chain(malformed).chain([long.as_str()]);
    for field in all {
        let refused = judged(&station, LOCAL, &[field]).await.expect("it is wrong");
        let response = refused.into_response(&HeaderMap::new());
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{field}");
        let challenge = "Basic realm=\"Staff\", charset=\"UTF-8\"";
        assert_eq!(response.headers()[WWW_AUTHENTICATE], challenge);
    }
    assert!(judged(&station, LOCAL, &[]).await.is_some(), "none");
    assert!(judged(&station, LOCAL, &[&right[0], &right[0]]).await.is_some(), "two fields");
}

#[tokio::test]
async fn a_password_is_verified_once_and_a_wrong_one_each_time() {
    let shared = Shared::default();
    let station = station(&shared);
    let (right, wrong) = (basic(b"alice:secret"), basic(b"alice:wrong"));
    for _ in 0..3 {
        assert!(judged(&station, LOCAL, &[&right]).await.is_none());
        assert!(judged(&station, LOCAL, &[&wrong]).await.is_some());
    }
    assert_eq!(shared.verifier().counts(), [1, 3, 0]);
}

#[test]
fn what_was_right_is_remembered_for_a_while_and_up_to_a_bound() {
    let users = users();
    let credentials =
        |i: usize| Credentials { name: b"alice".to_vec(), password: i.to_string().into_bytes() };
    let begin = Instant::now();
    users.note(&credentials(0), begin);
    assert!(users.remember(&credentials(0), begin + Duration::from_secs(299)));
    assert!(!users.remember(&credentials(0), begin + Duration::from_secs(300)));
    assert!(!users.remember(&credentials(1), begin), "another password");
    for i in 1..users::MAX_REMEMBERED {
        users.note(&credentials(i), begin);
    }
    assert!(users.remember(&credentials(0), begin), "as many as there is room for");
    users.note(&credentials(usize::MAX), begin);
    assert!(!users.remember(&credentials(0), begin), "the oldest made room");
    assert!(users.remember(&credentials(1), begin));
}

#[test]
fn a_name_and_a_password_are_told_apart_in_what_is_remembered() {
    let users = users();
    let credentials =
        |name: &[u8], password: &[u8]| Credentials { name: name.into(), password: password.into() };
    let now = Instant::now();
    users.note(&credentials(b"ab", b"c"), now);
    assert!(!users.remember(&credentials(b"a", b"bc"), now));
    assert!(!users.remember(&credentials(b"abc", b""), now));
}

/// The runtime of this test has one thread for what blocks, and it is busy: nothing is verified.
#[test]
fn a_flood_of_wrong_passwords_is_turned_away_and_leaves_room_for_others() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).build().expect("a runtime");
    let (release, released) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || released.recv());
    let shared = Shared::default();
    let station = Arc::new(station(&shared));
    let local = tokio::task::LocalSet::new();
    let ask = |client: u32| {
        let station = station.clone();
        local.spawn_local(async move {
            let client = Some(IpAddr::V4(client.into()));
            let wrong = basic(b"alice:wrong");
            let error = judged(&station, client, &[&wrong]).await.expect("it is wrong");
            let response = error.into_response(&HeaderMap::new());
            (response.status(), response.headers().contains_key(RETRY_AFTER))
        })
    };
    local.block_on(&runtime, async {
        let mut waiting: Vec<_> = (0..MAX_OF_CLIENT).map(|_| ask(1)).collect();
        tokio::task::yield_now().await;
        let beyond = ask(1).await.expect("ended");
        assert_eq!(beyond, (StatusCode::TOO_MANY_REQUESTS, true), "one client");
        for client in 2.. {
            if waiting.len() == MAX_PLACES {
                break;
            }
            waiting.push(ask(client));
        }
        tokio::task::yield_now().await;
        let beyond = ask(1000).await.expect("ended");
        assert_eq!(beyond, (StatusCode::SERVICE_UNAVAILABLE, true), "all of them");
        assert_eq!(shared.verifier().counts(), [0, 0, 2]);
        drop(release);
        for one in waiting {
            assert_eq!(one.await.expect("ended").0, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(ask(1).await.expect("ended").0, StatusCode::UNAUTHORIZED, "there is room again");
        assert_eq!(shared.verifier().counts(), [0, MAX_PLACES as u64 + 1, 2]);
    });
}

#[tokio::test]
async fn a_preflight_passes_for_the_station_of_cors_to_answer() {
    let station = station(&Shared::default());
    let mut request = request(&[]);
    let mut exchange = Exchange::of_client(LOCAL, &request);
    exchange.set_preflight();
    let verdict = station.on_request(&mut exchange, &mut request).verdict().await;
    assert!(matches!(verdict, ControlFlow::Continue(())));
}

#[test]
fn a_line_that_names_nobody_or_costs_too_much_is_refused() {
    use CredentialError::{NoHash, NoName, TooCostly, Twice};
    let alice = line("alice");
    let hash = alice.strip_prefix("alice:").expect("a hash");
    let costly = |what: &str, more: &str| alice.replace(what, more);
    for (lines, error) in [
        (vec![hash.to_owned()], NoName),
        (vec![format!(":{hash}")], NoName),
        (vec!["alice:secret".to_owned()], NoHash),
        (vec!["alice:$2y$05$abcdefghijklmnopqrstuu".to_owned()], NoHash),
        (vec!["alice:$argon2id$v=19$m=8,t=1,p=1".to_owned()], NoHash),
        (vec![costly("m=8", "m=262145")], TooCostly),
        (vec![costly("t=1", "t=17")], TooCostly),
        (vec![alice.clone(), alice.clone()], Twice),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let refused = Users::of(&lines).expect_err("it is wrong");
        let UsersError::Line { line, error: found } = refused else { panic!("{refused}") };
        assert_eq!((line, found), (lines.len(), error), "{lines:?}");
        assert!(!refused.to_string().contains("argon2id$v"), "no hash is told: {refused}");
    }
}

#[test]
fn a_file_has_a_line_for_each_and_comments() {
    let path = std::env::temp_dir().join(format!("sterna-users-{}", std::process::id()));
    let text = format!("# staff\n\n{}\r\n  {}  \n", line("alice"), line("bob"));
    std::fs::write(&path, &text).expect("written");
    assert_eq!(Users::open(&path, &[&line("carol")]).expect("well-formed").len(), 3);
    std::fs::write(&path, format!("{text}nobody\n")).expect("written");
    let refused = Users::open(&path, &[]).expect_err("a line is wrong").to_string();
    std::fs::remove_file(&path).expect("removed");
    assert!(refused.starts_with("line 5 "), "{refused}");
}

#[test]
fn a_hash_that_was_made_here_lets_in_and_differs_each_time() {
    let [first, second] = [(); 2].map(|()| hash_password(b"a long password").expect("a hash"));
    assert_ne!(first, second);
    assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{first}");
    let users = Users::of(&[&format!("alice:{first}")]).expect("well-formed");
    let credentials =
        Credentials { name: b"alice".to_vec(), password: b"a long password".to_vec() };
    assert!(users.verify(&credentials));
    assert!(!format!("{users:?}").contains("argon2"), "{users:?}");
}
