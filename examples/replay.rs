//! Reads recorded heartbeats, one JSON heartbeat a line, and answers questions about the fleet they describe.
//!
//! ```text
//! replay [--clock recorded|arrival] [--every SECONDS] [--window SECONDS] FILE|- COMMAND...
//!
//! replay fleet.jsonl hives pick qwen2.5-coder-7b
//! replay fleet.jsonl --every 5 pick qwen2.5-coder-7b     an answer for every 5 s of the recording
//! tail -f fleet.jsonl | replay --clock arrival --every 5 - hives
//! ```
//!
//! The recorded clock follows the heartbeats' timestamps and never goes back, so what was silent then is silent
//! in the replay, however fast it runs. A line that is refused is told on standard error and left out.

#![cfg(not(loom))]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use hive_registry::{
    Clock, HeartbeatError, HeartbeatOutcome, HiveRegistry, Limits, LivenessClock, ManualClock, SystemClock,
    WorkerInfo,
};
use serde::Deserialize;

#[derive(Parser)]
#[command(name = "replay", about = "Replays recorded heartbeats and answers questions about the fleet")]
struct Args {
    /// Whose time it is: that of the heartbeats, or of their arrival here, for live input.
    #[arg(long, value_enum, default_value_t = Time::Recorded)]
    clock: Time,
    /// Answers each time so many seconds have passed, too, not at the end alone.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// A hive not heard for so long is out of the picks.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Heartbeats, one JSON object a line; - is standard input.
    file: String,
    /// pick MODEL, reserve MODEL, explain MODEL, hives; several may follow each other, and what one reserves the
    /// next ones see reserved.
    #[arg(required = true, value_name = "COMMAND")]
    commands: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Time {
    Recorded,
    Arrival,
}

enum Command {
    Pick(String),
    Reserve(String),
    Explain(String),
    Hives,
}

/// What the reading thread sends.
enum Input {
    /// Without its end of line.
    Line(Vec<u8>),
    /// So many bytes, more than a heartbeat may have.
    LongLine(usize),
    End(io::Result<()>),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let commands = commands(&args.commands)
        .unwrap_or_else(|message| Args::command().error(ErrorKind::ValueValidation, message).exit());
    let source: Box<dyn Read + Send> = if args.file == "-" {
        Box::new(io::stdin())
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(file),
            Err(error) => {
                eprintln!("replay: {}: {error}", args.file);
                return ExitCode::FAILURE;
            }
        }
    };
    let mut replay = Replay::new(&args, commands);
    match replay.run(source) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("replay: {}: {error}", args.file);
            ExitCode::FAILURE
        }
        // Whoever read the answers has left.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn commands(words: &[String]) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut model = || words.next().cloned().ok_or(format!("{word} needs a MODEL"));
        commands.push(match word.as_str() {
            "pick" => Command::Pick(model()?),
            "reserve" => Command::Reserve(model()?),
            "explain" => Command::Explain(model()?),
            "hives" => Command::Hives,
            _ => return Err(format!("{word:?} is none of pick, reserve, explain, hives")),
        });
    }
    Ok(commands)
}

// === reading ===

/// Sends the lines, whatever bytes they hold, until the end or until nobody listens.
fn read_lines(source: impl Read, longest: usize, lines: &SyncSender<Input>) {
    let mut source = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        let end = match (&mut source).take(longest as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => Some(Ok(())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        if let Some(end) = end {
            let _ = lines.send(Input::End(end));
            return;
        }
        let is_whole = line.last() == Some(&b'\n');
        if is_whole {
            line.pop();
        }
        let input = if !is_whole && line.len() > longest {
            match skip_line(&mut source) {
                Ok(more) => Input::LongLine(line.len() + more),
                Err(error) => Input::End(Err(error)),
            }
        } else {
            Input::Line(line)
        };
        let is_end = matches!(input, Input::End(_));
        if lines.send(input).is_err() || is_end {
            return;
        }
    }
}

/// Reads up to the end of the line and keeps nothing; tells how many bytes that were.
fn skip_line(source: &mut impl BufRead) -> io::Result<usize> {
    let mut skipped = 0;
    loop {
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (is_last, length) = (end.is_some() || buffer.is_empty(), end.unwrap_or(buffer.len()));
        source.consume(length + usize::from(end.is_some()));
        skipped += length;
        if is_last {
            return Ok(skipped);
        }
    }
}

// === impl Replay ===

struct Replay {
    file: String,
    registry: HiveRegistry,
    /// Tries each line first under the recorded clock, so that one that is refused moves no time.
    trial: HiveRegistry,
    /// None under the clock of arrival.
    clock: Option<ManualClock>,
    every: Option<Duration>,
    commands: Vec<Command>,
    /// When the next answers are due by the recorded clock, Unix ms.
    due_ms: Option<i64>,
    lines: u64,
    blank: u64,
}

/// The part of a heartbeat that sets the clock, of either form.
#[derive(Deserialize)]
struct Stamp {
    timestamp: String,
}

impl Replay {
    fn new(args: &Args, commands: Vec<Command>) -> Self {
        let clock = (args.clock == Time::Recorded).then(|| ManualClock::new(0));
        let registry = || {
            let window = Duration::from_secs(args.window.into());
            let builder = HiveRegistry::builder().liveness_window(window);
            match &clock {
                Some(clock) => builder.clock(clock.clone()),
                None => builder.liveness_clock(LivenessClock::Arrival),
            }
            .build()
            .expect("a window of a second or more is in bounds")
        };
        Self {
            file: args.file.clone(),
            registry: registry(),
            trial: registry(),
            every: args.every.map(|seconds| Duration::from_secs(seconds.into())),
            clock,
            commands,
            due_ms: None,
            lines: 0,
            blank: 0,
        }
    }

    /// The outer error is of the output, the inner one of the input.
    fn run(&mut self, source: Box<dyn Read + Send>) -> io::Result<io::Result<()>> {
        let longest = Limits::default().heartbeat_bytes;
        // A few lines ahead. The thread is not joined: it may wait for input that nobody wants any more.
        let (sender, inputs) = sync_channel(64);
        thread::spawn(move || read_lines(source, longest, &sender));

        let mut out = io::stdout().lock();
        let mut due = Instant::now() + self.every.unwrap_or_default();
        let end = loop {
            // Under the clock of arrival time passes also where no line comes.
            let input = match self.every.filter(|_| self.clock.is_none()) {
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(every) => {
                    if due <= Instant::now() {
                        self.answer(&mut out)?;
                        due = Instant::now() + every;
                    }
                    inputs.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
            };
            match input {
                Ok(Input::Line(line)) => {
                    self.lines += 1;
                    let line = line.trim_ascii();
                    if line.is_empty() {
                        self.blank += 1;
                    } else if let Err(error) = self.apply(line, &mut out)? {
                        self.refuse(&error);
                    }
                }
                Ok(Input::LongLine(wanted)) => {
                    self.lines += 1;
                    self.refuse(&HeartbeatError::OverLimit {
                        limit: "heartbeat_bytes",
                        wanted,
                        bound: longest,
                    });
                }
                Ok(Input::End(end)) => break end,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Err(io::Error::other("reading it failed")),
            }
        };
        self.answer(&mut out)?;
        self.summary(&mut out)?;
        Ok(end)
    }

    fn apply(
        &mut self,
        line: &[u8],
        out: &mut impl Write,
    ) -> io::Result<Result<HeartbeatOutcome, HeartbeatError>> {
        if let Some(clock) = self.clock.clone() {
            if let Err(error) = self.trial.ingest_json(line) {
                return Ok(Err(error));
            }
            // What was applied has a timestamp.
            let stamp: Option<Stamp> = serde_json::from_slice(line).ok();
            let time = stamp.and_then(|stamp| DateTime::parse_from_rfc3339(&stamp.timestamp).ok());
            let recorded_ms = time.map_or(0, |time| time.timestamp_millis());
            self.answer_until(recorded_ms, &clock, out)?;
            clock.set(recorded_ms.max(clock.wall_ms()));
        }
        Ok(self.registry.ingest_json(line))
    }

    /// Gives the answers that are due before the recorded clock comes to `end_ms`.
    fn answer_until(&mut self, end_ms: i64, clock: &ManualClock, out: &mut impl Write) -> io::Result<()> {
        /// Of a longer pause only the first answers are given: nothing changes in the rest.
        const MOST: i64 = 100;
        let Some(every) = self.every else { return Ok(()) };
        let every_ms = every.as_millis() as i64;
        let mut due = self.due_ms.unwrap_or(end_ms.saturating_add(every_ms));
        for _ in 0..MOST {
            if due > end_ms {
                break;
            }
            clock.set(due);
            self.answer(out)?;
            due = due.saturating_add(every_ms);
        }
        if due <= end_ms {
            let left_out = (end_ms - due) / every_ms + 1;
            writeln!(out, "{left_out} more answers left out: no heartbeat in all this time\n")?;
            due = due.saturating_add(left_out.saturating_mul(every_ms));
        }
        self.due_ms = Some(due);
        Ok(())
    }

    fn refuse(&self, error: &HeartbeatError) {
        eprintln!("{}:{}: {error}", self.file, self.lines);
    }

    // === answering ===

    fn answer(&self, out: &mut impl Write) -> io::Result<()> {
        let now_ms = self.clock.as_ref().map_or_else(|| SystemClock.wall_ms(), Clock::wall_ms);
        let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        writeln!(out, "at {}", now.to_rfc3339_opts(SecondsFormat::Millis, true))?;
        // Held until all are answered, so that the second of two reservations sees the first.
        let mut held = Vec::new();
        for command in &self.commands {
            match command {
                Command::Pick(model) => {
                    let found = self.registry.find_best_worker_for_model(model);
                    writeln!(
                        out,
                        "pick {model}: {}",
                        told(found.as_ref().map(|(_, worker)| &**worker), model)
                    )?;
                }
                Command::Reserve(model) => {
                    let found = self.registry.reserve_worker_for_model(model);
                    writeln!(out, "reserve {model}: {}", told(found.as_ref().map(|it| it.worker()), model))?;
                    held.extend(found);
                }
                Command::Explain(model) => self.explain(model, out)?,
                Command::Hives => self.hives(out)?,
            }
        }
        writeln!(out)?;
        out.flush()
    }

    fn explain(&self, model: &str, out: &mut impl Write) -> io::Result<()> {
        let told = self.registry.explain(model);
        let counts = [
            (told.eligible, "eligible"),
            (told.stale, "stale"),
            (told.unhealthy, "unhealthy"),
            (told.loading, "loading"),
            (told.draining, "draining"),
            (told.other, "other"),
            (told.full, "full"),
        ];
        let counts: Vec<_> = counts.iter().map(|(count, what)| format!("{count} {what}")).collect();
        let pick = told.pick.map_or("none".into(), |(hive, worker)| format!("{hive}/{}", worker.worker_id));
        writeln!(
            out,
            "explain {model}: {} loaded: {}; {} idle fallbacks; pick {pick}",
            told.workers,
            counts.join(", "),
            told.idle_fallbacks
        )
    }

    fn hives(&self, out: &mut impl Write) -> io::Result<()> {
        let hives = self.registry.snapshot().hives;
        let width = hives.iter().map(|hive| hive.state.hive_id.chars().count()).max().unwrap_or(0).max(4);
        writeln!(
            out,
            "{:<width$}  {:<7}  {:>10}  {:>7}  {:>9}",
            "hive", "", "last heard", "workers", "VRAM used"
        )?;
        for hive in hives {
            writeln!(
                out,
                "{:<width$}  {:<7}  {:>8.1} s  {:>7}  {:>6.1} GB",
                hive.state.hive_id,
                if hive.online { "online" } else { "silent" },
                hive.age_ms as f64 / 1e3,
                hive.state.worker_count,
                hive.state.vram_used_gb
            )?;
        }
        Ok(())
    }

    fn summary(&self, out: &mut impl Write) -> io::Result<()> {
        let counts = self.registry.stats().heartbeats;
        // All that was tried and not refused was counted.
        let told = counts.registered + counts.updated + counts.superseded + counts.removed;
        writeln!(
            out,
            "{} lines read: {} registered, {} updated, {} superseded, {} removed, {} refused, {} blank",
            self.lines,
            counts.registered,
            counts.updated,
            counts.superseded,
            counts.removed,
            self.lines - self.blank - told,
            self.blank
        )?;
        out.flush()
    }
}

/// "hive-1/w1 at http://..., Idle, 0 % gpu"
fn told(worker: Option<&WorkerInfo>, model: &str) -> String {
    let Some(worker) = worker else { return "none".into() };
    let mut text = format!("{}/{}", worker.hive_id, worker.worker_id);
    if let Some(url) = &worker.url {
        text += &format!(" at {url}");
    }
    text += &format!(", {}", worker.state);
    if let Some(percent) = worker.gpu_percent {
        text += &format!(", {percent} % gpu");
    }
    match &worker.model_id {
        Some(loaded) if *loaded == *model => {}
        Some(loaded) => text += &format!(", has {loaded} loaded"),
        None => text += ", has no model loaded",
    }
    text
}
