//! Who types: it stands in the audit log.

use hive_catalog::{Actor, CatalogError};

/// `cli:NAME` of the user that this process runs as: by the system's list of users, else (a directory service knows
/// more) by `USER`, else by number. A name that an audit row cannot hold gives way to the next.
pub(crate) fn actor() -> Result<Actor, CatalogError> {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let said = std::env::var("USER").ok();
    let names = name_of(uid, &users).into_iter().chain(said.as_deref());
    names.map(Actor::cli).find(Result::is_ok).unwrap_or_else(|| Actor::cli(&uid.to_string()))
}

fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_that_of_the_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000::/home/ann:/bin/zsh\n";
        assert_eq!(super::name_of(1000, users), Some("ann"));
        assert_eq!(super::name_of(1, users), None);
    }
}
