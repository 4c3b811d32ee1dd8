//! Who the client is: which peers are believed.

use super::Model;
use super::problem::Problems;
use super::setting::{Setting, choice, read_word};
use super::shape::Shape;
use super::value::Value;
use crate::route::condition::Network;
use crate::{client, forwarded};

choice! {
    /// The field in which trusted proxies say for whom they speak.
    pub enum ClientField {
        /// `X-Forwarded-For`.
        XForwardedFor = "x-forwarded-for",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

choice! {
    /// In which fields upstreams are told of the client. What clients say of themselves in any of these is taken out, also
    /// with `off`.
    pub enum Forwarded {
        /// `X-Forwarded-For`, `-Proto` and `-Host`.
        XForwarded = "x-forwarded",
        /// `Forwarded` (RFC 7239).
        Rfc7239 = "rfc7239",
        /// All of them.
        Both = "both",
        /// None.
        Off = "off",
    }
}

impl Forwarded {
    /// What writes it.
    pub fn style(self) -> forwarded::Style {
        match self {
            Self::XForwarded => forwarded::Style::XForwarded,
            Self::Rfc7239 => forwarded::Style::Rfc7239,
            Self::Both => forwarded::Style::Both,
            Self::Off => forwarded::Style::Off,
        }
    }
}

impl ClientField {
    pub(super) fn build(self) -> client::Field {
        match self {
            Self::XForwardedFor => client::Field::XForwardedFor,
            Self::Forwarded => client::Field::Forwarded,
        }
    }
}

impl Setting for Network {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        read_word(value, problems)
    }

    fn shape() -> Shape {
        let examples = &["192.0.2.0/24", "2001:db8::/32", "192.0.2.7"];
        Shape::Text { what: "network", examples }
    }
}

impl Model {
    pub(super) fn check_addresses(&self, problems: &mut Problems) {
        if let Some(trusted) = &self.trusted_proxies {
            let everyone = trusted.0.iter().find(|network| network.bits() == 0);
            if let Some(everyone) = everyone {
                problems.contradiction(
                    self.at.key("trusted_proxies"),
                    &format!("`{everyone}` is everyone, and whoever is trusted can be anyone"),
                    "name the networks of your own proxies",
                );
            }
        } else if self.client_field != ClientField::XForwardedFor {
            problems.contradiction(
                self.at.key("client_field"),
                "`client_field` is read from trusted proxies, and there are none",
                "add `trusted_proxies`, or leave it out",
            );
        }
    }
}
