//! The hives in the catalog: add, change, remove.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use hive_catalog::{HivePatch, HiveRecord, Upsert};
use serde_json::json;

use crate::cli::{Add, Field, Fields, Global, Nodes, Remove, Update};
use crate::failure::Failure;
use crate::terminal::{Terminal, clean, quoted};
use crate::{listing, open, secrets, transfer};

pub(crate) fn run(command: Nodes, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Nodes::Add(add) => add_node(add, global, terminal),
        Nodes::List(list) => listing::list(list, global, terminal),
        Nodes::Show(node) => listing::show(&node, global, terminal),
        Nodes::Update(update) => update_node(update, global, terminal),
        Nodes::Remove(remove) => remove_node(&remove, global, terminal),
        Nodes::Export(export) => transfer::export(export, global, terminal),
        Nodes::Import(import) => transfer::import(&import, global, terminal),
        Nodes::Secret { command } => secrets::run(&command, global, terminal),
    }
}

// === add ===

fn add_node(add: Add, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let fields = add.fields;
    let record = HiveRecord {
        host: fields.host,
        ssh_host: fields.ssh_host,
        ssh_port: fields.ssh_port,
        ssh_user: fields.ssh_user,
        ssh_key_path: fields.ssh_key_path,
        git_repo_url: fields.git_repo_url,
        git_branch: fields.git_branch,
        install_path: fields.install_path,
        binary_path: fields.binary_path,
        labels: once_each(fields.labels)?,
        ..HiveRecord::new(add.node.name())
    };
    let record = HiveRecord { port: fields.port.unwrap_or(record.port), ..record };
    let catalog = open::made(global, terminal)?;
    let (done, hive) = catalog.transaction(|changes| {
        let done = if add.replace {
            changes.upsert_hive(&record)?
        } else {
            changes.add_hive(&record)?;
            Upsert::Added
        };
        Ok((done, changes.get_hive(&record.id)?))
    })?;
    let hive = hive.unwrap_or(record);
    let outcome = match done {
        Upsert::Added => "added",
        Upsert::Updated => "replaced",
        Upsert::Unchanged => "unchanged",
    };
    told(outcome, &hive, global, terminal)
}

/// A label named twice is a slip of the hand, whichever was meant.
fn once_each(labels: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for (name, value) in labels {
        if all.contains_key(&name) {
            return Err(Failure::usage(format_args!("--label {} is there twice", quoted(&name))));
        }
        all.insert(name, value);
    }
    Ok(all)
}

fn told(outcome: &str, hive: &HiveRecord, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if global.json {
        return terminal.json(&json!({ "outcome": outcome, "hive": hive }));
    }
    terminal.say(&format!("{outcome} {} ({})", clean(&hive.id), address(hive)))
}

/// "192.168.1.100:7835, ssh gpu-1.lan"
fn address(hive: &HiveRecord) -> String {
    let own = hive.host.as_ref().map_or_else(|| "no host".to_owned(), |host| format!("{host}:{}", hive.port));
    match &hive.ssh_host {
        Some(ssh) if hive.ssh_host != hive.host => clean(&format!("{own}, ssh {ssh}")),
        _ => clean(&own),
    }
}

// === update ===

fn update_node(update: Update, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let patch = patch(update.fields, &update.unset, update.unset_label)?;
    let id = update.node.name();
    let (old, hive) = open::existing(global, terminal)?
        .transaction(|changes| Ok((changes.get_hive(id)?, changes.update_hive(id, &patch)?)))?;
    let outcome = if old.is_some_and(|old| old == hive) { "unchanged" } else { "updated" };
    told(outcome, &hive, global, terminal)
}

fn patch(fields: Fields, unset: &[Field], unset_label: Vec<String>) -> Result<HivePatch, Failure> {
    fn one<T>(
        name: &str,
        field: Field,
        value: Option<T>,
        unset: &[Field],
    ) -> Result<Option<Option<T>>, Failure> {
        match (value, unset.contains(&field)) {
            (Some(_), true) => {
                Err(Failure::usage(format_args!("--{name} and --unset {name} exclude each other")))
            }
            (None, true) => Ok(Some(None)),
            (value, false) => Ok(value.map(Some)),
        }
    }
    let mut labels: BTreeMap<_, _> =
        once_each(fields.labels)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
    for name in unset_label {
        if labels.get(&name).is_some_and(Option::is_some) {
            return Err(Failure::usage(format_args!(
                "--label and --unset-label of {} exclude each other",
                quoted(&name)
            )));
        }
        labels.insert(name, None);
    }
    let patch = HivePatch {
        host: one("host", Field::Host, fields.host, unset)?,
        port: one("port", Field::Port, fields.port, unset)?,
        ssh_host: one("ssh-host", Field::SshHost, fields.ssh_host, unset)?,
        ssh_port: one("ssh-port", Field::SshPort, fields.ssh_port, unset)?,
        ssh_user: one("ssh-user", Field::SshUser, fields.ssh_user, unset)?,
        ssh_key_path: one("ssh-key", Field::SshKey, fields.ssh_key_path, unset)?,
        git_repo_url: one("git-repo", Field::GitRepo, fields.git_repo_url, unset)?,
        git_branch: one("git-branch", Field::GitBranch, fields.git_branch, unset)?,
        install_path: one("install-path", Field::InstallPath, fields.install_path, unset)?,
        binary_path: one("binary-path", Field::BinaryPath, fields.binary_path, unset)?,
        labels,
    };
    if patch.is_empty() {
        return Err(Failure::usage("nothing to change: name a field and its new value, or --unset FIELD"));
    }
    Ok(patch)
}

// === remove ===

fn remove_node(remove: &Remove, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::existing(global, terminal)?;
    let id = remove.node.name();
    let hive = catalog.get_hive(id)?.ok_or_else(|| Failure::unknown(id))?;
    if !remove.yes {
        agree(&format!("Remove {} ({}), its secrets too?", clean(id), address(&hive)))?;
    }
    if !catalog.remove_hive(id)? {
        return Err(Failure::unknown(id));
    }
    if global.json {
        return terminal.json(&json!({ "outcome": "removed", "id": id }));
    }
    terminal.say(&format!("removed {}", clean(id)))
}

/// Asks on a terminal; where there is none, that is a refusal.
fn agree(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Refused(
            "nothing removed: there is no terminal to ask on".into(),
            Some("`--yes` removes it without asking"),
        ));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::refused(format!("nothing removed: the answer cannot be read: {error}")))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("nothing removed")),
    }
}
