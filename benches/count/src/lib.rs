//! What the benches and the comparison both know.

/// Calls counted as one, so that what only the first one pays does not show.
pub const CALLS: u32 = 32;
