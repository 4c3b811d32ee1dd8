//! What the workers share of an upstream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::backend::{Backend, Identity, Rules, Standing};
use super::balance::Chance;
use super::budget::Budget;
use super::set::{Field, Set};
use super::{Config, MOST_BACKENDS, Member, NoBackend, Pick, Source, Wanted};

/// What the workers share of an upstream.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) set: ArcSwap<Set>,
    pub(super) rules: Rules,
    budget: Budget,
    /// How often a backend was asked for.
    pub(super) turn: AtomicU64,
    seed: u64,
    /// Held by who changes the set or ejects, which is rare; never for a request that goes well.
    changing: Mutex<()>,
    /// Every name has had an answer, of whichever kind.
    is_answered: AtomicBool,
    answered: watch::Sender<bool>,
    pub(super) counts: Counts,
    this: Weak<Self>,
}

/// What has happened since the upstream is there.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) panic_picks: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) retries_refused: AtomicU64,
    pub(super) ejections_refused: AtomicU64,
    pub(super) backends_left_out: AtomicU64,
    pub(super) lookups: AtomicU64,
    pub(super) lookups_failed: AtomicU64,
}

/// A backend that was found, with its weight and its priority: the smaller is asked first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) weight: u32,
    pub(super) priority: u32,
}

/// One request for a backend.
#[derive(Clone, Copy)]
struct Call<'a> {
    wanted: &'a Wanted<'a>,
    tried: &'a [Arc<Backend>],
    /// In milliseconds.
    now: u64,
    turn: u64,
    /// Those too that are not healthy.
    all: bool,
}

impl Inner {
    /// Goes on with what `others`, of the same epoch, know of the same backends.
    pub(super) fn new(config: &Config, epoch: Instant, others: &[Arc<Self>]) -> Arc<Self> {
        let failures = config.eject.map_or(u32::MAX, |eject| eject.after);
        let rules = Rules { epoch, failures, limits: config.breaker };
        Arc::new_cyclic(|this| {
            let inner = Self {
                config: config.clone(),
                set: ArcSwap::default(),
                rules,
                budget: Budget::default(),
                turn: AtomicU64::new(0),
                seed: seed(),
                changing: Mutex::default(),
                is_answered: AtomicBool::new(!config.is_discovered()),
                answered: watch::Sender::new(!config.is_discovered()),
                counts: Counts::default(),
                this: this.clone(),
            };
            let adopted: Vec<_> = others.iter().map(|other| other.set.load_full()).collect();
            let before = adopted.iter().flat_map(|set| set.with_priorities()).map(|(_, it)| it);
            let is_whole = !config.is_discovered();
            let found = config.fixed();
            inner.set.store(Arc::new(inner.set_of(&found, is_whole, before, None)));
            inner
        })
    }

    pub(super) fn millis(&self, now: Instant) -> u64 {
        self.rules.millis(now)
    }

    pub(super) fn pick(
        &self,
        wanted: &Wanted<'_>,
        tried: &[Arc<Backend>],
        now: Instant,
    ) -> Result<Pick, NoBackend> {
        let (set, now) = (self.set.load(), self.millis(now));
        if tried.is_empty() {
            self.budget.deposit(now);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        let mut chance = Chance::new(self.seed ^ turn.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let mut call = Call { wanted, tried, now, turn, all: false };
        let below = self.config.panic_below;
        let mut picked = Err(NoBackend::Unavailable);
        if below == 0 || !set.is_in_panic(below, now) {
            picked = self.pick_of(&set, call, &mut chance);
        }
        if matches!(picked, Err(NoBackend::Unavailable)) && set.is_in_panic(below, now) {
            call.all = true;
            picked = self.pick_of(&set, call, &mut chance);
            if picked.is_ok() {
                self.counts.panic_picks.fetch_add(1, Relaxed);
            }
        }
        picked.map_err(|reason| self.none(reason, set.is_whole || !tried.is_empty()))
    }

    /// From the first tier in which one may be asked.
    fn pick_of(
        &self,
        set: &Set,
        Call { wanted, tried, now, turn, all }: Call<'_>,
        chance: &mut Chance,
    ) -> Result<Pick, NoBackend> {
        let slow_start = u64::try_from(self.config.slow_start.as_millis()).unwrap_or(u64::MAX);
        let mut reason = NoBackend::Unavailable;
        for tier in &set.tiers {
            let field = Field { tier, tried, now, slow_start, all };
            // Another worker may take the last place of the one that was chosen; then it is full.
            for _ in 0..=tier.backends.len() {
                let chosen = self.config.balance.choose(field, wanted, turn, chance);
                let Some(backend) = chosen.and_then(|i| field.get(i)) else { break };
                if backend.begin() {
                    return Ok(Pick::of(backend.clone()));
                }
            }
            if (0..field.len()).any(|i| field.standing(i) == Standing::Full) {
                reason = NoBackend::Full;
            }
        }
        Err(reason)
    }

    /// Counts a request without a backend, and says why there is none.
    fn none(&self, reason: NoBackend, is_known: bool) -> NoBackend {
        match reason {
            NoBackend::Full => self.counts.full.fetch_add(1, Relaxed),
            NoBackend::Unavailable | NoBackend::Unresolved => {
                self.counts.unavailable.fetch_add(1, Relaxed)
            }
        };
        match reason {
            NoBackend::Unavailable if !is_known => NoBackend::Unresolved,
            reason => reason,
        }
    }

    pub(super) fn may_retry(&self, now: Instant) -> bool {
        let is_allowed = self.budget.withdraw(&self.config.retries, self.millis(now));
        let counts = &self.counts;
        let count = if is_allowed { &counts.retries } else { &counts.retries_refused };
        count.fetch_add(1, Relaxed);
        is_allowed
    }

    /// Leaves a backend out, unless as many are out as may be.
    pub(super) fn eject(&self, backend: &Backend, now: Instant) {
        let Some(config) = &self.config.eject else { return };
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, now) = (self.set.load(), self.millis(now));
        if backend.is_ejected(now) {
            return;
        }
        let out = set.backends().filter(|backend| backend.is_ejected(now)).count();
        if out >= config.most_of(set.backends().count()) {
            self.counts.ejections_refused.fetch_add(1, Relaxed);
            return;
        }
        let time = backend.eject(config, now);
        let backend = backend.identity();
        tracing::warn!(%backend, ?time, "a backend is left out because its requests fail");
    }

    /// Changes the set by what `change` makes of it.
    pub(super) fn change(&self, change: impl FnOnce(&Set) -> Set) {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&self.set.load());
        self.set.store(Arc::new(next));
    }

    /// Discovery has found these backends, and no others.
    pub(super) fn found(&self, found: &[Found], is_whole: bool, now: Instant) {
        let now = self.millis(now);
        self.change(|set| {
            let is_first = set.backends().next().is_none();
            let since = (!is_first).then_some(now);
            let next = self.set_of(found, is_whole, set.backends(), since);
            let stays =
                |backend: &Arc<Backend>| next.backends().any(|one| Arc::ptr_eq(one, backend));
            set.backends().filter(|backend| !stays(backend)).for_each(|backend| backend.set_gone());
            next
        });
    }

    pub(super) fn note_lookup(&self, has_failed: bool) {
        self.counts.lookups.fetch_add(1, Relaxed);
        if has_failed {
            self.counts.lookups_failed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn set_answered(&self) {
        self.is_answered.store(true, Relaxed);
        self.answered.send_if_modified(|is_answered| !std::mem::replace(is_answered, true));
    }

    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Relaxed)
    }

    pub(super) async fn answered(&self) {
        // It can only fail when the sender is gone, which is here.
        let _ = self.answered.subscribe().wait_for(|is_answered| *is_answered).await;
    }

    /// The set of these backends; those that were `before` stay what they are, or what is known of them is taken over if
    /// they belong to another upstream. New ones begin with a small share if the others do not: then `since` is now.
    pub(super) fn set_of<'a>(
        &self,
        found: &[Found],
        is_whole: bool,
        before: impl Iterator<Item = &'a Arc<Backend>>,
        since: Option<u64>,
    ) -> Set {
        let before: HashMap<&Identity, &Arc<Backend>> =
            before.map(|backend| (backend.identity(), backend)).collect();
        let mut backends: Vec<(u32, Arc<Backend>)> = Vec::new();
        for Found { identity, weight, priority } in found {
            if backends.iter().any(|(_, backend)| backend.identity() == identity) {
                continue;
            }
            if backends.len() == MOST_BACKENDS {
                self.counts.backends_left_out.fetch_add(1, Relaxed);
                continue;
            }
            let known = before.get(identity).copied();
            let backend = match known.filter(|known| known.is_of(&self.this)) {
                Some(mine) => mine.clone(),
                None => {
                    let new =
                        Backend::new(identity.clone(), *weight, self.this.clone(), self.rules);
                    match known {
                        Some(theirs) => new.adopt(theirs, &self.config),
                        None => since.into_iter().for_each(|now| new.begin_ramp(now)),
                    }
                    Arc::new(new)
                }
            };
            backend.suggest_weight(*weight);
            backends.push((*priority, backend));
        }
        Set::new(backends, is_whole)
    }
}

impl Config {
    /// The backends that need no look-up.
    pub(super) fn fixed(&self) -> Vec<Found> {
        let fixed = self.backends.iter().filter_map(|member| match &member.source {
            Source::Fixed(address) => Some(Found {
                identity: Identity { address: address.clone(), socket: None },
                weight: member.weight,
                priority: if member.is_backup { BACKUP } else { 0 },
            }),
            Source::Names(_) | Source::Services { .. } => None,
        });
        fixed.collect()
    }

    /// Some backends are looked up.
    pub(super) fn is_discovered(&self) -> bool {
        !self.backends.iter().all(Member::is_fixed)
    }
}

impl Member {
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.source, Source::Fixed(_))
    }
}

/// The priority of backups: after all that a record can have.
pub(super) const BACKUP: u32 = 1 << 16;

/// Another one for each upstream, so that the processes of a site do not begin with the same backend.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Duration::ZERO)
}
