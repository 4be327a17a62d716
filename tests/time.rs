//! Time that misbehaves: under `LivenessClock::Arrival`, a wall clock stepped by a day, hives skewed by hours and
//! a process stopped and continued evict nobody live, and nobody dead is picked after the window.
//!
//! `HIVE_STOP_SECONDS` (2) says how long the process is stopped; its window is half of that.
#![cfg(not(loom))]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Rng, T0, apply, beat, registry_with, worker};
use hive_registry::{Clock, HeartbeatOutcome, HiveRegistry, LeastLoaded, LivenessClock, ManualClock, Random};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const WINDOW: Duration = Duration::from_secs(30);

/// Hives of every picks' answer, by all ways to pick.
fn picked(registry: &HiveRegistry) -> BTreeSet<String> {
    let mut hives = BTreeSet::new();
    for model in ["m", "nobody has this one"] {
        let found = [
            registry.find_best_worker_for_model(model),
            registry.pick(model, &Random),
            registry.pick(model, &LeastLoaded),
            registry.explain(model).pick,
        ];
        hives.extend(found.into_iter().flatten().map(|(hive, _)| hive.to_string()));
        let held = [registry.reserve_worker_for_model(model), registry.reserve_with(model, &Random)];
        hives.extend(held.iter().flatten().map(|held| held.hive_id().to_string()));
    }
    hives
}

/// By its own wall clock, which is wrong by up to 12 hours either way.
fn skewed(hive: usize, wall_ms: i64) -> i64 {
    wall_ms + (hive as i64 - 12) * HOUR_MS
}

/// 25 hives beat each second; five of them fall silent after a minute, while the registry's wall clock (and, if
/// `theirs`, that of the hives) is stepped again and again.
fn live_through(steps: &[i64], theirs: bool) {
    let (registry, clock) =
        registry_with(|builder| builder.liveness_clock(LivenessClock::Arrival).liveness_window(WINDOW));
    let mut rng = Rng::new(3);
    let is_dead = |hive: usize, second: usize| hive % 5 == 0 && second >= 60;
    let (mut stepped, mut evicted, mut lease) = (0, 0, None);
    for second in 0..240 {
        clock.advance(Duration::from_secs(1));
        if second % 10 == 7 {
            let step = steps[second / 10 % steps.len()];
            clock.jump_wall(step);
            stepped += step;
        }
        for hive in (0..25).filter(|hive| !is_dead(*hive, second)) {
            let wall = T0 + second as i64 * 1_000 + if theirs { stepped } else { 0 };
            let id = format!("h{hive:02}");
            let sent = beat(&id, skewed(hive, wall), vec![worker("w", "m")]);
            let outcome = apply(&registry, sent);
            let first = second == 0;
            assert_eq!(outcome == HeartbeatOutcome::Registered, first, "{id} was evicted: {outcome:?}");
        }
        let eviction = registry.evict_stale(WINDOW);
        assert!(!eviction.held);
        evicted += eviction.hives;
        let live = if second < 60 + 29 { 25 } else { 20 };
        assert_eq!((registry.count_online(), registry.hive_count()), (live, 25 - evicted), "{second} s");
        let found = picked(&registry);
        assert!(!found.is_empty());
        for hive in found {
            let number: usize = hive[1..].parse().expect("a number");
            assert!(second < 60 + 29 || !is_dead(number, second), "{hive} is dead, and was picked");
        }
        // Leases run out by the time that passes, whatever the wall shows.
        match second {
            20 => lease = registry.reserve_detached("m", Duration::from_secs(60)),
            79 => assert_eq!(registry.stats().reservations_open, 1),
            80 => assert_eq!(registry.stats().reservations_open, 0),
            _ => {}
        }
        if rng.below(10) == 0 {
            let age = registry.snapshot().hives.iter().map(|hive| hive.age_ms).max();
            assert!(age < Some(WINDOW.as_millis() as i64 * 2), "{age:?}");
        }
    }
    assert!(lease.is_some());
    assert_eq!((evicted, registry.hive_count()), (5, 20));
    assert_ne!(clock.wall_ms(), T0);
}

#[test]
fn l2_a_wall_clock_stepped_by_a_day_evicts_nobody_live() {
    for theirs in [false, true] {
        for steps in [&[DAY_MS][..], &[-DAY_MS], &[DAY_MS, -DAY_MS], &[-DAY_MS, -1, HOUR_MS, DAY_MS]] {
            live_through(steps, theirs);
        }
    }
}

#[test]
fn l2_hives_skewed_by_hours_are_as_live_as_any() {
    live_through(&[0], false);
}

/// The wall clock is stepped before anybody has beaten, and between the last heartbeat and the pick.
#[test]
fn l2_nobody_dead_is_picked_after_a_step_back() {
    for step in [DAY_MS, -DAY_MS] {
        let clock = ManualClock::new(T0);
        let builder = HiveRegistry::builder().clock(clock.clone()).liveness_clock(LivenessClock::Arrival);
        let registry = builder.liveness_window(WINDOW).build().expect("the configuration is valid");
        clock.jump_wall(step);
        apply(&registry, beat("h", T0, vec![worker("w", "m")]));
        clock.advance(WINDOW - Duration::from_millis(1));
        clock.jump_wall(step);
        assert_eq!(picked(&registry).len(), 1);
        clock.advance(Duration::from_millis(1));
        clock.jump_wall(-3 * step);
        assert!(picked(&registry).is_empty());
    }
}

/// This very binary as a child, stopped with a signal and continued.
#[cfg(unix)]
mod stopped {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use chrono::Utc;

    use super::*;

    const NAME: &str = "stopped::l2_a_process_stopped_and_continued_evicts_nobody_live";
    const WINDOW_MS: &str = "HIVE_STOPPED_CHILD_WINDOW_MS";
    const LIVE: usize = 10;
    const DEAD: usize = 2;

    #[test]
    fn l2_a_process_stopped_and_continued_evicts_nobody_live() {
        match std::env::var(WINDOW_MS).ok().and_then(|value| value.parse().ok()) {
            Some(window_ms) => child(Duration::from_millis(window_ms)),
            None => parent(),
        }
    }

    /// Whatever becomes of the test, the child does not outlive it.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn parent() {
        let seconds: u64 =
            std::env::var("HIVE_STOP_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(2);
        let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
        command.args(["--exact", NAME, "--nocapture"]).env(WINDOW_MS, (seconds * 500).to_string());
        let mut child = Ended(command.stdout(Stdio::piped()).spawn().expect("this binary runs again"));
        let told = child.0.stdout.take().expect("it is piped");
        let id = child.0.id().to_string();
        let signal = |name: &str| Command::new("kill").args([name, &id]).status();
        let mut lines = Vec::new();
        for line in BufReader::new(told).lines() {
            let line = line.expect("text");
            // The harness may have begun this line.
            if line.ends_with("child: ready") {
                match signal("-STOP") {
                    Ok(status) => assert!(status.success(), "the child was not stopped"),
                    Err(error) => return println!("skipped: there is no `kill`: {error}"),
                }
                std::thread::sleep(Duration::from_secs(seconds));
                assert!(signal("-CONT").is_ok_and(|status| status.success()), "the child was not continued");
            }
            lines.push(line);
        }
        let status = child.0.wait().expect("the child ends");
        assert!(status.success(), "{lines:#?}");
        for expected in ["child: ready", "child: stopped and continued", "child: done"] {
            assert!(lines.iter().any(|line| line.ends_with(expected)), "no {expected:?} in {lines:#?}");
        }
        println!("stopped for {seconds} s: {:?}", lines.iter().filter(|line| line.contains("child")).count());
    }

    fn all_beat(registry: &HiveRegistry) -> Vec<HeartbeatOutcome> {
        let now = Utc::now().timestamp_millis();
        let beat_of = |hive| beat(&format!("live-{hive}"), skewed(hive, now), vec![worker("w", "m")]);
        (0..LIVE).map(|hive| apply(registry, beat_of(hive))).collect()
    }

    /// Ten hives beat; two, with the lower load, did once. A sweeper runs all the time.
    fn child(window: Duration) {
        let builder = HiveRegistry::builder().liveness_clock(LivenessClock::Arrival).liveness_window(window);
        let registry = builder.build().expect("the configuration is valid");
        all_beat(&registry);
        for hive in 0..DEAD {
            let mut idle = worker("w", "m");
            idle.gpu_percent = Some(0.0);
            apply(&registry, beat(&format!("dead-{hive}"), Utc::now().timestamp_millis(), vec![idle]));
        }
        let sweeper = registry.spawn_sweeper(window / 4, window).expect("a thread");
        let until = Instant::now() + 3 * window + Duration::from_secs(60);
        all_beat(&registry);
        println!("child: ready");
        loop {
            let heard = Instant::now();
            // Long, so that the signal comes meanwhile and not between two heartbeats.
            std::thread::sleep(window / 2);
            // Longer than the window by more than a tick of the coarse clock.
            if heard.elapsed() > window + Duration::from_millis(50) {
                break;
            }
            assert!(Instant::now() < until, "nobody stopped this process");
            all_beat(&registry);
        }
        // All were silent for longer than the window: nobody is known to be alive.
        assert_eq!(picked(&registry), BTreeSet::new());
        println!("child: stopped and continued");
        // The hives take a while to find it again; the sweeper passes some times meanwhile.
        std::thread::sleep(window);
        // The mass silence is held, for it was the registry that slept: everyone is still there.
        assert_eq!(all_beat(&registry), [HeartbeatOutcome::Updated; LIVE], "a live hive was evicted");

        // The dead go, one by one, and are not picked meanwhile.
        while registry.hive_count() > LIVE {
            assert!(Instant::now() < until + 3 * window, "the dead hives stay");
            assert_eq!(all_beat(&registry), [HeartbeatOutcome::Updated; LIVE], "a live hive was evicted");
            let found = picked(&registry);
            assert!(!found.is_empty() && found.iter().all(|hive| hive.starts_with("live")), "{found:?}");
            std::thread::sleep(window / 50);
        }
        drop(sweeper);
        assert_eq!(registry.stats().evictions, DEAD as u64);
        println!("child: done");
    }
}

#[test]
fn l6_a_manual_clock_keeps_what_is_below_a_millisecond() {
    let clock = ManualClock::new(T0);
    for _ in 0..10_000 {
        clock.advance(Duration::from_micros(400));
    }
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (T0 + 4_000, 4_000));
    clock.advance(Duration::from_nanos(999_999));
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (T0 + 4_000, 4_000));
    clock.advance(Duration::from_nanos(1));
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (T0 + 4_001, 4_001));

    clock.jump_wall_ns(-1);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (T0 + 4_000, 4_001), "rounded down");
    clock.set(T0 + 4_001);
    clock.advance(Duration::from_nanos(999_999));
    assert_eq!(clock.monotonic_ms(), 4_002, "a nanosecond passed by `set`");
    assert_eq!(clock.wall_ns(), i128::from(T0 + 4_001) * 1_000_000 + 999_999);
    // Before 1970 down is away from 0.
    clock.set_ns(-1);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (-1, 4_002));
}

#[test]
fn l6_a_manual_clock_stops_at_the_end_of_time() {
    let clock = ManualClock::new(i64::MAX - 1);
    clock.advance(Duration::MAX);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (i64::MAX, i64::MAX));
    clock.jump_wall(i64::MIN);
    assert_eq!(clock.wall_ms(), -1);
    clock.set_ns(i128::MIN);
    assert_eq!((clock.wall_ms(), clock.monotonic_ms()), (i64::MIN, i64::MAX));
    clock.jump_wall_ns(i128::MAX);
    clock.advance(Duration::MAX);
    assert_eq!(clock.wall_ms(), i64::MAX);
}
