//! The field itself (RFC 7838 §3).
//!
//! ```text
//! Alt-Svc       = clear / 1#alt-value            ; clear is case-sensitive and stands alone
//! alt-value     = alternative *( OWS ";" OWS parameter )
//! alternative   = protocol-id "=" alt-authority
//! protocol-id   = token                          ; ALPN, percent-encoded
//! alt-authority = quoted-string                  ; [ host ] ":" port
//! parameter     = token "=" ( token / quoted-string )
//! ```

use std::time::Duration;

use super::{AltService, Host};

/// What the field of a response says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AltSvc {
    /// Nothing of what was said before holds.
    Clear,
    /// These hold, and nothing else; the most preferred one first.
    Services(Vec<Said>),
}

/// One alternative of the field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) service: AltService,
    pub(crate) max_age: Duration,
    pub(crate) persist: bool,
}

/// Which rule a field breaks.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("it has an alternative without `=`")]
    NoEquals,
    #[error("a protocol is not a percent-encoded token")]
    Protocol,
    #[error("a quoted string does not end, or holds a control character")]
    Quoted,
    #[error("an authority is not `host:port` with a port from 1 to 65535")]
    Authority,
    #[error("a parameter is not `name=value`")]
    Parameter,
    #[error("something follows an alternative that is neither `;` nor `,`")]
    Separator,
    #[error("it names nothing")]
    Empty,
}

impl AltSvc {
    /// Reads the field, all lines of it together.
    ///
    /// Parameters that are not known are skipped (RFC 7838 §3); an entry that breaks the grammar spoils the field.
    pub(super) fn parse<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, FieldError> {
        let mut services = Vec::new();
        let mut read = 0;
        let mut is_clear = false;
        for value in values {
            read += value.len();
            if read > LONGEST {
                return Err(FieldError::TooLong);
            }
            if value.trim_ascii() == b"clear" {
                is_clear = true;
                continue;
            }
            let mut rest = Rest(value);
            while rest.skip_commas() {
                let said = alternative(&mut rest)?;
                if services.len() < MOST {
                    services.push(said);
                }
            }
        }
        match (is_clear, services.is_empty()) {
            (true, _) => Ok(Self::Clear),
            (false, true) => Err(FieldError::Empty),
            (false, false) => Ok(Self::Services(services)),
        }
    }
}

fn alternative(rest: &mut Rest<'_>) -> Result<Said, FieldError> {
    // req: 7838-3-protocol-id
    let protocol = percent_decoded(rest.token()).ok_or(FieldError::Protocol)?;
    rest.expect(b'=').ok_or(FieldError::NoEquals)?;
    let (host, port) = authority(&rest.quoted()?)?;
    let service = AltService { protocol, host, port };
    let mut said = Said { service, max_age: DEFAULT_AGE, persist: false };
    loop {
        rest.skip_blank();
        match rest.0.first() {
            None | Some(b',') => return Ok(said),
            Some(b';') => {
                rest.bump();
                rest.skip_blank();
                parameter(rest, &mut said)?;
            }
            Some(_) => return Err(FieldError::Separator),
        }
    }
}

fn parameter(rest: &mut Rest<'_>, said: &mut Said) -> Result<(), FieldError> {
    let name = rest.token();
    // A `;` before the next alternative or the end says nothing.
    if name.is_empty() && matches!(rest.0.first(), None | Some(b',' | b';')) {
        return Ok(());
    }
    rest.expect(b'=').filter(|()| !name.is_empty()).ok_or(FieldError::Parameter)?;
    let value = match rest.0.first() {
        Some(b'"') => rest.quoted()?,
        _ => rest.token().to_vec(),
    };
    if name.eq_ignore_ascii_case(b"ma") {
        said.max_age = delta_seconds(&value).ok_or(FieldError::Parameter)?;
    } else if name.eq_ignore_ascii_case(b"persist") {
        // req: 7838-3.1-persist-one
        said.persist = value == b"1";
    }
    Ok(())
}

/// Whole seconds; more than fit are as many as fit (RFC 9111 §1.2.2).
fn delta_seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = value.iter().fold(0_u64, |seconds, digit| {
        seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_secs(seconds.min(u32::MAX.into())))
}

fn authority(text: &[u8]) -> Result<(Option<Host>, u16), FieldError> {
    let text = std::str::from_utf8(text).map_err(|_| FieldError::Authority)?;
    let (host, port) = text.rsplit_once(':').ok_or(FieldError::Authority)?;
    let all_digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| all_digits && *port != 0);
    let host = match host {
        "" => None,
        host => Some(Host::parse(host).map_err(|_| FieldError::Authority)?),
    };
    Ok((host, port.ok_or(FieldError::Authority)?))
}

fn percent_decoded(token: &[u8]) -> Option<Vec<u8>> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(token.len());
    let mut rest = token;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (high, low) = (hex(after.first()?)?, hex(after.get(1)?)?);
            decoded.push(high << 4 | low);
            rest = after.get(2..)?;
        } else {
            decoded.push(byte);
        }
    }
    Some(decoded).filter(|decoded| !decoded.is_empty() && decoded.len() <= LONGEST_ALPN)
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bump(&mut self) {
        self.0 = self.0.get(1..).unwrap_or_default();
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn skip_blank(&mut self) {
        while let Some(b' ' | b'\t') = self.0.first() {
            self.bump();
        }
    }

    /// Over empty list elements too; false at the end.
    fn skip_commas(&mut self) -> bool {
        while let Some(b' ' | b'\t' | b',') = self.0.first() {
            self.bump();
        }
        !self.0.is_empty()
    }

    fn token(&mut self) -> &'a [u8] {
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let end = self.0.iter().position(|byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    fn quoted(&mut self) -> Result<Vec<u8>, FieldError> {
        self.expect(b'"').ok_or(FieldError::Quoted)?;
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(FieldError::Quoted)?;
            self.0 = rest;
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    let (&escaped, rest) = rest.split_first().ok_or(FieldError::Quoted)?;
                    self.0 = rest;
                    text.push(escaped);
                }
                b'\t' | b' '..=b'~' | 0x80.. => text.push(byte),
                _ => return Err(FieldError::Quoted),
            }
        }
    }
}

/// Bytes of the whole field.
const LONGEST: usize = 8 * 1024;

/// Alternatives that are read; the rest of the field is checked and left.
const MOST: usize = 16;

/// Bytes of an ALPN identifier (RFC 7301 §3.1).
const LONGEST_ALPN: usize = 255;

/// When the field gives no `ma` (RFC 7838 §3.1).
const DEFAULT_AGE: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(field: &str) -> Result<AltSvc, FieldError> {
        AltSvc::parse([field.as_bytes()])
    }

    /// `protocol host port age persist`, for each alternative.
    fn shown(field: &str) -> Vec<String> {
        let Ok(AltSvc::Services(services)) = parse(field) else { panic!("{field} is not read") };
        let shown = services.iter().map(|said| {
            let protocol = String::from_utf8_lossy(&said.service.protocol);
            let host = said.service.host.as_ref().map_or("-".to_owned(), Host::to_string);
            let (port, age) = (said.service.port, said.max_age.as_secs());
            format!("{protocol} {host} {port} {age}{}", if said.persist { " persist" } else { "" })
        });
        shown.collect()
    }

    #[test]
    fn alternatives_are_read_in_their_order_with_what_holds_by_default() {
        assert_eq!(shown("h3=\":443\""), ["h3 - 443 86400"]);
        assert_eq!(
            shown("h3=\"alt.example.com:8000\"; ma=60; persist=1, h2=\":443\";ma=0"),
            ["h3 alt.example.com 8000 60 persist", "h2 - 443 0"]
        );
        assert_eq!(shown("h3=\"[2001:db8::1]:443\""), ["h3 [2001:db8::1] 443 86400"]);
        assert_eq!(shown(", ,h3=\":1\" ,, h3=\":2\","), ["h3 - 1 86400", "h3 - 2 86400"]);
    }

    #[test]
    fn protocol_is_percent_decoded() {
        // req: 7838-3-protocol-id
        assert_eq!(shown("w%3Dx%3Ay%23z=\":443\""), ["w=x:y#z - 443 86400"]);
        assert_eq!(shown("x%25y=\":443\""), ["x%y - 443 86400"]);
        for broken in ["%=\":443\"", "%4=\":443\"", "%zz=\":443\"", "=\":443\""] {
            assert_eq!(parse(broken), Err(FieldError::Protocol), "{broken}");
        }
    }

    #[test]
    fn authority_is_quoted_and_may_hold_escapes() {
        assert_eq!(shown(r#"h3="\:\4\43""#), ["h3 - 443 86400"]);
        assert_eq!(parse("h3=:443"), Err(FieldError::Quoted));
        assert_eq!(parse("h3=\":443"), Err(FieldError::Quoted));
        for broken in ["", "443", ":", ":0", ":65536", ":+443", "a b:443", ":443x"] {
            assert_eq!(parse(&format!("h3=\"{broken}\"")), Err(FieldError::Authority), "{broken}");
        }
    }

    #[test]
    fn unknown_parameters_are_skipped_and_wrong_ones_refused() {
        // req: 7838-3.1-persist-one
        assert_eq!(shown("h3=\":443\"; x=\"a,b;c\"; MA=5; persist=2"), ["h3 - 443 5"]);
        assert_eq!(shown("h3=\":443\";"), ["h3 - 443 86400"]);
        for broken in ["; ma", "; ma=", "; ma=-1", "; ma=1.5", "; =1"] {
            let field = format!("h3=\":443\"{broken}");
            assert_eq!(parse(&field), Err(FieldError::Parameter), "{field}");
        }
        assert_eq!(parse("h3=\":443\" h2=\":443\""), Err(FieldError::Separator));
    }

    #[test]
    fn clear_stands_for_itself_in_its_own_letters() {
        assert_eq!(parse(" clear "), Ok(AltSvc::Clear));
        assert_eq!(parse("CLEAR"), Err(FieldError::NoEquals));
        // req: 7838-3-clear
        assert_eq!(AltSvc::parse([&b"h3=\":443\""[..], b"clear"]), Ok(AltSvc::Clear));
        assert_eq!(parse(""), Err(FieldError::Empty));
    }

    #[test]
    fn alternatives_of_a_field_and_its_length_are_bounded() {
        let many = vec!["h3=\":443\""; MOST + 1].join(",");
        assert_eq!(shown(&many).len(), MOST);
        let padded = format!("h3=\":443\"{}", " ".repeat(LONGEST - 9));
        assert!(parse(&padded).is_ok());
        assert_eq!(parse(&format!("{padded} ")), Err(FieldError::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(field in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = AltSvc::parse([&*field]);
        }

        #[test]
        fn what_looks_like_a_field_is_read_or_refused(field in "[h3=\":;, 0-9a-z%\\\\\\[\\]]{0,80}") {
            let _ = AltSvc::parse([field.as_bytes()]);
        }
    }
}
