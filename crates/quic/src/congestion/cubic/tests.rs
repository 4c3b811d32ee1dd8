use super::*;

const MTU: u16 = 1000;
const RTT: Duration = Duration::from_millis(100);

/// A path without limits, one call for each round trip: a full window acknowledged.
struct Path {
    cubic: Cubic,
    now: Instant,
    packet: u64,
}

impl Path {
    fn new() -> Self {
        let now = Instant::now();
        Self { cubic: Cubic::new(&NewPath::new(now, MTU)), now, packet: 0 }
    }

    fn round(&mut self) {
        let sent = self.now;
        let window = self.cubic.window();
        self.packet += 1;
        self.cubic.on_sent(sent, window, self.packet);
        self.now += RTT;
        for _ in 0..window / u64::from(MTU) {
            let bytes = u64::from(MTU);
            self.cubic.on_ack(&Ack { now: self.now, sent, bytes, app_limited: false, rtt: RTT });
        }
        self.cubic.on_acks_end(self.now, 0, Some(self.packet));
    }

    fn lose(&mut self) {
        let sent = self.now;
        self.now += Duration::from_millis(1);
        self.cubic.on_loss(self.now, sent, u64::from(MTU), false);
        self.now += Duration::from_millis(1);
    }

    fn grow_to(&mut self, window: u64) {
        while self.cubic.window() < window {
            self.round();
        }
    }
}

#[test]
fn slow_start_doubles_the_window_in_a_round() {
    let mut path = Path::new();
    path.round();
    assert_eq!(path.cubic.window(), 20 * u64::from(MTU));
}

#[test]
// req: 9438-4.6-beta
fn a_loss_leaves_seven_tenths_and_a_second_one_of_the_same_flight_nothing_more() {
    let mut path = Path::new();
    path.grow_to(1_000_000);
    let (window, sent) = (path.cubic.window(), path.now);
    path.cubic.on_loss(sent + RTT, sent, 1000, false);
    assert_eq!(path.cubic.window(), (window as f64 * 0.7) as u64);
    path.cubic.on_loss(sent + RTT * 2, sent + RTT, 1000, false);
    assert_eq!(path.cubic.window(), (window as f64 * 0.7) as u64);
}

#[test]
// req: 9438-4.2-cubic-function
fn the_window_is_back_at_its_maximum_after_k_seconds_and_flat_there() {
    let mut path = Path::new();
    path.grow_to(10_000_000);
    let w_max = path.cubic.window() as f64;
    path.lose();
    // K = cbrt(0.3 * W_max / C), with W_max in segments.
    let k = (0.3 * (w_max / f64::from(MTU)) / C).cbrt();
    let rounds_to_k = (k / RTT.as_secs_f64()) as u32;
    for _ in 0..rounds_to_k {
        path.round();
    }
    let at_k = path.cubic.window() as f64;
    assert!((at_k / w_max - 1.0).abs() < 0.02, "{at_k} after K seconds, {w_max} before the loss");
    path.round();
    assert!((path.cubic.window() as f64 / at_k - 1.0) < 0.01, "the plateau is flat");
    for _ in 0..rounds_to_k {
        path.round();
    }
    assert!(path.cubic.window() as f64 > 1.2 * w_max, "and then it probes");
}

#[test]
// req: 9438-4.3-reno-friendly
fn a_small_window_grows_as_fast_as_reno_would() {
    let mut path = Path::new();
    path.grow_to(20_000);
    path.lose();
    let before = path.cubic.window();
    for _ in 0..10 {
        path.round();
    }
    // ALPHA is 0.53 segments for each round trip; the cube would give less than one in a second.
    let grown = (path.cubic.window() - before) as f64 / f64::from(MTU);
    assert!((4.0..=7.0).contains(&grown), "grew {grown} segments in ten rounds");
}

#[test]
// req: 9438-5.8-application-limit
fn time_without_data_does_not_count_towards_growth() {
    let mut path = Path::new();
    path.grow_to(1_000_000);
    path.lose();
    path.round();
    let limited = Ack { now: path.now, sent: path.now, bytes: 1000, app_limited: true, rtt: RTT };
    path.cubic.on_ack(&limited);
    let before = path.cubic.window();
    path.now += Duration::from_secs(60);
    path.round();
    let grown = path.cubic.window() as f64 / before as f64;
    assert!(grown < 1.1, "a minute of silence made the window {grown} times as large");
}

#[test]
// req: 9438-4.8-timeout
fn persistent_congestion_leaves_two_datagrams_and_slow_start_to_the_threshold() {
    let mut path = Path::new();
    path.grow_to(1_000_000);
    let sent = path.now;
    path.now += RTT;
    path.cubic.on_loss(path.now, sent, 1000, true);
    assert_eq!(path.cubic.window(), 2 * u64::from(MTU));
    path.round();
    assert_eq!(path.cubic.window(), 4 * u64::from(MTU));
}

#[test]
fn a_queue_that_builds_up_ends_slow_start_without_a_loss() {
    let mut path = Path::new();
    let mut rtt = RTT;
    for _ in 0..12 {
        let sent = path.now;
        path.packet += 1;
        path.cubic.on_sent(sent, path.cubic.window(), path.packet);
        path.now += rtt;
        for _ in 0..10 {
            let (now, bytes) = (path.now, 1000);
            path.cubic.on_ack(&Ack { now, sent, bytes, app_limited: false, rtt });
        }
        path.cubic.on_acks_end(path.now, 0, Some(path.packet));
        rtt += Duration::from_millis(20);
    }
    assert!(path.cubic.ssthresh <= path.cubic.window(), "still in slow start");
}

#[test]
fn a_larger_mtu_keeps_the_window_in_bytes() {
    let mut path = Path::new();
    path.grow_to(100_000);
    path.lose();
    path.round();
    let before = path.cubic.window();
    path.cubic.on_mtu(2 * MTU);
    assert_eq!(path.cubic.window(), before);
    path.round();
    let grown = path.cubic.window() as f64 / before as f64;
    assert!((1.0..1.2).contains(&grown), "the window changed by {grown} with the MTU");
}

// req: 9438-4.7-fast-convergence
#[test]
fn a_flow_that_shrinks_twice_aims_lower_than_its_last_maximum() {
    let mut path = Path::new();
    path.grow_to(1_000_000);
    path.lose();
    let reduced = path.cubic.window() as f64 / f64::from(MTU);
    path.round();
    path.lose();
    let maximum = path.cubic.w_max;
    assert!((maximum / (reduced * 0.85) - 1.0).abs() < 0.05, "{maximum} for {reduced}");
}

// req: 9438-4.4-growth-bound
#[test]
fn a_window_far_below_its_curve_grows_by_half_in_a_round_trip_at_most() {
    let mut path = Path::new();
    path.grow_to(1_000_000);
    path.lose();
    path.round();
    // An hour later the cube is far away.
    path.now += Duration::from_secs(3600);
    let before = path.cubic.window();
    path.round();
    let grown = path.cubic.window() as f64 / before as f64;
    assert!((1.3..=1.5).contains(&grown), "grew to {grown} of the window before");
}
