//! Completions and manual pages, made of the commands themselves.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::{Cli, Shell};
use crate::failure::Failure;
use crate::terminal::Terminal;

pub(crate) fn completions(shell: Shell, terminal: &Terminal) -> Result<(), Failure> {
    // Not straight into the output: a pipe that closes would be a panic.
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut Cli::command(), "queen", &mut script);
    terminal.write(&script)
}

pub(crate) fn man(folder: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return terminal.write(&page);
    };
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, "make the folder", &error))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|error| Failure::file(folder, "write the pages", &error))?;
    terminal
        .advise(&format!("manual pages are in {}; `man -l {0}/queen.1` shows the first", folder.display()));
    Ok(())
}
