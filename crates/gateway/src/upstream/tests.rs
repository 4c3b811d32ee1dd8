//! Upstreams over virtual time: backends die, recover, flap and are full. Sockets are in `kept`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};

use super::backend::Verdict;
use super::*;

mod backends;
mod dns;
mod kept;
mod passed_on;

pub(super) fn address(i: usize) -> Address {
    let port = u16::try_from(1000 + i).unwrap();
    let place = Place::Net { host: "10.0.0.1".to_owned(), port };
    Address { scheme: Scheme::Http, place }
}

impl Address {
    pub(super) fn port(&self) -> u16 {
        match self.place {
            Place::Net { port, .. } => port,
            Place::Unix(_) => 0,
        }
    }
}

pub(super) fn upstream_of(config: &Config) -> Upstream {
    Upstream::new(config)
}

/// An upstream, and the time.
struct World {
    upstream: Upstream,
    now: Instant,
    headers: HeaderMap,
}

impl World {
    fn new(backends: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new((0..backends).map(address));
        config.balance = balance::Policy::RoundRobin;
        change(&mut config);
        let upstream = upstream_of(&config);
        // A moment later, so that nothing depends on the very first one.
        Self { upstream, now: Instant::now() + Duration::from_secs(1), headers: HeaderMap::new() }
    }

    fn pick(&self) -> Result<Pick, NoBackend> {
        self.pick_but(&[])
    }

    fn pick_but(&self, tried: &[Arc<Backend>]) -> Result<Pick, NoBackend> {
        self.upstream.pick(&Wanted { client: None, headers: &self.headers }, tried, self.now)
    }

    /// So many requests, of which those to `bad` backends fail; how many each got.
    fn load(&self, requests: usize, bad: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.upstream.config().backends.len()];
        for _ in 0..requests {
            let pick = self.pick().unwrap();
            let i = usize::from(pick.backend().address().port() - 1000);
            counts[i] += 1;
            pick.tell(if bad.contains(&i) { Outcome::Failed } else { well() }, self.now);
        }
        counts
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
    }

    fn backend(&self, i: usize) -> Arc<Backend> {
        let set = self.upstream.inner.set.load();
        set.backends().find(|backend| *backend.address() == address(i)).unwrap().clone()
    }

    fn says(&self, i: usize, verdict: Verdict) {
        self.backend(i).set_verdict(verdict, self.upstream.inner.millis(self.now));
    }

    fn status(&self) -> Status {
        self.upstream.status(self.now)
    }
}

fn well() -> Outcome {
    Outcome::Answered { status: StatusCode::OK, after: Duration::from_millis(5) }
}

fn answered(status: u16) -> Outcome {
    let status = StatusCode::from_u16(status).unwrap();
    Outcome::Answered { status, after: Duration::from_millis(5) }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_backend_that_dies_is_left_out_after_five_failures_and_comes_back() {
    let mut world = World::new(3, |_| {});
    assert_eq!(world.load(15, &[1]), [5, 5, 5], "until five have failed");
    let counts = world.load(300, &[1]);
    assert_eq!(counts[1], 0);
    assert_eq!(world.status().backends[1].condition, Condition::Ejected(secs(10)));
    world.after(secs(10));
    assert_eq!(world.load(30, &[]), [10, 10, 10], "it has recovered meanwhile");
    assert_eq!(world.status().backends[1].condition, Condition::Unchecked);
}

#[test]
fn one_that_flaps_is_left_out_longer_each_time_and_its_first_failure_is_enough() {
    let mut world = World::new(3, |_| {});
    world.load(15, &[1]);
    for time in [10, 20, 40, 80] {
        assert_eq!(world.status().backends[1].condition, Condition::Ejected(secs(time)));
        world.after(secs(time));
        let counts = world.load(30, &[1]);
        assert_eq!(counts[1], 1, "one failure, and it is out again");
    }
    assert_eq!(world.status().backends[1].ejections, 5);
}

#[test]
fn a_success_ends_the_probation() {
    let mut world = World::new(3, |_| {});
    world.load(15, &[1]);
    world.after(secs(10));
    world.load(3, &[]);
    let counts = world.load(12, &[1]);
    assert_eq!(counts, [4, 4, 4], "it has five failures again");
    assert_eq!(world.load(3, &[1])[1], 1);
    assert_eq!(world.load(30, &[1])[1], 0);
}

#[test]
fn failures_in_a_row_are_those_without_a_success_between() {
    let world = World::new(2, |_| {});
    let backend = world.backend(0);
    for _ in 0..10 {
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Failed, Outcome::Failed, well()]
        {
            Pick::of(backend.clone()).told(outcome, &world);
        }
    }
    assert_eq!(world.status().backends[0].ejections, 0);
    assert_eq!(world.status().backends[0].failures, 40);
}

impl Pick {
    fn told(self, outcome: Outcome, world: &World) {
        self.backend().begin();
        self.tell(outcome, world.now);
    }
}

#[test]
fn only_what_says_that_the_backend_did_not_serve_is_a_failure() {
    for (status, is_failure) in [
        (200, false),
        (404, false),
        (500, false),
        (501, false),
        (502, true),
        (503, true),
        (504, true),
    ] {
        let world = World::new(2, |_| {});
        for _ in 0..5 {
            Pick::of(world.backend(0)).told(answered(status), &world);
        }
        assert_eq!(world.status().backends[0].ejections, u64::from(is_failure), "{status}");
    }
    let world = World::new(2, |_| {});
    for _ in 0..50 {
        Pick::of(world.backend(0)).told(Outcome::GivenUp, &world);
    }
    assert_eq!(world.status().backends[0].failures, 0, "a client that left says nothing");
}

#[test]
fn no_more_are_left_out_than_may_be() {
    let world = World::new(4, |_| {});
    let counts = world.load(400, &[0, 1, 2]);
    let out = world.status().backends.iter().filter(|it| it.ejections > 0).count();
    assert_eq!(out, 2, "half of four: {counts:?}");
    assert!(world.status().ejections_refused > 0);
    let single = World::new(1, |_| {});
    single.load(100, &[0]);
    assert_eq!(single.status().backends[0].ejections, 0, "the only one is never left out");
}

#[test]
fn answers_to_what_was_sent_before_an_ejection_do_not_make_it_longer() {
    let mut world = World::new(2, |_| {});
    let late: Vec<_> = (0..20).map(|_| world.pick().unwrap()).collect();
    let bad = world.backend(0);
    let late: Vec<_> = late.iter().filter(|pick| Arc::ptr_eq(pick.backend(), &bad)).collect();
    late.iter().for_each(|pick| pick.tell(Outcome::Failed, world.now));
    assert_eq!(late.len(), 10);
    assert_eq!(world.status().backends[0].condition, Condition::Ejected(secs(10)));
    world.after(secs(10));
    assert_eq!(world.status().backends[0].condition, Condition::Unchecked);
}

#[test]
fn ejection_can_be_switched_off() {
    let world = World::new(2, |config| config.eject = None);
    assert_eq!(world.load(100, &[0]), [50, 50]);
}

#[test]
fn when_all_are_down_all_are_asked() {
    let world = World::new(3, |_| {});
    for i in 0..3 {
        world.says(i, Verdict::Unhealthy);
    }
    assert_eq!(world.load(30, &[]), [10, 10, 10]);
    let status = world.status();
    assert!(status.is_in_panic);
    assert_eq!(status.panic_picks, 30);
    world.says(1, Verdict::Healthy);
    assert_eq!(world.load(30, &[]), [0, 30, 0], "one is enough to end the panic");
}

#[test]
fn panic_begins_below_the_share_that_the_configuration_names() {
    let world = World::new(4, |config| config.panic_below = 50);
    world.says(0, Verdict::Unhealthy);
    world.says(1, Verdict::Unhealthy);
    assert_eq!(world.load(40, &[])[..2], [0, 0], "a half is not below a half");
    world.says(2, Verdict::Unhealthy);
    assert_eq!(world.load(40, &[]), [10, 10, 10, 10]);
}

#[test]
fn a_retry_does_not_go_to_an_unhealthy_backend_while_a_healthy_one_was_tried() {
    let world = World::new(2, |_| {});
    world.says(0, Verdict::Unhealthy);
    let tried = [world.pick().unwrap().backend().clone()];
    assert_eq!(world.pick_but(&tried).map(drop), Err(NoBackend::Unavailable));
}

#[test]
fn what_was_tried_is_not_asked_again() {
    for policy in [
        balance::Policy::RoundRobin,
        balance::Policy::Weighted,
        balance::Policy::Random,
        balance::Policy::LeastConn,
        balance::Policy::P2cEwma,
        balance::Policy::Hash(balance::Key::Client),
    ] {
        let world = World::new(4, |config| config.balance = policy);
        let mut tried = Vec::new();
        while let Ok(pick) = world.pick_but(&tried) {
            assert!(!tried.iter().any(|one| Arc::ptr_eq(one, pick.backend())));
            tried.push(pick.backend().clone());
        }
        assert_eq!(tried.len(), 4, "each once");
        assert_eq!(world.pick_but(&tried).map(drop), Err(NoBackend::Unavailable));
    }
}

#[test]
fn a_draining_backend_gets_nothing_new_even_in_a_panic() {
    let world = World::new(3, |_| {});
    let running = world.pick().unwrap();
    let name = running.backend().address().to_string();
    world.upstream.set_draining(&name, true).unwrap();
    let drained = usize::from(running.backend().address().port() - 1000);
    assert_eq!(world.load(30, &[])[drained], 0);
    assert_eq!(running.backend().in_flight(), 1, "what runs goes on");
    (0..3).for_each(|i| world.says(i, Verdict::Unhealthy));
    assert_eq!(world.load(30, &[])[drained], 0);
    (0..3).for_each(|i| world.upstream.set_draining(&address(i).to_string(), true).unwrap());
    assert_eq!(world.pick().map(drop), Err(NoBackend::Unavailable));
    assert_eq!(world.status().unavailable, 1);
    world.upstream.set_draining(&name, false).unwrap();
    assert_eq!(world.load(30, &[])[drained], 30);
    let error = world.upstream.set_draining("http://nobody:1", true).unwrap_err();
    assert_eq!(error, NoSuchBackend("http://nobody:1".to_owned()));
}

#[test]
fn an_operators_weight_counts_at_once_and_zero_takes_nothing_new() {
    let world = World::new(2, |config| config.balance = balance::Policy::Weighted);
    assert_eq!(world.load(40, &[]), [20, 20]);
    world.upstream.set_weight(&address(0).to_string(), 3).unwrap();
    assert_eq!(world.load(40, &[]), [30, 10]);
    world.upstream.set_weight(&address(0).to_string(), 0).unwrap();
    assert_eq!(world.load(40, &[]), [0, 40]);
    assert_eq!(world.status().backends[0].weight, 0);
    world.says(1, Verdict::Unhealthy);
    assert_eq!(world.load(40, &[]), [0, 40], "one that is not in service does not count as well");
}

#[test]
fn one_that_is_back_begins_with_a_small_share_that_rises() {
    for policy in [balance::Policy::RoundRobin, balance::Policy::Weighted, balance::Policy::Random]
    {
        let mut world = World::new(2, |config| {
            config.slow_start = secs(10);
            config.balance = policy.clone();
        });
        world.says(0, Verdict::Healthy);
        assert_eq!(world.status().backends[0].share, 100, "one that was never ill");
        world.says(0, Verdict::Unhealthy);
        world.after(secs(1));
        world.says(0, Verdict::Healthy);
        let begin = world.load(10_000, &[])[0];
        assert!((750..1_080).contains(&begin), "{policy:?}: 0.1 of 1.1: {begin}");
        world.after(secs(5));
        assert_eq!(world.status().backends[0].share, 50);
        let half = world.load(10_000, &[])[0];
        assert!((3_050..3_620).contains(&half), "{policy:?}: 0.5 of 1.5: {half}");
        world.after(secs(5));
        let whole = world.load(10_000, &[])[0];
        assert!((4_700..=5_300).contains(&whole), "{policy:?}: {whole}");
    }
}

#[test]
fn one_that_was_left_out_comes_back_with_a_small_share_too() {
    let mut world = World::new(2, |config| config.slow_start = secs(10));
    world.load(10, &[0]);
    world.after(secs(10));
    let begin = world.load(10_000, &[])[0];
    assert!((750..1_080).contains(&begin), "{begin}");
}

#[test]
fn a_backend_has_no_more_requests_than_it_may_have() {
    let world = World::new(2, |config| config.breaker.requests = Some(3));
    let held: Vec<_> = (0..6).map(|_| world.pick().unwrap()).collect();
    assert_eq!(world.pick().map(drop), Err(NoBackend::Full));
    assert_eq!(world.status().full, 1);
    assert!(world.status().backends.iter().all(|backend| backend.in_flight == 3));
    drop(held);
    assert!(world.pick().is_ok(), "places are given back");
    assert!(world.status().backends.iter().all(|backend| backend.in_flight == 0));
}

#[test]
fn workers_do_not_go_past_the_limit_together() {
    let world = World::new(2, |config| config.breaker.requests = Some(50));
    let got: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let picks: Vec<_> = (0..50).filter_map(|_| world.pick().ok()).collect();
                    let count = picks.len();
                    std::mem::forget(picks);
                    count
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(got, 100);
}

#[test]
fn backups_are_asked_when_no_other_can_be() {
    let world = World::new(3, |config| config.backends[2].is_backup = true);
    assert_eq!(world.load(20, &[]), [10, 10, 0]);
    world.says(0, Verdict::Unhealthy);
    world.says(1, Verdict::Unhealthy);
    assert_eq!(world.load(20, &[]), [0, 0, 20]);
    world.says(0, Verdict::Healthy);
    assert_eq!(world.load(20, &[]), [20, 0, 0]);
}

#[test]
fn retries_have_a_budget_of_the_requests_that_were_sent() {
    let mut world = World::new(2, |config| {
        config.retries = budget::Config { percent: 10, per_second: 0 };
    });
    assert!(!world.upstream.may_retry(world.now));
    world.load(100, &[]);
    let allowed = (0..100).filter(|_| world.upstream.may_retry(world.now)).count();
    assert_eq!(allowed, 10);
    let tried = [world.backend(0)];
    (0..100).for_each(|_| drop(world.pick_but(&tried)));
    assert!(!world.upstream.may_retry(world.now), "retries earn none");
    let status = world.status();
    assert_eq!((status.retries, status.retries_refused), (10, 92));
    world.after(secs(11));
    world.load(10, &[]);
    assert!(world.upstream.may_retry(world.now));
}

#[test]
fn before_names_are_resolved_there_is_nobody_yet() {
    let mut config = Config::new([]);
    config.backends =
        vec![Member { source: Source::Names(address(0)), weight: 1, is_backup: false }];
    let upstream = upstream_of(&config);
    let headers = HeaderMap::new();
    let picked = upstream.pick(&Wanted { client: None, headers: &headers }, &[], Instant::now());
    assert_eq!(picked.map(drop), Err(NoBackend::Unresolved));
    assert!(!upstream.status(Instant::now()).is_resolved);
}

mod discovered {
    //! What discovery makes of the set.

    use super::super::backend::Identity;
    use super::super::inner::Found;
    use super::*;

    fn found(ports: &[usize]) -> Vec<Found> {
        let one = |port: &usize| Found {
            identity: Identity { address: address(*port), socket: None },
            weight: 1,
            priority: 0,
        };
        ports.iter().map(one).collect()
    }

    fn addresses(world: &World) -> Vec<u16> {
        world.status().backends.iter().map(|backend| backend.address.port()).collect()
    }

    #[test]
    fn backends_that_stay_keep_what_is_known_of_them() {
        let mut world = World::new(2, |config| config.slow_start = secs(10));
        world.says(0, Verdict::Unhealthy);
        world.upstream.set_weight(&address(0).to_string(), 7).unwrap();
        let running = world.pick().unwrap();
        world.after(secs(5));
        let before = [world.backend(0), world.backend(1)];
        world.upstream.inner.found(&found(&[0, 2]), true, world.now);
        assert_eq!(addresses(&world), [1000, 1002]);
        assert_eq!(before.map(|backend| backend.is_gone()), [false, true]);
        let status = world.status();
        assert_eq!(status.backends[0].condition, Condition::Unhealthy);
        assert_eq!((status.backends[0].weight, status.backends[0].share), (7, 100));
        assert_eq!(status.backends[1].share, 10, "a new one begins with a small share");
        assert_eq!(running.backend().in_flight(), 1, "a request outlives its backend's place");
        running.tell(Outcome::Failed, world.now);
    }

    #[test]
    fn one_that_is_found_twice_is_there_once() {
        let world = World::new(1, |_| {});
        world.upstream.inner.found(&found(&[3, 3, 4]), true, world.now);
        assert_eq!(addresses(&world), [1003, 1004]);
    }

    #[test]
    fn no_more_are_taken_than_there_may_be() {
        let world = World::new(1, |_| {});
        let ports: Vec<_> = (0..MOST_BACKENDS + 10).collect();
        world.upstream.inner.found(&found(&ports), true, world.now);
        let status = world.status();
        assert_eq!((status.backends.len(), status.backends_left_out), (MOST_BACKENDS, 10));
    }

    #[test]
    fn smaller_priorities_are_asked_first() {
        let world = World::new(1, |_| {});
        let mut records = found(&[0, 1, 2]);
        records[0].priority = 20;
        world.upstream.inner.found(&records, true, world.now);
        let tiers: Vec<_> =
            world.status().backends.iter().map(|it| (it.address.port(), it.tier)).collect();
        assert_eq!(tiers, [(1001, 0), (1002, 0), (1000, 1)]);
    }

    #[test]
    fn a_set_that_shrinks_to_one_still_serves() {
        let world = World::new(4, |_| {});
        world.upstream.inner.found(&found(&[3]), true, world.now);
        assert_eq!(world.load(8, &[])[3], 8);
    }
}
