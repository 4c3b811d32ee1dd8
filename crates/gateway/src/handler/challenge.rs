//! Answers to HTTP-01 challenges (RFC 8555 §8.3): what an authority asks for over plain HTTP to see that a host is ours.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::{Handler, only_reads};
use crate::body::Body;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::{Request, Response};

/// Where all answers are.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// What is asked for now, and the answers: one table for the process, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<RwLock<BTreeMap<String, String>>>);

impl Tokens {
    /// Answers this token from now on, for as long as what is returned lives; `None` when [`Tokens::MOST`] are answered.
    pub fn answer(&self, token: &str, answer: String) -> Option<Answering> {
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= Self::MOST {
            return None;
        }
        tokens.insert(token.to_owned(), answer);
        Some(Answering { tokens: self.clone(), token: token.to_owned() })
    }

    /// Tokens that are answered at a time.
    pub const MOST: usize = 64;

    pub(crate) fn build(&self) -> Challenge {
        Challenge { tokens: self.clone() }
    }

    fn find(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

/// A token that is answered.
#[derive(Debug)]
pub struct Answering {
    tokens: Tokens,
    token: String,
}

// req: 8555-8.3-taken-away
impl Drop for Answering {
    fn drop(&mut self) {
        self.tokens.0.write().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

/// Answers what is known, and 404 to all else.
#[derive(Debug)]
pub(crate) struct Challenge {
    tokens: Tokens,
}

impl Handler for Challenge {
    async fn handle(&self, _: &mut Exchange, request: &mut Request) -> Result<Response, Error> {
        only_reads(request)?;
        let answer = self.tokens.find(request.uri().path()).ok_or(Error::NotFound)?;
        let length = HeaderValue::from(answer.len());
        let mut response = Response::new(Body::full(Bytes::from(answer)));
        let media_type = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response.headers_mut().insert(CONTENT_LENGTH, length);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    // req: 8555-8.3-taken-away
    fn a_token_is_answered_until_nobody_waits_for_it_any_more() {
        let tokens = Tokens::default();
        let answering = tokens.answer("abc", "abc.key".to_owned());
        assert_eq!(tokens.find("/.well-known/acme-challenge/abc").as_deref(), Some("abc.key"));
        assert_eq!(tokens.find("/.well-known/acme-challenge/ab"), None);
        assert_eq!(tokens.find("/abc"), None);
        drop(answering);
        assert_eq!(tokens.find("/.well-known/acme-challenge/abc"), None);
    }

    #[test]
    fn no_more_tokens_are_kept_than_there_may_be() {
        let tokens = Tokens::default();
        let answer = |i: usize| tokens.answer(&i.to_string(), String::new());
        let kept: Vec<_> = (0..Tokens::MOST).filter_map(answer).collect();
        assert_eq!(kept.len(), Tokens::MOST);
        assert!(tokens.answer("one more", String::new()).is_none());
    }
}
