//! Values of options.

use std::num::NonZeroUsize;

/// Connections: no more than there are ports to connect from.
pub(super) fn connections(text: &str) -> Result<NonZeroUsize, String> {
    count(text, MAX_CONNECTIONS)
}

/// Requests at once on one connection.
pub(super) fn streams(text: &str) -> Result<NonZeroUsize, String> {
    count(text, MAX_STREAMS)
}

/// What is counted is kept room for, so that a slip of the finger would take all memory.
fn count(text: &str, most: usize) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= most);
    number.ok_or_else(|| format!("`{text}` is not a number from 1 to {most}"))
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err(format!("`{text}` is not a number of requests per second above zero")),
    }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err(format!("`{text}` is not a share such as `10%`")),
    }
}

pub(super) fn field(text: &str) -> Result<(String, String), String> {
    let refuse = || format!("`{text}` is not a field such as `accept: text/html`");
    let (name, value) = text.split_once(':').ok_or_else(refuse)?;
    let name: http::HeaderName = name.trim().parse().map_err(|_| refuse())?;
    let value: http::HeaderValue = value.trim().parse().map_err(|_| refuse())?;
    let value = value.to_str().map_err(|_| refuse())?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}

const MAX_CONNECTIONS: usize = 65_535;
const MAX_STREAMS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_from_one_to_what_a_machine_can_hold() {
        let number = |text: &str| connections(text).map(NonZeroUsize::get);
        assert_eq!((number("1"), number("65535")), (Ok(1), Ok(65_535)));
        assert_eq!(streams("1048576").map(NonZeroUsize::get), Ok(1 << 20));
        for text in ["0", "-1", "x", "65536", "99999999999"] {
            assert!(connections(text).is_err(), "{text}");
        }
        assert!(streams("1048577").is_err());
    }

    #[test]
    fn a_field_has_a_name_of_tokens_and_a_value() {
        assert_eq!(field("Accept: text/html"), Ok(("accept".to_owned(), "text/html".to_owned())));
        assert_eq!(field("x:"), Ok(("x".to_owned(), String::new())));
        for text in ["", "x", ": y", "x y: z", "x: a\nb"] {
            assert!(field(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_above_zero_and_a_share_has_its_sign() {
        assert_eq!((rate("0.5"), percent("2.5%")), (Ok(0.5), Ok(0.025)));
        for text in ["0", "-1", "inf", "NaN", "x"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["10", "-1%", "x%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
