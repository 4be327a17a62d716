//! In which order the heartbeats of a table or a batch are applied (I3).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

/// What orders a heartbeat.
#[derive(Default)]
pub(crate) struct Key<'k> {
    pub(crate) hive_id: &'k str,
    /// (epoch, seq)
    pub(crate) pair: Option<(u64, u64)>,
    /// None if it is no moment; such a heartbeat is refused, whenever it comes.
    pub(crate) timestamp: Option<DateTime<Utc>>,
}

/// The places of the heartbeats, hive by hive, each in the order of its keys: (epoch, seq) where sent, else the timestamp.
/// A hive with a reset in it is left in the order given. O(n log n).
pub(crate) fn replayed(keys: &[Key<'_>]) -> Vec<usize> {
    let mut hives: Vec<Vec<usize>> = Vec::new();
    let mut known = HashMap::new();
    for (at, key) in keys.iter().enumerate() {
        let hive = *known.entry(key.hive_id).or_insert_with(|| {
            hives.push(Vec::new());
            hives.len() - 1
        });
        hives[hive].push(at);
    }
    for beats in &mut hives {
        sort(beats, keys);
    }
    hives.concat()
}

fn sort(beats: &mut Vec<usize>, keys: &[Key<'_>]) {
    let paired = beats.iter().filter(|at| keys[**at].pair.is_some()).count();
    if paired != 0 && paired != beats.len() {
        return;
    }
    let mut sorted = beats.clone();
    sorted.sort_by_key(|at| (keys[*at].pair, keys[*at].timestamp));
    // A counter that began again, or a clock that was set back.
    let resets = !sorted.iter().filter_map(|at| keys[*at].timestamp).is_sorted();
    if !resets {
        *beats = sorted;
    }
}
