//! The secondary indexes: model -> candidates in order, idle workers in order, worker id -> registrations.

mod book;
mod chunks;
pub(crate) mod models;
pub(crate) mod ranking;
mod tournament;
pub(crate) mod workers;

pub(crate) use book::Entry;
pub(crate) use tournament::Key;
