//! Who types: it stands in the audit log.

use hive_catalog::{Actor, CatalogError};

/// `cli:NAME` of the user that this process runs as: by the system's list of users, else (a directory service knows
/// more) by `USER`, else by number. A name that an audit row cannot hold gives way to the next.
pub(crate) fn actor() -> Result<Actor, CatalogError> {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(uid, &users, std::env::var("USER").ok().as_deref())
}

fn named(uid: u32, users: &str, said: Option<&str>) -> Result<Actor, CatalogError> {
    let names = name_of(uid, users).into_iter().chain(said);
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
    use super::named;

    #[test]
    fn the_systems_name_goes_before_the_environments_before_the_number() {
        let users =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000::/home/ann:/bin/zsh\na b:x:7:7::/:/\n";
        let who = |uid, said| named(uid, users, said).unwrap().to_string();
        assert_eq!(who(1000, Some("root")), "cli:ann");
        assert_eq!(who(2000, Some("bob@EXAMPLE.ORG")), "cli:bob@EXAMPLE.ORG");
        assert_eq!(who(2000, Some("bob\u{202e} or so")), "cli:2000");
        assert_eq!(who(7, None), "cli:7");
        assert_eq!(who(2000, None), "cli:2000");
    }
}
