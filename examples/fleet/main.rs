//! A fleet to look at: this machine and some hundred generated hives beat every second, a stream of requests
//! reserves workers of one model, and one hive that serves it falls silent for a while.
//!
//! ```text
//! cargo run --release --example fleet -- [--hives 300] [--seconds 20] [--plain]
//! ```
//!
//! On a terminal it draws a screen (q or Ctrl-C quits); elsewhere, or with `--plain`, it prints a line a second.
//! Either way it ends by itself with a summary.
//!
//! `generated.rs` makes the fleet and lets it beat, `local.rs` tells of this machine, `load.rs` asks for workers,
//! `watcher.rs` gathers what is shown, `view.rs` and `plain.rs` show it.

#![cfg(not(loom))]

mod board;
mod generated;
mod load;
mod local;
mod plain;
mod plan;
mod view;
mod watcher;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hive_registry::{HiveRegistry, LivenessClock};

use board::Board;
use generated::Fleet;
use plan::{Plan, WINDOW};
use watcher::Watcher;

#[derive(Parser)]
#[command(name = "fleet", about = "A live registry over this machine and a generated fleet, to look at")]
struct Args {
    /// How many hives to generate beside this machine.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    hives: u32,
    /// Ends after so many seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Prints lines even on a terminal.
    #[arg(long)]
    plain: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read the output has left: nothing to tell, and nobody to tell it to.
fn is_closed(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let plan = Plan::new(args.hives as usize, args.seconds);
    // The heartbeats are made here, so their arrival says when they were sent, whatever the wall clock does.
    let registry =
        HiveRegistry::builder().liveness_window(WINDOW).liveness_clock(LivenessClock::Arrival).build()?;

    let board = Arc::new(Board::new(&plan));
    let on_signal = board.clone();
    ctrlc::set_handler(move || on_signal.stop())?;

    // Once, so that the first picture is a whole fleet; from then on each hive at its own phase.
    let mut fleet = Fleet::new(&plan);
    fleet.beat_all(&registry, &board);
    let mut machine = local::Machine::new();
    machine.beat(&registry, &board);
    let mut watcher = Watcher::new(&registry, &plan, &board);
    // Tells `HiveOffline`; evicts only what is silent for far longer.
    let sweeper = registry.spawn_sweeper(Duration::from_millis(100), 10 * WINDOW)?;

    // Whoever ends first, be it by a panic, ends them all: the scope waits for its threads.
    let stop_at_end = || StopOnDrop(&board);
    let shown = thread::scope(|threads| {
        let _stop = stop_at_end();
        threads.spawn(|| {
            let _stop = stop_at_end();
            fleet.run(&registry, &plan, &board);
        });
        threads.spawn(|| {
            let _stop = stop_at_end();
            machine.run(&registry, &board);
        });
        threads.spawn(|| {
            let _stop = stop_at_end();
            load::run(&registry, &plan, &board);
        });
        if io::stdout().is_terminal() && !args.plain {
            view::run(&mut watcher, &board)
        } else {
            plain::run(&mut watcher, &board)
        }
    });
    drop(sweeper);
    shown?;
    plain::summary(&mut io::stdout().lock(), &watcher.look(), &registry.stats(), &board)?;
    Ok(())
}

struct StopOnDrop<'a>(&'a Board);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
