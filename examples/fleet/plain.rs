//! Lines without colour, about one a second, and the summary.

use std::io::{self, Write};
use std::time::Duration;

use hive_registry::Stats;

use crate::board::{Board, nanos, thousands};
use crate::load::{BATCH, HOLD};
use crate::plan::{WATCHED, WINDOW, WORKERS};
use crate::watcher::{Picture, Watcher};

pub(crate) fn run(watcher: &mut Watcher<'_>, board: &Board) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in intro(&watcher.look()) {
        writeln!(out, "{line}")?;
    }
    let mut logged = 0;
    for tick in 1.. {
        let due = (Duration::from_millis(100) * tick).min(watcher.plan.length);
        let goes_on = board.sleep_until(due) && due < watcher.plan.length;
        let picture = watcher.look();
        let new = (picture.logged - logged).min(picture.log.len());
        logged = picture.logged;
        for entry in &picture.log[picture.log.len() - new..] {
            writeln!(out, "{:>5.1} s  * {}", entry.at.as_secs_f64(), entry.text)?;
        }
        if tick % 10 == 0 && goes_on {
            writeln!(out, "{}", line(&picture))?;
        }
        out.flush()?;
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

fn intro(picture: &Picture<'_>) -> [String; 4] {
    let (plan, machine) = (picture.plan, &picture.machine);
    let why =
        if machine.is_serving { "" } else { ", its largest processes, for it runs no inference server" };
    [
        format!("{} generated hives of {WORKERS} workers, each beats every second", plan.hives.len()),
        format!("this machine, {}, with {}{why}", machine.name, picture.machine_is()),
        format!(
            "requests ask for {WATCHED} and hold a worker for {} ms; {} idle workers are tied",
            HOLD.as_millis(),
            plan.tied.len()
        ),
        format!(
            "{} serves it too and is silent from {:.1} s to {:.1} s; silent for {} s is out of the picks",
            plan.silent_name(),
            plan.silent_from.as_secs_f64(),
            plan.silent_until.as_secs_f64(),
            WINDOW.as_secs()
        ),
    ]
}

fn line(picture: &Picture<'_>) -> String {
    let tied: Vec<_> = picture.tied.iter().map(|tied| tied.made.to_string()).collect();
    format!(
        "{:>5.1} s  {}/{} hives online, {:.0} beats/s, pick {} (p50 {}, p99 {}), reserved {}, {} {}",
        picture.elapsed.as_secs_f64(),
        picture.online,
        picture.hives,
        picture.beats_a_second,
        picture.best_name(),
        nanos(picture.picks.p50),
        nanos(picture.picks.p99),
        tied.join(" "),
        picture.plan.silent_name(),
        picture.standing().text()
    )
}

/// What it came to. Called when the threads have ended.
pub(crate) fn summary(
    out: &mut impl Write,
    picture: &Picture<'_>,
    stats: &Stats,
    board: &Board,
) -> io::Result<()> {
    let (plan, counts) = (picture.plan, &stats.heartbeats);
    writeln!(
        out,
        "{} generated hives and this machine ({}, {}), {:.1} s{}",
        plan.hives.len(),
        picture.machine.name,
        picture.machine_is(),
        board.elapsed().as_secs_f64(),
        if cfg!(debug_assertions) { ", unoptimized build" } else { "" }
    )?;
    writeln!(
        out,
        "heartbeats    {} applied, {} refused; from JSON bytes to applied p50 {}, p99 {}, p99.9 {}",
        thousands(counts.registered + counts.updated),
        counts.refused,
        nanos(picture.applied.p50),
        nanos(picture.applied.p99),
        nanos(picture.applied.p999)
    )?;
    writeln!(
        out,
        "picks         {}; one takes p50 {}, p99 {}, p99.9 {}",
        thousands(stats.picks),
        nanos(picture.picks.p50),
        nanos(picture.picks.p99),
        nanos(picture.picks.p999)
    )?;
    writeln!(out, "              (each sample is the mean of {BATCH} picks, the timer included)")?;

    let made: u64 = picture.tied.iter().map(|tied| tied.made).sum();
    writeln!(
        out,
        "reservations  {} made of {WATCHED}, {} open, {} missed",
        thousands(made + picture.elsewhere),
        stats.reservations_open,
        picture.missed
    )?;
    let steady = (0..picture.tied.len()).filter(|&nth| nth != plan.silent).map(|nth| picture.tied[nth].made);
    let (least, most) = steady.fold((u64::MAX, 0), |(least, most), made| (least.min(made), most.max(made)));
    writeln!(
        out,
        "              the {} tied workers that beat throughout: {} to {} each, spread {}; not tied: {}",
        picture.tied.len() - 1,
        thousands(least),
        thousands(most),
        most - least,
        picture.elsewhere
    )?;
    for (nth, line) in silence(picture).iter().enumerate() {
        writeln!(out, "{:<14}{line}", if nth == 0 { "silent hive" } else { "" })?;
    }
    out.flush()
}

fn silence(picture: &Picture<'_>) -> Vec<String> {
    let (plan, silence) = (picture.plan, &picture.silence);
    let at = |moment: Option<Duration>| moment.map_or("-".into(), |at| format!("{:.2} s", at.as_secs_f64()));
    let (name, last) = (plan.silent_name(), at(silence.last_beat));
    if picture.elapsed < plan.silent_from {
        return vec![format!("{name} was to fall silent at {:.1} s", plan.silent_from.as_secs_f64())];
    }
    let mut lines = vec![match silence.out {
        Some(_) => format!("{name} beat last at {last}, was out of the picks at {}", at(silence.out)),
        None => format!(
            "{name} beat last at {last}, not silent for the {} s that end its picks",
            WINDOW.as_secs()
        ),
    }];
    if silence.out.is_some() {
        lines.push(format!(
            "last reserved at {}, told offline at {}, reserved while out {} times",
            at(silence.last_reserved),
            at(silence.told_offline),
            silence.reserved_while_out
        ));
    }
    if silence.beat_again.is_some() {
        lines.push(match silence.reserved_again {
            Some(_) => {
                format!(
                    "beat again at {}, reserved again at {}",
                    at(silence.beat_again),
                    at(silence.reserved_again)
                )
            }
            None => format!("beat again at {}", at(silence.beat_again)),
        });
    }
    lines
}
