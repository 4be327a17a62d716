//! What may be typed.

use std::path::PathBuf;

use clap::{
    ArgGroup, Args, ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
};
use hive_catalog::{Hash, HiveStatus, SCHEMA_VERSION, check_sqlite, from_hex};

use crate::time::{Since, since};

/// The hives of a GPU fleet: who they are, and how they are reached.
#[derive(Parser)]
#[command(name = "queen", version, max_term_width = 100, after_help = EXIT, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage. Examples: queen --help";

const EXAMPLES: &str = "\
Examples:
  Add a hive, look at all of them, take it out again:
    queen setup add-node --name gpu-1 --host 192.168.1.100
    queen setup list-nodes
    queen setup remove-node --name gpu-1

  One that is reached by ssh as another user, with labels:
    queen nodes add gpu-2 --host gpu-2.lan --ssh-user ops --label rack=a

  Move hives from one catalog to another, looking first:
    queen nodes export hives.csv
    queen nodes import hives.csv --dry-run

  Keep a backup, and check that nobody tampered with the log:
    queen catalog backup beehives.backup
    queen catalog verify

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.";

impl Cli {
    /// What was typed. Help, the version and wrong usage end the process here.
    pub(crate) fn read() -> Self {
        let sqlite = check_sqlite().unwrap_or("too old");
        let version =
            format!("{} (catalog schema {SCHEMA_VERSION}, SQLite {sqlite})", env!("CARGO_PKG_VERSION"));
        let matches = Self::command().long_version(version).color(colour_of_help()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Help is printed before the arguments are there to be asked.
fn colour_of_help() -> ColorChoice {
    let said: Vec<_> = std::env::args_os().take_while(|word| word != "--").collect();
    let is = |when: &str| {
        said.iter().any(|word| word.to_str() == Some(&format!("--color={when}")))
            || said.windows(2).any(|words| words[0] == "--color" && words[1] == when)
    };
    if is("never") {
        ColorChoice::Never
    } else if is("always") {
        ColorChoice::Always
    } else {
        ColorChoice::Auto
    }
}

/// What every command takes.
#[derive(Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    /// The catalog's file [default: ~/.rbee/beehives.db, under systemd in the state directory]
    #[arg(long, global = true, env = "QUEEN_CATALOG", value_name = "PATH", hide_env_values = true)]
    pub(crate) catalog: Option<PathBuf>,
    /// One JSON document on the standard output, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colours: auto (on a terminal), always or never; NO_COLOR is honoured
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = Color::Auto,
        value_name = "WHEN",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) color: Color,
}

/// When colours are used.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// A shell that commands are completed in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set hives up: commands of `nodes` by their older names
    Setup {
        #[command(subcommand)]
        command: Setup,
    },
    /// The hives in the catalog
    Nodes {
        #[command(subcommand)]
        command: Nodes,
    },
    /// The catalog itself: backups, keys, checks, who changed what
    Catalog {
        #[command(subcommand)]
        command: Catalog,
    },
    /// Print a script that completes commands, for a shell to source
    #[command(
        after_help = "Example:\n  queen completions bash > ~/.local/share/bash-completion/completions/queen"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    Man {
        /// The folder; made where there is none
        folder: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Setup {
    /// Add a hive; a known name is refused, unless it is to be replaced
    AddNode(Add),
    /// List hives
    ListNodes(List),
    /// Show all that is known of a hive
    ShowNode(Node),
    /// Change what is written of a hive
    UpdateNode(Update),
    /// Remove a hive, its secrets too; for 24 hours its heartbeats are refused
    RemoveNode(Remove),
}

#[derive(Subcommand)]
pub(crate) enum Nodes {
    /// Add a hive; a known name is refused, unless it is to be replaced
    Add(Add),
    /// List hives
    List(List),
    /// Show all that is known of a hive
    Show(Node),
    /// Change what is written of a hive
    Update(Update),
    /// Remove a hive, its secrets too; for 24 hours its heartbeats are refused
    Remove(Remove),
    /// Write hives to a file, as JSON or CSV; secrets do not go along
    Export(Export),
    /// Read hives from a file, all or none of them
    Import(Import),
    /// Secrets of a hive, kept encrypted: set, remove, list their names
    Secret {
        #[command(subcommand)]
        command: Secret,
    },
}

impl From<Setup> for Nodes {
    fn from(setup: Setup) -> Self {
        match setup {
            Setup::AddNode(add) => Self::Add(add),
            Setup::ListNodes(list) => Self::List(list),
            Setup::ShowNode(node) => Self::Show(node),
            Setup::UpdateNode(update) => Self::Update(update),
            Setup::RemoveNode(remove) => Self::Remove(remove),
        }
    }
}

/// What is written of a hive.
#[derive(Args)]
pub(crate) struct Fields {
    /// Host name or address of its own service; --ssh-host where only that is given
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port of its own service [default: 7835]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Host name or address for ssh; --host where only that is given
    #[arg(long, value_name = "HOST")]
    pub(crate) ssh_host: Option<String>,
    /// Port for ssh; where it is not given, your ssh configuration decides, as for the user and the key
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ssh_port: Option<u16>,
    /// User for ssh
    #[arg(long, value_name = "USER")]
    pub(crate) ssh_user: Option<String>,
    /// Path of the private key, on this machine; the key itself is never stored
    #[arg(long = "ssh-key", value_name = "PATH")]
    pub(crate) ssh_key_path: Option<String>,
    /// Where its software comes from
    #[arg(long = "git-repo", value_name = "URL")]
    pub(crate) git_repo_url: Option<String>,
    /// The branch of it
    #[arg(long, value_name = "BRANCH")]
    pub(crate) git_branch: Option<String>,
    /// The folder it is installed in, there
    #[arg(long, value_name = "PATH")]
    pub(crate) install_path: Option<String>,
    /// The program, there
    #[arg(long, value_name = "PATH")]
    pub(crate) binary_path: Option<String>,
    /// A word of your own for it; may be given again
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Args)]
#[command(
    group = ArgGroup::new("address").args(["host", "ssh_host"]).required(true).multiple(true),
    after_help = "Examples:
  queen setup add-node --name gpu-1 --host 192.168.1.100
  queen nodes add gpu-2 --host gpu-2.lan --ssh-user ops --label rack=a"
)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) node: Node,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Write a known hive anew; what was seen of it, and its secrets, stay
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Args)]
pub(crate) struct Filter {
    /// Those of this status: unknown, online, offline or error
    #[arg(long, value_parser = status)]
    pub(crate) status: Option<HiveStatus>,
    /// Those that have this backend: cuda, metal, rocm, cpu
    #[arg(long)]
    pub(crate) backend: Option<String>,
    /// Those that have this label, with this value if one is given; may be given again
    #[arg(long = "label", value_name = "NAME[=VALUE]", value_parser = wanted)]
    pub(crate) labels: Vec<(String, Option<String>)>,
}

#[derive(Args)]
#[command(
    after_help = "Where a terminal is too narrow, columns are cut and then left out in this order: LABELS, DEVICES, SSH,\n\
                  BACKENDS, HOST, LAST HEARD. --json has all, and so has output that goes to a file or a pipe."
)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filter: Filter,
}

fn status(word: &str) -> Result<HiveStatus, String> {
    word.parse().map_err(|_| "expected unknown, online, offline or error".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn wanted(text: &str) -> Result<(String, Option<String>), String> {
    Ok(match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    })
}

/// One hive, by its name alone or behind `--name`.
#[derive(Args)]
pub(crate) struct Node {
    /// The hive, by the id of its heartbeats
    #[arg(value_name = "NAME", required_unless_present = "name", conflicts_with = "name")]
    node: Option<String>,
    /// The same, as an option
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Node {
    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().or(self.node.as_deref()).unwrap_or_default()
    }
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  queen setup update-node gpu-1 --ssh-port 2222 --unset ssh-user --label rack=b"
)]
pub(crate) struct Update {
    #[command(flatten)]
    pub(crate) node: Node,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Take a field's value away; may be given again
    #[arg(long, value_enum, value_name = "FIELD")]
    pub(crate) unset: Vec<Field>,
    /// Take a label away; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) unset_label: Vec<String>,
}

/// A field that may have no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Field {
    Host,
    Port,
    SshHost,
    SshPort,
    SshUser,
    SshKey,
    GitRepo,
    GitBranch,
    InstallPath,
    BinaryPath,
}

#[derive(Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) node: Node,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// How hives are written down.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Csv,
}

impl From<Format> for hive_catalog::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
        }
    }
}

#[derive(Args)]
pub(crate) struct Export {
    /// The file; - is the standard output
    pub(crate) file: PathBuf,
    /// How they are written [default: by the file's name; json for -]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  queen nodes import hives.csv --dry-run\n  queen nodes list --json --label rack=a | queen \
                        --catalog other.db nodes import -"
)]
pub(crate) struct Import {
    /// The file; - is the standard input
    pub(crate) file: PathBuf,
    /// How they are written [default: by the file's name; json for -]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Subcommand)]
pub(crate) enum Secret {
    /// Set a secret: read from the standard input, or asked for; never on the command line
    #[command(
        after_help = "Examples:\n  queen nodes secret set gpu-1 ssh_passphrase\n  queen nodes secret set gpu-1 token < \
                            token.txt\n\nOf what is piped in, the end of the last line is left out."
    )]
    Set(SecretName),
    /// Forget a secret
    Remove(SecretName),
    /// List the names of a hive's secrets
    List(Node),
}

#[derive(Args)]
pub(crate) struct SecretName {
    /// The hive
    pub(crate) name: String,
    /// The secret's name, such as ssh_passphrase
    pub(crate) key: String,
}

#[derive(Subcommand)]
pub(crate) enum Catalog {
    /// Copy the catalog to a file, while others use it; the copy is checked before it has its name
    Backup {
        /// The file; what is there is replaced
        file: PathBuf,
    },
    /// Put a backup in the catalog's place; the old one is kept aside. Not beside a running service
    Restore {
        /// The backup
        file: PathBuf,
    },
    /// Check the file, every reference and value, and the audit log
    Verify {
        /// The audit log's last row as it was noted elsewhere; only so a log that was cut off is told
        #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
        head: Option<(u64, Hash)>,
    },
    /// Show who changed what, the newest last
    Audit {
        /// From then on: a row's number, an age (30m, 2h, 7d), a day (2026-04-01) or RFC 3339
        #[arg(long, value_name = "WHEN", value_parser = since)]
        since: Option<Since>,
        /// So many at most: the last ones, or with --since the first from there
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        limit: u64,
    },
    /// Bring an older database to this program's schema; a copy stays beside it. Not beside a running service
    Migrate,
    /// Add a key to the key file, PATH.keys; secrets are sealed by the last one
    NewKey,
    /// Seal every secret anew, by a new key. Not beside a running service
    RotateKey,
}

fn head(text: &str) -> Result<(u64, Hash), String> {
    let wanted = "expected SEQ:HASH, as `queen catalog verify` prints it";
    let (seq, hash) = text.split_once(':').ok_or(wanted)?;
    Ok((seq.parse().map_err(|_| wanted)?, from_hex(hash).ok_or(wanted)?))
}
