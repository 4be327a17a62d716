//! The workers of one state, and the seats by which their slots find them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::state::WorkerInfo;

/// The workers of a hive, ordered by worker id. A slice, but that up to 8 lie within the state, where a pick
/// finds them sooner.
#[derive(Clone, Default, PartialEq)]
pub struct WorkerList(SmallVec<[Arc<WorkerInfo>; INLINE]>);

/// As many as most machines have GPUs.
const INLINE: usize = 8;

impl WorkerList {
    pub(crate) fn with_capacity(workers: usize) -> Self {
        Self(SmallVec::with_capacity(workers))
    }

    pub(crate) fn push(&mut self, worker: Arc<WorkerInfo>) {
        self.0.push(worker);
    }
}

impl Deref for WorkerList {
    type Target = [Arc<WorkerInfo>];

    fn deref(&self) -> &[Arc<WorkerInfo>] {
        &self.0
    }
}

impl<'w> IntoIterator for &'w WorkerList {
    type Item = &'w Arc<WorkerInfo>;
    type IntoIter = std::slice::Iter<'w, Arc<WorkerInfo>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Arc<WorkerInfo>> for WorkerList {
    fn from_iter<I: IntoIterator<Item = Arc<WorkerInfo>>>(workers: I) -> Self {
        Self(workers.into_iter().collect())
    }
}

impl fmt::Debug for WorkerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Serialize for WorkerList {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WorkerList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

// === seats ===

/// Where the worker of each seat stands in a state's list. A worker keeps its seat as long as it is registered,
/// while others come and go before it in the list. None where seats and places are the same, as they mostly are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seating(Option<Box<[u32]>>);

/// A seat that nobody has.
const FREE: u32 = u32::MAX;

impl PartialEq for Seating {
    /// What a state tells does not depend on it.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Seating {
    /// Those with a seat keep it; the others, in order, get the least ones that are free: see what `seats` gets.
    pub(crate) fn new<'s>(seats: impl Iterator<Item = &'s mut Option<u32>>) -> Self {
        let mut places = Vec::new();
        let mut seatless = Vec::new();
        for (place, seat) in seats.enumerate() {
            match seat {
                None => seatless.push((place as u32, seat)),
                Some(seat) => {
                    let seat = *seat as usize;
                    places.resize(places.len().max(seat + 1), FREE);
                    places[seat] = place as u32;
                }
            }
        }
        let mut next = 0;
        for (place, seat) in seatless {
            while places.get(next).is_some_and(|place| *place != FREE) {
                next += 1;
            }
            places.resize(places.len().max(next + 1), FREE);
            places[next] = place;
            *seat = Some(next as u32);
        }
        // Past its end there is nobody, in the list as in the seats.
        let alike = places.iter().enumerate().all(|(seat, place)| seat == *place as usize);
        Self((!alike).then(|| places.into()))
    }

    /// Where in the list to look for whoever has the seat; past its end if nobody has.
    pub(crate) fn place(&self, seat: u32) -> Option<usize> {
        Some(match &self.0 {
            None => seat,
            Some(places) => *places.get(seat as usize)?,
        } as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Seating;
    use proptest::prelude::*;

    proptest! {
        /// Whatever comes and goes, no two have one seat, everyone keeps his own, and it leads to his place.
        #[test]
        fn a_seat_leads_to_its_worker(lists in prop::collection::vec(prop::collection::btree_set(0..12_u8, 0..8), 1..20)) {
            let mut seated: std::collections::BTreeMap<u8, u32> = std::collections::BTreeMap::new();
            for list in lists {
                let kept: Vec<_> = list.iter().map(|id| seated.get(id).copied()).collect();
                let mut seats = kept.clone();
                let seating = Seating::new(seats.iter_mut());
                prop_assert!(kept.iter().zip(&seats).all(|(kept, seat)| kept.is_none() || kept == seat));
                seated = list.iter().copied().zip(seats.into_iter().flatten()).collect();
                prop_assert_eq!(seated.len(), list.len());
                for (place, id) in list.iter().enumerate() {
                    prop_assert_eq!(seating.place(seated[id]), Some(place));
                }
                let free = (0..20).filter(|seat| !seated.values().any(|taken| taken == seat));
                prop_assert!(free.map(|seat| seating.place(seat)).all(|place| place.is_none_or(|place| place >= list.len())));
            }
        }
    }
}
