//! `cargo xtask bench cross-check`: whether two loads that share no code rank the contenders alike.
//!
//! A load that favours a server would be seen here: `bench/load` is on quinn-proto without Sterna's driver, h2load is C, and
//! `sterna load` is on Sterna's own client.

use super::case::Case;
use super::load::Loader;
use super::options::Options;
use super::stage::Stage;
use super::table::Row;
use crate::Outcome;

/// Measures each case with both loads and compares the order.
pub(super) fn run(options: &Options, stage: &Stage) -> Outcome {
    let mut disagreements = Vec::new();
    println!("| case | contender | foreign | sterna load | ratio |\n|---|---|---|---|---|");
    for case in &options.cases {
        let foreign = super::alternate(*case, Loader::Foreign, stage, options.rounds)?;
        let ours = super::alternate(*case, Loader::Sterna, stage, options.rounds)?;
        let pairs = pairs(&foreign, &ours);
        for (name, one, other) in &pairs {
            println!("| {case} | {name} | {one:.3} | {other:.3} | {:.2} |", other / one);
        }
        disagreements.extend(reversed(*case, &pairs));
    }
    match disagreements.as_slice() {
        [] => {
            println!("\nBoth loads rank the contenders alike.");
            Ok(())
        }
        some => Err(format!("the loads disagree: {}", some.join("; ")).into()),
    }
}

/// Figures by name of who was measured by both.
fn pairs(foreign: &Row, ours: &Row) -> Vec<(String, f64, f64)> {
    let of = |name: &str| ours.results.iter().find(|other| other.name == name);
    let pairs = foreign.results.iter().filter_map(|one| {
        let other = of(&one.name)?;
        Some((one.name.clone(), one.median(), other.median()))
    });
    pairs.collect()
}

/// Pairs of contenders of which one is clearly better by one load, and clearly worse by the other.
fn reversed(case: Case, pairs: &[(String, f64, f64)]) -> Vec<String> {
    let mut reversed = Vec::new();
    for (at, (name, one, other)) in pairs.iter().enumerate() {
        for (rival, rival_one, rival_other) in &pairs[at + 1..] {
            let (by_one, by_other) = (one / rival_one, other / rival_other);
            let is_better = |ratio: f64| ratio < 1.0 - CLEARLY;
            let is_worse = |ratio: f64| ratio > 1.0 + CLEARLY;
            if is_better(by_one) && is_worse(by_other) || is_worse(by_one) && is_better(by_other) {
                let text = format!("{case}: {name} / {rival} is {by_one:.2} and {by_other:.2}");
                reversed.push(text);
            }
        }
    }
    reversed
}

/// The spread of a contender against itself.
const CLEARLY: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_is_turned_round_is_a_disagreement_and_noise_is_none() {
        let pairs = |other| [("a".to_owned(), 1.0, other), ("b".to_owned(), 1.5, 1.0)];
        assert_eq!(reversed(Case::SMALL[0], &pairs(0.7)), Vec::<String>::new());
        assert_eq!(reversed(Case::SMALL[0], &pairs(1.05)), Vec::<String>::new());
        let text = "h3-small-10x32: a / b is 0.67 and 1.50";
        assert_eq!(reversed(Case::SMALL[0], &pairs(1.5)), [text]);
    }
}
