//! OCSP staples (RFC 6960): what the authority of a certificate says of it, shown with it (RFC 6066 §8, RFC 8446 §4.4.2.1).
//!
//! The signature is for the client to check. What is checked here is what an operator gets wrong: another file, another
//! certificate, one that is revoked or over.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Any, Class},
    prelude::{ASN1Time, FromDer, X509Certificate},
};

/// Why a staple cannot be shown with a certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StapleError {
    /// It is none.
    #[error("it is no OCSP response in DER")]
    Malformed,
    /// The authority has not answered.
    #[error("the authority answered with an error of status {0}: ask it again")]
    Failed(u8),
    /// It is about other certificates.
    #[error("it is about another certificate: ask the authority about this one")]
    OtherCertificate,
    /// The certificate is not good, says the authority.
    #[error("the authority does not call the certificate good: get another one")]
    NotGood,
    /// There should be a newer one by now.
    #[error("it is over: ask the authority again")]
    Over,
    /// The certificate is chosen at each handshake, and its staple with it.
    #[error("the certificate is chosen at each handshake: give it its staple there")]
    NotFixed,
}

/// What it says of one certificate.
struct Single<'a> {
    serial: &'a [u8],
    is_good: bool,
    /// When there is a newer one, in seconds since 1970.
    until: Option<i64>,
}

/// Whether a staple can be shown with this certificate at this time.
pub(super) fn check(
    staple: &[u8],
    leaf: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<(), StapleError> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| StapleError::OtherCertificate)?;
    let singles = parse(staple)?;
    let ours = singles.iter().find(|single| single.serial == leaf.raw_serial());
    match ours.ok_or(StapleError::OtherCertificate)? {
        Single { is_good: false, .. } => Err(StapleError::NotGood),
        Single { until: Some(until), .. } if *until <= seconds(now) => Err(StapleError::Over),
        Single { .. } => Ok(()),
    }
}

/// Whether a staple is too old: some clients take none sooner than one of these.
pub(super) fn is_over(staple: &[u8], now: SystemTime) -> bool {
    until(staple).is_some_and(|until| until <= seconds(now))
}

/// When a staple ends, in seconds since 1970, if it says so.
pub(super) fn until(staple: &[u8]) -> Option<i64> {
    parse(staple).ok()?.iter().filter_map(|single| single.until).min()
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `OCSPResponse` (RFC 6960 §4.2.1).
fn parse(staple: &[u8]) -> Result<Vec<Single<'_>>, StapleError> {
    let mut response = Der(staple).enter(SEQUENCE).ok_or(StapleError::Malformed)?;
    match response.take(ENUMERATED) {
        Some([0]) => {}
        Some([status]) => return Err(StapleError::Failed(*status)),
        _ => return Err(StapleError::Malformed),
    }
    singles(response).filter(|singles| !singles.is_empty()).ok_or(StapleError::Malformed)
}

/// The `responses` of `responseBytes`.
fn singles(mut response: Der<'_>) -> Option<Vec<Single<'_>>> {
    let mut bytes = response.enter(TAGGED_0)?.enter(SEQUENCE)?;
    let _kind = bytes.take(OBJECT_ID)?;
    let mut data = Der(bytes.take(OCTET_STRING)?).enter(SEQUENCE)?.enter(SEQUENCE)?;
    let _version = data.take(TAGGED_0);
    let _responder = data.any()?;
    let _produced_at = data.any()?;
    let mut responses = data.enter(SEQUENCE)?;
    let mut singles = Vec::new();
    while !responses.0.is_empty() {
        let mut single = responses.enter(SEQUENCE)?;
        let mut certificate = single.enter(SEQUENCE)?;
        let (_algorithm, _name, _key) =
            (certificate.any()?, certificate.any()?, certificate.any()?);
        let serial = certificate.take(INTEGER)?;
        let (status, _) = single.any()?;
        let _this_update = single.any()?;
        let until = match single.take(TAGGED_0) {
            Some(next) => Some(ASN1Time::from_der(next).ok()?.1.timestamp()),
            None => None,
        };
        singles.push(Single { serial, is_good: status == TAGGED_0, until });
    }
    Some(singles)
}

/// The rest of what an element holds.
struct Der<'a>(&'a [u8]);

/// A class and a number.
type Tag = (Class, u32);

impl<'a> Der<'a> {
    fn any(&mut self) -> Option<(Tag, &'a [u8])> {
        let (rest, element) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(((element.header.class(), element.header.tag().0), element.data))
    }

    /// The content of the next element, if it has this tag.
    fn take(&mut self, tag: Tag) -> Option<&'a [u8]> {
        let mut ahead = Self(self.0);
        let (found, content) = ahead.any()?;
        (found == tag).then(|| {
            self.0 = ahead.0;
            content
        })
    }

    fn enter(&mut self, tag: Tag) -> Option<Self> {
        self.take(tag).map(Self)
    }
}

const INTEGER: Tag = (Class::Universal, 2);
const OCTET_STRING: Tag = (Class::Universal, 4);
const OBJECT_ID: Tag = (Class::Universal, 6);
const ENUMERATED: Tag = (Class::Universal, 10);
const SEQUENCE: Tag = (Class::Universal, 16);
/// The first choice, and the first of what may be left out.
const TAGGED_0: Tag = (Class::ContextSpecific, 0);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short enough");
        let long = if length < 128 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &long, content].concat()
    }

    /// For a certificate with this serial number.
    fn staple(serial: &[u8], status: u8, next: Option<&str>) -> Vec<u8> {
        let time = |at: &str| element(0x18, at.as_bytes());
        let null = element(0x05, b"");
        let id = [null.clone(), null.clone(), null.clone(), element(0x02, serial)].concat();
        let next = next.map_or_else(Vec::new, |next| element(0xa0, &time(next)));
        let single =
            [element(0x30, &id), element(status, b""), time("20260101000000Z"), next].concat();
        let responses = element(0x30, &element(0x30, &single));
        let data = [element(0xa2, &null), time("20260101000000Z"), responses].concat();
        let basic = element(0x30, &element(0x30, &data));
        let bytes = [element(0x06, &[0x2b]), element(0x04, &basic)].concat();
        let bytes = element(0xa0, &element(0x30, &bytes));
        element(0x30, &[element(0x0a, &[0]), bytes].concat())
    }

    fn leaf() -> (CertificateDer<'static>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("made");
        let der = made.cert.der().clone();
        let serial = X509Certificate::from_der(&der).expect("parsed").1.raw_serial().to_vec();
        (der, serial)
    }

    fn noon(day: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600 + (day - 1) * 86_400 + 43_200)
    }

    #[test]
    fn a_good_one_is_shown_until_there_should_be_another() {
        let (leaf, serial) = leaf();
        let good = staple(&serial, 0x80, Some("20260105000000Z"));
        assert_eq!(check(&good, &leaf, noon(4)), Ok(()));
        assert!(!is_over(&good, noon(4)));
        assert_eq!(check(&good, &leaf, noon(5)), Err(StapleError::Over));
        assert!(is_over(&good, noon(5)));
        let endless = staple(&serial, 0x80, None);
        assert_eq!(check(&endless, &leaf, noon(5)), Ok(()));
    }

    #[test]
    fn one_of_another_certificate_or_that_does_not_call_it_good_is_refused() {
        let (leaf, serial) = leaf();
        let now = noon(1);
        let other = staple(b"\x01\x02", 0x80, None);
        assert_eq!(check(&other, &leaf, now), Err(StapleError::OtherCertificate));
        for status in [0xa1, 0x82] {
            let bad = staple(&serial, status, None);
            assert_eq!(check(&bad, &leaf, now), Err(StapleError::NotGood));
        }
        let refused = element(0x30, &element(0x0a, &[6]));
        assert_eq!(check(&refused, &leaf, now), Err(StapleError::Failed(6)));
    }

    #[test]
    fn what_is_cut_anywhere_is_none() {
        let (leaf, serial) = leaf();
        let good = staple(&serial, 0x80, Some("20260105000000Z"));
        for end in 0..good.len() {
            assert_eq!(check(&good[..end], &leaf, noon(1)), Err(StapleError::Malformed), "{end}");
        }
    }
}
