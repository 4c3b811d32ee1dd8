//! A second try for the few tests that failed, each alone.
//!
//! A test that fails beside others and passes alone is unsteady: its fault is to be mended, and the report names it. It does not
//! take the whole run with it, since a shared machine has moments in which nothing is answered in time.

use super::report::Tally;

/// More failures than this are no moment of a busy machine.
const MOST: usize = 5;

/// `first`, with those of its failures passed that `run`, given their names, saw pass.
pub(super) fn after(first: Tally, run: impl FnOnce(&[String]) -> Tally) -> Tally {
    let count = u64::try_from(first.failures.len()).unwrap_or(u64::MAX);
    let are_names = first.failed == count
        && first.failures.iter().all(|name| !name.contains(' ') || name.contains("::"));
    if first.failures.is_empty() || first.failures.len() > MOST || !are_names {
        return first;
    }
    println!("\nonce more, alone: {}", first.failures.join(", "));
    let second = run(&first.failures);
    // A name that was not found again proves nothing.
    if second.failed > 0 || second.passed < count {
        return first;
    }
    let mut tally = first;
    for name in std::mem::take(&mut tally.failures) {
        tally.note(&format!("unsteady, mend it: {name} failed beside others and passed alone"));
    }
    tally.passed += count;
    tally.failed = 0;
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(names: &[&str]) -> Tally {
        let failures: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Tally { passed: 7, failed: failures.len() as u64, failures, ..Tally::default() }
    }

    #[test]
    fn a_test_that_passes_alone_is_counted_and_named() {
        let tally = after(failed(&["a::b"]), |names| {
            assert_eq!(names, ["a::b"]);
            Tally::PASSED
        });
        assert_eq!((tally.passed, tally.failed), (8, 0));
        assert!(tally.failures.is_empty());
        assert_eq!(tally.notes, ["unsteady, mend it: a::b failed beside others and passed alone"]);
    }

    #[test]
    fn a_test_that_fails_twice_or_is_not_found_again_has_failed() {
        for second in [failed(&["a::b"]), Tally::default()] {
            assert_eq!(after(failed(&["a::b"]), |_| second), failed(&["a::b"]));
        }
    }

    #[test]
    fn many_failures_and_those_without_a_name_are_not_tried_again() {
        let never = |_: &[String]| -> Tally { unreachable!("not tried again") };
        let many = failed(&["a", "b", "c", "d", "e", "f"]);
        assert_eq!(after(many.clone(), never), many);
        let whole = Tally::failed("`cargo test`: exit status: 101 without a failed test");
        assert_eq!(after(whole.clone(), never), whole);
    }
}
