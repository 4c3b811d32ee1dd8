//! By chance and weight.

use super::Chance;
use crate::upstream::backend::WHOLE;
use crate::upstream::set::Field;

pub(super) fn choose(field: Field<'_>, chance: &mut Chance) -> Option<usize> {
    glance(field, chance).or_else(|| draw(field, chance))
}

/// One by weight at the cost of looking at one: none if that may not be asked.
pub(super) fn glance(field: Field<'_>, chance: &mut Chance) -> Option<usize> {
    let sequence = &field.tier.sequence;
    let len = u64::try_from(sequence.len()).ok().filter(|len| *len > 0)?;
    let at = usize::try_from(chance.below(len)).ok()?;
    let i = usize::from(*sequence.get(at)?);
    (field.is_open(i) && accepts(field.share(i), chance)).then_some(i)
}

/// One by weight among all that may be asked.
pub(super) fn draw(field: Field<'_>, chance: &mut Chance) -> Option<usize> {
    draw_but(field, None, chance)
}

/// The same, with one left out.
pub(super) fn draw_but(field: Field<'_>, but: Option<usize>, chance: &mut Chance) -> Option<usize> {
    let others = || field.open().filter(move |(i, _)| Some(*i) != but);
    let total: u64 = others().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut left = chance.below(total);
    let mut last = None;
    for (i, weight) in others() {
        if left < weight {
            return Some(i);
        }
        left -= weight;
        last = Some(i);
    }
    // Another worker has changed something between the two looks.
    last
}

/// Whether one with a part of its share takes this turn.
pub(super) fn accepts(share: u64, chance: &mut Chance) -> bool {
    share >= WHOLE || chance.below(WHOLE) < share
}
