//! The screen.

use std::io;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Wrap};

use crate::board::{Board, nanos, thousands};
use crate::load::BATCH;
use crate::plan::{MODELS, WATCHED, WINDOW};
use crate::watcher::{Picture, Standing, Watcher};

const FRAME: Duration = Duration::from_millis(100);
/// What the blocks need; on less, plain lines are drawn.
const NEEDED: (u16, u16) = (80, 24);

/// Draws until it is time to end or someone quits; leaves the terminal as it was, after a panic too.
pub(crate) fn run(watcher: &mut Watcher<'_>, board: &Board) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let _restore = RestoreOnDrop;
    while !board.is_stopped() && board.elapsed() < watcher.plan.length {
        let picture = watcher.look();
        terminal.draw(|frame| draw(frame, &picture))?;
        if event::poll(FRAME)? && quits(&event::read()?) {
            return Ok(());
        }
    }
    Ok(())
}

struct RestoreOnDrop;

impl Drop for RestoreOnDrop {
    fn drop(&mut self) {
        // Fails only where the terminal has gone.
        let _ = ratatui::try_restore();
    }
}

fn quits(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (is_ctrl_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn draw(frame: &mut Frame<'_>, picture: &Picture<'_>) {
    let area = frame.area();
    if area.width < NEEDED.0 || area.height < NEEDED.1 {
        return small(frame, picture);
    }
    let lower = MODELS.len() as u16 + 3;
    // What is left on a tall screen: all but title, the upper blocks, the lower ones and two lines of notes.
    let [title, upper, lower, machine, notes] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(lower),
        Constraint::Min(0),
        Constraint::Length(2),
    ])
    .areas(area);
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [fleet, pick] = halves.areas(upper);
    let [models, right] = halves.areas(lower);
    let tied = Constraint::Length(picture.tied.len() as u16 + 2);
    let [reserved, happened] = Layout::vertical([tied, Constraint::Min(0)]).areas(right);

    draw_title(frame, title, picture);
    draw_fleet(frame, fleet, picture);
    draw_pick(frame, pick, picture);
    draw_models(frame, models, picture);
    draw_reserved(frame, reserved, picture);
    draw_happened(frame, happened, picture);
    if machine.height > 2 {
        draw_machine(frame, machine, picture);
    }
    draw_notes(frame, notes, picture);
}

fn block(title: String) -> Block<'static> {
    Block::bordered().border_style(Style::new().dark_gray()).title(Line::from(format!(" {title} ")).bold())
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let build = if cfg!(debug_assertions) { "  unoptimized build" } else { "" };
    let left = Line::from(vec![Span::from(" hive-registry").bold(), Span::from(build).yellow()]);
    let time = (picture.elapsed.as_secs_f64(), picture.plan.length.as_secs());
    frame.render_widget(left, area);
    frame
        .render_widget(Line::from(format!("{:.1} of {} s   q quits ", time.0, time.1)).right_aligned(), area);
}

fn draw_fleet(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let machine = format!("{}: {}", shortened(&picture.machine.name, 12), picture.machine_is());
    let text = rows([
        (
            "hives",
            format!("{} of {} online", thousands(picture.online as u64), thousands(picture.hives as u64)),
        ),
        ("workers", thousands(picture.workers as u64)),
        (
            "beats",
            format!(
                "{:.0}/s in {}, p99 {}",
                picture.beats_a_second,
                nanos(picture.applied.p50),
                nanos(picture.applied.p99)
            ),
        ),
        ("here", machine),
    ]);
    frame.render_widget(Paragraph::new(text).block(block("Fleet".into())), area);
}

fn draw_pick(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let picks = picture.picks;
    let text = rows([
        ("best", picture.best_name()),
        ("p50", nanos(picks.p50)),
        ("p99", format!("{:<10} p99.9  {}", nanos(picks.p99), nanos(picks.p999))),
        ("each", format!("mean of {BATCH} picks and a timer")),
    ]);
    frame.render_widget(Paragraph::new(text).block(block(format!("Pick {WATCHED}"))), area);
}

fn rows<const N: usize>(rows: [(&'static str, String); N]) -> Text<'static> {
    rows.into_iter()
        .map(|(name, value)| {
            Line::from(vec![Span::from(format!(" {name:<8}")).dark_gray(), Span::from(value)])
        })
        .collect()
}

fn draw_models(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let numbers = |numbers: [String; 3]| numbers.map(|number| Cell::from(Text::from(number).right_aligned()));
    let row = |row: &crate::watcher::ModelRow| {
        // The organisation only where there is room for it.
        let name =
            if area.width < 56 { row.model.rsplit('/').next().unwrap_or(row.model) } else { row.model };
        let counts = numbers([row.eligible, row.idle, row.busy].map(|count| count.to_string()));
        let told = Row::new([Cell::from(format!(" {name}"))].into_iter().chain(counts));
        if row.model == WATCHED { told.bold() } else { told }
    };
    let widths = [Constraint::Min(18), Constraint::Length(5), Constraint::Length(5), Constraint::Length(5)];
    let head = numbers(["elig.", "idle", "busy"].map(Into::into));
    let table = Table::new(picture.models.iter().map(row), widths)
        .header(Row::new([Cell::from(" model")].into_iter().chain(head)).dark_gray())
        .block(block("Workers by model".into()));
    frame.render_widget(table, area);
}

fn draw_reserved(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let most = picture.tied.iter().map(|tied| tied.made).max().unwrap_or(0).max(1);
    // Name, number and the open ones stand round the bar.
    let room = u64::from(area.width.saturating_sub(30));
    let line = |(nth, tied): (usize, &crate::board::Tied)| {
        let bar = "█".repeat((tied.made * room / most) as usize);
        let colour = if nth == picture.plan.silent { colour(picture.standing()) } else { Color::Cyan };
        Line::from(vec![
            Span::from(format!(" {:<13}", format!("{}/w0", picture.plan.tied_name(nth)))),
            Span::from(format!("{bar:<width$}", width = room as usize)).fg(colour),
            Span::from(format!("{:>7}", thousands(tied.made))),
            Span::from(format!(" +{:<3}", tied.open)).dark_gray(),
        ])
    };
    let text: Text<'_> = picture.tied.iter().enumerate().map(line).collect();
    frame.render_widget(Paragraph::new(text).block(block("Reserved on tied workers, + open".into())), area);
}

fn colour(standing: Standing) -> Color {
    match standing {
        Standing::Beating => Color::Cyan,
        Standing::Silent(_) => Color::Yellow,
        Standing::Out(_) => Color::Red,
        Standing::Back(_) => Color::Green,
    }
}

fn draw_happened(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let standing = picture.standing();
    let mut lines = vec![Line::from(format!(" now: {}", standing.text())).fg(colour(standing))];
    let room = usize::from(area.height.saturating_sub(2)) - 1;
    let latest = &picture.log[picture.log.len().saturating_sub(room)..];
    lines.extend(latest.iter().map(|entry| {
        Line::from(vec![
            Span::from(format!("{:>5.1} s ", entry.at.as_secs_f64())).dark_gray(),
            Span::from(entry.text.clone()),
        ])
    }));
    let title = format!(
        "{}, silent {:.0} to {:.0} s",
        picture.plan.silent_name(),
        picture.plan.silent_from.as_secs_f64(),
        picture.plan.silent_until.as_secs_f64()
    );
    frame.render_widget(Paragraph::new(lines).block(block(title)), area);
}

fn draw_machine(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let row = |process: &crate::board::Process| {
        Line::from(format!(
            " {:<32} {:>9} MiB {:>6.0} % cpu  {}",
            shortened(&process.id, 32),
            thousands(process.ram_bytes >> 20),
            process.cpu_percent,
            process.model.as_deref().unwrap_or_default()
        ))
    };
    let text: Text<'_> = picture.machine.workers.iter().map(row).collect();
    let title = format!("This machine, {}: {}", picture.machine.name, picture.machine_is());
    frame.render_widget(Paragraph::new(text).block(block(title)), area);
}

fn draw_notes(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let explained = format!(" explain: {}", picture.explained());
    let note = if picture.machine.is_serving {
        format!(" A hive silent for {} s is out of the picks.", WINDOW.as_secs())
    } else {
        format!(
            " Silent for {} s is out. Stand-ins: largest processes here, no model server runs.",
            WINDOW.as_secs()
        )
    };
    frame.render_widget(Text::from(vec![Line::from(explained), Line::from(note).dark_gray()]), area);
}

/// On a screen too small for the blocks.
fn small(frame: &mut Frame<'_>, picture: &Picture<'_>) {
    let text = Text::from(vec![
        Line::from(format!("{} of {} hives online", picture.online, picture.hives)),
        Line::from(format!(
            "best {}: p50 {}, p99 {}",
            picture.best_name(),
            nanos(picture.picks.p50),
            nanos(picture.picks.p99)
        )),
        Line::from(format!("{}: {}", picture.plan.silent_name(), picture.standing().text())),
        Line::from(format!("more at {} x {}; q quits", NEEDED.0, NEEDED.1)).dark_gray(),
    ]);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), frame.area());
}

/// The first characters, with a mark where some are left out.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
