//! A winner tree: the least key of many, found in O(1), changed in O(log n).

use super::chunks::Chunks;

/// The order of candidates (S2, S4), least first. `order` is unique, so keys never tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Health, then load, then busy: see [`Key::new`].
    class: u64,
    /// When it was last reserved; 0 is never.
    turn: u64,
    /// When it was registered.
    order: u64,
}

impl Key {
    /// The greatest load told apart.
    pub(crate) const MAX_LOAD: u64 = (1 << 61) - 1;

    pub(crate) fn new(degraded: bool, load: u64, busy: bool, turn: u64, order: u64) -> Self {
        let load = load.min(Self::MAX_LOAD);
        Self { class: u64::from(degraded) << 62 | load << 1 | u64::from(busy), turn, order }
    }
}

/// Children of a node: four keys fill two cache lines, and half as many levels as with two are walked.
const FAN: usize = 4;

struct Leaf<T> {
    key: Key,
    item: T,
}

/// The winner among a node's children.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Node {
    key: Key,
    leaf: u32,
}

/// Leaves in no order; `levels[0][p]` is the winner of leaves `4p..4p+4`, and so on up to one node.
pub(crate) struct Tournament<T> {
    leaves: Chunks<Leaf<T>>,
    levels: Vec<Chunks<Node>>,
}

impl<T> Tournament<T> {
    pub(crate) const fn new() -> Self {
        Self { leaves: Chunks::new(), levels: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        Some(&self.leaves.get(at)?.item)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &T> {
        self.leaves.iter().map(|leaf| &leaf.item)
    }

    /// The place of the least key. O(1).
    pub(crate) fn best(&self) -> Option<usize> {
        Some(self.levels.last()?.get(0)?.leaf as usize)
    }

    /// Adds a leaf at the end. O(log n).
    pub(crate) fn push(&mut self, key: Key, item: T) {
        let at = self.leaves.len();
        self.leaves.push(Leaf { key, item });
        self.fit();
        self.replay(at);
    }

    /// O(log n), less where the change does not reach the top.
    pub(crate) fn update(&mut self, at: usize, key: Key) {
        if self.leaves[at].key != key {
            self.leaves[at].key = key;
            self.replay(at);
        }
    }

    /// Takes a leaf out; the last leaf moves into its place. O(log n).
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<T> {
        let last = self.leaves.len().checked_sub(1)?;
        let leaf = self.leaves.swap_remove(at)?;
        self.fit();
        // Above the last leaf's old place every match may have lost a player, or a whole node.
        let mut place = last;
        for depth in 0..self.levels.len() {
            place /= FAN;
            if place < self.levels[depth].len() {
                self.levels[depth][place] = self.winner(depth, place);
            }
        }
        if at < last {
            self.replay(at);
        }
        Some(leaf.item)
    }

    /// Asks `f` for every leaf's new key, telling it the old one and the place the leaf will have; returns those
    /// for which it has none. O(n).
    pub(crate) fn rebuild(&mut self, mut f: impl FnMut(&T, Key, usize) -> Option<Key>) -> Vec<T> {
        let mut gone = Vec::new();
        self.levels.clear();
        for leaf in std::mem::replace(&mut self.leaves, Chunks::new()).into_items() {
            match f(&leaf.item, leaf.key, self.leaves.len()) {
                Some(key) => self.leaves.push(Leaf { key, item: leaf.item }),
                None => gone.push(leaf.item),
            }
        }
        let mut below = self.leaves.len();
        while below > 0 {
            let count = below.div_ceil(FAN);
            let mut level = Chunks::new();
            for parent in 0..count {
                level.push(self.winner(self.levels.len(), parent));
            }
            self.levels.push(level);
            if count == 1 {
                break;
            }
            below = count;
        }
        gone
    }

    /// Gives each level one node for every four below it.
    fn fit(&mut self) {
        let mut below = self.leaves.len();
        let mut depth = 0;
        while below > 0 {
            let count = below.div_ceil(FAN);
            if depth == self.levels.len() {
                self.levels.push(Chunks::new());
            }
            // A node that was never played; `replay` fills it.
            let blank =
                Node { key: Key { class: u64::MAX, turn: u64::MAX, order: u64::MAX }, leaf: u32::MAX };
            let level = &mut self.levels[depth];
            while level.len() < count {
                level.push(blank);
            }
            while level.len() > count {
                level.pop();
            }
            depth += 1;
            if count == 1 {
                break;
            }
            below = count;
        }
        self.levels.truncate(depth);
    }

    /// Plays the matches above leaf `at` again, up to the first whose winner stands.
    fn replay(&mut self, at: usize) {
        let mut place = at;
        for depth in 0..self.levels.len() {
            let parent = place / FAN;
            let winner = self.winner(depth, parent);
            let level = &mut self.levels[depth];
            if level[parent] == winner {
                return;
            }
            level[parent] = winner;
            place = parent;
        }
    }

    /// The winner among the children of node `parent` of level `depth`, which has some.
    fn winner(&self, depth: usize, parent: usize) -> Node {
        match depth.checked_sub(1) {
            None => {
                let first = parent * FAN;
                let leaves = self.leaves.group::<FAN>(parent);
                let best = least(leaves.iter().map(|leaf| leaf.key));
                Node { key: leaves[best].key, leaf: (first + best) as u32 }
            }
            Some(lower) => {
                let nodes = self.levels[lower].group::<FAN>(parent);
                nodes[least(nodes.iter().map(|node| node.key))]
            }
        }
    }
}

/// The place of the least of some keys.
fn least(keys: impl Iterator<Item = Key>) -> usize {
    let mut best: Option<(usize, Key)> = None;
    for (at, key) in keys.enumerate() {
        if best.is_none_or(|(_, least)| key < least) {
            best = Some((at, key));
        }
    }
    best.map_or(0, |(at, _)| at)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(class: u64, order: u64) -> Key {
        Key { class, turn: 0, order }
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
                        tree.update(at, key(class, order));
                        plain[at].0 = key(class, order);
                    }
                    3 if !plain.is_empty() => {
                        let at = at.index(plain.len());
                        prop_assert_eq!(tree.swap_remove(at), Some(plain.swap_remove(at).1));
                    }
                    4 if class == 0 => {
                        let gone = tree.rebuild(|item, _, _| (item % 3 != 0).then(|| key(*item, *item)));
                        prop_assert!(gone.iter().all(|item| item % 3 == 0));
                        plain.retain(|(_, item)| item % 3 != 0);
                        for entry in &mut plain {
                            entry.0 = key(entry.1, entry.1);
                        }
                    }
                    _ => {}
                }
                let least = (0..plain.len()).min_by_key(|at| plain[*at].0);
                prop_assert_eq!(tree.best(), least);
                prop_assert_eq!(tree.len(), plain.len());
                prop_assert!(tree.items().eq(plain.iter().map(|(_, item)| item)));
            }
        }
    }
}
