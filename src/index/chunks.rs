//! A vector that never moves what it holds.

use std::ops::{Index, IndexMut};

/// Entries per chunk.
const CHUNK: usize = 1_024;

/// A `Vec` in chunks: growing by one never copies more than a chunk, so no single heartbeat stalls while a
/// model's ranking grows. Memory follows the length.
pub(crate) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Chunks<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self.0.last() {
            None => 0,
            Some(last) => (self.0.len() - 1) * CHUNK + last.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.0.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// Both in bounds.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        if one / CHUNK == other / CHUNK {
            self.0[one / CHUNK].swap(one % CHUNK, other % CHUNK);
        } else {
            let (low, high) = (one.min(other), one.max(other));
            let (below, above) = self.0.split_at_mut(high / CHUNK);
            std::mem::swap(&mut below[low / CHUNK][low % CHUNK], &mut above[0][high % CHUNK]);
        }
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(value),
            // The first chunk grows as it needs, for the many small models; the others come whole.
            None => self.0.push(vec![value]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.0.push(chunk);
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.0.last_mut()?;
        let value = last.pop();
        if last.is_empty() {
            self.0.pop();
            if self.0.capacity() > 4 * self.0.len() {
                self.0.shrink_to(2 * self.0.len());
            }
        } else if self.0.len() == 1 && self.0[0].capacity() > 4 * self.0[0].len() {
            let len = self.0[0].len();
            self.0[0].shrink_to(2 * len);
        }
        value
    }

    /// Takes the entry out, moving the last one into its place. `at` must be in bounds.
    pub(crate) fn swap_remove(&mut self, at: usize) -> Option<T> {
        let last = self.pop()?;
        match self.0.get_mut(at / CHUNK).and_then(|chunk| chunk.get_mut(at % CHUNK)) {
            Some(place) => Some(std::mem::replace(place, last)),
            None => Some(last),
        }
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.0[at / CHUNK][at % CHUNK]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_a_vector_across_chunk_borders() {
        let mut chunks = Chunks::new();
        let mut plain = Vec::new();
        for n in 0..3 * CHUNK + 7 {
            chunks.push(n);
            plain.push(n);
        }
        for at in [0, CHUNK, 2 * CHUNK - 1, 5, 3 * CHUNK + 2] {
            assert_eq!(chunks.swap_remove(at), Some(plain.swap_remove(at)));
        }
        while let Some(value) = plain.pop() {
            assert_eq!(chunks.len(), plain.len() + 1);
            assert_eq!(chunks.pop(), Some(value));
            assert!((0..plain.len()).all(|at| chunks.get(at) == plain.get(at)));
        }
        assert!(chunks.is_empty() && chunks.pop().is_none());
        assert_eq!(chunks.0.capacity(), 0);
    }
    #[test]
    fn memory_follows_the_length() {
        let of = |entries: usize| {
            let mut chunks = Chunks::new();
            (0..16 * CHUNK).for_each(|n| chunks.push(n));
            while chunks.len() > entries {
                chunks.pop();
            }
            (chunks.0.capacity(), chunks.0[0].capacity())
        };
        // A quarter in use is no reason to move yet; with less, twice as much as is in use is kept.
        assert_eq!(of(4 * CHUNK).0, 16);
        assert_eq!(of(3 * CHUNK).0, 6);
        assert_eq!(of(CHUNK / 4), (2, CHUNK));
        assert_eq!(of(CHUNK / 4 - 1), (2, CHUNK / 2 - 2));
    }
}
