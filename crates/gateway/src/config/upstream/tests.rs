//! What balancing means once it is read.

use std::time::Duration;

use http::HeaderName;

use crate::config::{Environment, Loaded, Model, Problems};
use crate::handler;
use crate::upstream::balance::{Key, Policy};
use crate::upstream::check::{HttpProbe, Probe};
use crate::upstream::{self, Source, breaker, budget, discovery, eject};

use super::*;

fn read(text: &str) -> Result<Model, Problems> {
    Loaded::of_text("sterna.toml", text, &Environment::empty()).model()
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.mistakes().map(ToString::to_string).collect(),
    }
}

/// The upstreams of all routes.
fn built(text: &str) -> Vec<upstream::Config> {
    let built = Loaded::of_text("sterna.toml", text, &Environment::empty()).build();
    let built = built.unwrap_or_else(|problems| panic!("{problems}"));
    let upstream = |route: &crate::route::Config| match &route.handler {
        handler::Config::Proxy(proxy) => Some(proxy.upstream.clone()),
        _ => None,
    };
    built.gateway.routes.iter().filter_map(upstream).collect()
}

fn one(keys: &str) -> upstream::Config {
    built(&format!("[[site]]\nproxy = 'a:80'\n{keys}")).remove(0)
}

#[test]
fn ways_to_balance_are_words() {
    let header = || Policy::Hash(Key::Header(HeaderName::from_static("x-user")));
    for (text, policy) in [
        ("weighted", Policy::Weighted),
        ("round_robin", Policy::RoundRobin),
        ("random", Policy::Random),
        ("least_conn", Policy::LeastConn),
        ("p2c_ewma", Policy::P2cEwma),
        ("hash ip", Policy::Hash(Key::Client)),
        ("hash header x-user", header()),
        ("hash cookie sid", Policy::Hash(Key::Cookie("sid".to_owned()))),
    ] {
        assert_eq!(one(&format!("balance = '{text}'")).balance, policy);
        assert_eq!(Balance(policy).to_string(), text);
    }
    assert_eq!(one("balance = 'hash header X-User'").balance, header());
    assert_eq!(one("").balance, Policy::Weighted);
    for text in [
        "",
        "fastest",
        "hash",
        "hash cookie",
        "hash cookie a=b",
        "hash header a:b",
        "hash ip 4",
        "random 2",
    ] {
        assert_eq!(
            mistakes(&format!("[[site]]\nproxy = 'a:80'\nbalance = '{text}'")).len(),
            1,
            "{text}"
        );
    }
}

#[test]
fn backends_have_a_weight_and_can_be_backups_or_names() {
    let text = "[[site]]
        proxy = ['10.0.0.1:80 weight=3', 'a:80   backup', 'h2c://b:1 backup weight=7',
                 'dns:https://app.example', 'dns:app.example:81', 'srv:_https._tcp.a.example', 'srv:h2c://_grpc._tcp.A.example.']";
    let told: Vec<_> = built(text)
        .remove(0)
        .backends
        .iter()
        .map(|member| (member.source.to_string(), member.weight, member.is_backup))
        .collect();
    let expected = [
        ("http://10.0.0.1:80", 3, false),
        ("http://a:80", 1, true),
        ("h2c://b:1", 7, true),
        ("dns:https://app.example:443", 1, false),
        ("dns:http://app.example:81", 1, false),
        ("srv:https://_https._tcp.a.example", 1, false),
        ("srv:h2c://_grpc._tcp.a.example", 1, false),
    ];
    assert_eq!(told, expected.map(|(source, weight, backup)| (source.to_owned(), weight, backup)));
}

#[test]
fn what_is_no_backend_says_why() {
    for (text, why) in [
        ("a:80 weight=0", NotAMember::Weight),
        ("a:80 weight=65536", NotAMember::Weight),
        ("a:80 weight=", NotAMember::Weight),
        ("a:80 down", NotAMember::Word("down".to_owned())),
        ("a:80 backup=1", NotAMember::Word("backup=1".to_owned())),
        ("dns:[::1]:80", NotAMember::NoName),
        ("dns:unix:/a.sock", NotAMember::NoName),
        ("srv:a", NotAMember::Services),
        ("srv:_http._tcp.a b", NotAMember::Services),
        ("srv:_http..example", NotAMember::Services),
        ("srv:_http._tcp.a:80", NotAMember::Services),
        ("srv:_http._tcp.a.example weight=2", NotAMember::WeightOfServices),
    ] {
        match text.parse::<Member>() {
            // What a space cuts off is a word of its own.
            Err(NotAMember::Word(word)) if why == NotAMember::Services => assert_eq!(word, "b"),
            found => assert_eq!(found.map(|it| it.to_string()), Err(why), "{text}"),
        }
    }
    assert!(matches!("".parse::<Member>(), Err(NotAMember::Address(_))));
    assert!(matches!("srv:ftp://_a._tcp.b".parse::<Member>(), Err(NotAMember::Address(_))));
}

#[test]
fn a_check_is_a_path_a_word_or_a_table() {
    let probe = |health: &str| one(&format!("health = {health}")).check.unwrap();
    let get = HttpProbe::new("/healthz".parse().unwrap());
    assert_eq!(probe("'/healthz'").probe, Probe::Http(get.clone()));
    assert_eq!(probe("{ path = '/healthz' }").probe, Probe::Http(get.clone()));
    assert_eq!(probe("'tcp'").probe, Probe::Tcp);
    let whole = probe(
        "{ path = '/healthz', host = 'app.example', status = '200-399', body = 'ok', every = '1s', timeout = '2s', passes = 4, fails = 5 }",
    );
    let host = Some("app.example".parse().unwrap());
    let get = HttpProbe { host, status: (200, 399), body: Some("ok".to_owned()), ..get };
    assert_eq!(whole.probe, Probe::Http(get));
    assert_eq!((whole.interval, whole.timeout), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!((whole.healthy_after, whole.unhealthy_after), (4, 5));
    let grpc =
        built("[[site]]\nproxy = 'h2c://a:80'\nhealth = { protocol = 'grpc', service = 'a.B' }");
    assert_eq!(grpc[0].check.as_ref().unwrap().probe, Probe::Grpc { service: "a.B".to_owned() });
    let http3 = built("[[site]]\nproxy = 'h3://a'\nhealth = { protocol = 'http3' }");
    let Probe::Http(http3) = &http3[0].check.as_ref().unwrap().probe else { panic!("a GET") };
    assert!(http3.only_http3);
    assert!(one("").check.is_none());
}

#[test]
fn the_rest_is_what_it_says_and_has_the_defaults_of_the_upstream_without_it() {
    let config = one("eject = { after = 2, time = '3s', most_time = '4s', most = '60%' }
        slow_start = '7s'
        panic_below = '40%'
        breaker = { requests = 100, pending = 10, connections = 8 }
        retry_budget = { share = '5%', per_second = 0 }");
    let secs = Duration::from_secs;
    let eject = eject::Config { after: 2, time: secs(3), most_time: secs(4), most_percent: 60 };
    assert_eq!(config.eject, Some(eject));
    assert_eq!((config.slow_start, config.panic_below), (secs(7), 40));
    let limits = breaker::Config { requests: Some(100), pending: Some(10), connections: Some(8) };
    assert_eq!(config.breaker, limits);
    assert_eq!(config.retries, budget::Config { percent: 5, per_second: 0 });
    assert_eq!(one("eject = false").eject, None);
    let found = built(
        "[[site]]\nproxy = 'dns:a:80'\ndiscovery = { server = '[::1]:53', least = '1s', most = '2s' }",
    );
    let expected = discovery::Config {
        server: Some("[::1]:53".parse().unwrap()),
        least: secs(1),
        most: secs(2),
    };
    assert_eq!(found[0].discovery, expected);
    // A table without keys is the default of the upstream, and so is no table.
    let default = upstream::Config::new(["a:80".parse().unwrap()]);
    for keys in ["", "eject = true\nretry_budget = {}", "eject = {}"] {
        assert_eq!(format!("{:?}", one(keys)), format!("{default:?}"), "{keys}");
    }
}

#[test]
fn a_route_has_what_it_says_then_what_its_site_says_then_the_defaults() {
    let text = "
        [defaults]
        balance = 'random'
        slow_start = '1s'
        health = 'tcp'
        [[site]]
        balance = 'least_conn'
        slow_start = '2s'
        [[site.route]]
        path = '/a'
        proxy = 'a:80'
        balance = 'hash ip'
        [[site.route]]
        path = '/b'
        proxy = 'a:80'
    ";
    let told: Vec<_> = built(text)
        .into_iter()
        .map(|it| (it.balance, it.slow_start.as_secs(), it.check.is_some()))
        .collect();
    let expected = [(Policy::Hash(Key::Client), 2, true), (Policy::LeastConn, 2, true)];
    assert_eq!(told, expected);
}

#[test]
fn what_cannot_be_is_refused_and_what_can_be_is_not() {
    let site = |keys: &str| mistakes(&format!("[[site]]\n{keys}")).len();
    for (keys, count) in [
        ("proxy = ['a:80 weight=2', 'b:80']\nbalance = 'round_robin'", 1),
        ("proxy = ['a:80 weight=2', 'b:80']", 0),
        ("proxy = ['a:80', 'a:80']", 1),
        ("proxy = ['a:80', 'dns:a:80']", 0),
        ("proxy = ['a:80 backup', 'b:80 backup']", 1),
        ("proxy = ['a:80 backup', 'b:80']", 0),
        ("proxy = 'a:80'\ndiscovery = { least = '1s' }", 1),
        ("proxy = 'dns:a:80'\ndiscovery = { least = '10s', most = '1s' }", 1),
        ("proxy = 'dns:a:80'\ndiscovery = { least = '10m' }", 1),
        ("proxy = 'dns:a:80'\ndiscovery = { least = '0s' }", 1),
        ("proxy = 'dns:a:80'\ndiscovery = { server = '192.0.2.53' }", 1),
        ("proxy = 'http://a'\nhealth = 'grpc'", 1),
        ("proxy = 'https://a'\nhealth = 'grpc'", 0),
        ("proxy = 'h3://a'\nhealth = 'tcp'", 1),
        ("proxy = 'https://a'\nhealth = { protocol = 'http3' }", 1),
        ("proxy = 'unix:/a'\nhealth = '/'", 0),
        ("proxy = 'unix:/a'\nhealth = 'grpc'", 1),
        ("proxy = 'unix+h2c:/a'\nhealth = 'grpc'", 0),
        ("proxy = 'unix:/a'\nhealth = 'tcp'", 0),
        ("proxy = 'a:80'\nhealth = { service = 'x' }", 1),
        ("proxy = 'a:80'\nhealth = { timeout = '0s' }", 1),
        ("proxy = 'a:80'\neject = { time = '10m' }", 1),
        ("proxy = 'a:80'\neject = { most = '0%' }", 1),
        ("proxy = 'a:80'\neject = 5", 1),
        ("proxy = 'a:80'\nbreaker = {}", 1),
        ("proxy = 'a:80'\nbreaker = { requests = 0 }", 1),
        ("respond = ''\nslow_start = '1s'", 1),
        ("balance = 'random'\nroute = [{ path = '/', proxy = 'a:80' }]", 0),
        ("route = [{ path = '/', respond = '', balance = 'random' }]", 1),
    ] {
        assert_eq!(site(keys), count, "{keys}: {:?}", mistakes(&format!("[[site]]\n{keys}")));
    }
    assert_eq!(mistakes("[defaults]\neject = false\n[[site]]\nrespond = ''").len(), 1);
}

#[test]
fn canonical_json_comes_back_as_the_same_model() {
    let text = "[[site]]
        proxy = ['a:80 weight=3', 'dns:https://b', 'srv:_http._tcp.c.example backup']
        balance = 'hash cookie sid'
        health = { path = '/', status = '204' }
        eject = false
        slow_start = '1m'
        panic_below = '30%'
        breaker = { requests = 5 }
        retry_budget = { share = '10%' }
        discovery = { server = '192.0.2.53:53' }";
    let model = read(text).unwrap_or_else(|problems| panic!("{problems}"));
    let again = Loaded::of_json(&model.to_json(), &Environment::empty()).model();
    assert_eq!(again.unwrap_or_else(|problems| panic!("{problems}")), model);
    let Source::Services { name, .. } = &model.site[0].proxy.as_ref().unwrap().0.to.0[2].0.source
    else {
        panic!("a service");
    };
    assert_eq!(name, "_http._tcp.c.example");
}
