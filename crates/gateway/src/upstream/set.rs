//! The backends at one moment, by their priority. Made anew when discovery or an operator changes anything; what is known of
//! a backend stays with it.

use std::sync::Arc;

use super::backend::{Backend, Standing, WHOLE};

/// All backends.
#[derive(Debug, Default)]
pub(super) struct Set {
    /// Those to be asked first, then those which are asked when none of them can be.
    pub(super) tiers: Vec<Tier>,
    /// Every name has been resolved once.
    pub(super) is_whole: bool,
}

/// Backends of one priority; never empty.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) backends: Vec<Arc<Backend>>,
    /// Backends by weight, each as often as its weight says and as evenly spread as can be.
    pub(super) sequence: Vec<u16>,
}

impl Set {
    /// By priority: the smaller first.
    pub(super) fn new(mut backends: Vec<(u32, Arc<Backend>)>, is_whole: bool) -> Self {
        backends.sort_by_key(|(priority, _)| *priority);
        let tiers = backends.chunk_by(|(one, _), (other, _)| one == other);
        let tier = |tier: &[(u32, Arc<Backend>)]| {
            Tier::new(tier.iter().map(|(_, backend)| backend.clone()).collect())
        };
        Self { tiers: tiers.map(tier).collect(), is_whole }
    }

    /// The same backends, whose weights have changed.
    pub(super) fn reweighted(&self) -> Self {
        let tiers = self.tiers.iter().map(|tier| Tier::new(tier.backends.clone()));
        Self { tiers: tiers.collect(), is_whole: self.is_whole }
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.tiers.iter().flat_map(|tier| &tier.backends)
    }

    /// With the priority of each.
    pub(super) fn with_priorities(&self) -> impl Iterator<Item = (usize, &Arc<Backend>)> {
        let tiers = self.tiers.iter().enumerate();
        tiers.flat_map(|(i, tier)| tier.backends.iter().map(move |backend| (i, backend)))
    }

    /// Whether fewer than `below` percent of those in service are healthy; with 0, whether none is.
    pub(super) fn is_in_panic(&self, below: u8, now: u64) -> bool {
        let in_service = self.backends().filter(|one| !one.is_draining() && one.weight() > 0);
        let (healthy, all) = in_service.fold((0, 0), |(healthy, all), backend| {
            (healthy + usize::from(backend.is_healthy(now)), all + 1)
        });
        healthy == 0 || healthy * 100 < usize::from(below) * all
    }
}

impl Tier {
    pub(super) fn new(backends: Vec<Arc<Backend>>) -> Self {
        let weights: Vec<u32> = backends.iter().map(|backend| backend.weight()).collect();
        Self { backends, sequence: smooth(&weights) }
    }
}

/// What a policy sees of a tier for one request.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tier: &'a Tier,
    pub(super) tried: &'a [Arc<Backend>],
    /// In milliseconds.
    pub(super) now: u64,
    pub(super) slow_start: u64,
    /// Those too that are not healthy.
    pub(super) all: bool,
}

impl<'a> Field<'a> {
    pub(super) fn len(&self) -> usize {
        self.tier.backends.len()
    }

    pub(super) fn get(&self, i: usize) -> Option<&'a Arc<Backend>> {
        self.tier.backends.get(i)
    }

    pub(super) fn standing(&self, i: usize) -> Standing {
        let Some(backend) = self.get(i) else { return Standing::Closed };
        if self.tried.iter().any(|one| Arc::ptr_eq(one, backend)) {
            return Standing::Closed;
        }
        backend.standing(self.now, self.all)
    }

    pub(super) fn is_open(&self, i: usize) -> bool {
        self.standing(i) == Standing::Open
    }

    /// How much of the weight of one counts now.
    pub(super) fn share(&self, i: usize) -> u64 {
        self.get(i).map_or(WHOLE, |backend| backend.share(self.now, self.slow_start))
    }

    /// The weight that counts now; 0 for one that may not be asked.
    pub(super) fn weight(&self, i: usize) -> u64 {
        match self.get(i).filter(|_| self.is_open(i)) {
            Some(backend) => u64::from(backend.weight()) * self.share(i),
            None => 0,
        }
    }

    /// Every backend that may be asked, with its weight.
    pub(super) fn open(self) -> impl Iterator<Item = (usize, u64)> {
        (0..self.len()).map(move |i| (i, self.weight(i))).filter(|(_, weight)| *weight > 0)
    }
}

/// The order of smooth weighted round robin: in each round every backend is taken as often as its weight says, and no two
/// turns of one are closer than they need be.
fn smooth(weights: &[u32]) -> Vec<u16> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let scaled = |weight: &u32| {
        let weight = u64::from(weight / divisor);
        let fits = total <= MOST_TURNS;
        let scaled = if fits { weight } else { (weight * MOST_TURNS / total).max(weight.min(1)) };
        i64::try_from(scaled).unwrap_or_default()
    };
    let weights: Vec<i64> = weights.iter().map(scaled).collect();
    let round: i64 = weights.iter().sum();
    let mut current = vec![0; weights.len()];
    let turn = |_| {
        for (current, weight) in current.iter_mut().zip(&weights) {
            *current += weight;
        }
        // Of equal ones the first.
        let best = current.iter_mut().enumerate().rev().max_by_key(|(_, current)| **current);
        let (i, current) = best?;
        *current -= round;
        u16::try_from(i).ok()
    };
    (0..round).filter_map(turn).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Turns of a round; weights that need more are rounded.
const MOST_TURNS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn turns_of_a_heavy_backend_are_spread() {
        assert_eq!(smooth(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(smooth(&[2, 4]), [1, 0, 1], "the common divisor is taken out");
        assert_eq!(smooth(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(smooth(&[0, 3]), [1]);
        assert!(smooth(&[0, 0]).is_empty() && smooth(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_has_its_turns_in_a_round_which_is_bounded(weights in prop::collection::vec(0u32..=1000, 1..40)) {
            let sequence = smooth(&weights);
            let total: u32 = weights.iter().sum();
            prop_assert!(sequence.len() as u64 <= MOST_TURNS + weights.len() as u64);
            for (i, weight) in weights.iter().enumerate() {
                let turns = sequence.iter().filter(|turn| usize::from(**turn) == i).count();
                prop_assert_eq!(turns == 0, *weight == 0, "none that has a weight starves");
                let wanted = f64::from(*weight) / f64::from(total.max(1));
                let share = turns as f64 / sequence.len().max(1) as f64;
                prop_assert!((wanted - share).abs() < 0.01, "{} instead of {}", share, wanted);
            }
        }
    }
}
