//! How a worker is chosen, any callable among the ways.

use std::sync::{Mutex, PoisonError};

use hive_registry::{self as hive, Candidates, said};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyType;

use crate::error::Refused;
use crate::fork::Owned;
use crate::number::{one_of, size};
use crate::worker::Candidate;

macro_rules! plain {
    ($($(#[doc = $doc:literal])+ $name:ident)*) => {
        $(
            $(#[doc = $doc])+
            #[pyclass(frozen, eq, hash, module = "hive_registry")]
            #[derive(PartialEq, Eq, Hash)]
            pub(crate) struct $name;

            #[pymethods]
            impl $name {
                #[new]
                fn new() -> Self {
                    Self
                }

                fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, ()) {
                    (slf.get_type(), ())
                }

                fn __repr__(&self) -> &'static str {
                    concat!(stringify!($name), "()")
                }
            }
        )*
    };
}

plain! {
    /// The rule of `find_best_worker_for_model`. O(1).
    ///
    /// Healthy before degraded, the lowest load, then the one reserved least recently.
    LeastLoaded
    /// Each candidate in turn, per model. O(1).
    RoundRobin
    /// Any candidate, with equal chances. O(1).
    Random
}

/// The best of `d` candidates drawn at random; 0 counts as 1. O(d).
#[pyclass(frozen, eq, hash, module = "hive_registry")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct PowerOfChoices {
    /// How many are drawn.
    #[pyo3(get)]
    d: usize,
}

const DEFAULT_D: usize = 2;

#[pymethods]
impl PowerOfChoices {
    #[new]
    #[pyo3(signature = (d = None))]
    fn new(d: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { d: d.map_or(Ok(DEFAULT_D), |d| size("d", d))? })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (usize,)) {
        (slf.get_type(), (slf.get().d,))
    }

    fn __repr__(&self) -> String {
        format!("PowerOfChoices(d={})", self.d)
    }
}

/// The policies that have names.
#[derive(Clone, Copy)]
enum Named {
    LeastLoaded,
    PowerOfChoices,
    RoundRobin,
    Random,
}

const NAMES: [(&str, Named); 4] = [
    ("least_loaded", Named::LeastLoaded),
    ("power_of_choices", Named::PowerOfChoices),
    ("round_robin", Named::RoundRobin),
    ("random", Named::Random),
];

/// A policy that was told.
pub(crate) enum Policy {
    BuiltIn(Box<dyn hive::Policy>),
    Scored(Scored),
}

/// Asks Python for the score of each candidate.
pub(crate) struct Scored {
    score: Py<PyAny>,
    /// What it raised: it is not asked again.
    raised: Mutex<Option<PyErr>>,
}

impl Policy {
    /// `None` is the default rule.
    pub(crate) fn of(policy: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(policy) = policy else {
            return Ok(Self::BuiltIn(Box::new(hive::LeastLoaded)));
        };
        Ok(Self::BuiltIn(if let Ok(name) = policy.extract::<PyBackedStr>() {
            match one_of("policy", &name, &NAMES)? {
                Named::LeastLoaded => Box::new(hive::LeastLoaded),
                Named::PowerOfChoices => Box::new(hive::PowerOfChoices { d: DEFAULT_D }),
                Named::RoundRobin => Box::new(hive::RoundRobin),
                Named::Random => Box::new(hive::Random),
            }
        } else if let Ok(policy) = policy.cast::<PowerOfChoices>() {
            Box::new(hive::PowerOfChoices { d: policy.get().d })
        } else if policy.is_instance_of::<LeastLoaded>() {
            Box::new(hive::LeastLoaded)
        } else if policy.is_instance_of::<RoundRobin>() {
            Box::new(hive::RoundRobin)
        } else if policy.is_instance_of::<Random>() {
            Box::new(hive::Random)
        } else if policy.is_callable() {
            return Ok(Self::Scored(Scored { score: policy.clone().unbind(), raised: Mutex::new(None) }));
        } else {
            let what = policy.repr()?;
            return Err(PyTypeError::new_err(said(&format!(
                "policy: {what} refused: a name, a policy or a callable"
            ))));
        }))
    }

    /// Chooses by it. What a callable raised is raised here, and what was chosen all the same is given up.
    pub(crate) fn choose<T>(
        &self,
        choose: impl FnOnce(&dyn hive::Policy) -> Option<T>,
    ) -> Result<Option<T>, Refused> {
        match self {
            Self::BuiltIn(policy) => Ok(choose(&**policy)),
            Self::Scored(policy) => {
                let chosen = choose(policy);
                match policy.raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(error) => Err(error.into()),
                    None => Ok(chosen),
                }
            }
        }
    }
}

impl Scored {
    fn best(&self, py: Python<'_>, candidates: &Candidates<'_>) -> PyResult<Option<usize>> {
        let mut best: Option<(f64, u64, usize)> = None;
        for (at, candidate) in candidates.iter() {
            let turn = candidate.turn();
            let score = self.score.bind(py).call1((Candidate::new(py, candidate)?,))?;
            let Some(score) = score.extract::<Option<f64>>()? else { continue };
            let wins = |(least, first, _)| score < least || (score == least && turn < first);
            if !score.is_nan() && best.is_none_or(wins) {
                best = Some((score, turn, at));
            }
        }
        Ok(best.map(|(.., at)| at))
    }
}

impl hive::Policy for Scored {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        let raised = || self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if raised().is_some() {
            return None;
        }
        // Called on the thread that picks, which holds the interpreter already.
        let process = Owned::new(());
        let best = Python::attach(|py| self.best(py, candidates));
        // A callable that forked goes on in a child, too.
        best.and_then(|best| process.get().map(|()| best)).unwrap_or_else(|error| {
            *raised() = Some(error);
            None
        })
    }
}
