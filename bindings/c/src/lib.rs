//! The registry for C and C++: what `include/hive_registry.h` declares, which is made of these files.
//!
//! Ownership shows in the signatures: `Option<Box<T>>` takes a handle over, `Option<&T>` borrows it,
//! `Option<&mut MaybeUninit<T>>` is an out-parameter. Text and arrays come as pointer and length and are looked at in
//! `text.rs` only. Every call goes through the guard of `status.rs`.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod clock;
pub mod config;
pub mod constants;
pub mod error;
pub mod events;
pub mod heartbeat;
pub mod list;
pub mod policy;
pub mod registry;
pub mod schedule;
pub mod state;
pub mod stats;
pub mod status;
pub mod sweeper;
pub mod text;
pub mod version;
pub mod worker;
