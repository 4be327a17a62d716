//! The catalog as its users have it. One program, for each links SQLite.

mod audit;
mod backup;
mod files;
mod hives;
mod older;
mod properties;
mod secrets;
mod support;
mod transfer;
mod writer;
