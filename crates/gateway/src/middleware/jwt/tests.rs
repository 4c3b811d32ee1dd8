//! Tokens that let in, and the attempts that must not.

use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use serde_json::json;
use sterna_net::Body;

use super::*;
use crate::shared::Shared;

#[path = "fetched_tests.rs"]
mod fetched;

/// An issuer: its keys by name.
struct Issuer {
    p256: EncodingKey,
    p384: EncodingKey,
    ed25519: EncodingKey,
    secret: EncodingKey,
}

const SECRET: &[u8; 32] = b"a secret of as many bytes as 32.";

impl Issuer {
    fn new() -> Self {
        let ec = |algorithm: &'static EcdsaSigningAlgorithm| {
            let key = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
            EncodingKey::from_ec_der(key.expect("a key").as_ref())
        };
        let ed25519 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("a key");
        Self {
            p256: ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            p384: ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            ed25519: EncodingKey::from_ed_der(ed25519.as_ref()),
            secret: EncodingKey::from_secret(SECRET),
        }
    }

    /// A key as a set has it, with what is said of it.
    fn jwk(key: &EncodingKey, algorithm: Algorithm, id: &str) -> Value {
        let jwk = Jwk::from_encoding_key(key, algorithm).expect("a key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = id.into();
        jwk
    }

    fn set(&self) -> Value {
        json!({ "keys": [
            Self::jwk(&self.p256, Algorithm::ES256, "p256"),
            Self::jwk(&self.p384, Algorithm::ES384, "p384"),
            Self::jwk(&self.secret, Algorithm::HS256, "secret"),
            { "kty": "RSA", "kid": "encrypts", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "unheard of", "kid": "new" },
        ] })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.test", "aud": "api", "sub": "alice", "exp": now() + 300 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn signed(key: &EncodingKey, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).expect("a token")
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn config(set: &Value) -> Config {
    let set = KeySet::parse(set.to_string().as_bytes(), true).expect("keys");
    Config {
        keys: Keys::Here(Arc::new(set)),
        issuer: vec!["https://issuer.test".to_owned(), "https://other.test".to_owned()],
        audience: vec!["api".to_owned()],
        leeway: 60,
        required: vec!["sub".to_owned()],
        forward: vec![("sub".to_owned(), HeaderName::from_static("x-user"))],
    }
}

fn station(config: &Config) -> Jwt {
    config.build(Build { shared: &Shared::default(), path: None })
}

fn request(fields: &[&str]) -> Request {
    let mut request = Request::new(Body::empty());
    for field in fields {
        request.headers_mut().append(AUTHORIZATION, HeaderValue::from_str(field).expect("a value"));
    }
    request
}

/// `None` when it passes, else the status and the challenge.
async fn judged(station: &Jwt, request: &mut Request) -> Option<(StatusCode, String)> {
    let mut exchange = Exchange::of_client(None, request);
    match station.on_request(&mut exchange, request).verdict().await {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(Err(error)) => {
            let response = error.into_response(&HeaderMap::new());
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let challenge = challenge.map_or("", |value| value.to_str().expect("text"));
            Some((response.status(), challenge.to_owned()))
        }
        ControlFlow::Break(Ok(_)) => panic!("it answers nothing itself"),
    }
}

async fn is_let_in(station: &Jwt, token: &str) -> bool {
    judged(station, &mut request(&[&format!("Bearer {token}")])).await.is_none()
}

#[tokio::test]
async fn a_token_of_each_kind_of_key_lets_in() {
    let issuer = Issuer::new();
    let mut set = issuer.set();
    let ed25519 = Issuer::jwk(&issuer.ed25519, Algorithm::EdDSA, "ed25519");
    set["keys"].as_array_mut().expect("a list").push(ed25519);
    let station = station(&config(&set));
    for (key, algorithm, id) in [
        (&issuer.p256, Algorithm::ES256, Some("p256")),
        (&issuer.p256, Algorithm::ES256, None),
        (&issuer.p384, Algorithm::ES384, Some("p384")),
        (&issuer.ed25519, Algorithm::EdDSA, Some("ed25519")),
        (&issuer.secret, Algorithm::HS256, Some("secret")),
    ] {
        let token = signed(key, algorithm, id, &claims());
        assert!(is_let_in(&station, &token).await, "{algorithm:?} {id:?}");
        let mut lower = request(&[&format!("bEARER  {token}")]);
        assert_eq!(judged(&station, &mut lower).await, None, "{algorithm:?}");
    }
}

#[tokio::test]
async fn claims_that_are_not_right_keep_out() {
    let issuer = Issuer::new();
    let station = station(&config(&issuer.set()));
    for (claims, lets_in) in [
        (claims(), true),
        (with("iss", json!("https://other.test")), true),
        (with("aud", json!(["web", "api"])), true),
        (with("exp", json!(now() - 50)), true),
        (with("nbf", json!(now() + 50)), true),
        (with("nbf", json!(now() - 50)), true),
        (with("exp", json!(now() - 70)), false),
        (with("exp", json!(0)), false),
        (with("exp", json!(-1)), false),
        (with("exp", json!(null)), false),
        (with("exp", json!("9999999999")), false),
        (with("exp", json!(1e300)), false),
        (with("exp", json!([now() + 300])), false),
        (with("nbf", json!(now() + 70)), false),
        (with("nbf", json!("soon")), false),
        (with("iss", json!("https://evil.test")), false),
        (with("iss", json!("https://issuer.test/")), false),
        (with("iss", json!("HTTPS://issuer.test")), false),
        (with("iss", json!(["https://issuer.test"])), false),
        (with("iss", json!(null)), false),
        (with("aud", json!("web")), false),
        (with("aud", json!([])), false),
        (with("aud", json!(null)), false),
        (with("aud", json!({ "api": true })), false),
        (with("aud", json!("API")), false),
        (with("sub", json!(null)), false),
        (with("sub", json!("a\nb")), false),
        (json!({}), false),
        (json!([]), false),
        (json!("alice"), false),
    ] {
        let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims);
        assert_eq!(is_let_in(&station, &token).await, lets_in, "{claims}");
    }
}

#[tokio::test]
async fn a_token_for_somebody_is_refused_where_nobody_said_who_this_is() {
    let issuer = Issuer::new();
    let config = Config { audience: Vec::new(), issuer: Vec::new(), ..config(&issuer.set()) };
    let station = station(&config);
    let nobody = json!({ "sub": "alice", "exp": now() + 300 });
    for (claims, lets_in) in [(claims(), false), (nobody, true)] {
        let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims);
        assert_eq!(is_let_in(&station, &token).await, lets_in, "{claims}");
    }
}

#[tokio::test]
async fn signatures_that_are_not_the_issuer_s_keep_out() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let set = issuer.set();
    let station = station(&config(&set));
    let good = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
    let [head, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three") };
    let none = |alg: &str| part(&json!({ "alg": alg, "typ": "JWT" }));
    let other = part(&with("sub", json!("root")));
    let point = |name: &str| {
        let key = URL_SAFE_NO_PAD.decode(set["keys"][0][name].as_str().expect("text"));
        key.expect("base64")
    };
    // The public key taken for a secret, in the forms that libraries have fallen for.
    let public = EncodingKey::from_secret(&[point("x"), point("y")].concat());
    let public_json = EncodingKey::from_secret(set["keys"][0].to_string().as_bytes());
    let embedded =
        json!({ "alg": "ES256", "jwk": Issuer::jwk(&stranger.p256, Algorithm::ES256, "p256") });
    let by_stranger = signed(&stranger.p256, Algorithm::ES256, Some("p256"), &claims());
    let strange_signature = by_stranger.rsplit('.').next().expect("a part");
    let es256 = |extra: Value| {
        let mut head = json!({ "alg": "ES256", "kid": "p256" });
        head.as_object_mut().expect("an object").extend(extra.as_object().expect("one").clone());
        part(&head)
    };
    let attempts = [
        by_stranger.clone(),
        signed(&stranger.secret, Algorithm::HS512, Some("secret"), &claims()),
        signed(&public, Algorithm::HS256, Some("p256"), &claims()),
        signed(&public, Algorithm::HS256, None, &claims()),
        signed(&public_json, Algorithm::HS256, Some("p256"), &claims()),
        signed(&issuer.p256, Algorithm::ES256, Some("p384"), &claims()),
        signed(&issuer.p256, Algorithm::ES256, Some("secret"), &claims()),
        signed(&issuer.p256, Algorithm::ES256, Some("P256"), &claims()),
        signed(&issuer.p256, Algorithm::ES256, Some(""), &claims()),
        signed(&issuer.p256, Algorithm::ES256, Some("encrypts"), &claims()),
        signed(&issuer.secret, Algorithm::HS384, Some("secret"), &claims()),
        format!("{}.{body}.", none("none")),
        format!("{}.{body}.", none("None")),
        format!("{}.{body}.", none("NONE")),
        format!("{}.{body}.", none("")),
        format!("{}.{body}.{signature}", none("none")),
        format!("{}.{body}.{signature}", none("ES256K")),
        format!("{}.{body}.{signature}", none("es256")),
        format!("{}.{body}.{signature}", part(&json!({ "typ": "JWT" }))),
        format!("{}.{body}.{strange_signature}", part(&embedded)),
        format!("{head}.{other}.{signature}"),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        format!("{head}.{body}.{signature}.{signature}"),
        format!(".{body}.{signature}"),
        format!("{head}..{signature}"),
        format!("{head}.{body}.{signature}A"),
        format!("{head}.{body}.{}", &signature[1..]),
        format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{head}.{body}.{}", signature.to_lowercase()),
        format!("{}.{body}.{signature}", es256(json!({ "crit": ["b64"], "b64": false }))),
        format!("{}.{body}.{signature}", es256(json!({ "crit": [] }))),
        format!("{}.{body}.{signature}", es256(json!({ "zip": "DEF" }))),
        format!("{}.{body}.{signature}", es256(json!({ "enc": "A256GCM" }))),
        "a".repeat(MAX_TOKEN + 1),
        "..".to_owned(),
        ".".repeat(100),
    ];
    assert!(is_let_in(&station, &good).await, "without changes it does");
    for token in attempts {
        assert!(!is_let_in(&station, &token).await, "{token}");
    }
}

#[tokio::test]
async fn the_challenge_says_what_is_wrong_and_nothing_to_who_sent_none() {
    let issuer = Issuer::new();
    let station = station(&config(&issuer.set()));
    let good = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims());
    let late = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &with("exp", json!(1)));
    let bearer = |token: &str| format!("Bearer {token}");
    for (fields, status, error) in [
        (vec![], 401, "Bearer"),
        (vec!["Basic YTpi".to_owned()], 401, "Bearer"),
        (vec!["Bearer".to_owned()], 401, "Bearer"),
        (vec![bearer("")], 400, "error=\"invalid_request\""),
        (vec![bearer("a b")], 400, "error=\"invalid_request\""),
        (vec![bearer(&format!("{good}, {good}"))], 400, "error=\"invalid_request\""),
        (vec![bearer(&good), bearer(&good)], 400, "error=\"invalid_request\""),
        (vec![bearer("abc")], 401, "error=\"invalid_token\""),
        (vec![bearer(&late)], 401, "expired"),
    ] {
        let lines: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (found, challenge) = judged(&station, &mut request(&lines)).await.expect("refused");
        assert_eq!(found.as_u16(), status, "{fields:?}");
        assert!(challenge.starts_with("Bearer") && challenge.contains(error), "{challenge}");
        assert!(error != "Bearer" || challenge == "Bearer", "{challenge}");
        assert!(!challenge.contains(&good[..20]), "the token is not told again");
    }
}

#[tokio::test]
async fn claims_are_handed_on_and_a_client_s_own_fields_are_not() {
    let issuer = Issuer::new();
    let field = |claim: &str, name: &'static str| (claim.to_owned(), HeaderName::from_static(name));
    let forward = vec![
        field("sub", "x-user"),
        field("groups", "x-groups"),
        field("admin", "x-admin"),
        field("address", "x-address"),
        field("nobody", "x-nobody"),
        field("tricky", "x-tricky"),
    ];
    let station = station(&Config { forward, ..config(&issuer.set()) });
    let mut claims = claims();
    claims["groups"] = json!(["staff", 7]);
    claims["admin"] = json!(false);
    claims["address"] = json!({ "city": "x" });
    claims["tricky"] = json!(["a", "b,root"]);
    let token = signed(&issuer.p256, Algorithm::ES256, Some("p256"), &claims);
    let spoofs =
        ["x-user", "x_user", "x-groups", "x-admin", "x_admin", "x-address", "x-nobody", "x-tricky"];
    let mut request = request(&[&format!("Bearer {token}")]);
    for name in spoofs {
        request.headers_mut().append(name, HeaderValue::from_static("root"));
        request.headers_mut().append(name, HeaderValue::from_static("root"));
    }
    assert_eq!(judged(&station, &mut request).await, None);
    request.headers_mut().remove(AUTHORIZATION);
    let mut lines: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
        .collect();
    lines.sort();
    assert_eq!(lines, ["x-admin: false", "x-groups: staff,7", "x-user: alice"]);
}

#[tokio::test]
async fn a_preflight_passes_without_the_fields_that_claims_fill() {
    let station = station(&config(&Issuer::new().set()));
    let mut request = request(&[]);
    request.headers_mut().append("x-user", HeaderValue::from_static("root"));
    let mut exchange = Exchange::of_client(None, &request);
    exchange.set_preflight();
    let verdict = station.on_request(&mut exchange, &mut request).verdict().await;
    assert!(matches!(verdict, ControlFlow::Continue(())));
    assert!(request.headers().is_empty());
}

#[test]
fn a_set_without_a_key_that_verifies_is_refused() {
    let issuer = Issuer::new();
    let p256 = || Issuer::jwk(&issuer.p256, Algorithm::ES256, "p256");
    let changed = |name: &str, value: Value| {
        let mut key = p256();
        key[name] = value;
        json!({ "keys": [key] }).to_string()
    };
    let secret = |bytes: &[u8]| {
        json!({ "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes) }] }).to_string()
    };
    let many = json!({ "keys": vec![p256(); 65] }).to_string();
    for (set, has_secrets, is_one) in [
        (changed("kid", json!("p256")), false, true),
        (changed("use", json!("sig")), false, true),
        (changed("key_ops", json!(["verify"])), false, true),
        (secret(&[7; 32]), true, true),
        (secret(&[7; 31]), true, false),
        (secret(&[7; 32]), false, false),
        (secret(&[]), true, false),
        (changed("use", json!("enc")), false, false),
        (changed("key_ops", json!(["sign"])), false, false),
        (changed("alg", json!("ES384")), false, false),
        (changed("alg", json!("HS256")), false, false),
        (changed("alg", json!("none")), false, false),
        (changed("crv", json!("P-521")), false, false),
        (changed("kty", json!("RSA")), false, false),
        (many, false, false),
        ("{\"keys\":[]}".to_owned(), false, false),
        ("{}".to_owned(), false, false),
        ("[]".to_owned(), false, false),
        (String::new(), false, false),
    ] {
        assert_eq!(KeySet::parse(set.as_bytes(), has_secrets).is_ok(), is_one, "{set}");
    }
}

#[test]
fn nothing_that_is_shown_has_a_secret() {
    let issuer = Issuer::new();
    let shown = format!("{:?}", config(&issuer.set()));
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    assert!(!shown.contains(&secret) && !shown.contains("a secret"), "{shown}");
}
