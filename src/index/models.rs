//! model -> ranking of the workers that have it loaded.

use std::sync::Arc;

use super::ranking::Ranking;
use crate::error::HeartbeatError;
use crate::room::Room;
use crate::slot::{Side, Slot};
use crate::sync::{Index, Named, hasher};

/// No model without a worker stays (C3).
pub(crate) struct Models {
    index: Index<Arc<Ranking>>,
    /// Counts entries of the index.
    room: Room,
    /// As in [`Ranking::new`].
    assumed: u32,
}

impl Named for Arc<Ranking> {
    fn name(&self) -> &str {
        self.model()
    }
}

impl Models {
    pub(crate) fn new(seed: Option<u64>, limit: usize, assumed: u32) -> Self {
        let index = Index::new(limit, hasher(seed));
        Self { index, room: Room::new("models", limit), assumed }
    }

    pub(crate) fn len(&self) -> usize {
        self.room.taken()
    }

    pub(crate) fn get(&self, model: &str) -> Option<Arc<Ranking>> {
        self.look(model, Arc::clone)
    }

    /// Looks at a model's ranking without a lock.
    pub(crate) fn look<T>(&self, model: &str, f: impl FnOnce(&Arc<Ranking>) -> T) -> Option<T> {
        self.index.read(model, f)
    }

    /// The model's ranking, made if need be, which stays until it is unpinned.
    pub(crate) fn pin(&self, model: &str) -> Result<Arc<Ranking>, HeartbeatError> {
        loop {
            let ranking = match self.get(model) {
                Some(ranking) => ranking,
                None => self.create(model)?,
            };
            if ranking.pin() {
                return Ok(ranking);
            }
            // Met a retired one: "registered into a detached entry" is what this prevents. Help, try again.
            self.remove(&ranking);
        }
    }

    fn create(&self, model: &str) -> Result<Arc<Ranking>, HeartbeatError> {
        self.index.get_or(model, || {
            // Given back by `remove`.
            self.room.take(1)?.keep();
            Ok(Arc::new(Ranking::new(Side::Model, model.into(), self.assumed)))
        })
    }

    pub(crate) fn unpin(&self, ranking: &Arc<Ranking>) {
        if ranking.unpin() {
            self.remove(ranking);
        }
    }

    pub(crate) fn leave(&self, ranking: &Arc<Ranking>, slot: &Arc<Slot>) {
        if ranking.leave(slot) {
            self.remove(ranking);
        }
    }

    fn remove(&self, retired: &Arc<Ranking>) {
        if self.index.remove_if(retired.model().as_str(), |ranking| Arc::ptr_eq(ranking, retired)) {
            self.room.give_back(1);
        }
    }
}
