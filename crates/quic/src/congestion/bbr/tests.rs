use super::*;

#[test]
fn the_first_rate_is_that_of_the_first_window_in_a_millisecond() {
    let bbr = Bbr::new(&NewPath::new(Instant::now(), 1200));
    assert_eq!(bbr.window(), 12_000);
    assert_eq!(bbr.pacing_rate(), Some((2.77 * 12_000_000.0) as u64));
}
