//! A winner tree: the least key of many, found in O(1), changed in O(log n).

use std::hint::black_box;

use super::chunks::Chunks;

/// The order of candidates (S2, S4), least first. Ties never happen: orders are unique, and so are turns.
///
/// | bits | |
/// |---|---|
/// | 126 | degraded |
/// | 65..126 | load |
/// | 64 | busy |
/// | 63 | was reserved before; then the rest is the turn of the last time, else the order of registration |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

impl Key {
    /// The greatest load told apart.
    pub(crate) const MAX_LOAD: u64 = (1 << 61) - 1;
    /// After every other: nobody is there.
    const NONE: Self = Self(u128::MAX);

    /// `turn` is when it was last reserved, 0 for never; `order` when it was registered.
    pub(crate) fn new(degraded: bool, load: u64, busy: bool, turn: u64, order: u64) -> Self {
        let class = u64::from(degraded) << 62 | load.min(Self::MAX_LOAD) << 1 | u64::from(busy);
        let tie = if turn == 0 { order } else { 1 << 63 | turn };
        Self(u128::from(class) << 64 | u128::from(tie))
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
/// `levels[d]`, up to one group. Every place past the last is [`Key::NONE`].
pub(crate) struct Tournament<T> {
    items: Chunks<T>,
    levels: Vec<Chunks<Group>>,
    /// The least key, and its place.
    least: Key,
    best: usize,
}

impl<T> Tournament<T> {
    pub(crate) const fn new() -> Self {
        Self { items: Chunks::new(), levels: Vec::new(), least: Key::NONE, best: 0 }
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

    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// The key of the item at `at`, which must be in bounds.
    fn key(&self, at: usize) -> Key {
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
        (self.least != Key::NONE).then_some(self.best)
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
            let before = group.least();
            group.0[at % FAN] = key;
            key = group.least();
            if key == before {
                return;
            }
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

    /// Takes an item out; the last one moves into its place. O(log n).
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<T> {
        let last = self.items.len().checked_sub(1)?;
        let moved = self.key(last);
        let item = self.items.swap_remove(at)?;
        self.set(last, Key::NONE);
        self.fit();
        if at < last {
            self.set(at, moved);
        }
        Some(item)
    }

    /// Takes out the items for which `keep` has no place any more and gives them to `gone`; the others keep their
    /// keys. `keep` is told where the item stands, where it will, and what `look` saw. O(n).
    ///
    /// `look` goes ahead, a chunk at a time, and should do nothing but load: the processor then overlaps the cache
    /// misses of many items, and `keep` finds them in the cache.
    pub(crate) fn retain(
        &mut self,
        look: impl Fn(&T) -> bool,
        mut keep: impl FnMut(&T, bool, usize, usize) -> bool,
        mut gone: impl FnMut(T),
    ) {
        let keys = std::mem::take(&mut self.levels).into_iter().next();
        let mut leaves = Chunks::new();
        let mut at = 0;
        for chunk in std::mem::replace(&mut self.items, Chunks::new()).into_chunks() {
            let looks: Vec<bool> = chunk.iter().map(&look).collect();
            for (item, seen) in chunk.into_iter().zip(looks) {
                let to = self.items.len();
                if keep(&item, seen, at, to) {
                    let key = keys.as_ref().map_or(Key::NONE, |keys| keys[at / FAN].0[at % FAN]);
                    place(&mut leaves, to, key);
                    self.items.push(item);
                } else {
                    gone(item);
                }
                at += 1;
            }
        }
        while !leaves.is_empty() {
            let mut above = Chunks::new();
            if leaves.len() > 1 {
                for (at, group) in leaves.iter().enumerate() {
                    place(&mut above, at, group.least());
                }
            }
            self.levels.push(std::mem::replace(&mut leaves, above));
        }
        self.least = Key::NONE;
        self.crown(self.levels.last().map_or(Key::NONE, |top| top[0].least()));
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
                level.push(Group([Key::NONE; FAN]));
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
        level.push(Group([Key::NONE; FAN]));
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
                    4 if class == 0 => {
                        let (mut stays, mut gone) = (Vec::new(), Vec::new());
                        let keep = |item: &u64, seen: bool, at: usize, to: usize| {
                            stays.push((*item, at, to));
                            seen
                        };
                        tree.retain(|item| item % 3 != 0, keep, |item| gone.push(item));
                        let before = plain.iter().map(|(_, item)| *item).enumerate();
                        let mut to = 0;
                        let told = before.map(|(at, item)| {
                            let told = (item, at, to);
                            to += usize::from(item % 3 != 0);
                            told
                        });
                        prop_assert_eq!(stays, told.collect::<Vec<_>>());
                        prop_assert!(gone.iter().all(|item| item % 3 == 0));
                        plain.retain(|(_, item)| item % 3 != 0);
                    }
                    _ => {}
                }
                let least = (0..plain.len()).min_by_key(|at| plain[*at].0);
                prop_assert_eq!(tree.best(), least);
                prop_assert_eq!(tree.len(), plain.len());
                prop_assert!(tree.items().eq(plain.iter().map(|(_, item)| item)));
                let mut below = plain.len();
                for level in &tree.levels {
                    prop_assert_eq!(level.len(), below.div_ceil(FAN), "groups above {} places", below);
                    below = level.len();
                }
            }
        }
    }
}
