//! A winner tree: the least key of many, found in O(1), changed in O(log n).

use std::hint::black_box;

use super::chunks::Chunks;

/// The order of candidates (S2, S4), least first. Ties never happen: orders are unique, and so are turns.
///
/// | bits | |
/// |---|---|
/// | 126 | degraded |
/// | 65..126 | load |
/// | 64 | in a model's ranking: busy; in the idle one: has a model |
/// | 63 | was reserved before; then the rest is the turn of the last time, else the order of registration |
///
/// Those that cannot be picked now are ordered by when that may end: see [`Key::due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

impl Key {
    /// The greatest load told apart.
    const MAX_LOAD: u64 = (1 << 61) - 1;
    /// The bit that says of a tie that it is a turn.
    const RESERVED: u64 = 1 << 63;
    /// After every other: nobody is there, or nothing ends by itself what keeps him from being picked.
    pub(crate) const NEVER: Self = Self(u128::MAX);

    /// `turn` is when it was last reserved, 0 for never; `order` when it was registered.
    pub(crate) fn new(degraded: bool, load: u64, second: bool, turn: u64, order: u64) -> Self {
        let class = u64::from(degraded) << 62 | load.min(Self::MAX_LOAD) << 1 | u64::from(second);
        let tie = if turn == 0 { order } else { Self::RESERVED | turn };
        Self(u128::from(class) << 64 | u128::from(tie))
    }

    /// What decides among those that are alike.
    pub(crate) fn tie(self) -> u64 {
        self.0 as u64
    }

    /// The turn it was made of.
    pub(crate) fn turn(self) -> u64 {
        let tie = self.tie();
        if tie & Self::RESERVED == 0 { 0 } else { tie & !Self::RESERVED }
    }

    /// Of a full worker: when the first of its leases runs out, monotonic ms, `i64::MAX` without one.
    pub(crate) fn due(deadline: i64, order: u64) -> Self {
        if deadline == i64::MAX {
            return Self::NEVER;
        }
        // As unsigned numbers in the same order.
        let deadline = deadline as u64 ^ 1 << 63;
        Self(u128::from(deadline) << 64 | u128::from(order))
    }

    /// The deadline of a [`due`](Self::due) key.
    pub(crate) fn deadline(self) -> i64 {
        ((self.0 >> 64) as u64 ^ 1 << 63) as i64
    }
}

/// Children of a node: four keys are one cache line, and half as many levels as with two are walked.
const FAN: usize = 4;

/// The keys of siblings.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Group([Key; FAN]);

impl Group {
    fn least(&self) -> Key {
        let [a, b, c, d] = self.0;
        a.min(b).min(c.min(d))
    }

    /// Which of them has this key, which one does.
    fn place_of(&self, key: Key) -> usize {
        self.0.iter().position(|one| *one == key).unwrap_or(0)
    }
}

/// Items in no order and their keys in groups of four; `levels[d + 1]` has the least key of each group of
/// `levels[d]`, up to one group. Every place past the last is [`Key::NEVER`].
pub(crate) struct Tournament<T> {
    items: Chunks<T>,
    levels: Vec<Chunks<Group>>,
    /// The least key, and its place.
    least: Key,
    best: usize,
}

impl<T> Tournament<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Chunks::new(), levels: Vec::new(), least: Key::NEVER, best: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.items.get_mut(at)
    }

    /// The key of the item at `at`, which must be in bounds.
    pub(crate) fn key(&self, at: usize) -> Key {
        self.levels[0][at / FAN].0[at % FAN]
    }

    /// Loads what [`set`](Self::set) will look at first, if there is such an item, and nothing else.
    pub(crate) fn fetch(&self, at: usize) {
        if at < self.len() {
            black_box(self.key(at));
            black_box(self.levels.get(1).map(|level| level[at / FAN / FAN].0[0]));
        }
    }

    /// The place of the least key. O(1).
    pub(crate) fn best(&self) -> Option<usize> {
        (self.least != Key::NEVER).then_some(self.best)
    }

    /// The least key, [`Key::NEVER`] if there is none. O(1).
    pub(crate) fn least(&self) -> Key {
        self.least
    }

    /// Adds an item at the end. O(log n).
    pub(crate) fn push(&mut self, key: Key, item: T) {
        let at = self.items.len();
        self.items.push(item);
        self.fit();
        self.set(at, key);
    }

    /// Writes the key of the item at `at`, and those above it as far as they change. O(log n).
    pub(crate) fn set(&mut self, at: usize, key: Key) {
        let (mut at, mut key) = (at, key);
        for level in &mut self.levels {
            let group = &mut level[at / FAN];
            let before = std::mem::replace(&mut group.0[at % FAN], key);
            if before == key {
                return;
            }
            let least = group.least();
            // Another is the least still, as it was, for nowhere is one key in two places but `NEVER`.
            if least < key && least < before {
                return;
            }
            key = least;
            at /= FAN;
        }
        self.crown(key);
    }

    /// Finds the winner again if the least key is another one.
    fn crown(&mut self, least: Key) {
        if self.least != least {
            self.least = least;
            self.best = self.levels.iter().rev().fold(0, |at, level| FAN * at + level[at].place_of(least));
        }
    }

    /// Takes an item out; the one at `hole`, which is not before it, moves into its place, and the last one into the
    /// hole. O(log n).
    pub(crate) fn remove_by(&mut self, at: usize, hole: usize) -> Option<T> {
        if at < hole {
            let moved = self.key(hole);
            self.items.swap(at, hole);
            // Nowhere is one key in two places.
            self.set(hole, Key::NEVER);
            self.set(at, moved);
        }
        self.swap_remove(hole)
    }

    /// Takes an item out; the last one moves into its place. O(log n).
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        let moved = self.key(last);
        let item = self.items.swap_remove(at)?;
        self.set(last, Key::NEVER);
        self.fit();
        if at < last {
            self.set(at, moved);
        }
        Some(item)
    }

    /// Gives each level one group for every four places below it.
    fn fit(&mut self) {
        let mut below = self.items.len();
        let mut depth = 0;
        while below > 0 {
            let count = below.div_ceil(FAN);
            if depth == self.levels.len() {
                self.levels.push(Chunks::new());
                // What was the top so far is somebody's child now.
                if let Some(top) = depth.checked_sub(1).and_then(|lower| self.levels[lower].get(0)) {
                    let least = top.least();
                    place(&mut self.levels[depth], 0, least);
                }
            }
            let level = &mut self.levels[depth];
            while level.len() < count {
                level.push(Group([Key::NEVER; FAN]));
            }
            while level.len() > count {
                level.pop();
            }
            depth += 1;
            below = if count == 1 { 0 } else { count };
        }
        self.levels.truncate(depth);
    }
}

/// Puts a key at `at`, which is in the last group or begins the next.
fn place(level: &mut Chunks<Group>, at: usize, key: Key) {
    if at / FAN == level.len() {
        level.push(Group([Key::NEVER; FAN]));
    }
    level[at / FAN].0[at % FAN] = key;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(class: u64, order: u64) -> Key {
        Key::new(false, class, false, 0, order)
    }

    #[test]
    fn key_orders_by_health_then_load_then_busy_then_turn_then_order() {
        let ascending = [
            Key::new(false, 0, false, 0, 9),
            Key::new(false, 0, false, 1, 8),
            Key::new(false, 0, true, 0, 7),
            Key::new(false, 1, false, 0, 6),
            Key::new(false, u64::MAX, true, 0, 5),
            Key::new(true, 0, false, 0, 4),
        ];
        assert!(ascending.is_sorted());
    }

    #[test]
    fn due_keys_order_by_deadline_and_tell_it() {
        let deadlines = [i64::MIN, -1, 0, 1, i64::MAX - 1];
        let keys = deadlines.map(|deadline| Key::due(deadline, 7));
        assert!(keys.is_sorted() && keys[4] < Key::due(i64::MAX, 7));
        assert_eq!(keys.map(Key::deadline), deadlines);
    }

    proptest! {
        /// After any changes the best leaf is the least key of a plain list kept beside it.
        #[test]
        fn best_is_the_least_of_a_plain_list(changes in prop::collection::vec((0..5u8, 0..50u64, any::<prop::sample::Index>()), 1..300)) {
            let mut tree = Tournament::new();
            let mut plain: Vec<(Key, u64)> = Vec::new();
            for (order, (what, class, at)) in changes.into_iter().enumerate() {
                let order = order as u64;
                match what {
                    0 | 1 => {
                        tree.push(key(class, order), order);
                        plain.push((key(class, order), order));
                    }
                    2 if !plain.is_empty() => {
                        let at = at.index(plain.len());
                        tree.set(at, key(class, order));
                        plain[at].0 = key(class, order);
                    }
                    3 if !plain.is_empty() => {
                        let at = at.index(plain.len());
                        prop_assert_eq!(tree.swap_remove(at), Some(plain.swap_remove(at).1));
                    }
                    4 if !plain.is_empty() => {
                        let at = at.index(plain.len());
                        let hole = at + class as usize % (plain.len() - at);
                        plain.swap(at, hole);
                        prop_assert_eq!(tree.remove_by(at, hole), Some(plain.swap_remove(hole).1));
                    }
                    _ => {}
                }
                let least = (0..plain.len()).min_by_key(|at| plain[*at].0);
                prop_assert_eq!(tree.best(), least);
                prop_assert_eq!(tree.len(), plain.len());
                prop_assert!((0..plain.len()).all(|at| (tree.key(at), tree.get(at)) == (plain[at].0, Some(&plain[at].1))));
                let mut below = plain.len();
                for level in &tree.levels {
                    prop_assert_eq!(level.len(), below.div_ceil(FAN), "groups above {} places", below);
                    below = level.len();
                }
            }
        }
    }
}
