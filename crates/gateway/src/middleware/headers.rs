//! Response fields that every answer of a route carries.

use http::{HeaderName, HeaderValue};

use super::Middleware;
use crate::Response;

/// Configuration of `headers`.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Fields to set; each replaces what the handler said under its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

impl Config {
    pub(crate) fn build(&self) -> Headers {
        Headers { set: self.set.clone() }
    }
}

/// Sets the configured fields.
#[derive(Debug)]
pub(crate) struct Headers {
    set: Vec<(HeaderName, HeaderValue)>,
}

impl Middleware for Headers {
    fn on_response(&self, mut response: Response) -> Response {
        for (name, value) in &self.set {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, VARY};

    use super::*;
    use crate::body::Body;

    #[test]
    fn a_field_replaces_what_the_handler_said_and_leaves_the_others() {
        let no_store = HeaderValue::from_static("no-store");
        let headers = Config { set: vec![(CACHE_CONTROL, no_store.clone())] }.build();
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        let response = headers.on_response(response);
        let all: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(all, [&no_store]);
        assert_eq!(response.headers()[VARY], "accept");
    }
}
