//! model -> ranking of the workers that have it loaded.

use std::ops::Deref;
use std::sync::Arc;

use super::ranking::Ranking;
use crate::error::HeartbeatError;
use crate::names::ModelId;
use crate::room::Room;
use crate::slot::{Side, Slot};
use crate::sync::{Map, hasher};

/// No model without a worker stays (C3).
pub(crate) struct Models {
    map: Map<ModelId, Arc<Ranking>>,
    /// Counts entries of the map.
    room: Room,
}

impl Models {
    pub(crate) fn new(shards: usize, seed: Option<u64>, limit: usize) -> Self {
        Self { map: Map::new(shards, hasher(seed)), room: Room::new("models", limit) }
    }

    pub(crate) fn len(&self) -> usize {
        self.room.taken()
    }

    pub(crate) fn get(&self, model: &str) -> Option<Arc<Ranking>> {
        self.map.read(model, Arc::clone)
    }

    /// The published winner of a model, the shard's guard gone.
    pub(crate) fn winner(&self, model: &str) -> Option<impl Deref<Target = Option<Arc<Slot>>> + use<>> {
        self.map.read(model, |ranking| ranking.winner())
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
        let create = || {
            // Given back by `remove`.
            self.room.take(1)?.keep();
            Ok(Arc::new(Ranking::new(Side::Model, model.into())))
        };
        self.map.upsert(model.into(), create, |ranking| ranking.clone())
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
        if self.map.remove_if(retired.model().as_str(), |ranking| Arc::ptr_eq(ranking, retired)).is_some() {
            self.room.give_back(1);
        }
    }
}
