//! Which other sites may read responses.

use std::time::Duration;

use http::Method;
use serde::Serialize;

use crate::config::problem::Problems;
use crate::config::setting::{Setting, Several, section, type_mistake, word};
use crate::config::shape::Shape;
use crate::config::site::{FieldName, MethodName};
use crate::config::units::Span;
use crate::config::value::{Kind, Value};
use crate::middleware::cors::{self, Origin};

section! {
    /// Which other sites may read responses in a browser, where an origin alone is not enough.
    pub struct CorsOptions {
        /// Who may: `https://app.example`, `https://*.app.example` for all below it, or `*` for everybody.
        pub origins: Several<Origin> = Several(vec![Origin::Any]),
        /// With which methods.
        pub methods: Several<MethodName> = Several(METHODS.map(MethodName).to_vec()),
        /// Which fields a request may have. Without it, whatever the browser asks for.
        pub headers: Option<Several<FieldName>>,
        /// Which fields of a response may be read, beside those which always may.
        pub expose: Vec<FieldName>,
        /// Whether cookies and other credentials of the browser come along.
        pub credentials: bool = false,
        /// How long a browser may remember what it was told; it has a limit of its own, of two hours in Chrome.
        pub max_age: Span = Span(Duration::from_secs(7200)),
        /// Whether pages of the internet may reach this server in a private network.
        pub private_network: bool = false,
    }
}

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Which other sites may read responses: an origin, a list of them, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Cors(pub CorsOptions);

impl Setting for Cors {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            Kind::Table(_) => CorsOptions::read(value, problems).map(Self),
            Kind::Text(_) | Kind::List(_) => {
                let origins = Several::read(value, problems)?;
                Some(Self(CorsOptions { origins, ..CorsOptions::missing()? }))
            }
            _ => type_mistake(value, "`true`, `false`, an origin, a list or a table", problems),
        }
    }

    fn missing() -> Option<Self> {
        CorsOptions::missing().map(Self)
    }

    fn shape() -> Shape {
        Shape::Either(vec![
            Origin::shape(),
            Shape::List(Box::new(Origin::shape())),
            CorsOptions::shape(),
        ])
    }
}

impl Cors {
    pub(super) fn check(&self, problems: &mut Problems) {
        let Self(options) = self;
        if options.credentials && options.origins.0.contains(&Origin::Any) {
            problems.contradiction(
                options.at.key("credentials"),
                "every site of the world could read what a user sees here",
                "name the `origins` that may, or leave `credentials` out",
            );
        }
        if options.origins.0.len() > 1 && options.origins.0.contains(&Origin::Any) {
            problems.contradiction(
                options.at.key("origins"),
                "`*` is everybody already",
                "leave it out, or the others",
            );
        }
    }

    pub(super) fn build(&self) -> cors::Config {
        let CorsOptions {
            origins,
            methods,
            headers,
            expose,
            credentials,
            max_age,
            private_network,
            at: _,
        } = &self.0;
        let names = |names: &[FieldName]| names.iter().map(|name| name.0.clone()).collect();
        cors::Config {
            origins: origins.0.clone(),
            methods: methods.0.iter().map(|method| method.0.clone()).collect(),
            headers: headers.as_ref().map(|headers| names(&headers.0)),
            expose: names(expose),
            credentials: *credentials,
            max_age: max_age.0,
            private_network: *private_network,
        }
    }
}

word!(Origin, "origin", ["https://app.example", "https://*.app.example", "*"]);
