//! Any sequence of calls, against the plain map and the plain scan of the property tests: every question must
//! be answered alike after every call.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use arbitrary::{Arbitrary, Result, Unstructured};
use hive_registry::{HiveHealth, LivenessClock, OperationalStatus, StaleMode};
use libfuzzer_sys::fuzz_target;
use oracle::sent::{Fault, Key, Look, MODELS, Process, Stats, Status, WORKERS, Worker};
use oracle::twins::{Chooser, Op, Twins};

/// Every question is asked after every call, so long sequences tell little for their time.
const MOST_OPS: usize = 48;
const MOST_HIVES: usize = 10;

#[derive(Debug)]
struct Input {
    liveness: LivenessClock,
    stale_mode: StaleMode,
    hives: usize,
    picks_every: usize,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut input = Self {
            liveness: one_of(u, &[LivenessClock::Reported, LivenessClock::Arrival])?,
            stale_mode: one_of(u, &[StaleMode::Exclude, StaleMode::Ignore])?,
            hives: u.int_in_range(3..=MOST_HIVES)?,
            picks_every: one_of(u, &[1, 3, 7])?,
            ops: Vec::new(),
        };
        while !u.is_empty() && input.ops.len() < MOST_OPS {
            input.ops.push(op(u)?);
        }
        Ok(input)
    }
}

fn one_of<T: Clone>(u: &mut Unstructured<'_>, some: &[T]) -> Result<T> {
    u.choose(some).cloned()
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=16)? {
        0 => Op::Plain(key(u)?, maybe(u, status)?, workers(u)?, fault(u)?),
        1 => Op::Telemetry(key(u)?, status(u)?, maybe(u, processes)?),
        2 => Op::Again(which(u)?, if u.arbitrary()? { Some(workers(u)?) } else { None }),
        3 => Op::Wave(workers(u)?),
        4 => Op::UpdateWorkers(hive(u)?, processes(u)?),
        5 => Op::Remove(hive(u)?),
        6 => Op::Evict(one_of(u, &[0, 1, 5_000, 30_000, 60_000])?),
        7 => Op::Advance(one_of(
            u,
            &[1, 500, 1_000, 2_000, 2_001, 4_000, 29_999, 30_000, 31_000, 61_000, 299_000, 600_000],
        )?),
        8 => Op::JumpWall(one_of(u, &[-120_000, -61_000, -31_000, -5_000, -1, 1, 5_000, 31_000, 120_000])?),
        9 => Op::Reserve(one_of(u, &MODELS)?),
        10 => Op::Release(which(u)?),
        11 => Op::Detach(one_of(u, &MODELS)?, lease_ms(u)?),
        12 => Op::Renew(which(u)?, lease_ms(u)?),
        13 => Op::ReleaseLease(which(u)?),
        14 => Op::PickWith(one_of(u, &MODELS)?, chooser(u)?),
        15 => Op::Event(key(u)?, maybe(u, status)?, maybe(u, processes)?),
        _ => Op::ReserveWith(one_of(u, &MODELS)?, chooser(u)?),
    })
}

fn maybe<'a, T>(u: &mut Unstructured<'a>, some: fn(&mut Unstructured<'a>) -> Result<T>) -> Result<Option<T>> {
    if u.arbitrary()? { some(u).map(Some) } else { Ok(None) }
}

/// Of what was sent, reserved or leased before.
fn which(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(u.arbitrary::<u8>()?))
}

fn hive(u: &mut Unstructured<'_>) -> Result<usize> {
    u.int_in_range(0..=MOST_HIVES - 1)
}

fn lease_ms(u: &mut Unstructured<'_>) -> Result<i64> {
    one_of(u, &[0, 1, 900, 5_000, 60_000])
}

fn chooser(u: &mut Unstructured<'_>) -> Result<Chooser> {
    use Chooser::{Greatest, Last, LeastLoaded, Nobody, PowerOfChoices, Random, RoundRobin};
    one_of(
        u,
        &[
            LeastLoaded,
            PowerOfChoices(0),
            PowerOfChoices(2),
            PowerOfChoices(40),
            RoundRobin,
            Random,
            Last,
            Greatest,
            Nobody,
        ],
    )
}

fn key(u: &mut Unstructured<'_>) -> Result<Key> {
    let skews_ms = [
        0, 0, 0, 1_000, -1_000, 5_000, -5_000, -29_999, -30_000, -40_000, -60_000, -60_001, -61_000,
        -125_000, 90_000, 1,
    ];
    Ok(Key {
        hive: hive(u)?,
        skew_ms: one_of(u, &skews_ms)?,
        pair: if u.arbitrary()? { Some((u.int_in_range(1..=3)?, u.int_in_range(0..=5)?)) } else { None },
    })
}

fn fault(u: &mut Unstructured<'_>) -> Result<Option<Fault>> {
    use Fault::{ManyDevices, NegativeMemory, NoEpoch, NoSeq, OtherHive, OtherInfo, Timestamp, TwoOfOneId};
    if u.ratio(1, 8)? {
        let all = [Timestamp, TwoOfOneId, NoSeq, NoEpoch, OtherHive, OtherInfo, ManyDevices, NegativeMemory];
        return one_of(u, &all).map(Some);
    }
    Ok(None)
}

/// One of each id at most, in any order.
fn some_of<'a, T>(
    u: &mut Unstructured<'a>,
    each: fn(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<(usize, T)>> {
    let mut left: Vec<usize> = (0..WORKERS.len()).collect();
    (0..u.int_in_range(0..=WORKERS.len())?)
        .map(|_| Ok((left.swap_remove(u.choose_index(left.len())?), each(u)?)))
        .collect()
}

fn workers(u: &mut Unstructured<'_>) -> Result<Vec<Worker>> {
    some_of(u, |u| {
        let (vram_mb, vram_total_mb, ram_mb) = one_of(
            u,
            &[
                (None, None, None),
                (Some(0), Some(8_000), Some(1)),
                (Some(1_000), Some(24_000), None),
                (Some(9_000), Some(8_000), Some(4_000)),
                (Some(9_000), None, Some(0)),
                (None, Some(24_000), None),
            ],
        )?;
        Ok(Look {
            state: one_of(u, &["Idle", "Busy", "Idle", "Busy", "READY", "loading", "stopping", "odd"])?,
            health: one_of(u, &["healthy", "healthy", "Degraded", "unhealthy", "odd"])?,
            model: model(u)?,
            gpu_percent: one_of(
                u,
                &[Some(0.0), Some(0.0), Some(12.5), Some(33.3), Some(50.0), Some(-1.0), Some(f32::NAN), None],
            )?,
            max_concurrency: one_of(u, &[None, Some(0), Some(1), Some(2), Some(3)])?,
            backend: one_of(u, &[None, Some(""), Some("cuda"), Some("CPU"), Some("tpu")])?,
            device_id: one_of(u, &[None, Some(0), Some(1)])?,
            vram_mb,
            vram_total_mb,
            ram_mb,
        })
    })
}

fn model(u: &mut Unstructured<'_>) -> Result<Option<&'static str>> {
    one_of(u, &[Some("m0"), Some("m1"), Some("m2"), None])
}

fn processes(u: &mut Unstructured<'_>) -> Result<Vec<Process>> {
    some_of(u, |u| {
        let (vram_mb, total_vram_mb) = one_of(u, &[(0, 12_000), (1_000, 24_000), (9_000, 8_000), (0, 0)])?;
        Ok(Stats {
            gpu_util_pct: one_of(u, &[None, Some(0.0), Some(0.0), Some(25.0), Some(50.0)])?,
            model: model(u)?,
            vram_mb,
            total_vram_mb,
        })
    })
}

fn status(u: &mut Unstructured<'_>) -> Result<Status> {
    use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    let reason = String::from;
    let health = [
        HiveHealth::Healthy,
        HiveHealth::Healthy,
        HiveHealth::Degraded { reason: reason("hot") },
        HiveHealth::Unhealthy { reason: reason("on fire") },
    ];
    let device = [("cuda", Some(24.0)), ("cuda", None), ("cpu", Some(80.0)), ("metal", Some(24.0))];
    Ok(Status {
        operational: one_of(u, &[Ready, Ready, Ready, Busy, Starting, Stopping, Stopped])?,
        health: one_of(u, &health)?,
        hostname: one_of(u, &[None, None, Some("gpu 1"), Some("http://gpu-1"), Some("fe80::1%eth0")])?,
        devices: one_of(u, &[None, Some(0), Some(1), Some(2)])?
            .map(|devices| (0..devices).map(|_| one_of(u, &device)).collect())
            .transpose()?,
    })
}

fuzz_target!(|input: Input| {
    let mut twins = Twins::new(input.liveness, input.stale_mode, input.hives);
    if let Err(difference) = twins.run(&input.ops, input.picks_every) {
        panic!("{difference}");
    }
});
