//! The secondary indexes: model -> candidates in order, idle workers in order, worker id -> registrations.

mod chunks;
pub(crate) mod models;
pub(crate) mod ranking;
mod tournament;
pub(crate) mod workers;

pub(crate) use tournament::Key;
