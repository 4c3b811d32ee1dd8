//! Who may come in, with the hashes of their passwords, and who came in lately.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use aws_lc_rs::{hmac, rand};

use super::Credentials;

/// Who may come in.
///
/// Passwords that were right are remembered for five minutes, as keyed hashes: 1024 of them, the newest. A reload forgets.
pub struct Users {
    hashes: HashMap<Vec<u8>, PasswordHash>,
    /// For names that nobody has: the answer takes as long.
    nobody: PasswordHash,
    key: hmac::Key,
    lately: Mutex<Lately>,
}

/// Why a line does not say who may come in. Tells nothing of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There is no name.
    #[error("has no name: write `name:$argon2id$…`, with a hash of `sterna hash-password`")]
    NoName,
    /// There is no hash of Argon2.
    #[error("has no Argon2 hash behind the name: make one with `sterna hash-password`")]
    NoHash,
    /// A verification would take more than it may.
    #[error("has a hash that takes too much to verify: 256 MiB, 16 rounds and 16 lanes at most")]
    TooCostly,
    /// The name is there twice.
    #[error("has a name that is there before")]
    Twice,
}

/// Why a file does not say who may come in.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read.
    #[error("the file of users cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// One of its lines is wrong.
    #[error("line {line} of the file of users {error}")]
    Line {
        /// From one.
        line: usize,
        /// What is wrong.
        error: CredentialError,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl Users {
    /// Reads lines such as `alice:$argon2id$…`; empty ones and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is wrong.
    pub fn open(path: &Path, more: &[&str]) -> Result<Self, UsersError> {
        let text = std::fs::read_to_string(path).map_err(UsersError::Unreadable)?;
        let said = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
        let lines = text.lines().map(str::trim).enumerate().filter(said);
        Self::of_lines(lines.map(|(at, line)| (at + 1, line)).chain(more.iter().map(|m| (0, *m))))
    }

    /// Of lines alone.
    ///
    /// # Errors
    /// When one of them is wrong; the first is line 1.
    pub fn of(lines: &[&str]) -> Result<Self, UsersError> {
        Self::of_lines(lines.iter().enumerate().map(|(at, line)| (at + 1, *line)))
    }

    fn of_lines<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Self, UsersError> {
        let mut hashes = HashMap::new();
        let mut costliest: Option<(Params, PasswordHash)> = None;
        for (line, text) in lines {
            let wrong = |error| UsersError::Line { line, error };
            let (name, hash, params) = credential(text).map_err(wrong)?;
            if costliest.as_ref().is_none_or(|(most, _)| most.m_cost() < params.m_cost()) {
                costliest = Some((params, hash.clone()));
            }
            if hashes.insert(name.as_bytes().to_vec(), hash).is_some() {
                return Err(wrong(CredentialError::Twice));
            }
        }
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| UsersError::NoRandomness)?;
        let nobody = match costliest {
            Some((_, hash)) => hash,
            None => hashed(&secret).map_err(|_| UsersError::NoRandomness)?,
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(Self { hashes, nobody, key, lately: Mutex::default() })
    }

    /// Whether `text` could be a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(text: &str) -> Result<(), CredentialError> {
        credential(text).map(drop)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether nobody may come in.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether name and password are right. Takes long.
    pub(super) fn verify(&self, credentials: &Credentials) -> bool {
        let known = self.hashes.get(&credentials.name);
        let hash = known.unwrap_or(&self.nobody);
        let is_right = Argon2::default().verify_password(&credentials.password, hash).is_ok();
        is_right && known.is_some()
    }

    /// Whether these were right lately.
    pub(super) fn remember(&self, credentials: &Credentials, now: Instant) -> bool {
        let tag = self.tag(credentials);
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.until.get(&tag).is_some_and(|until| now < *until)
    }

    /// Notes that they are right.
    pub(super) fn note(&self, credentials: &Credentials, now: Instant) {
        let tag = self.tag(credentials);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.until.insert(tag, now + REMEMBERED).is_none() {
            lately.order.push_back(tag);
        }
        if lately.order.len() > MAX_REMEMBERED
            && let Some(oldest) = lately.order.pop_front()
        {
            lately.until.remove(&oldest);
        }
    }

    /// Looked up in place of them: its bytes tell nothing of theirs, so that the time of a comparison does not either.
    fn tag(&self, credentials: &Credentials) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&credentials.name.len().to_be_bytes());
        context.update(&credentials.name);
        context.update(&credentials.password);
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Lately {
    until: HashMap<[u8; 32], Instant>,
    /// The oldest first.
    order: VecDeque<[u8; 32]>,
}

/// Name, hash, and what the hash costs.
fn credential(text: &str) -> Result<(&str, PasswordHash, Params), CredentialError> {
    let (name, hash) = text.split_once(':').ok_or(CredentialError::NoName)?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(CredentialError::NoName);
    }
    let hash = PasswordHash::new(hash).map_err(|_| CredentialError::NoHash)?;
    let is_argon2 = hash.algorithm.as_str().starts_with("argon2");
    let params = Params::try_from(&hash).map_err(|_| CredentialError::NoHash)?;
    if !is_argon2 || hash.salt.is_none() || hash.hash.is_none() {
        return Err(CredentialError::NoHash);
    }
    if params.m_cost() > MAX_KIB || params.t_cost() > MAX_ROUNDS || params.p_cost() > MAX_LANES {
        return Err(CredentialError::TooCostly);
    }
    Ok((name, hash, params))
}

/// The hash of a password, as a line of users has it behind the name: Argon2id, 19 MiB, two rounds.
///
/// # Errors
/// When the system gives no random bytes.
pub fn hash_password(password: &[u8]) -> Result<String, UsersError> {
    hashed(password).map(|hash| hash.to_string()).map_err(|_| UsersError::NoRandomness)
}

fn hashed(password: &[u8]) -> Result<PasswordHash, argon2::password_hash::Error> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| argon2::password_hash::Error::Crypto)?;
    Argon2::default().hash_password_with_salt(password, &salt)
}

const REMEMBERED: Duration = Duration::from_secs(300);
pub(super) const MAX_REMEMBERED: usize = 1024;

const MAX_KIB: u32 = 256 << 10;
const MAX_ROUNDS: u32 = 16;
const MAX_LANES: u32 = 16;
