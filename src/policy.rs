//! How a candidate is chosen (S8).

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::core::Core;
use crate::index::Key;
use crate::index::ranking::{Fit, Ranking};
use crate::liveness::View;
use crate::reservation::Hold;
use crate::slot::{Slot, load};
use crate::state::WorkerInfo;

/// A rule that chooses among the candidates for a model.
///
/// Called without any lock held, as often as a pick needs; it may call the registry. A panic in it leaves the
/// registry as it was.
///
/// ```
/// use hive_registry::{Candidates, Policy};
///
/// /// The one with the most free memory.
/// struct Roomiest;
///
/// impl Policy for Roomiest {
///     fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
///         candidates
///             .iter()
///             .max_by_key(|(_, candidate)| candidate.worker.vram_free_bytes())
///             .map(|(at, _)| at)
///     }
/// }
/// ```
pub trait Policy: Send + Sync {
    /// The index of the chosen candidate, or none to choose nobody. An index that is out of range or whose
    /// candidate has gone makes the registry ask again.
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize>;
}

/// The rule of [`find_best_worker_for_model`](crate::HiveRegistry::find_best_worker_for_model): healthy before
/// degraded, the lowest load, ties as S4. O(1).
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

/// The best of `d` candidates drawn at random (Mitzenmacher 2001): nearly as even as the least loaded, and a
/// stale view misleads it less. O(d).
///
/// Up to 16 are drawn without repetition, more with. Where there are no more than `d`, the best of all. A `d`
/// of 0 counts as 1.
#[derive(Clone, Copy, Debug)]
pub struct PowerOfChoices {
    /// How many are drawn.
    pub d: usize,
}

/// Each in turn, per model, whatever their load. O(1).
///
/// Whoever may be chosen is chosen once in each round, and who comes has a turn before the round ends, so that shares
/// stay equal while workers come and go.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

/// Any, with equal chances. O(1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// The eligible workers that have the model loaded; if there are none, the eligible idle workers of any model.
///
/// A view of the live registry, not a copy: others change it meanwhile, and an entry found ineligible is taken
/// out, whereupon the last entry takes its index. What [`get`](Self::get) returned for an index is what
/// choosing that index means.
pub struct Candidates<'c> {
    core: &'c Core,
    ranking: &'c Ranking,
    view: &'c View<'c>,
    model: &'c str,
    seen: RefCell<SmallVec<[Seen; DISTINCT]>>,
}

/// One worker that may be chosen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// Its record.
    pub worker: Arc<WorkerInfo>,
    /// Its load (S3): less is better. An order, not a measure: to be compared, and nothing else.
    pub load: u64,
    /// Reservations it holds.
    pub reservations: u32,
    key: Key,
}

struct Seen {
    at: usize,
    slot: Arc<Slot>,
    worker: Arc<WorkerInfo>,
}

// === impl Candidate ===

impl Candidate {
    /// Its place among those that a policy finds equal (S4): the least is the one reserved least recently, before it
    /// those never reserved, in the order of registration. No two are alike.
    ///
    /// A policy that goes by scores and leaves ties to chance sends a burst to one worker.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.key.tie()
    }
}

// === impl Candidates ===

/// Draws of `PowerOfChoices` without repetition, and looks remembered without an allocation.
const DISTINCT: usize = 16;

impl Candidates<'_> {
    /// How many there are: some may prove ineligible when looked at. O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranking.ranked()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The candidate at `at`; none if there are not so many. One that proves ineligible leaves, and the last one takes
    /// its place, and is looked at instead. To look at all of them, see [`iter`](Self::iter). O(1), a short lock;
    /// O(log n) for each that leaves.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Candidate> {
        while at < self.len() {
            if let Some(candidate) = self.look(at) {
                return Some(candidate);
            }
        }
        None
    }

    /// Each candidate with its index, the last one first. Nobody who is eligible all the while is missed, nor comes
    /// twice unless other threads make workers leave meanwhile. As [`get`](Self::get) for each.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Candidate)> {
        // Whoever leaves, the last one takes the place: on the way down it was seen already, or is still to come.
        (0..self.len()).rev().filter_map(|at| Some((at, self.look(at)?)))
    }

    /// The candidate at `at`, unless it proves ineligible and leaves, or there are not so many.
    fn look(&self, at: usize) -> Option<Candidate> {
        let fit = self.ranking.nth(at, self.view)?;
        Some(self.see(at, fit))
    }

    /// Remembers what an index meant when it was looked at.
    fn see(&self, at: usize, fit: Fit) -> Candidate {
        let Fit { slot, told, record: worker, key } = fit;
        let reservations = told.word.count();
        let load = load(&worker, reservations, self.core.config.assumed_concurrency);
        let mut seen = self.seen.borrow_mut();
        if seen.last().is_some_and(|last| last.at == at) {
            seen.pop();
        }
        seen.push(Seen { at, slot, worker: worker.clone() });
        Candidate { load, reservations, key, worker }
    }

    /// A candidate drawn with equal chances, and its index; none if nobody is eligible. O(1) expected; O(n)
    /// once after a mass silence.
    #[must_use]
    pub fn random(&self) -> Option<(usize, Candidate)> {
        // Whoever proves ineligible leaves, so this ends.
        loop {
            let at = match self.len() {
                0 => return None,
                len => self.core.random_below(len),
            };
            if let Some(candidate) = self.look(at) {
                return Some((at, candidate));
            }
        }
    }

    fn best(&self) -> Option<(usize, Candidate)> {
        let (at, fit) = self.core.found(self.view, || self.ranking.best_place(self.view))?;
        Some((at, self.see(at, fit)))
    }

    fn next(&self) -> Option<(usize, Candidate)> {
        let (at, fit) = self.ranking.next_in_turn(self.view)?;
        Some((at, self.see(at, fit)))
    }

    /// Whom choosing `at` means, and the record that the policy saw.
    fn chosen(&self, at: usize) -> Option<(Arc<Slot>, Arc<WorkerInfo>)> {
        let seen = self.seen.borrow();
        match seen.iter().rev().find(|seen| seen.at == at) {
            Some(seen) => Some((seen.slot.clone(), seen.worker.clone())),
            None => self.ranking.nth(at, self.view).map(|fit| (fit.slot, fit.record)),
        }
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidates")
            .field("model", &self.model)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

// === the built-in policies ===

impl Policy for LeastLoaded {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        candidates.best().map(|(at, _)| at)
    }
}

impl Policy for PowerOfChoices {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        let d = self.d.max(1);
        if candidates.len() <= d {
            return candidates.best().map(|(at, _)| at);
        }
        let mut drawn: SmallVec<[usize; DISTINCT]> = SmallVec::new();
        let mut best: Option<(Key, usize)> = None;
        // Bounded, for the set may shrink below `d` while it is drawn from.
        for _ in 0..d.saturating_mul(4).saturating_add(64) {
            let Some((at, candidate)) = candidates.random() else {
                break;
            };
            if d <= DISTINCT && drawn.contains(&at) {
                continue;
            }
            drawn.push(at);
            if best.is_none_or(|(key, _)| candidate.key < key) {
                best = Some((candidate.key, at));
            }
            if drawn.len() == d {
                break;
            }
        }
        best.map(|(_, at)| at)
    }
}

impl Policy for RoundRobin {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        candidates.next().map(|(at, _)| at)
    }
}

impl Policy for Random {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        candidates.random().map(|(at, _)| at)
    }
}

// === picking by policy ===

/// How often a policy is asked when its choices go or are filled by others, before nobody is chosen (S8).
const ASKED: usize = 64;

impl Core {
    pub(crate) fn pick_with(&self, model: &str, policy: &dyn Policy) -> Option<Arc<WorkerInfo>> {
        let chosen = self.ask(model, policy, |ranking, slot, view| ranking.this(slot, view).is_some());
        self.counters.picked(chosen.map(|(_, worker, _)| worker))
    }

    pub(crate) fn reserve_with(&self, model: &str, policy: &dyn Policy) -> Option<Hold> {
        let take = |ranking: &Ranking, slot: &Arc<Slot>, view: &View<'_>| {
            ranking.reserve_this(slot, view, || self.next_turn())
        };
        let chosen = self.ask(model, policy, take);
        self.counters.reserved(chosen.map(|(slot, worker, ranking)| {
            if ranking.is_none() {
                self.sync_model(&slot);
            }
            Hold { slot, worker, ranking }
        }))
    }

    /// Asks for a choice that `take` accepts; with the ranking of the model if it was chosen from that.
    fn ask(
        &self,
        model: &str,
        policy: &dyn Policy,
        take: impl Fn(&Ranking, &Arc<Slot>, &View<'_>) -> bool,
    ) -> Option<Chosen> {
        for _ in 0..ASKED {
            let view = self.view();
            let eligible = |ranking: &Ranking| self.found(&view, || ranking.best_place(&view)).is_some();
            let look = || self.models.get(model).filter(|ranking| eligible(ranking));
            // As in `best`: who goes from the idle ones to the model meanwhile is met (C2).
            let of_model = match look() {
                None if eligible(&self.idle) => None,
                None => Some(look()?),
                some => some,
            };
            let ranking = of_model.as_deref().unwrap_or(&self.idle);
            let candidates =
                Candidates { core: self, ranking, view: &view, model, seen: RefCell::new(SmallVec::new()) };
            match policy.choose(&candidates) {
                Some(at) => {
                    if let Some((slot, worker)) = candidates.chosen(at) {
                        if take(ranking, &slot, &view) {
                            return Some((slot, worker, of_model));
                        }
                    }
                }
                // A refusal, unless the last candidate went while the policy looked.
                None if eligible(ranking) => return None,
                None => {}
            }
        }
        None
    }
}

/// Who, as the policy saw it, and the ranking of the model unless it is a fallback.
type Chosen = (Arc<Slot>, Arc<WorkerInfo>, Option<Arc<Ranking>>);
