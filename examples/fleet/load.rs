//! The requests: measures picks, reserves workers of the watched model and gives them back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hive_registry::{HiveRegistry, Reservation};

use crate::board::Board;
use crate::plan::{Plan, WATCHED, WINDOW};

/// Picks between two looks at the timer; one pick is too short to be timed alone.
pub(crate) const BATCH: u64 = 64;
/// A batch of picks every so often, and a request with every fifth.
const TICK: Duration = Duration::from_millis(2);
const REQUEST_EVERY: u32 = 5;
/// How long a request holds its worker.
pub(crate) const HOLD: Duration = Duration::from_millis(100);

struct Held {
    until: Duration,
    /// Which of the tied workers; none if another.
    tied: Option<usize>,
    _reservation: Reservation,
}

pub(crate) fn run(registry: &HiveRegistry, plan: &Plan, board: &Board) {
    let mut held = Vec::new();
    let mut due = board.elapsed();
    for tick in 0_u32.. {
        // A late tick is made up for by none, so that a slow machine is not asked for more at once.
        due = (due + TICK).max(board.elapsed());
        if !board.sleep_until(due) {
            return;
        }
        let timer = Instant::now();
        for _ in 0..BATCH {
            black_box(registry.find_best_worker_for_model(black_box(WATCHED)));
        }
        let mean = timer.elapsed().as_nanos() as u64 / BATCH;
        board.numbers().picks.saturating_record(mean);

        held.retain(|held: &Held| held.until > board.elapsed());
        if tick % REQUEST_EVERY == 0 {
            request(registry, plan, board, &mut held);
        }
        let mut numbers = board.numbers();
        for (nth, tied) in numbers.tied.iter_mut().enumerate() {
            tied.open = held.iter().filter(|held| held.tied == Some(nth)).count() as u64;
        }
    }
}

fn request(registry: &HiveRegistry, plan: &Plan, board: &Board, held: &mut Vec<Held>) {
    let is_out = || !registry.is_hive_online(plan.silent_name(), WINDOW.as_millis() as i64);
    let was_out = is_out();
    let reservation = registry.reserve_worker_for_model(WATCHED);
    // Only what was out before and after was out when the worker was chosen.
    let stayed_out = was_out && is_out();
    let now = board.elapsed();

    let mut numbers = board.numbers();
    if was_out {
        numbers.silence.out.get_or_insert(now);
    }
    let Some(reservation) = reservation else {
        numbers.missed += 1;
        return;
    };
    let tied = plan.nth_tied(reservation.hive_id()).filter(|_| *reservation.worker().worker_id == *"w0");
    match tied {
        Some(nth) => numbers.tied[nth].made += 1,
        None => numbers.elsewhere += 1,
    }
    if **reservation.hive_id() == *plan.silent_name() {
        let silence = &mut numbers.silence;
        if stayed_out {
            silence.reserved_while_out += 1;
        } else if silence.out.is_none() {
            silence.last_reserved = Some(now);
        } else {
            silence.reserved_again.get_or_insert(now);
        }
    }
    held.push(Held { until: now + HOLD, tied, _reservation: reservation });
}
