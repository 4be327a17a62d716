//! Secrets: sealed at rest, bound to their place, and whole through every step of a rotation.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hive_catalog::{CatalogError, HiveCatalog, MAX_SECRET_BYTES, Operator, Secret};

use crate::support::{Folder, HandClock, ann, at, by_hand, hive};

const WORD: &str = "correct-horse-battery";

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn with_secret(path: &Path) -> Operator {
    let catalog = at(path);
    catalog.add_hive(&hive("a")).unwrap();
    catalog.add_hive(&hive("b")).unwrap();
    catalog.new_key().unwrap();
    catalog.set_secret("a", "ssh_passphrase", &secret(WORD)).unwrap();
    catalog
}

fn alone(path: &Path) -> Operator {
    HiveCatalog::open_with(path, HandClock::new().options().exclusive(true)).unwrap().as_actor(ann())
}

fn shown(catalog: &HiveCatalog, id: &str, name: &str) -> Option<String> {
    let secret = catalog.reveal_secret(id, name).unwrap()?;
    Some(String::from_utf8(secret.expose().to_vec()).unwrap())
}

#[test]
fn a_secret_is_set_revealed_replaced_and_goes_with_its_hive() {
    let folder = Folder::new();
    let catalog = with_secret(&folder.join("c.db"));
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some(WORD));
    assert_eq!(shown(&catalog, "a", "token"), None);
    catalog.set_secret("a", "ssh_passphrase", &secret("other")).unwrap();
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some("other"));
    assert_eq!(catalog.secret_names("a").unwrap(), ["ssh_passphrase"]);
    assert_eq!(catalog.check_secrets().unwrap(), 1);
    assert!(catalog.remove_secret("a", "ssh_passphrase").unwrap());
    assert!(!catalog.remove_secret("a", "ssh_passphrase").unwrap());
    catalog.set_secret("a", "token", &secret("x")).unwrap();
    catalog.remove_hive("a").unwrap();
    catalog.add_hive(&hive("a")).unwrap();
    assert_eq!(shown(&catalog, "a", "token"), None);
    assert!(matches!(catalog.reveal_secret("x", "token"), Err(CatalogError::Unknown { .. })));
    assert!(matches!(catalog.set_secret("x", "token", &secret("x")), Err(CatalogError::Unknown { .. })));
    assert!(matches!(catalog.set_secret("a", "-x", &secret("x")), Err(CatalogError::Invalid { .. })));
    assert!(Secret::new("").is_err() && Secret::new(vec![0; MAX_SECRET_BYTES + 1]).is_err());
    assert_eq!(format!("{:?}", secret(WORD)), "Secret(...)");
}

#[test]
fn no_file_but_the_key_file_holds_a_secret_or_a_key() {
    let folder = Folder::new();
    let catalog = with_secret(&folder.join("c.db"));
    catalog.backup(folder.join("backup.db")).unwrap();
    let keys = fs::read_to_string(folder.join("c.db.keys")).unwrap();
    let key = keys.trim().split_once(':').unwrap().1.to_owned();
    assert_eq!(fs::metadata(folder.join("c.db.keys")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut looked = Vec::new();
    for name in folder.names().into_iter().filter(|name| name != "c.db.keys") {
        let bytes = fs::read(folder.join(&name)).unwrap();
        for word in [WORD, &key] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{name}");
        }
        looked.push(name);
    }
    assert!(
        ["backup.db", "c.db", "c.db-wal"].iter().all(|name| looked.contains(&(*name).to_owned())),
        "{looked:?}"
    );
    assert!(!format!("{:?}", catalog.audit(..).unwrap()).contains(WORD));
    assert!(!format!("{catalog:?}").contains(&key));
}

#[test]
fn a_sealed_text_moved_to_another_row_or_name_does_not_open() {
    for sql in [
        "UPDATE secrets SET hive = (SELECT key FROM hives WHERE id = 'b')",
        "UPDATE secrets SET name = 'token'",
        "UPDATE secrets SET sealed = zeroblob(length(sealed))",
        "UPDATE secrets SET nonce = zeroblob(24)",
        "UPDATE hives SET id = CASE id WHEN 'a' THEN 'c' WHEN 'b' THEN 'a' END",
    ] {
        let folder = Folder::new();
        let path = folder.join("c.db");
        drop(with_secret(&path));
        by_hand(&path, sql);
        let error = at(&path).check_secrets().unwrap_err();
        assert!(matches!(error, CatalogError::Unsealed { .. }), "{sql}: {error}");
        assert!(!error.to_string().contains(WORD));
    }
}

#[test]
fn a_key_file_that_will_not_do_is_refused_and_never_shown() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    assert!(matches!(catalog.set_secret("a", "token", &secret("x")), Err(CatalogError::NoKey)));
    let id = catalog.new_key().unwrap();
    catalog.set_secret("a", "token", &secret("x")).unwrap();
    let keys = folder.join("c.db.keys");
    let good = fs::read_to_string(&keys).unwrap();
    let try_with = |text: &str, mode: u32| {
        fs::write(&keys, text).unwrap();
        fs::set_permissions(&keys, Permissions::from_mode(mode)).unwrap();
        catalog.reveal_secret("a", "token").unwrap_err()
    };
    let said = try_with(&good, 0o640).to_string();
    assert!(said.contains("0640") && said.contains("0600"), "{said}");
    for bad in [
        "k1",
        "k1:AAAA",
        "k1:!!!!",
        ":AAAA",
        "a b:AAAA",
        &good.repeat(2),
        &format!("{good}k2:{}", "A".repeat(48)),
    ] {
        let error = try_with(bad, 0o600);
        assert!(matches!(error, CatalogError::Keys { .. }), "{error}");
        assert!(error.to_string().contains("line "), "{error}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
    let other = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    assert!(matches!(try_with(other, 0o600), CatalogError::UnknownKey { .. }));
    assert!(matches!(try_with(&other.replace("k1", &id), 0o600), CatalogError::Unsealed { .. }));
    fs::write(&keys, good).unwrap();
    assert_eq!(shown(&catalog, "a", "token").as_deref(), Some("x"));
}

#[test]
fn a_rotation_seals_everything_by_a_new_key_and_needs_the_catalog_alone() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = with_secret(&path);
    assert!(matches!(catalog.rotate_key(), Err(CatalogError::NotExclusive { .. })));
    drop(catalog);
    let keys = || fs::read_to_string(folder.join("c.db.keys")).unwrap();
    let first = keys();
    let catalog = alone(&path);
    let rotation = catalog.rotate_key().unwrap();
    assert_eq!(rotation.sealed, 1);
    assert!(keys().starts_with(&first), "what it sealed in backups opens by it only");
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some(WORD));
    // Without the key before it.
    let only = keys().lines().last().unwrap().to_owned();
    assert!(only.starts_with(&rotation.key_id));
    fs::write(folder.join("c.db.keys"), only).unwrap();
    assert_eq!(catalog.check_secrets().unwrap(), 1);
}

#[test]
fn a_rotation_interrupted_at_any_step_loses_nothing_and_is_ended_by_the_next() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    drop(with_secret(&path));
    // After the new key is in its file.
    let fresh = at(&path).new_key().unwrap();
    let catalog = alone(&path);
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some(WORD));
    // With the new file written and not yet named.
    fs::write(folder.join("c.db.keys.new"), "k9:").unwrap();
    // At a secret that does not open: nothing of it is kept.
    catalog.set_secret("b", "token", &secret("y")).unwrap();
    drop(catalog);
    by_hand(&path, "UPDATE secrets SET key_id = 'lost' WHERE name = 'token'");
    let catalog = alone(&path);
    let head = catalog.audit_head().unwrap();
    assert!(matches!(catalog.rotate_key(), Err(CatalogError::UnknownKey { .. })));
    assert_eq!(catalog.audit_head().unwrap(), head);
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some(WORD));
    // The next one ends it, by the key that was made and has sealed nothing.
    catalog.remove_secret("b", "token").unwrap();
    assert_eq!(catalog.rotate_key().unwrap().key_id, fresh);
    assert_eq!(shown(&catalog, "a", "ssh_passphrase").as_deref(), Some(WORD));
    assert_ne!(catalog.rotate_key().unwrap().key_id, fresh);
}
