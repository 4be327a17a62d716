//! How a worker is chosen, C functions among the ways.

use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

use hive_registry::{
    Candidate as One, Candidates as All, LeastLoaded, Policy as Rule, PowerOfChoices, Random, RoundRobin,
    WorkerInfo,
};

use crate::status::{Failure, Status};
use crate::worker::Worker;

/// The ways to choose.
#[repr(u32)]
#[allow(non_camel_case_types, reason = "the names in C")]
pub enum PolicyKind {
    /// Healthy before degraded, the lowest load, then the one reserved least recently: the rule of
    /// `hive_registry_find_best_worker_for_model`. O(1).
    HIVE_POLICY_LEAST_LOADED = 0,
    /// The best of `choices` drawn at random. O(choices).
    HIVE_POLICY_POWER_OF_CHOICES = 1,
    /// Each in turn, per model. O(1).
    HIVE_POLICY_ROUND_ROBIN = 2,
    /// Any, with equal chances. O(1).
    HIVE_POLICY_RANDOM = 3,
    /// The lowest score that `score` gives. O(n) in the candidates.
    HIVE_POLICY_SCORE = 4,
    /// Whom `choose` names, which is shown all candidates at once. O(1), and what `choose` looks at.
    HIVE_POLICY_CHOOSE = 5,
}

/// One worker that may be chosen; valid during the call it is given to.
#[repr(C)]
pub struct Candidate {
    /// Its record, borrowed; `hive_worker_clone` keeps it.
    pub worker: *const Worker,
    /// Its load: less is better. An order, not a measure: to be compared with others, and nothing else.
    pub load: u64,
    /// Reservations it holds.
    pub reservations: u32,
    /// Its place among those that are alike: the least is the one reserved least recently, before it those never
    /// reserved, in the order of registration. No two are alike.
    pub turn: u64,
}

/// Scores a candidate: the lowest wins, of equal ones the one reserved least recently, as `turn` says. False, or a score that is NaN, passes it over.
///
/// Called without any lock held, once for each candidate each time the registry asks, on the thread that picks. It may
/// call the registry, also to pick, and any function of this library, but free nothing that the pick under way uses. It
/// must return: neither longjmp nor a C++ exception may leave it.
pub type Score =
    Option<unsafe extern "C" fn(user: *mut c_void, candidate: &Candidate, out_score: &mut f64) -> bool>;

/// All who may be chosen, for `hive_choose_t`; valid during the call it is given to.
///
/// A view of the live registry, not a copy: others change it meanwhile, and one found ineligible is taken out, whereupon
/// the last one takes its place.
pub struct Candidates<'c> {
    all: &'c All<'c>,
    /// The records that were shown, alive until the call returns.
    shown: RefCell<Vec<Arc<WorkerInfo>>>,
}

/// Chooses among candidates: writes the place of one, as `hive_candidates_get` showed it. False chooses nobody. A place where
/// there is nobody makes the registry ask again.
///
/// Called as `hive_score_t` is, once each time the registry asks.
pub type Choose =
    Option<unsafe extern "C" fn(user: *mut c_void, candidates: &Candidates<'_>, out_at: &mut usize) -> bool>;

/// A way to choose, and what it needs. All zero is `HIVE_POLICY_LEAST_LOADED`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Policy {
    /// A `hive_policy_kind_t`.
    pub kind: u32,
    /// How many `HIVE_POLICY_POWER_OF_CHOICES` draws; 0 counts as 1.
    pub choices: u32,
    /// What `HIVE_POLICY_SCORE` calls.
    pub score: Score,
    /// What `score` or `choose` is given first.
    pub user: *mut c_void,
    /// What `HIVE_POLICY_CHOOSE` calls.
    pub choose: Choose,
}

/// A policy that was checked.
pub(crate) enum Checked {
    BuiltIn(Box<dyn Rule>),
    Score(Scored),
    Choose(Chosen),
}

/// Asks C for the score of each candidate.
pub(crate) struct Scored {
    score: unsafe extern "C" fn(*mut c_void, &Candidate, &mut f64) -> bool,
    user: *mut c_void,
}

/// Asks C for one of all.
pub(crate) struct Chosen {
    choose: unsafe extern "C" fn(*mut c_void, &Candidates<'_>, &mut usize) -> bool,
    user: *mut c_void,
}

// The registry calls a policy on the thread that asked it to pick, and keeps none.
unsafe impl Send for Scored {}
unsafe impl Sync for Scored {}
unsafe impl Send for Chosen {}
unsafe impl Sync for Chosen {}

impl Checked {
    /// NULL is the default rule.
    pub(crate) fn of(policy: Option<&Policy>) -> Result<Self, Failure> {
        let Some(policy) = policy else {
            return Ok(Self::BuiltIn(Box::new(LeastLoaded)));
        };
        Ok(Self::BuiltIn(match policy.kind {
            0 => Box::new(LeastLoaded),
            1 => Box::new(PowerOfChoices { d: policy.choices as usize }),
            2 => Box::new(RoundRobin),
            3 => Box::new(Random),
            4 => {
                let score = policy.score.ok_or_else(|| Failure::null("policy.score"))?;
                return Ok(Self::Score(Scored { score, user: policy.user }));
            }
            5 => {
                let choose = policy.choose.ok_or_else(|| Failure::null("policy.choose"))?;
                return Ok(Self::Choose(Chosen { choose, user: policy.user }));
            }
            other => {
                let bound = "a hive_policy_kind_t, 0 to 5";
                return Err(Failure::refused(Status::HIVE_INVALID_ARGUMENT, "policy.kind", other, bound));
            }
        }))
    }

    pub(crate) fn as_dyn(&self) -> &dyn Rule {
        match self {
            Self::BuiltIn(policy) => &**policy,
            Self::Score(policy) => policy,
            Self::Choose(policy) => policy,
        }
    }
}

impl Candidate {
    /// As long as the record lives.
    fn view(candidate: &One) -> Self {
        Self {
            worker: Worker::view(&candidate.worker),
            load: candidate.load,
            reservations: candidate.reservations,
            turn: candidate.turn(),
        }
    }
}

impl Rule for Chosen {
    fn choose(&self, candidates: &All<'_>) -> Option<usize> {
        let candidates = Candidates { all: candidates, shown: RefCell::default() };
        let mut at = usize::MAX;
        unsafe { (self.choose)(self.user, &candidates, &mut at) }.then_some(at)
    }
}

impl Candidates<'_> {
    fn show(&self, candidate: &One, out: &mut MaybeUninit<Candidate>) {
        out.write(Candidate::view(candidate));
        self.shown.borrow_mut().push(candidate.worker.clone());
    }
}

/// How many there are; some may prove ineligible when looked at. 0 for NULL. O(1).
#[unsafe(no_mangle)]
pub extern "C" fn hive_candidates_len(candidates: Option<&Candidates<'_>>) -> usize {
    candidates.map_or(0, |candidates| candidates.all.len())
}

/// The candidate at `at`; false if there are not so many. Its record is valid until the policy returns.
///
/// One that proves ineligible leaves, and the last one takes its place, and is shown instead. So look from the last one
/// down to 0: nobody is missed, though one may come twice. O(1), a short lock.
#[unsafe(no_mangle)]
pub extern "C" fn hive_candidates_get(
    candidates: Option<&Candidates<'_>>,
    at: usize,
    out: Option<&mut MaybeUninit<Candidate>>,
) -> bool {
    let (Some(candidates), Some(out)) = (candidates, out) else { return false };
    let Some(candidate) = candidates.all.get(at) else { return false };
    candidates.show(&candidate, out);
    true
}

/// One drawn with equal chances, and its place, by the random numbers of the registry; false if there is nobody. O(1)
/// expected.
#[unsafe(no_mangle)]
pub extern "C" fn hive_candidates_random(
    candidates: Option<&Candidates<'_>>,
    out_at: Option<&mut MaybeUninit<usize>>,
    out: Option<&mut MaybeUninit<Candidate>>,
) -> bool {
    let (Some(candidates), Some(out_at), Some(out)) = (candidates, out_at, out) else { return false };
    let Some((at, candidate)) = candidates.all.random() else { return false };
    out_at.write(at);
    candidates.show(&candidate, out);
    true
}

impl Rule for Scored {
    fn choose(&self, candidates: &All<'_>) -> Option<usize> {
        let mut best: Option<(f64, u64, usize)> = None;
        for (at, candidate) in candidates.iter() {
            let view = Candidate::view(&candidate);
            let mut score = f64::NAN;
            let takes = unsafe { (self.score)(self.user, &view, &mut score) };
            let wins = |(least, turn, _)| score < least || (score == least && view.turn < turn);
            if takes && !score.is_nan() && best.is_none_or(wins) {
                best = Some((score, view.turn, at));
            }
        }
        best.map(|(.., at)| at)
    }
}
