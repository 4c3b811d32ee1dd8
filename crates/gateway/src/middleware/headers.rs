//! Fields that a route adds to requests and responses, or takes out of them.

use std::ops::ControlFlow;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Middleware;
use crate::{Request, Response};

/// Configuration of `headers`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What the handler sees.
    pub request: Edit,
    /// What the client sees, whoever made the answer.
    pub response: Edit,
}

/// Changes of a set of fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// Fields to set; each replaces what was there under its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields to take out.
    pub remove: Vec<HeaderName>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// This, and then `inner`, which has the last word about each field.
    pub fn then(&self, inner: &Self) -> Self {
        let is_inner = |name: &HeaderName| {
            inner.remove.contains(name) || inner.set.iter().any(|(other, _)| other == name)
        };
        let mut edit = self.clone();
        edit.set.retain(|(name, _)| !is_inner(name));
        edit.remove.retain(|name| !is_inner(name));
        edit.set.extend(inner.set.iter().cloned());
        edit.remove.extend(inner.remove.iter().cloned());
        edit
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
    }
}

impl Config {
    pub(crate) fn build(&self) -> Headers {
        Headers { config: self.clone() }
    }
}

/// Changes the fields as configured.
#[derive(Debug)]
pub(crate) struct Headers {
    config: Config,
}

impl Middleware for Headers {
    fn on_request(&self, mut request: Request) -> ControlFlow<Response, Request> {
        self.config.request.apply(request.headers_mut());
        ControlFlow::Continue(request)
    }

    fn on_response(&self, mut response: Response) -> Response {
        self.config.response.apply(response.headers_mut());
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, COOKIE, SERVER, VARY};

    use super::*;
    use crate::body::Body;

    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

    fn set(name: HeaderName, value: HeaderValue) -> Edit {
        Edit { set: vec![(name, value)], remove: vec![] }
    }

    fn remove(name: HeaderName) -> Edit {
        Edit { set: vec![], remove: vec![name] }
    }

    #[test]
    fn a_field_replaces_what_the_handler_said_and_leaves_the_others() {
        let response = set(CACHE_CONTROL, NO_STORE).then(&remove(SERVER));
        let headers = Config { response, ..Config::default() }.build();
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response.headers_mut().insert(SERVER, HeaderValue::from_static("x"));
        let response = headers.on_response(response);
        let all: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(all, [&NO_STORE]);
        assert_eq!(response.headers()[VARY], "accept");
        assert_eq!(response.headers().get(SERVER), None);
    }

    #[test]
    fn a_field_of_the_request_is_changed_before_the_handler_sees_it() {
        let headers = Config { request: remove(COOKIE), ..Config::default() }.build();
        let request = http::Request::builder().header(COOKIE, "a=1").header(VARY, "b");
        let request = request.body(sterna_net::Body::empty()).expect("a request");
        let ControlFlow::Continue(request) = headers.on_request(request) else { panic!("passes") };
        assert_eq!((request.headers().get(COOKIE), request.headers().len()), (None, 1));
    }

    #[test]
    fn the_inner_edit_has_the_last_word_about_each_field() {
        let value = HeaderValue::from_static("a");
        let outer = set(SERVER, value.clone()).then(&remove(VARY));
        let both = outer.then(&remove(SERVER)).then(&set(VARY, value.clone()));
        assert_eq!(both, Edit { set: vec![(VARY, value)], remove: vec![SERVER] });
        assert!(Edit::default().then(&Edit::default()).is_empty());
    }
}
