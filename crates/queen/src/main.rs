//! `queen`: one binary for a fleet of GPU machines. So far the command line that tends the catalog of known hives.

#![forbid(unsafe_code)]

mod catalog;
mod cli;
mod failure;
mod generate;
mod listing;
mod nodes;
mod open;
mod progress;
mod secrets;
mod spreadsheet;
mod table;
mod terminal;
mod time;
mod transfer;
mod who;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::terminal::Terminal;

fn main() -> ExitCode {
    let cli = Cli::read();
    let terminal = Terminal::new(&cli.global);
    let run = match cli.command {
        Command::Setup { command } => nodes::run(command.into(), &cli.global, &terminal),
        Command::Nodes { command } => nodes::run(command, &cli.global, &terminal),
        Command::Catalog { command } => catalog::run(command, &cli.global, &terminal),
        Command::Completions { shell } => generate::completions(shell, &terminal),
        Command::Man { folder } => generate::man(folder.as_deref(), &terminal),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has gone, and has what they wanted: `queen nodes list | head`.
        Err(Failure::Pipe) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => error.exit(),
        Err(failure) => {
            terminal.complain(&failure);
            ExitCode::FAILURE
        }
    }
}
