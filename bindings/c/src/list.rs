//! Lists: opaque, with a length and an element accessor, ordered as in Rust.

use std::mem::MaybeUninit;
use std::sync::Arc;

use hive_registry::{HiveId, ProcessStats, WorkerInfo};

use crate::status::guard_drop;
use crate::text::{Str, tell};
use crate::worker::{Process, Worker};

/// Workers, ordered by hive id, then worker id.
pub struct WorkerList(Vec<Arc<WorkerInfo>>);

/// Names of hives, in order.
pub struct IdList(Vec<HiveId>);

/// What hives sent of their processes, ordered by hive id, then worker id.
pub struct ProcessList(Vec<(HiveId, Arc<ProcessStats>)>);

impl WorkerList {
    pub(crate) fn of(workers: Vec<Arc<WorkerInfo>>) -> Box<Self> {
        Box::new(Self(workers))
    }

    /// A record knows its hive.
    pub(crate) fn of_pairs(workers: Vec<(HiveId, Arc<WorkerInfo>)>) -> Box<Self> {
        Self::of(workers.into_iter().map(|(_, worker)| worker).collect())
    }
}

impl IdList {
    pub(crate) fn of(ids: Vec<HiveId>) -> Box<Self> {
        Box::new(Self(ids))
    }
}

impl ProcessList {
    pub(crate) fn of(processes: Vec<(HiveId, Arc<ProcessStats>)>) -> Box<Self> {
        Box::new(Self(processes))
    }
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_list_len(list: Option<&WorkerList>) -> usize {
    list.map_or(0, |list| list.0.len())
}

/// The worker at `at`, borrowed from the list; NULL if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_list_get(list: Option<&WorkerList>, at: usize) -> *const Worker {
    list.and_then(|list| list.0.get(at)).map_or(std::ptr::null(), Worker::view)
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_worker_list_free(list: Option<Box<WorkerList>>) {
    guard_drop(list);
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_id_list_len(list: Option<&IdList>) -> usize {
    list.map_or(0, |list| list.0.len())
}

/// The name at `at`, valid as long as the list; empty if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_id_list_get(list: Option<&IdList>, at: usize) -> Str {
    list.and_then(|list| list.0.get(at)).map_or(Str::EMPTY, |id| Str::of(id))
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_id_list_free(list: Option<Box<IdList>>) {
    guard_drop(list);
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_process_list_len(list: Option<&ProcessList>) -> usize {
    list.map_or(0, |list| list.0.len())
}

/// The hive of the process at `at`; empty if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_process_list_hive_id(list: Option<&ProcessList>, at: usize) -> Str {
    list.and_then(|list| list.0.get(at)).map_or(Str::EMPTY, |(hive_id, _)| Str::of(hive_id))
}

/// The process at `at`; false if there are not so many.
#[unsafe(no_mangle)]
pub extern "C" fn hive_process_list_get(
    list: Option<&ProcessList>,
    at: usize,
    out: Option<&mut MaybeUninit<Process>>,
) -> bool {
    tell(list.and_then(|list| list.0.get(at)).map(|(_, process)| Process::of(process)), out)
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_process_list_free(list: Option<Box<ProcessList>>) {
    guard_drop(list);
}
