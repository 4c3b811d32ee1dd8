use super::*;

const PACKETS: usize = 200_000;

fn share(text: &str) -> Share {
    text.parse().unwrap()
}

fn bursts(text: &str, mean: u32) -> Option<Loss> {
    Loss::bursts(share(text), NonZeroU32::new(mean).unwrap())
}

fn lost(loss: Loss, seed: u64) -> Vec<bool> {
    let mut fate = Fate::new(loss, seed);
    (0..PACKETS).map(|_| fate.loses()).collect()
}

/// In percent.
fn share_of(lost: &[bool]) -> f64 {
    lost.iter().filter(|lost| **lost).count() as f64 * 100.0 / lost.len() as f64
}

fn mean_burst(lost: &[bool]) -> f64 {
    let runs: Vec<usize> =
        lost.chunk_by(|one, next| one == next).filter(|run| run[0]).map(<[bool]>::len).collect();
    runs.iter().sum::<usize>() as f64 / runs.len() as f64
}

#[test]
fn a_share_is_read_as_it_is_written() {
    for text in ["0%", "1%", "0.5%", "12.25%", "0.0001%", "100%"] {
        assert_eq!(text.parse::<Share>().map(|share| share.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn what_is_no_share_is_refused() {
    for text in
        ["", "%", "1", "-1%", "101%", "100.0001%", "1.%", ".5%", "1.00000%", "1e1%", "0001%"]
    {
        assert_eq!(text.parse::<Share>(), Err(NotAShare), "{text}");
    }
}

#[test]
fn random_loss_is_of_the_share_and_alone() {
    let lost = lost(Loss::random(share("5%")), 7);
    let found = share_of(&lost);
    assert!((4.8..5.2).contains(&found), "{found} %");
    // One in twenty losses is followed by another.
    let mean = mean_burst(&lost);
    assert!((1.03..1.08).contains(&mean), "{mean} packets");
}

#[test]
fn bursts_are_of_the_share_and_of_their_length() {
    for (text, mean) in [("1%", 4), ("5%", 10), ("50%", 2)] {
        let lost = lost(bursts(text, mean).unwrap(), 7);
        let wanted: f64 = text.trim_end_matches('%').parse().unwrap();
        let (found, length) = (share_of(&lost), mean_burst(&lost));
        assert!((wanted * 0.9..wanted * 1.1).contains(&found), "{text}: {found} %");
        let wanted = f64::from(mean);
        assert!((wanted * 0.9..wanted * 1.1).contains(&length), "{mean}: {length} packets");
    }
}

#[test]
fn bursts_that_would_leave_nothing_between_them_are_refused() {
    assert_eq!(bursts("51%", 1), None);
    assert!(bursts("50%", 1).is_some(), "every other packet");
    assert_eq!(bursts("100%", 1000), None);
}

#[test]
fn nothing_is_lost_without_a_share_and_everything_with_all() {
    assert_eq!(bursts("0%", 3), Some(Loss::None));
    assert_eq!(share_of(&lost(Loss::random(Share::NONE), 1)), 0.0);
    assert_eq!(share_of(&lost(Loss::random(share("100%")), 1)), 100.0);
}

#[test]
fn a_seed_decides_and_another_decides_otherwise() {
    let loss = Loss::random(share("1%"));
    assert_eq!(lost(loss, 7), lost(loss, 7));
    assert_ne!(lost(loss, 7), lost(loss, 8));
    // For ever: results are compared by their seed.
    let first: Vec<usize> = lost(loss, 7)
        .iter()
        .enumerate()
        .filter(|(_, lost)| **lost)
        .map(|(at, _)| at)
        .take(4)
        .collect();
    assert_eq!(first, [172, 212, 398, 740]);
}

/// The first numbers that its author's program prints.
#[test]
fn the_dice_are_splitmix64() {
    let mut dice = Dice(1_234_567);
    assert_eq!(
        [dice.throw(), dice.throw()],
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
    );
}

#[test]
fn delays_fill_their_range_and_do_not_leave_it() {
    let most = Duration::from_nanos(9);
    let mut fate = Fate::new(Loss::None, 7);
    let mut seen = [0; 10];
    for _ in 0..1_000 {
        seen[usize::try_from(fate.delays(most).as_nanos()).unwrap()] += 1;
    }
    assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
    assert_eq!(fate.delays(Duration::ZERO), Duration::ZERO);
}
