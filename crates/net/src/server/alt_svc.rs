//! `Alt-Svc`: how a client on TCP learns that HTTP/3 is here (RFC 7838).

use std::time::Duration;

use http::HeaderValue;

/// How HTTP/3 is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltSvc {
    /// How long clients may remember it (`ma`), in whole seconds. Default: one day.
    pub max_age: Duration,
    /// Keep it across changes of the client's network (`persist=1`). Default: false.
    pub persist: bool,
    /// The port that clients see, when it is not the one listened on (containers). Default: the one
    /// listened on.
    pub port: Option<u16>,
}

impl AltSvc {
    /// The field's value for a server that listens on `port`.
    pub(crate) fn value(&self, port: u16) -> Option<HeaderValue> {
        let port = self.port.unwrap_or(port);
        let persist = if self.persist { "; persist=1" } else { "" };
        let value = format!("h3=\":{port}\"; ma={}{persist}", self.max_age.as_secs());
        HeaderValue::try_from(value).ok()
    }
}

impl Default for AltSvc {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(86_400), persist: false, port: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_the_port_and_one_day() {
        let value = AltSvc::default().value(8443).unwrap();
        assert_eq!(value, "h3=\":8443\"; ma=86400");
    }

    #[test]
    fn advertised_port_replaces_the_port_listened_on() {
        let alt_svc =
            AltSvc { max_age: Duration::from_millis(1999), persist: true, port: Some(443) };
        assert_eq!(alt_svc.value(8443).unwrap(), "h3=\":443\"; ma=1; persist=1");
    }
}
