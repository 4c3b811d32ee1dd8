//! The backend with the fewest requests under way, for its weight.

use super::Chance;
use crate::upstream::set::Field;

/// The one that would have the fewest with this request; of equal ones any, so that an idle set is not always asked in the
/// same order.
pub(super) fn choose(field: Field<'_>, chance: &mut Chance) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    let mut equals = 1;
    for (i, weight) in field.open() {
        let Some(backend) = field.get(i) else { continue };
        let load = u64::from(backend.in_flight()) + 1;
        let Some((_, least, of)) = best else {
            best = Some((i, load, weight));
            continue;
        };
        // load / weight, without a division.
        let (one, other) = (load.saturating_mul(of), least.saturating_mul(weight));
        if one == other {
            equals += 1;
        } else if one < other {
            equals = 1;
        }
        if one < other || (one == other && chance.below(equals) == 0) {
            best = Some((i, load, weight));
        }
    }
    best.map(|(i, ..)| i)
}
