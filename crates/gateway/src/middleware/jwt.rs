//! Tokens of an issuer (RFC 6750 with JWTs, RFC 7519): 401 without one that is signed, valid, and for this server.
//!
//! The key says which algorithm a signature has, never the token. Claims can be handed on as fields; a client's own fields
//! of these names are taken out.

use std::sync::Arc;
use std::time::Instant;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{Middleware, Step, Verdict};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::forwarded::remove_like;
use crate::shared::Build;

mod keys;
mod remote;

use self::keys::Key;
pub use self::keys::{KeySet, KeySetError};
use self::remote::Found;
pub(crate) use self::remote::RemoteKeys;

/// Configuration of `jwt`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose signatures count.
    pub keys: Keys,
    /// Who must have issued a token; any of them. Empty: whoever has the key.
    pub issuer: Vec<String>,
    /// For whom a token must be; any of them. Empty: only tokens that are for nobody in particular.
    pub audience: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway: u64,
    /// Claims that must be there, beside `exp`.
    pub required: Vec<String>,
    /// Claims, and the fields in which they are handed on.
    pub forward: Vec<(String, HeaderName)>,
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub enum Keys {
    /// They were read.
    Here(Arc<KeySet>),
    /// They are fetched.
    At(remote::Config),
}

pub use self::remote::Config as RemoteConfig;

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> Jwt {
        let keys = match &self.keys {
            Keys::Here(set) => Source::Here(set.clone()),
            Keys::At(config) => {
                let make = || RemoteKeys::new(config.clone(), build.shared.client().clone());
                Source::At(build.shared.remote_keys().get_or_make(config.clone(), make))
            }
        };
        Jwt { config: self.clone(), keys }
    }
}

#[derive(Debug)]
enum Source {
    Here(Arc<KeySet>),
    At(Arc<RemoteKeys>),
}

/// Asks for a token.
#[derive(Debug)]
pub(crate) struct Jwt {
    config: Config,
    keys: Source,
}

/// Why a token does not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// There is none.
    Missing,
    /// The field of it is malformed, or there twice.
    Malformed,
    /// It cannot be read, is too long, or asks for what is not understood.
    Unreadable,
    /// Nobody's key fits.
    UnknownKey,
    /// The signature, or a claim, is not right.
    Invalid,
    /// It is too late, or too early.
    OutOfTime,
}

impl Middleware for Jwt {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        for (_, field) in &self.config.forward {
            remove_like(request.headers_mut(), field);
        }
        if exchange.is_preflight() {
            return Step::pass();
        }
        let header = match token(request.headers()).and_then(head) {
            Ok(header) => header,
            Err(refusal) => return Step::refuse(refusal.into()),
        };
        match &self.keys {
            Source::Here(set) => Step::Now(self.judge(set.find(&header), request)),
            Source::At(keys) => match keys.find_now(&header, Instant::now()) {
                Some(key) => Step::Now(self.judge(Some(key), request)),
                None => Step::Later(Box::pin(async move {
                    match keys.find(&header).await {
                        Ok(Found::Key(key)) => self.judge(Some(key), request),
                        Ok(Found::Nothing) => self.judge(None, request),
                        Err(error) => Verdict::Break(Err(error)),
                    }
                })),
            },
        }
    }
}

impl Jwt {
    fn judge(&self, key: Option<Arc<Key>>, request: &mut Request) -> Verdict {
        let judged = key.ok_or(Refusal::UnknownKey).and_then(|key| {
            let claims = self.claims(token(request.headers())?, &key)?;
            self.hand_on(&claims, request.headers_mut())
        });
        match judged {
            Ok(()) => Verdict::Continue(()),
            Err(refusal) => Verdict::Break(Err(refusal.into())),
        }
    }

    /// What a token says, if all of it is right.
    fn claims(&self, token: &[u8], key: &Key) -> Result<Map<String, Value>, Refusal> {
        use jsonwebtoken::errors::ErrorKind::{ExpiredSignature, ImmatureSignature};
        let Config { issuer, audience, leeway, required, .. } = &self.config;
        let algorithm = decode_header(token).map_err(|_| Refusal::Unreadable)?.alg;
        if !key.does(algorithm) {
            return Err(Refusal::Invalid);
        }
        let mut validation = Validation::new(algorithm);
        validation.leeway = *leeway;
        validation.validate_nbf = true;
        let mut wanted = vec!["exp"];
        if !audience.is_empty() {
            validation.set_audience(audience);
            wanted.push("aud");
        }
        validation.set_required_spec_claims(&wanted);
        let data = decode::<Map<String, Value>>(token, key.decoding(), &validation);
        let claims = match data {
            Ok(data) => data.claims,
            Err(error) => {
                return Err(match error.kind() {
                    ExpiredSignature | ImmatureSignature => Refusal::OutOfTime,
                    _ => Refusal::Invalid,
                });
            }
        };
        let issued_by = claims.get("iss").and_then(Value::as_str);
        let is_issuer = |by: &str| issuer.iter().any(|one| one == by);
        let is_missing = |name: &String| claims.get(name).is_none_or(Value::is_null);
        if (!issuer.is_empty() && !issued_by.is_some_and(is_issuer))
            || required.iter().any(is_missing)
        {
            return Err(Refusal::Invalid);
        }
        Ok(claims)
    }

    /// Claims as fields for whoever answers the request.
    fn hand_on(&self, claims: &Map<String, Value>, headers: &mut HeaderMap) -> Result<(), Refusal> {
        for (claim, field) in &self.config.forward {
            let Some(text) = claims.get(claim).and_then(text) else { continue };
            let value = HeaderValue::from_bytes(text.trim().as_bytes());
            // A name that no field can carry must not become no name.
            headers.insert(field, value.map_err(|_| Refusal::Invalid)?);
        }
        Ok(())
    }
}

/// What can be said in a field: a text, a number, a truth, or a list of these that can be told apart.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let plain = |item: &Value| {
                let is_plain = !item.is_array();
                text(item).filter(|text| is_plain && !text.contains(','))
            };
            Some(items.iter().map(plain).collect::<Option<Vec<_>>>()?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The token of a request (RFC 6750 §2.1).
fn token(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next().ok_or(Refusal::Missing)?;
    if fields.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let split = field.as_bytes().split_at_checked(SCHEME.len());
    let (scheme, token) = split.ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(Refusal::Missing);
    }
    let token = token.trim_ascii();
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    if token.is_empty() || !token.iter().all(is_of_token) {
        return Err(Refusal::Malformed);
    }
    if token.len() > MAX_TOKEN {
        return Err(Refusal::Unreadable);
    }
    Ok(token)
}

/// Its head, if nothing in it has to be understood that is not (RFC 7515 §4.1.11).
fn head(token: &[u8]) -> Result<Header, Refusal> {
    let header = decode_header(token).map_err(|_| Refusal::Unreadable)?;
    let is_plain = header.crit.is_none() && header.enc.is_none() && header.zip.is_none();
    if is_plain { Ok(header) } else { Err(Refusal::Unreadable) }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        // RFC 6750 §3: who sent none is not told of an error.
        let challenge = match refusal {
            Refusal::Missing => "Bearer",
            Refusal::Malformed => {
                "Bearer error=\"invalid_request\", error_description=\"one well-formed token, please\""
            }
            Refusal::Unreadable => {
                "Bearer error=\"invalid_token\", error_description=\"the token cannot be read\""
            }
            Refusal::UnknownKey => {
                "Bearer error=\"invalid_token\", error_description=\"no key is known for the token\""
            }
            Refusal::Invalid => {
                "Bearer error=\"invalid_token\", error_description=\"signature or claims are not right\""
            }
            Refusal::OutOfTime => {
                "Bearer error=\"invalid_token\", error_description=\"the token is expired, or not valid yet\""
            }
        };
        let challenge = HeaderValue::from_static(challenge);
        match refusal {
            Refusal::Malformed => Error::BadCredentials { challenge },
            _ => Error::Unauthorized { challenge },
        }
    }
}

const SCHEME: &[u8] = b"bearer ";

/// Longer ones are not for field sections.
const MAX_TOKEN: usize = 8192;

#[cfg(test)]
mod tests;
