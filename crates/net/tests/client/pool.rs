//! What is kept, what is shared and what goes: every bound by filling it.

use std::{sync::atomic::Ordering, time::Duration};

use http_body_util::BodyExt;
use sterna_net::client::{Kind, Phase, PoolConfig, Timeouts, Versions};

use crate::{
    futures::join_all,
    world::{EACH, World, exchange, run, settled, text},
};

fn pool(change: impl FnOnce(&mut PoolConfig)) -> PoolConfig {
    let mut pool = PoolConfig::default();
    change(&mut pool);
    pool
}

#[test]
fn requests_at_once_share_a_connection_where_the_version_can() {
    let world = World::start();
    run(async {
        for (versions, connections) in EACH.into_iter().zip([10, 1, 1]) {
            let client = world.client(versions);
            let all = (0..10).map(|_| client.send(world.get("/held")));
            let before = world.marks.requests.load(Ordering::SeqCst);
            let release = async {
                settled(|| world.marks.requests.load(Ordering::SeqCst) == before + 10).await;
                assert_eq!(client.counters().connections, connections, "{versions:?}");
                world.marks.release.notify_waiters();
            };
            let (responses, ()) = tokio::join!(join_all(all), release);
            for response in responses {
                assert_eq!(text(response.unwrap()).await, "released");
            }
        }
    });
}

#[test]
fn idle_connections_of_an_origin_are_kept_up_to_the_limit() {
    let world = World::start();
    run(async {
        let limits = pool(|pool| pool.idle_per_origin = 3);
        let client = world.builder().versions(Versions::ONLY_H1).pool(limits).build().unwrap();
        let all = (0..6).map(|_| client.send(world.get("/held")));
        let release = async {
            settled(|| world.marks.requests.load(Ordering::SeqCst) == 6).await;
            world.marks.release.notify_waiters();
        };
        let (responses, ()) = tokio::join!(join_all(all), release);
        for response in responses {
            text(response.unwrap()).await;
        }
        settled(|| client.counters().connections == 3).await;
        assert_eq!(client.counters().idle_connections, 3);
        let response = client.send(world.get("/")).await.unwrap();
        assert!(exchange(&response).reused);
    });
}

#[test]
fn idle_connections_of_all_origins_are_kept_up_to_the_limit() {
    let worlds = [World::start(), World::start(), World::start()];
    run(async {
        let limits = pool(|pool| pool.idle_total = 2);
        let client = sterna_net::Client::builder()
            .danger_accept_any_certificate(true)
            .versions(Versions::ONLY_H2)
            .pool(limits)
            .build()
            .unwrap();
        for world in &worlds {
            text(client.send(world.get("/")).await.unwrap()).await;
        }
        settled(|| client.counters().connections == 2).await;
        // The first one went, as the one that was idle for longest.
        for (world, is_reused) in worlds.iter().zip([false, true, true]).skip(1) {
            let response = client.send(world.get("/")).await.unwrap();
            assert_eq!(exchange(&response).reused, is_reused);
            text(response).await;
        }
    });
}

#[test]
fn connection_that_is_idle_for_too_long_goes() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let limits = pool(|pool| pool.idle_timeout = Duration::from_millis(100));
            let client = world.builder().versions(versions).pool(limits).build().unwrap();
            text(client.send(world.get("/")).await.unwrap()).await;
            assert_eq!(client.counters().connections, 1);
            settled(|| client.counters().connections == 0).await;
            let response = client.send(world.get("/")).await.unwrap();
            assert!(!exchange(&response).reused, "{versions:?}");
        }
    });
}

#[test]
fn request_that_finds_all_connections_used_waits_for_one_and_too_many_fail_at_once() {
    let world = World::start();
    run(async {
        let limits = pool(|pool| {
            pool.max_connections_per_origin = 2;
            pool.max_waiting_per_origin = 3;
        });
        let client = world.builder().versions(Versions::ONLY_H1).pool(limits).build().unwrap();
        let held = || async { text(client.send(world.get("/held")).await.unwrap()).await };
        let came = |count| {
            let marks = world.marks.clone();
            settled(move || marks.requests.load(Ordering::SeqCst) == count)
        };
        let two = join_all([held(), held()]);
        let three = async {
            came(2).await;
            join_all([held(), held(), held()]).await
        };
        let check = async {
            came(2).await;
            // The three have come into the queue when this one is polled.
            tokio::task::yield_now().await;
            let error = client.send(world.get("/")).await.unwrap_err();
            assert_eq!((error.phase(), error.kind()), (Phase::Connect, Kind::Overloaded));
            assert!(error.may_retry());
            for count in [2, 4, 5] {
                came(count).await;
                world.marks.release.notify_waiters();
            }
        };
        let (two, three, ()) = tokio::join!(two, three, check);
        assert_eq!((two.len(), three), (2, vec!["released".to_owned(); 3]));
        assert_eq!(client.counters().connections, 2);
    });
}

#[test]
fn more_requests_than_streams_are_allowed_get_a_second_connection() {
    let mut config = sterna_net::server::Config::default();
    config.quic.max_bidi_streams = 4;
    config.max_http3_streams = 4;
    let world = World::with(config);
    run(async {
        let client = world.client(Versions::ONLY_H3);
        text(client.send(world.get("/")).await.unwrap()).await;
        let all =
            (0..9).map(|_| async { text(client.send(world.get("/held")).await.unwrap()).await });
        let release = async {
            // Four on the first; of the rest all wait there, until the limit is known.
            settled(|| world.marks.requests.load(Ordering::SeqCst) >= 5).await;
            let later = async { text(client.send(world.get("/")).await.unwrap()).await };
            assert_eq!(later.await, "hello over HTTP/3", "on a connection of its own");
            assert_eq!(client.counters().http3_connections, 2);
            for _ in 0..3 {
                world.marks.release.notify_waiters();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            settled(|| {
                world.marks.release.notify_waiters();
                world.marks.requests.load(Ordering::SeqCst) >= 11
            })
            .await;
            world.marks.release.notify_waiters();
        };
        let (texts, ()) = tokio::join!(join_all(all.collect::<Vec<_>>()), release);
        assert_eq!(texts.len(), 9);
    });
}

#[test]
fn connection_that_lets_a_request_wait_for_too_long_gets_no_more() {
    let world = World::start();
    run(async {
        for versions in EACH {
            for timeouts in [
                Timeouts { first_byte: Duration::from_millis(200), ..Timeouts::default() },
                Timeouts { total: Duration::from_millis(200), ..Timeouts::default() },
            ] {
                let client = world.builder().versions(versions).timeouts(timeouts).build().unwrap();
                text(client.send(world.get("/")).await.unwrap()).await;
                let error = client.send(world.get("/never")).await.unwrap_err();
                assert_eq!((error.phase(), error.kind()), (Phase::FirstByte, Kind::Timeout));
                assert!(error.is_timeout() && !error.may_retry());
                let response = client.send(world.get("/")).await.unwrap();
                assert!(!exchange(&response).reused, "{versions:?}");
            }
        }
    });
}

#[test]
fn warm_connection_serves_the_first_request() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            client.warm_up(&world.url("/").parse().unwrap()).await.unwrap();
            assert_eq!(client.counters().connections, 1);
            let response = client.send(world.get("/")).await.unwrap();
            let waited = exchange(&response).timings.waited;
            assert!(waited < Duration::from_millis(20), "{waited:?}");
            assert_eq!(client.counters().connections, 1);
        }
    });
}

#[test]
fn closing_waits_for_no_one_for_longer_than_its_patience() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let before = world.marks.requests.load(Ordering::SeqCst);
            let hanging = tokio::spawn({
                let (client, request) = (client.clone(), world.get("/never"));
                async move { client.send(request).await }
            });
            settled(|| world.marks.requests.load(Ordering::SeqCst) > before).await;
            let refused = client.clone();
            tokio::time::timeout(Duration::from_secs(3), client.close()).await.expect("bounded");
            let error = refused.send(world.get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Closed);
            hanging.abort();
        }
    });
}

#[test]
fn body_is_read_to_its_end_after_the_last_handle_is_gone() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let response = world.client(versions).send(world.get("/bytes/2000000")).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), 2_000_000, "{versions:?}");
        }
    });
}

#[test]
fn nothing_is_left_of_requests_that_were_given_up() {
    let world = World::start();
    run(async {
        for versions in EACH {
            let client = world.client(versions);
            let all = (0..120).map(|n| {
                let (client, request) = (client.clone(), world.get("/bytes/200000"));
                async move {
                    let send = client.send(request);
                    let patience = Duration::from_micros(200 * n);
                    match n % 3 {
                        // Given up somewhere on the way.
                        0 => drop(tokio::time::timeout(patience, send).await),
                        // Given up with its head.
                        1 => drop(send.await),
                        _ => {
                            let body = send.await.unwrap().into_body().collect().await.unwrap();
                            assert_eq!(body.to_bytes().len(), 200_000);
                        }
                    }
                }
            });
            join_all(all.collect::<Vec<_>>()).await;
            settled(|| {
                let counters = client.counters();
                let waiting = counters.waiting_response_bytes + counters.waiting_request_bytes;
                counters.idle_connections == counters.connections && waiting == 0
            })
            .await;
            assert!(text(client.send(world.get("/")).await.unwrap()).await.starts_with("hello"));
        }
    });
}
