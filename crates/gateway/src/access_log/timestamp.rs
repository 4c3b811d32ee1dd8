//! Times as text for the access log: RFC 3339, UTC, milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Formats times, and remembers the last second: thousands of requests share it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    second: Option<u64>,
    /// `2026-11-21T01:53:04.`
    text: Vec<u8>,
}

impl Clock {
    /// Appends `time`, such as `2026-11-21T01:53:04.123Z`; a time before 1970 is written as 1970.
    pub(crate) fn write(&mut self, time: SystemTime, to: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            self.text.clear();
            write_second(since.as_secs(), &mut self.text);
        }
        to.extend_from_slice(&self.text);
        push_padded(u64::from(since.subsec_millis()), 3, to);
        to.push(b'Z');
    }
}

fn write_second(second: u64, to: &mut Vec<u8>) {
    let (year, month, day) = civil(second / 86_400);
    let of_day = second % 86_400;
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, b'.'),
    ];
    for (number, width, end) in parts {
        push_padded(number, width, to);
        to.push(end);
    }
}

/// Year, month and day of the given day since 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin in March, so that the leap day is the last of its year: 400 of them
/// have 146,097 days, and month `m` of such a year begins at day `(153 m + 2) / 5`.
fn civil(day: u64) -> (u64, u64, u64) {
    // From 0000-03-01, which is 719,468 days before 1970-01-01.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

/// Appends `number` in decimal with at least `width` digits.
pub(super) fn push_padded(number: u64, width: usize, to: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 || at > digits.len() - width {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    to.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(clock: &mut Clock, millis: u64) -> String {
        let mut to = Vec::new();
        clock.write(UNIX_EPOCH + Duration::from_millis(millis), &mut to);
        String::from_utf8(to).expect("ASCII")
    }

    #[test]
    fn times_are_written_as_rfc_3339() {
        let mut clock = Clock::default();
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_225_984_007, "2026-11-21T01:53:04.007Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            assert_eq!(text(&mut clock, millis), expected);
            assert_eq!(text(&mut clock, millis), expected, "from memory");
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_agrees_with_another_calendar() {
        for day in (0..365_000).step_by(17) {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let (year, month, day) = civil(day);
            let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month = &names[month as usize * 3 - 3..][..3];
            let http = httpdate::fmt_http_date(time);
            assert_eq!(http[5..16], format!("{day:02} {month} {year}"));
        }
    }

    #[test]
    fn numbers_are_padded_and_never_cut() {
        let table =
            [(0, 1, "0"), (7, 3, "007"), (1234, 3, "1234"), (u64::MAX, 1, "18446744073709551615")];
        for (number, width, expected) in table {
            let mut to = Vec::new();
            push_padded(number, width, &mut to);
            assert_eq!(to, expected.as_bytes());
        }
    }
}
