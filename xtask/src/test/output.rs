//! Counts read from the output of `cargo test` and from pytest's results.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{fs, io};

use super::report::Tally;

/// Runs `cargo test`, shows what it says, and sums its `test result:` lines.
pub(super) fn cargo_test(mut command: Command) -> Tally {
    let line = line(&command);
    let mut tally = Tally::default();
    match lines(&mut command, |text| tally += cargo_test_line(text)) {
        Ok(status) if status.success() || tally.failed > 0 => {}
        // A compile error, or a test that took its whole process with it.
        Ok(status) => tally += Tally::failed(format!("`{line}`: {status} without a failed test")),
        Err(error) => tally += Tally::failed(format!("`{line}`: {error}")),
    }
    tally
}

/// Runs a command, shows what it says, and hands on each line of it.
fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> io::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    for text in BufReader::new(output).split(b'\n') {
        // What a test prints need not be UTF-8.
        let text = text?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        each(&text);
    }
    child.wait()
}

fn cargo_test_line(text: &str) -> Tally {
    let mut tally = Tally::default();
    if let Some(name) = text.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
    {
        tally.failures.push(name.to_owned());
    }
    let Some((_, counts)) =
        text.strip_prefix("test result: ").and_then(|result| result.split_once(". "))
    else {
        return tally;
    };
    for count in counts.split("; ") {
        match count.split_once(' ') {
            Some((number, "passed")) => tally.passed = number.parse().unwrap_or(0),
            Some((number, "failed")) => tally.failed = number.parse().unwrap_or(0),
            Some((number, "ignored")) => tally.skipped = number.parse().unwrap_or(0),
            _ => {}
        }
    }
    tally
}

/// Runs pytest, which shows its own output, and reads the counts that it left in `results`.
pub(super) fn pytest(command: Command, results: &Path) -> Tally {
    counted(command, results, Command::status)
}

/// The same, for whoever reads the output as well; colours are lost by it.
pub(crate) fn pytest_lines(command: Command, results: &Path, each: impl FnMut(&str)) -> Tally {
    counted(command, results, |command| lines(command, each))
}

fn counted(
    mut command: Command,
    results: &Path,
    run: impl FnOnce(&mut Command) -> io::Result<ExitStatus>,
) -> Tally {
    let line = line(&command);
    // Results of an earlier run must not count.
    let _ = fs::remove_file(results);
    let status = match run(&mut command) {
        Ok(status) => status,
        Err(error) => return Tally::failed(format!("`{line}`: {error}")),
    };
    let found = fs::read_to_string(results).ok().and_then(|xml| junit(&xml));
    match found {
        Some(tally) if status.success() || tally.failed > 0 => tally,
        _ => Tally::failed(format!("`{line}`: {status} without a result")),
    }
}

/// The counts of a JUnit file, and the names of what failed.
fn junit(xml: &str) -> Option<Tally> {
    let suite = &xml[xml.find("<testsuite ")?..];
    let suite = &suite[..suite.find('>')?];
    let count = |name| attribute(suite, name)?.parse::<u64>().ok();
    let failed = count("errors")? + count("failures")?;
    let skipped = count("skipped")?;
    let passed = count("tests")?.checked_sub(failed + skipped)?;
    let cases = xml.split("<testcase").skip(1);
    let broken = cases.filter(|case| case.contains("<failure ") || case.contains("<error "));
    let failures = broken.filter_map(node).collect();
    Some(Tally { passed, failed, skipped, failures, notes: Vec::new() })
}

/// What pytest calls a test: a file, and a name with its parameters.
fn node(case: &str) -> Option<String> {
    let (file, name) = (attribute(case, "classname")?, attribute(case, "name")?);
    let plain = |text: &str| {
        let named =
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
        named.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
    };
    Some(format!("{}.py::{}", file.replace('.', "/"), plain(name)))
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// The command as a person would type it.
pub(super) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_names_are_read_from_cargo_test() {
        let text = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1s";
        let counts = Tally { passed: 5, failed: 2, skipped: 1, ..Tally::default() };
        assert_eq!(cargo_test_line(text), counts);
        assert_eq!(cargo_test_line("test a::b ... FAILED").failures, ["a::b"]);
        assert_eq!(cargo_test_line("test a::b ... ok"), Tally::default());
    }

    #[test]
    fn counts_and_names_are_read_from_junit() {
        let xml = "<?xml version=\"1.0\"?><testsuites name=\"pytest tests\"><testsuite name=\"pytest\" \
                   errors=\"1\" failures=\"1\" skipped=\"1\" tests=\"5\" time=\"1.5\">\
                   <testcase classname=\"a\" name=\"good\" time=\"1\" />\
                   <testcase classname=\"a\" name=\"bad\" time=\"1\"><failure message=\"x\">y</failure></testcase>\
                   <testcase classname=\"a\" name=\"worse[x&lt;y]\" time=\"1\"><error message=\"x\">y</error></testcase>\
                   </testsuite></testsuites>";
        let expected = Tally {
            passed: 2,
            failed: 2,
            skipped: 1,
            failures: vec!["a.py::bad".into(), "a.py::worse[x<y]".into()],
            notes: Vec::new(),
        };
        assert_eq!(junit(xml), Some(expected));
        assert_eq!(junit("<testsuite name=\"cut"), None);
    }

    #[test]
    fn a_command_that_dies_without_a_failed_test_is_a_failure() {
        let mut command = Command::new("false");
        command.arg("x");
        let tally = cargo_test(command);
        assert_eq!(tally.failed, 1);
        assert_eq!(tally.failures, ["`false x`: exit status: 1 without a failed test"]);
    }
}
