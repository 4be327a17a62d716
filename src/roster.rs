//! The workers of one state.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::state::WorkerInfo;

/// The workers of a hive, ordered by worker id. A slice, but that up to 8 lie within the state.
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
