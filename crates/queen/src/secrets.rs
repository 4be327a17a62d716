//! Secrets of a hive. They come from the standard input, or are asked for without an echo: what stands in a command
//! line is seen by every process. They are never shown.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use hive_catalog::MAX_SECRET_BYTES;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;

use crate::cli::{Global, Secret, SecretName};
use crate::failure::Failure;
use crate::open;
use crate::terminal::{Terminal, clean, quoted};

/// More than there may be with the end of a line, so that what is too long is refused and not cut.
const MOST: u64 = MAX_SECRET_BYTES as u64 + 3;

pub(crate) fn run(command: &Secret, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Secret::Set(name) => set(name, global, terminal),
        Secret::Remove(name) => {
            if !open::existing(global, terminal)?.remove_secret(&name.name, &name.key)? {
                return Err(Failure::Refused(
                    format!("hive {} has no secret {}", quoted(&name.name), quoted(&name.key)),
                    Some("`queen nodes secret list NAME` shows what there is"),
                ));
            }
            told("removed", name, global, terminal)
        }
        Secret::List(node) => {
            let catalog = open::looked_at(global, terminal)?;
            let id = node.name();
            catalog.get_hive(id)?.ok_or_else(|| Failure::unknown(id))?;
            let names = catalog.secret_names(id)?;
            if global.json {
                return terminal.json(&json!({ "id": id, "secrets": names }));
            }
            terminal.say_all(&names.iter().map(|name| clean(name)).collect::<Vec<_>>())
        }
    }
}

fn set(name: &SecretName, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::existing(global, terminal)?;
    // Before anybody types one.
    catalog.get_hive(&name.name)?.ok_or_else(|| Failure::unknown(&name.name))?;
    let secret = if io::stdin().is_terminal() { asked(name)? } else { piped()? };
    catalog.set_secret(&name.name, &name.key, &secret)?;
    told("set", name, global, terminal)
}

fn told(outcome: &str, name: &SecretName, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if global.json {
        return terminal.json(&json!({ "outcome": outcome, "id": name.name, "secret": name.key }));
    }
    terminal.say(&format!("{outcome} {} of {}", clean(&name.key), clean(&name.name)))
}

/// From a file or a pipe, without the end of its last line.
fn piped() -> Result<hive_catalog::Secret, Failure> {
    read(|secret| io::stdin().take(MOST).read_to_end(secret))
}

fn read(into: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>) -> Result<hive_catalog::Secret, Failure> {
    // So large that it never moves and leaves a copy behind.
    let mut secret = Vec::with_capacity(2 * MAX_SECRET_BYTES);
    let read = into(&mut secret).map_err(|error| unread(&error));
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    // What was read is wiped with it, whether it will do or not.
    let secret = hive_catalog::Secret::new(secret);
    read?;
    Ok(secret?)
}

fn unread(error: &io::Error) -> Failure {
    Failure::refused(format!("the secret cannot be read: {error}"))
}

/// Twice, for what was typed wrong would show only when it is needed.
fn asked(name: &SecretName) -> Result<hive_catalog::Secret, Failure> {
    let hidden = Hidden::begin().map_err(|error| unread(&error))?;
    let line = |what: &str| {
        let _ = write!(io::stderr(), "{what} {} of {}: ", clean(&name.key), clean(&name.name));
        let line = read(|secret| io::stdin().lock().take(MOST).read_until(b'\n', secret));
        let _ = writeln!(io::stderr());
        line
    };
    let (first, again) = (line("Secret")?, line("Again, secret")?);
    drop(hidden);
    if first.expose() != again.expose() {
        return Err(Failure::refused("nothing set: the two are not the same"));
    }
    Ok(first)
}

/// A terminal that does not show what is typed, until dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
