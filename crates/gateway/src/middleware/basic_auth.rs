//! Names and passwords (RFC 7617): 401 without the right ones.
//!
//! A password is checked against its Argon2 hash, which takes tens of milliseconds and of megabytes: in a thread for what
//! blocks, few at once in the whole process ([`Verifier`]), and not again for some minutes when it was right ([`Users`]).

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::{Middleware, Step, Verdict};
use crate::Request;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::shared::Build;

mod users;
mod verifier;

pub use self::users::{CredentialError, Users, UsersError, hash_password};
pub(crate) use self::verifier::Verifier;

/// Configuration of `basic_auth`.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a browser shows to people.
    pub realm: String,
    /// Who may come in.
    pub users: Arc<Users>,
}

impl Config {
    pub(crate) fn build(&self, build: Build<'_>) -> BasicAuth {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm);
        let challenge = HeaderValue::try_from(challenge);
        BasicAuth {
            challenge: challenge.unwrap_or(HeaderValue::from_static("Basic realm=\"sterna\"")),
            users: self.users.clone(),
            verifier: build.shared.verifier().clone(),
        }
    }
}

/// Asks for a name and a password.
#[derive(Debug)]
pub(crate) struct BasicAuth {
    challenge: HeaderValue,
    users: Arc<Users>,
    verifier: Arc<Verifier>,
}

impl Middleware for BasicAuth {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        if exchange.is_preflight() {
            return Step::pass();
        }
        let Some(credentials) = Credentials::of(request.headers()) else {
            return Step::refuse(self.unauthorized());
        };
        if self.users.remember(&credentials, Instant::now()) {
            return Step::pass();
        }
        let client = exchange.client(request);
        Step::Later(Box::pin(async move {
            match self.verifier.verify(client, &self.users, credentials).await {
                Ok(true) => Verdict::Continue(()),
                Ok(false) => Verdict::Break(Err(self.unauthorized())),
                Err(error) => Verdict::Break(Err(error)),
            }
        }))
    }
}

impl BasicAuth {
    fn unauthorized(&self) -> Error {
        Error::Unauthorized { challenge: self.challenge.clone() }
    }
}

/// What a client sent. Has no `Debug`: it is a secret.
pub(crate) struct Credentials {
    pub(crate) name: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Those of a request that has them once, in the form of RFC 7617 §2, and not longer than their bound.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let (field, None) = (fields.next()?, fields.next()) else { return None };
        let (scheme, token) = field.as_bytes().split_at_checked(SCHEME.len())?;
        let is_basic = scheme.eq_ignore_ascii_case(SCHEME) && token.len() <= MAX_TOKEN;
        let token = token.trim_ascii();
        let text = STANDARD.decode(token).ok().filter(|_| is_basic)?;
        let colon = text.iter().position(|&byte| byte == b':')?;
        let (name, password) = text.split_at_checked(colon)?;
        Some(Self { name: name.to_vec(), password: password.get(1..)?.to_vec() })
    }
}

const SCHEME: &[u8] = b"basic ";

/// Of the encoded form: no password is as long, and each byte of one is hashed.
const MAX_TOKEN: usize = 2048;

#[cfg(test)]
mod tests;
