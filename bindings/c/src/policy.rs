//! How a worker is chosen, a C function among the ways.

use std::ffi::c_void;

use hive_registry::{Candidates, LeastLoaded, Policy as Choose, PowerOfChoices, Random, RoundRobin};

use crate::status::{Failure, Status};
use crate::worker::Worker;

/// The ways to choose.
#[repr(C)]
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
    /// What `score` is given first.
    pub user: *mut c_void,
}

/// A policy that was checked.
pub(crate) enum Checked {
    BuiltIn(Box<dyn Choose>),
    Score(Scored),
}

/// Asks C for the score of each candidate.
pub(crate) struct Scored {
    score: unsafe extern "C" fn(*mut c_void, &Candidate, &mut f64) -> bool,
    user: *mut c_void,
}

// The registry calls a policy on the thread that asked it to pick, and keeps none.
unsafe impl Send for Scored {}
unsafe impl Sync for Scored {}

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
            other => {
                let message = format!("policy.kind: {other} refused: a hive_policy_kind_t, 0 to 4");
                return Err(Failure::new(Status::HIVE_INVALID_ARGUMENT, message));
            }
        }))
    }

    pub(crate) fn as_dyn(&self) -> &dyn Choose {
        match self {
            Self::BuiltIn(policy) => &**policy,
            Self::Score(policy) => policy,
        }
    }
}

impl Choose for Scored {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        let mut best: Option<(f64, u64, usize)> = None;
        for (at, candidate) in candidates.iter() {
            let view = Candidate {
                worker: Worker::view(&candidate.worker),
                load: candidate.load,
                reservations: candidate.reservations,
                turn: candidate.turn(),
            };
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
