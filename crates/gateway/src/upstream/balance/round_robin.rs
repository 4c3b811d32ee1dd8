//! One after the other.

use super::{Chance, random};
use crate::upstream::set::Field;

/// Each as often as the others.
pub(super) fn choose(field: Field<'_>, turn: u64, chance: &mut Chance) -> Option<usize> {
    take(field, nth(turn, field.len())?, chance)
}

/// Each as often as its weight says.
pub(super) fn choose_weighted(field: Field<'_>, turn: u64, chance: &mut Chance) -> Option<usize> {
    let sequence = &field.tier.sequence;
    take(field, usize::from(*sequence.get(nth(turn, sequence.len())?)?), chance)
}

/// The one whose turn it is. If it cannot be asked, or has but a part of its share yet, the turn goes by chance to any of
/// the others: were it the next one's, that would have twice its share.
fn take(field: Field<'_>, i: usize, chance: &mut Chance) -> Option<usize> {
    if field.is_open(i) && random::accepts(field.share(i), chance) {
        return Some(i);
    }
    random::draw(field, chance)
}

fn nth(turn: u64, len: usize) -> Option<usize> {
    usize::try_from(turn.checked_rem(u64::try_from(len).ok()?)?).ok()
}
