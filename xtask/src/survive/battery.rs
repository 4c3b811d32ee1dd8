//! What there is to survive: tests of `tests/e2e`, and how large they may be asked to be.

/// One battery: a call of pytest.
pub(super) struct Battery {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// A file of `tests/e2e`, and what else pytest is told to choose from it.
    pub(super) tests: &'static [&'static str],
    /// None where the tests are always whole.
    pub(super) size: Option<Size>,
    /// What goes with the long form, beside its size.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

/// How often the thing is done, as an environment variable says it to the tests.
pub(super) struct Size {
    variable: &'static str,
    /// In the long form of `docs/reliability.md`.
    long: u32,
    /// About as many as a release build does in a minute on two cores.
    per_minute: u32,
    /// What stands behind the number.
    behind: &'static str,
}

impl Size {
    const fn new(variable: &'static str, long: u32, per_minute: u32) -> Self {
        Self { variable, long, per_minute, behind: "" }
    }
}

impl Battery {
    /// The environment of its tests: the long form, or as much as fits into so many minutes.
    pub(super) fn environment(&self, minutes: Option<u32>) -> Vec<(&'static str, String)> {
        let settings = self.settings.iter().map(|&(name, value)| (name, value.to_owned()));
        let size = self.size.iter().map(|size| {
            let count =
                minutes.map_or(size.long, |minutes| size.per_minute.saturating_mul(minutes));
            (size.variable, format!("{count}{}", size.behind))
        });
        size.chain(settings).collect()
    }
}

const fn whole(name: &'static str, what: &'static str, tests: &'static [&'static str]) -> Battery {
    Battery { name, what, tests, size: None, settings: &[] }
}

const fn sized(
    name: &'static str,
    what: &'static str,
    tests: &'static [&'static str],
    size: Size,
) -> Battery {
    Battery { name, what, tests, size: Some(size), settings: &[] }
}

/// In order: what takes a minute before what takes many.
pub(super) const BATTERIES: [Battery; 13] = [
    sized(
        "flood",
        "first flights of QUIC from 256 addresses, 5,000 a second, for 60 s",
        &["test_handshake_protection.py", "-k", "flood_of_first_flights"],
        Size::new("STERNA_FLOOD", 60, 60),
    ),
    Battery {
        // It decides how many tokens are forged, too: 10,000 as soon as it is there.
        settings: &[("STERNA_FLOOD", "60")],
        ..whole(
            "strangers",
            "amplification in eight scenarios, 10,000 forged tokens, 10,000 guesses at resets",
            &["test_handshake_protection.py", "-k", "not flood"],
        )
    },
    whole(
        "replay",
        "one recorded first flight with early data, 1,000 times, over a restart",
        &["test_early_data.py", "-k", "replayed"],
    ),
    sized(
        "slow-readers",
        "1,000 clients that take nothing of a response",
        &["test_limits.py", "-k", "slow_readers"],
        Size::new("STERNA_READERS", 1_000, 1_000),
    ),
    whole("drain", "SIGTERM under downloads and slow answers", &["test_drain.py"]),
    whole("vanished", "a drain with clients whose network has gone", &["test_drain_vanished.py"]),
    whole("hostile-origins", "backends that misbehave in 25 ways", &["test_hostile_origins.py"]),
    Battery {
        settings: &[("STERNA_STALLED", "100 20 256")],
        ..whole(
            "stalled-uploads",
            "100 uploads of 20 MB to a backend that stalls",
            &["test_stalled_uploads.py"],
        )
    },
    sized(
        "reload",
        "100 configurations under requests and downloads",
        &["test_reload.py", "-k", "lose_and_cut"],
        Size::new("RELOADS", 100, 100),
    ),
    sized(
        "rebind",
        "1,000 rebinds of a NAT in the middle of downloads",
        &["test_rebinding.py", "-k", "downloads"],
        Size::new("STERNA_REBINDS", 1_000, 170),
    ),
    sized(
        "cut",
        "10,000 requests and as many responses that end too early",
        &["test_cut.py"],
        Size::new("STERNA_CUTS", 10_000, 3_000),
    ),
    sized(
        "certificates",
        "1,000 changes of the certificate under handshakes",
        &["test_certificates.py", "-k", "change_under"],
        Size::new("STERNA_CERTIFICATES", 1_000, 150),
    ),
    Battery {
        settings: &[("STERNA_GAPS_LIMIT", "256")],
        ..sized(
            "gaps",
            "data that cannot be read yet: 500 connections of 100 streams with 1,000 gaps each",
            &["test_memory.py", "-k", "no_more_memory"],
            Size { behind: " 100 1000", ..Size::new("STERNA_GAPS", 500, 50) },
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Battery {
        const ALL: &[Battery] = &BATTERIES;
        ALL.iter().find(|battery| battery.name == name).unwrap()
    }

    #[test]
    fn the_long_form_is_that_of_the_document() {
        let told = named("gaps").environment(None);
        let expected =
            [("STERNA_GAPS", "500 100 1000".to_owned()), ("STERNA_GAPS_LIMIT", "256".to_owned())];
        assert_eq!(told, expected);
    }

    #[test]
    fn minutes_decide_the_size_of_what_has_one() {
        assert_eq!(named("flood").environment(Some(3)), [("STERNA_FLOOD", "180".to_owned())]);
        assert_eq!(named("drain").environment(Some(3)), []);
    }

    #[test]
    fn the_tests_of_a_battery_are_there_and_read_its_variable() {
        let folder = crate::workspace_root().join("tests/e2e");
        for battery in &BATTERIES {
            let text = std::fs::read_to_string(folder.join(battery.tests[0])).unwrap();
            for (name, _) in battery.environment(None) {
                assert!(text.contains(&format!("\"{name}\"")), "{}: {name}", battery.name);
            }
        }
    }
}
