use std::sync::Arc;

use super::*;
use crate::load::{Plan, Tally, Target, Work};

fn outcome(millis: &[u64], failed: u64) -> Outcome {
    let target = Target::resolve("https://127.0.0.1:1/", None).unwrap();
    let mut tally = Tally { done: millis.len() as u64, failed, ..Tally::default() };
    millis.iter().for_each(|millis| tally.service.record(Duration::from_millis(*millis)));
    Outcome {
        plan: Arc::new(Plan::new(target, Work::Requests(1))),
        tally,
        duration: Duration::from_secs(1),
        is_interrupted: false,
        verdicts: Vec::new(),
    }
}

fn is_kept(text: &str, outcome: &Outcome) -> bool {
    let threshold: Threshold = text.parse().unwrap();
    threshold.judge(outcome).is_kept
}

#[test]
fn each_condition_is_judged_by_its_own_figure() {
    let outcome = outcome(&[10, 10, 10, 50], 1);
    for (text, expected) in [
        ("p50<11ms", true),
        ("p50<9.9ms", false),
        ("p99<0.051s", true),
        ("p99.9<40ms", false),
        ("max<60ms", true),
        ("mean>15ms", true),
        ("service.p50<11000us", true),
        ("errors<21%", true),
        ("errors<20%", false),
        ("rate>3.5", true),
        ("rate>4/s", false),
    ] {
        assert_eq!(is_kept(text, &outcome), expected, "{text}");
    }
}

#[test]
fn what_was_not_measured_is_not_kept() {
    let outcome = outcome(&[], 0);
    assert!(!is_kept("handshake.p99<1s", &outcome));
    let verdict = "p99<1s".parse::<Threshold>().unwrap().judge(&outcome);
    assert_eq!((verdict.is_kept, &*verdict.found), (false, "not measured"));
    // Nothing at all is no success.
    assert!(!is_kept("errors<50%", &outcome));
}

#[test]
fn what_is_no_condition_names_itself() {
    for text in
        ["", "p99", "p99<20", "p101<1s", "errors<1", "speed>1", "rate>fast", "p99<-1ms", "x.p99<1s"]
    {
        assert_eq!(text.parse::<Threshold>(), Err(NotAThreshold(text.to_owned())));
    }
    assert_eq!(Threshold::list("p99<20ms, errors<0.1%,").unwrap().len(), 2);
    assert_eq!(Threshold::list("p99<20ms,oops").unwrap_err(), NotAThreshold("oops".to_owned()));
}

#[test]
fn a_run_is_compared_with_an_earlier_one() {
    let before = Baseline::of_json(outcome(&[10; 100], 0).to_json()).unwrap();
    let kept = |mut now: Outcome| -> Vec<bool> {
        now.compare_with(&before, 0.1);
        now.verdicts.iter().map(|verdict| verdict.is_kept).collect()
    };
    assert_eq!(kept(outcome(&[10; 100], 0)), [true; 4]);
    assert_eq!(kept(outcome(&[10; 95], 0)), [true; 4]);
    // Rate, median, p99, errors.
    assert_eq!(kept(outcome(&[10; 80], 0)), [false, true, true, true]);
    assert_eq!(kept(outcome(&[12; 100], 0)), [true, false, false, true]);
    assert_eq!(kept(outcome(&[10; 100], 1)), [true, true, true, false]);
    assert_eq!(Baseline::of_json(json!({})), Err(NotABaseline));
}
