use std::fmt;

use crate::check;
use crate::error::Result;

/// Who changes something: it stands in the audit row. `cli:USER`, `token:NAME`, `service:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(String);

impl Actor {
    /// A person at the command line.
    ///
    /// # Errors
    /// The name does not fit `^[A-Za-z0-9_][A-Za-z0-9._@-]*$`, 64 bytes.
    pub fn cli(user: &str) -> Result<Self> {
        Self::new("cli", user)
    }

    /// Whoever has the token of that name.
    ///
    /// # Errors
    /// As [`Actor::cli`].
    pub fn token(name: &str) -> Result<Self> {
        Self::new("token", name)
    }

    /// A program by itself: what heartbeats bring about.
    ///
    /// # Errors
    /// As [`Actor::cli`].
    pub fn service(name: &str) -> Result<Self> {
        Self::new("service", name)
    }

    fn new(kind: &str, name: &str) -> Result<Self> {
        check::actor(name)?;
        Ok(Self(format!("{kind}:{name}")))
    }

    /// As it stands in the audit row.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
