//! The weight that a client gives to one of several things (RFC 9110 §12.4.2).

/// What a parameter `q=0.5` says, in thousandths; none for another parameter, and for a weight that is none.
pub(crate) fn quality(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (&whole, rest) = value.split_first()?;
    let decimals = if rest.is_empty() { rest } else { rest.strip_prefix(b".")? };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = decimals.iter().chain(b"000").take(3);
    let thousandths = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_up_to_three_decimals_and_is_at_most_one() {
        let table: [(&str, Option<u16>); 10] = [
            ("q=1", Some(1000)),
            ("Q=0.5", Some(500)),
            ("q=0.001", Some(1)),
            ("q=1.000", Some(1000)),
            ("q=0.", Some(0)),
            ("q=1.001", None),
            ("q=0.0001", None),
            ("q=", None),
            ("q=.5", None),
            ("level=1", None),
        ];
        for (parameter, weight) in table {
            assert_eq!(quality(parameter.as_bytes()), weight, "{parameter}");
        }
    }
}
