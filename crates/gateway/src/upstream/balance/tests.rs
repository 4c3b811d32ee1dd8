//! Every policy over real tiers: distribution, movement, starvation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::upstream::tests::{address, upstream_of};
use crate::upstream::{Config, Member, Outcome, Pick, Upstream};

fn weighted(policy: Policy, weights: &[u32]) -> Upstream {
    let mut config = Config::new([]);
    config.balance = policy;
    config.eject = None;
    let member = |(i, weight): (usize, &u32)| Member { weight: *weight, ..address(i).into() };
    config.backends = weights.iter().enumerate().map(member).collect();
    upstream_of(&config)
}

const NOBODY: fn() -> HeaderMap = HeaderMap::new;

fn pick(upstream: &Upstream, headers: &HeaderMap, now: Instant) -> Pick {
    upstream.pick(&Wanted { client: None, headers }, &[], now).unwrap()
}

fn index(pick: &Pick) -> usize {
    usize::from(pick.backend().address().port() - 1000)
}

/// How often each was picked; every request ends before the next.
fn shares(upstream: &Upstream, backends: usize, picks: usize) -> Vec<usize> {
    let (headers, now) = (NOBODY(), Instant::now());
    let mut counts = vec![0; backends];
    for _ in 0..picks {
        counts[index(&pick(upstream, &headers, now))] += 1;
    }
    counts
}

#[test]
fn round_robin_asks_one_after_the_other_whatever_they_weigh() {
    let upstream = weighted(Policy::RoundRobin, &[5, 1, 1]);
    assert_eq!(shares(&upstream, 3, 300), [100, 100, 100]);
}

#[test]
fn weighted_spreads_the_turns_of_the_heavy() {
    let upstream = weighted(Policy::Weighted, &[5, 1, 1]);
    let (headers, now) = (NOBODY(), Instant::now());
    let order: Vec<_> = (0..7).map(|_| index(&pick(&upstream, &headers, now))).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shares_follow_the_weights_and_nobody_starves(
        weights in prop::collection::vec(1u32..=20, 2..8),
        policy in prop_oneof![Just(Policy::Weighted), Just(Policy::Random)],
    ) {
        let upstream = weighted(policy, &weights);
        let total: u32 = weights.iter().sum();
        let picks = 200 * total as usize;
        for (count, weight) in shares(&upstream, weights.len(), picks).iter().zip(&weights) {
            let expected = 200.0 * f64::from(*weight);
            // Six deviations of what chance does; in turn there is none.
            let allowed = 6.0 * expected.sqrt();
            prop_assert!((*count as f64 - expected).abs() <= allowed, "{} instead of {}", count, expected);
        }
    }

    #[test]
    fn under_load_least_conn_keeps_requests_even_for_the_weight(
        weights in prop::collection::vec(1u32..=10, 2..8),
    ) {
        let upstream = weighted(Policy::LeastConn, &weights);
        let (headers, now) = (NOBODY(), Instant::now());
        let total: u32 = weights.iter().sum();
        let held: Vec<_> = (0..10 * total).map(|_| pick(&upstream, &headers, now)).collect();
        let mut counts = vec![0u32; weights.len()];
        held.iter().for_each(|pick| counts[index(pick)] += 1);
        for (count, weight) in counts.iter().zip(&weights) {
            prop_assert!(count.abs_diff(10 * weight) <= *weight, "{:?} for {:?}", counts, weights);
        }
    }
}

#[test]
fn least_conn_leaves_the_backend_alone_whose_requests_do_not_end() {
    let upstream = weighted(Policy::LeastConn, &[1, 1, 1]);
    let (headers, now) = (NOBODY(), Instant::now());
    let stuck = pick(&upstream, &headers, now);
    for _ in 0..100 {
        assert_ne!(index(&pick(&upstream, &headers, now)), index(&stuck));
    }
}

#[test]
fn of_equally_idle_ones_least_conn_takes_any() {
    let upstream = weighted(Policy::LeastConn, &[1, 1, 1, 1]);
    for count in shares(&upstream, 4, 4000) {
        assert!((800..1200).contains(&count), "{count}");
    }
}

#[test]
fn p2c_prefers_the_fast_and_still_tries_the_slow() {
    let upstream = weighted(Policy::P2cEwma, &[1, 1, 1]);
    let (headers, start) = (NOBODY(), Instant::now());
    let mut counts = [0; 3];
    for i in 0..30_000u64 {
        let now = start + Duration::from_millis(i);
        let pick = pick(&upstream, &headers, now);
        let slow = index(&pick) == 0;
        let after = Duration::from_millis(if slow { 100 } else { 10 });
        pick.tell(Outcome::Answered { status: StatusCode::OK, after }, now);
        counts[index(&pick)] += 1;
    }
    assert!(counts[0] > 0, "what was slow is forgotten");
    assert!(counts[0] < 300, "{counts:?}");
    assert!(counts[1] > 10_000 && counts[2] > 10_000, "{counts:?}");
}

#[test]
fn p2c_does_not_run_to_a_backend_that_fails_fast() {
    let upstream = weighted(Policy::P2cEwma, &[1, 1, 1]);
    let (headers, start) = (NOBODY(), Instant::now());
    let mut failed = 0;
    for i in 0..10_000u64 {
        let now = start + Duration::from_millis(i);
        let pick = pick(&upstream, &headers, now);
        let outcome = match index(&pick) {
            0 => Outcome::Failed,
            1 => {
                let after = Duration::from_micros(100);
                Outcome::Answered { status: StatusCode::SERVICE_UNAVAILABLE, after }
            }
            _ => Outcome::Answered { status: StatusCode::OK, after: Duration::from_millis(20) },
        };
        pick.tell(outcome, now);
        failed += u32::from(index(&pick) < 2);
    }
    // Both bad ones are the two of a draw a third of the time.
    assert!(failed < 4_000, "{failed}");
}

#[test]
fn p2c_gives_a_backend_of_which_nothing_is_known_one_request_and_waits() {
    let upstream = weighted(Policy::P2cEwma, &[1, 1]);
    let (headers, now) = (NOBODY(), Instant::now());
    let known = pick(&upstream, &headers, now);
    let after = Duration::from_millis(5);
    known.tell(Outcome::Answered { status: StatusCode::OK, after }, now);
    let (known, mut unknown) = (index(&known), Vec::new());
    for _ in 0..50 {
        let pick = pick(&upstream, &headers, now);
        if index(&pick) != known {
            unknown.push(pick);
        }
    }
    assert_eq!(unknown.len(), 1);
}

fn hashed(weights: &[u32]) -> Upstream {
    weighted(Policy::Hash(Key::Header(HeaderName::from_static("x-user"))), weights)
}

fn owners(upstream: &Upstream, keys: usize) -> Vec<usize> {
    let now = Instant::now();
    let owner = |key: usize| {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_str(&format!("user-{key}")).unwrap());
        index(&pick(upstream, &headers, now))
    };
    (0..keys).map(owner).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn hashing_gives_keys_by_weight(weights in prop::collection::vec(1u32..=5, 2..6)) {
        let upstream = hashed(&weights);
        let mut counts = BTreeMap::new();
        for owner in owners(&upstream, 4000) {
            *counts.entry(owner).or_insert(0) += 1;
        }
        let total: u32 = weights.iter().sum();
        for (i, weight) in weights.iter().enumerate() {
            let expected = 4000.0 * f64::from(*weight) / f64::from(total);
            let count = f64::from(*counts.get(&i).unwrap_or(&0));
            prop_assert!((count - expected).abs() <= 6.0 * expected.sqrt(), "{:?} for {:?}", counts, weights);
        }
    }

    #[test]
    fn when_a_backend_comes_only_the_keys_move_that_it_takes(backends in 1usize..12) {
        let weights = vec![1; backends + 1];
        let before = owners(&hashed(&weights[1..]), 2000);
        let after = owners(&hashed(&weights), 2000);
        let mut moved = 0;
        // The smaller set has its ports from the first on: compare by port.
        for (before, after) in before.iter().zip(&after) {
            if before != after {
                moved += 1;
                prop_assert_eq!(*after, backends, "no key moves between those which stay");
            }
        }
        let expected = 2000.0 / (backends + 1) as f64;
        prop_assert!((f64::from(moved) - expected).abs() <= 6.0 * expected.sqrt(), "{}", moved);
    }

    #[test]
    fn when_a_backend_goes_only_its_keys_move_and_come_back_with_it(gone in 0usize..5) {
        let upstream = hashed(&[1; 5]);
        let before = owners(&upstream, 2000);
        upstream.set_draining(&address(gone).to_string(), true).unwrap();
        let during = owners(&upstream, 2000);
        let mut heirs = BTreeMap::new();
        for (before, during) in before.iter().zip(&during) {
            if *before == gone {
                *heirs.entry(*during).or_insert(0) += 1;
            } else {
                prop_assert_eq!(before, during);
            }
        }
        prop_assert!(heirs.len() == 4 && heirs.values().all(|count| *count > 40), "{:?}", heirs);
        upstream.set_draining(&address(gone).to_string(), false).unwrap();
        prop_assert_eq!(owners(&upstream, 2000), before);
    }
}

#[test]
fn two_processes_agree_on_the_backend_of_a_key() {
    assert_eq!(owners(&hashed(&[1; 4]), 500), owners(&hashed(&[1; 4]), 500));
}

#[test]
fn a_key_is_the_client_a_field_or_a_cookie() {
    let mut headers = HeaderMap::new();
    headers.append("cookie", HeaderValue::from_static("theme=dark; sid=abc"));
    headers.append("cookie", HeaderValue::from_static("sid=other"));
    headers.insert("x-user", HeaderValue::from_static("abc"));
    let client = Some("192.0.2.7".parse().unwrap());
    let wanted = Wanted { client, headers: &headers };
    let abc = Some(hash::of_bytes(b"abc"));
    let cookie = |name: &str| Key::Cookie(name.to_owned());
    assert_eq!(hash::of(&cookie("sid"), &wanted), abc, "the first");
    assert_eq!(hash::of(&Key::Header(HeaderName::from_static("x-user")), &wanted), abc);
    assert_eq!(hash::of(&cookie("si"), &wanted), None);
    assert_eq!(hash::of(&cookie("other"), &wanted), None);
    let mapped = Wanted { client: Some("::ffff:192.0.2.7".parse().unwrap()), headers: &headers };
    assert_eq!(hash::of(&Key::Client, &wanted), hash::of(&Key::Client, &mapped));
    assert_eq!(hash::of(&Key::Client, &Wanted { client: None, headers: &headers }), None);
}

#[test]
fn requests_without_the_key_are_spread() {
    let counts = shares(&hashed(&[1; 4]), 4, 4000);
    assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
}

#[test]
fn the_turns_of_a_backend_that_cannot_be_asked_go_to_all_others_alike() {
    for policy in [Policy::RoundRobin, Policy::Weighted, Policy::Random] {
        let upstream = weighted(policy.clone(), &[1; 4]);
        upstream.set_draining(&address(1).to_string(), true).unwrap();
        let counts = shares(&upstream, 4, 6000);
        assert_eq!(counts[1], 0);
        let rest = [counts[0], counts[2], counts[3]];
        assert!(rest.iter().all(|count| (1700..2300).contains(count)), "{policy:?} {counts:?}");
    }
}

#[test]
fn workers_share_the_turns() {
    let upstream = Arc::new(weighted(Policy::Weighted, &[3, 1]));
    let counts: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| shares(&upstream, 2, 10_000))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let total: usize = counts.iter().map(|counts| counts[0]).sum();
    assert_eq!(total, 30_000, "no turn is lost or taken twice");
}
