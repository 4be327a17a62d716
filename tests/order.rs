//! I3: which heartbeat of a hive is applied. A table of histories, and the claim that lateness within the window
//! changes nothing.
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::{T0, apply, beat, paired, process, registry, registry_with, worker};
use hive_registry::{
    Clock, HeartbeatOutcome, HiveHeartbeatPayload, HiveRegistry, LivenessClock, MAX_RESET_AFTER,
    MIN_RESET_AFTER, ManualClock, RESET_INTERVALS, RESET_SPACING,
};
use proptest::collection::vec;
use proptest::prelude::*;

use Sent::{At, Pair};

const BOTH: [LivenessClock; 2] = [LivenessClock::Reported, LivenessClock::Arrival];

/// When a history begins, after heartbeats once a second, so that its window is 10 s.
const BEGAN: i64 = T0 + 200_000;

/// What a heartbeat says of its place.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// A timestamp only, milliseconds after the history began.
    At(i64),
    Pair(u64, u64),
}

impl Sent {
    fn payload(self, clock: &ManualClock) -> HiveHeartbeatPayload {
        match self {
            At(ms) => beat("h", BEGAN + ms, vec![]),
            Pair(epoch, seq) => paired("h", clock.wall_ms(), (epoch, seq), vec![]),
        }
    }
}

/// When it arrives, milliseconds after the history began; what it says; and whether it is applied.
type Row = (i64, Sent, bool);

const HISTORIES: &[(&str, &[Row])] = &[
    ("a late copy changes nothing, however late", &[(0, Pair(7, 100), true), (60_000, Pair(7, 99), false)]),
    (
        "nor does one that comes again and again",
        &[(0, At(0), true), (11_000, At(-5), false), (60_000, At(-5), false), (120_000, At(-5), false)],
    ),
    (
        "nor do several late ones, newest first",
        &[(0, At(0), true), (20_000, At(-5), false), (40_000, At(-6), false), (60_000, At(-7), false)],
    ),
    (
        "nor duplicates of the newest pair",
        &[(0, Pair(1, 1), true), (30_000, Pair(1, 1), false), (60_000, Pair(1, 1), false)],
    ),
    (
        "the newest timestamp again is applied, and the window begins again",
        &[
            (0, At(0), true),
            (9_000, At(-9), false),
            (9_000, At(0), true),
            (12_000, At(-9), false),
            (18_999, At(-8), false),
            (19_000, At(-7), true),
        ],
    ),
    (
        "a dead boot: heard once the window has passed",
        &[
            (0, Pair(7, 100), true),
            (1_000, Pair(1, 1), false),
            (9_999, Pair(1, 2), false),
            (10_000, Pair(1, 3), true),
            (10_001, Pair(1, 4), true),
            // What the dead boot sent last may come late, and then the window is to pass again.
            (10_002, Pair(7, 99), true),
            (10_003, Pair(1, 5), false),
        ],
    ),
    (
        "with its second heartbeat at the earliest",
        &[
            (0, Pair(7, 100), true),
            (60_000, Pair(1, 1), false),
            (60_999, Pair(1, 2), false),
            (61_000, Pair(1, 3), true),
        ],
    ),
    (
        "a counter that began again in the same epoch",
        &[
            (0, Pair(3, 500), true),
            (10_000, Pair(3, 0), false),
            (11_000, Pair(3, 1), true),
            (11_000, Pair(3, 2), true),
        ],
    ),
    (
        "a clock set right",
        &[
            (0, At(50_000), true),
            (1_000, At(1_000), false),
            (5_000, At(5_000), false),
            (10_000, At(10_000), true),
            (11_000, At(11_000), true),
        ],
    ),
    (
        "back to a version without pairs, and forward again",
        &[
            (0, Pair(3, 5), true),
            (10_000, At(10_000), false),
            (11_000, At(11_000), true),
            (11_500, At(11_400), true),
            (12_000, Pair(0, 0), true),
        ],
    ),
    (
        "what is less must have come first",
        &[
            (0, Pair(7, 0), true),
            (10_000, Pair(1, 2), false),
            (12_000, Pair(1, 1), false),
            (12_999, Pair(1, 2), false),
            (13_000, Pair(1, 2), true),
        ],
    ),
    (
        "one still older does not hide the one before it",
        &[
            (0, Pair(7, 0), true),
            (10_000, Pair(1, 1), false),
            (10_500, Pair(0, 9), false),
            (11_000, Pair(1, 2), true),
        ],
    ),
    (
        "a burst of copies is not a hive that goes on",
        &[
            (0, Pair(7, 0), true),
            (30_000, Pair(1, 1), false),
            (30_001, Pair(1, 2), false),
            (30_999, Pair(1, 3), false),
        ],
    ),
    (
        "what came before the newest one does not count",
        &[
            (0, Pair(7, 0), true),
            (5_000, Pair(1, 1), false),
            (6_000, Pair(7, 1), true),
            (16_000, Pair(1, 2), false),
            (17_000, Pair(1, 3), true),
        ],
    ),
];

#[test]
fn i3_histories() {
    for liveness in BOTH {
        for (what, rows) in HISTORIES {
            let (registry, clock) = registry_with(|builder| builder.liveness_clock(liveness));
            for before in 0..200 {
                apply(&registry, beat("h", T0 + before, vec![]));
                clock.advance(Duration::from_secs(1));
            }
            let mut passed = 0;
            for (at, (arrives, sent, applied)) in rows.iter().enumerate() {
                clock.advance(Duration::from_millis((arrives - passed).unsigned_abs()));
                passed = *arrives;
                let outcome = apply(&registry, sent.payload(&clock));
                let applied = *applied;
                let expected = if applied { HeartbeatOutcome::Updated } else { HeartbeatOutcome::Superseded };
                assert_eq!(outcome, expected, "{what}: row {at}, {sent:?}, {liveness:?}");
            }
        }
    }
}

/// The window is three mean intervals of the hive, but 10 s at least and 60 s at most.
#[test]
fn i3_the_window_follows_the_hives_interval() {
    let seconds = Duration::from_secs;
    assert_eq!((MIN_RESET_AFTER, MAX_RESET_AFTER), (seconds(10), seconds(60)));
    assert_eq!((RESET_INTERVALS, RESET_SPACING), (3, seconds(1)));
    for (interval_ms, window_ms) in [
        (1_000, 10_000),
        (3_333, 10_000),
        (3_334, 10_002),
        (7_000, 21_000),
        (20_000, 60_000),
        (50_000, 60_000),
    ] {
        let (registry, clock) = registry();
        let wait = |ms: i64| clock.advance(Duration::from_millis(ms.unsigned_abs()));
        apply(&registry, paired("h", T0, (7, 0), vec![]));
        for seq in 1..=600 {
            wait(interval_ms);
            apply(&registry, paired("h", T0, (7, seq), vec![]));
        }
        // The late ones count in the mean, so there are few.
        assert_eq!(apply(&registry, paired("h", T0, (1, 0), vec![])), HeartbeatOutcome::Superseded);
        let window_ms = match window_ms {
            10_000 | 60_000 => window_ms,
            mean => mean * 600 / 601,
        };
        wait(window_ms - 1);
        let early = registry.hive_stats("h").expect("it is registered");
        assert_eq!(
            apply(&registry, paired("h", T0, (0, 9), vec![])),
            HeartbeatOutcome::Superseded,
            "{early:?}"
        );
        let mean_ms = registry.hive_stats("h").expect("it is registered").mean_interval.as_millis();
        // That one moved the mean, by less than what is waited for now.
        wait(interval_ms / 100 + 1);
        assert_eq!(apply(&registry, paired("h", T0, (1, 1), vec![])), HeartbeatOutcome::Updated, "{mean_ms}");
    }
}

/// Whatever the rule remembers of late heartbeats, it is little.
#[test]
fn i3_ever_older_heartbeats_do_not_pile_up() {
    let (registry, clock) = registry();
    apply(&registry, beat("h", T0, vec![]));
    for round in 1..=1_000 {
        clock.advance(Duration::from_millis(1));
        assert_eq!(apply(&registry, beat("h", T0 - round, vec![])), HeartbeatOutcome::Superseded);
    }
    clock.advance(MIN_RESET_AFTER);
    assert_eq!(apply(&registry, beat("h", T0 - 500, vec![])), HeartbeatOutcome::Updated);
}

/// I6: no applied heartbeat in the sense of I3, so the window goes on.
#[test]
fn i6_a_call_does_not_put_a_reset_off() {
    let (registry, clock) = registry();
    apply(&registry, paired("h", T0, (7, 1), vec![]));
    for second in 1..=9 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(apply(&registry, paired("h", T0, (1, second), vec![])), HeartbeatOutcome::Superseded);
        registry.update_workers("h", vec![process("g", "1", "m")]).expect("it is in bounds");
    }
    clock.advance(Duration::from_secs(1));
    assert_eq!(apply(&registry, paired("h", T0, (1, 10), vec![])), HeartbeatOutcome::Updated);
}

/// A hive known by calls only takes any heartbeat.
#[test]
fn i6_the_first_heartbeat_after_calls_is_applied() {
    let (registry, _) = registry();
    registry.update_workers("h", vec![process("g", "1", "m")]).expect("it is in bounds");
    assert_eq!(apply(&registry, beat("h", T0 - 86_400_000, vec![])), HeartbeatOutcome::Updated);
    assert_eq!(apply(&registry, beat("h", T0 - 86_400_001, vec![])), HeartbeatOutcome::Superseded);
}

// === any order ===

/// Keys that differ, each with workers of its own.
fn send(registry: &HiveRegistry, key: u64, pairs: bool) -> HeartbeatOutcome {
    let workers = vec![worker(&format!("w{key}"), "m"), worker("all", &format!("m{}", key % 3))];
    let sent_at = T0 + key as i64 * 500;
    apply(
        registry,
        match pairs {
            false => beat("h", sent_at, workers),
            // Against the clock.
            true => paired("h", T0 - sent_at % 10_000, (1 + key / 7, key % 7), workers),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Heartbeats that arrive within W of the newest applied one leave the greatest key's state, in whatever order
    /// they come and however often.
    #[test]
    fn i3_within_the_window_the_greatest_key_wins(
        arrival in any::<bool>(),
        pairs in any::<bool>(),
        sent in vec((0..20u64, 0..9_999u64), 1..60),
    ) {
        let (registry, clock) = registry_with(|builder| builder.liveness_clock(BOTH[usize::from(arrival)]));
        let window_ms = MIN_RESET_AFTER.as_millis() as u64;
        let (mut since_ms, mut greatest) = (0, 0);
        for (at, (key, wait_ms)) in sent.iter().enumerate() {
            let wait_ms = (*wait_ms).min(window_ms - 1 - since_ms);
            clock.advance(Duration::from_millis(wait_ms));
            since_ms += wait_ms;
            let outcome = send(&registry, *key, pairs);
            let expected = match at {
                0 => HeartbeatOutcome::Registered,
                _ if *key > greatest || *key == greatest && !pairs => HeartbeatOutcome::Updated,
                _ => HeartbeatOutcome::Superseded,
            };
            prop_assert_eq!(outcome, expected);
            if outcome != HeartbeatOutcome::Superseded {
                since_ms = 0;
            }
            greatest = greatest.max(*key);
            let named = format!("w{greatest}");
            let found: Vec<_> = registry.get_workers_on_hive("h").iter().map(|w| w.worker_id.to_string()).collect();
            prop_assert_eq!(found, ["all", &named]);
        }
    }
}
