//! Fields that a route adds to requests and responses, or takes out of them.
//!
//! Two stations are made of this: fields of the response are changed outside of everything that can answer, fields of
//! the request behind access control, just before the handler.

use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::value::{NotAValue, Value};
use super::{Middleware, Step};
use crate::exchange::Exchange;
use crate::{Request, Response};

mod value;

/// Configuration of `headers`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What the handler sees.
    pub request: Edit,
    /// What the client sees, whoever made the answer.
    pub response: Edit,
}

/// Changes of a set of fields, in this order: what is removed, what is set, what is added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// Fields to set; each replaces what was there under its name.
    pub set: Vec<(HeaderName, Value)>,
    /// Fields to add to what is there under their names.
    pub add: Vec<(HeaderName, Value)>,
    /// Fields to take out.
    pub remove: Vec<HeaderName>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// This, and then `inner`, which has the last word about each field that it sets or removes.
    pub fn then(&self, inner: &Self) -> Self {
        let is_inner = |name: &HeaderName| {
            inner.remove.contains(name) || inner.set.iter().any(|(other, _)| other == name)
        };
        let mut edit = self.clone();
        edit.set.retain(|(name, _)| !is_inner(name));
        edit.add.retain(|(name, _)| !is_inner(name));
        edit.remove.retain(|name| !is_inner(name));
        edit.set.extend(inner.set.iter().cloned());
        edit.add.extend(inner.add.iter().cloned());
        edit.remove.extend(inner.remove.iter().cloned());
        edit
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        self.set.iter().chain(&self.add).map(|(_, value)| value)
    }

    fn is_fixed(&self) -> bool {
        self.values().all(Value::is_fixed)
    }

    /// The values where they are the same for every request.
    fn fixed(&self) -> impl Iterator<Item = Option<HeaderValue>> {
        self.values().map(|value| match value {
            Value::Fixed(value) => Some(value.clone()),
            Value::Template(_) => None,
        })
    }

    /// The values for a request, in the order of [`values`](Self::values).
    fn values_of(&self, exchange: &Exchange, request: &Request) -> Vec<Option<HeaderValue>> {
        self.values().map(|value| value.of(exchange, request)).collect()
    }

    /// Changes the fields; a field without a value is left out, so that none is there under its name if it is to be set.
    fn apply(
        &self,
        headers: &mut HeaderMap,
        values: impl IntoIterator<Item = Option<HeaderValue>>,
    ) {
        for name in &self.remove {
            headers.remove(name);
        }
        let mut values = values.into_iter();
        for ((name, _), value) in self.set.iter().zip(&mut values) {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        for ((name, _), value) in self.add.iter().zip(&mut values) {
            value.map(|value| headers.append(name, value));
        }
    }
}

impl Config {
    pub(crate) fn build(&self) -> Headers {
        let (is_fixed, is_request_fixed) = (self.response.is_fixed(), self.request.is_fixed());
        Headers { config: self.clone(), is_fixed, is_request_fixed }
    }
}

/// Changes the fields as configured.
#[derive(Debug)]
pub(crate) struct Headers {
    config: Config,
    /// Whether the fields of responses say the same to everybody.
    is_fixed: bool,
    /// The same of requests.
    is_request_fixed: bool,
}

impl Middleware for Headers {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, request: &'a mut Request) -> Step<'a> {
        let Config { request: edit, response } = &self.config;
        if self.is_request_fixed {
            edit.apply(request.headers_mut(), edit.fixed());
        } else {
            let values = edit.values_of(exchange, request);
            edit.apply(request.headers_mut(), values);
        }
        if !self.is_fixed {
            exchange.notes_mut().response_values = response.values_of(exchange, request);
        }
        Step::pass()
    }

    fn on_response(&self, exchange: &mut Exchange, mut response: Response) -> Response {
        let (edit, headers) = (&self.config.response, response.headers_mut());
        if self.is_fixed {
            edit.apply(headers, edit.fixed());
        } else {
            let values = std::mem::take(&mut exchange.notes_mut().response_values);
            edit.apply(headers, values);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use http::header::{CACHE_CONTROL, COOKIE, SERVER, VARY};

    use super::*;
    use crate::body::Body;

    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

    fn set(name: HeaderName, value: HeaderValue) -> Edit {
        Edit { set: vec![(name, value.into())], ..Edit::default() }
    }

    fn add(name: HeaderName, value: &str) -> Edit {
        Edit { add: vec![(name, value.parse().expect("a value"))], ..Edit::default() }
    }

    fn remove(name: HeaderName) -> Edit {
        Edit { remove: vec![name], ..Edit::default() }
    }

    #[test]
    fn a_field_replaces_what_the_handler_said_and_leaves_the_others() {
        let response = set(CACHE_CONTROL, NO_STORE).then(&remove(SERVER));
        let headers = Config { response, ..Config::default() }.build();
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response.headers_mut().insert(SERVER, HeaderValue::from_static("x"));
        let mut exchange = Exchange::begin(&Request::new(sterna_net::Body::empty()), None);
        let response = headers.on_response(&mut exchange, response);
        let all: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(all, [&NO_STORE]);
        assert_eq!(response.headers()[VARY], "accept");
        assert_eq!(response.headers().get(SERVER), None);
    }

    #[test]
    fn a_field_of_the_request_is_changed_before_the_handler_sees_it() {
        let headers = Config { request: remove(COOKIE), ..Config::default() }.build();
        let request = http::Request::builder().header(COOKIE, "a=1").header(VARY, "b");
        let mut request = request.body(sterna_net::Body::empty()).expect("a request");
        let mut exchange = Exchange::begin(&request, None);
        let step = headers.on_request(&mut exchange, &mut request);
        assert!(matches!(step, Step::Now(ControlFlow::Continue(()))), "it passes");
        drop(step);
        assert_eq!((request.headers().get(COOKIE), request.headers().len()), (None, 1));
    }

    #[test]
    fn the_inner_edit_has_the_last_word_about_each_field() {
        let value = HeaderValue::from_static("a");
        let outer = set(SERVER, value.clone()).then(&remove(VARY));
        let both = outer.then(&remove(SERVER)).then(&set(VARY, value.clone()));
        let expected = Edit { set: vec![(VARY, value.into())], remove: vec![SERVER], add: vec![] };
        assert_eq!(both, expected);
        assert!(Edit::default().then(&Edit::default()).is_empty());
    }

    /// The fields of a response that had `vary: a`, after a request to `/path`.
    fn answered(edit: &Edit) -> Vec<(String, String)> {
        let headers = Config { response: edit.clone(), ..Config::default() }.build();
        let request = http::Request::builder().uri("/path");
        let mut request = request.body(sterna_net::Body::empty()).expect("a request");
        let mut exchange = Exchange::begin(&request, None);
        drop(headers.on_request(&mut exchange, &mut request));
        // What happens to the request on the way does not show.
        *request.uri_mut() = http::Uri::from_static("/elsewhere");
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(VARY, HeaderValue::from_static("a"));
        let response = headers.on_response(&mut exchange, response);
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    #[test]
    fn a_field_that_is_added_stands_beside_the_others() {
        let field = |value: &str| ("vary".to_owned(), value.to_owned());
        assert_eq!(answered(&add(VARY, "b")), [field("a"), field("b")]);
        let both = add(VARY, "b").then(&add(VARY, "{path}"));
        assert_eq!(answered(&both), [field("a"), field("b"), field("/path")]);
        let replaced = add(VARY, "b").then(&set(VARY, HeaderValue::from_static("c")));
        assert_eq!(answered(&replaced), [field("c")]);
        let fresh = remove(VARY).then(&add(VARY, "b"));
        assert_eq!(answered(&fresh), [field("b")]);
    }

    #[test]
    fn a_response_field_is_made_of_the_request_as_it_came() {
        let edit =
            Edit { set: vec![(SERVER, "{path}{query}".parse().expect("one"))], ..remove(VARY) };
        assert_eq!(answered(&edit), [("server".to_owned(), "/path".to_owned())]);
    }

    #[test]
    fn a_value_without_a_character_is_no_field_and_takes_the_old_one_out() {
        let edit = Edit { set: vec![(VARY, "{query}".parse().expect("one"))], ..Edit::default() };
        assert_eq!(answered(&edit), []);
    }
}
