//! A snapshot as columns. Text is `Utf8`, which every library reads.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use hive_registry::{HiveHealth, HiveSnapshot, Snapshot, WorkerSnapshot};

use super::moments;
use crate::number::shown;
use crate::state::status_word;

/// A column while it is filled.
trait Column: Sized {
    fn of_type() -> DataType;
    fn with_rows(rows: usize) -> Self;
    fn finished(&mut self) -> ArrayRef;
}

macro_rules! column {
    ($($builder:ident: $type:expr;)*) => {
        $(
            impl Column for $builder {
                fn of_type() -> DataType {
                    $type
                }

                fn with_rows(rows: usize) -> Self {
                    Self::with_capacity(rows)
                }

                fn finished(&mut self) -> ArrayRef {
                    Arc::new(self.finish())
                }
            }
        )*
    };
}

column! {
    BooleanBuilder: DataType::Boolean;
    UInt16Builder: DataType::UInt16;
    UInt32Builder: DataType::UInt32;
    UInt64Builder: DataType::UInt64;
    Int64Builder: DataType::Int64;
    Float32Builder: DataType::Float32;
}

impl Column for StringBuilder {
    fn of_type() -> DataType {
        DataType::Utf8
    }

    fn with_rows(rows: usize) -> Self {
        Self::with_capacity(rows, 16 * rows)
    }

    fn finished(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

impl Column for TimestampMicrosecondBuilder {
    fn of_type() -> DataType {
        moments()
    }

    fn with_rows(rows: usize) -> Self {
        Self::with_capacity(rows).with_data_type(moments())
    }

    fn finished(&mut self) -> ArrayRef {
        Arc::new(self.finish())
    }
}

/// A table by its columns: name, type, whether it may be null, and value.
macro_rules! table {
    ($name:ident of $row:ty { $($column:ident: $builder:ident $nullable:literal = |$it:pat_param| $value:expr;)* }) => {
        struct $name {
            $($column: $builder,)*
        }

        impl $name {
            fn schema() -> SchemaRef {
                Arc::new(Schema::new(vec![
                    $(Field::new(stringify!($column), $builder::of_type(), $nullable),)*
                ]))
            }

            fn with_rows(rows: usize) -> Self {
                Self { $($column: $builder::with_rows(rows),)* }
            }

            fn push(&mut self, row: $row) {
                $(
                    let $it = row;
                    self.$column.append_option($value);
                )*
            }

            fn finish(mut self) -> RecordBatch {
                let columns = vec![$(self.$column.finished(),)*];
                RecordBatch::try_new(Self::schema(), columns).expect("each column has its type, and all one length")
            }
        }
    };
}

table! { Workers of (&HiveSnapshot, &WorkerSnapshot) {
    hive_id: StringBuilder false = |(_, row)| Some(&*row.worker.hive_id);
    worker_id: StringBuilder false = |(_, row)| Some(&*row.worker.worker_id);
    state: StringBuilder false = |(_, row)| Some(row.worker.state.as_str());
    health_status: StringBuilder false = |(_, row)| Some(row.worker.health_status.as_str());
    timestamp: TimestampMicrosecondBuilder false = |(hive, _)| Some(micros(hive));
    last_heartbeat: TimestampMicrosecondBuilder false = |(_, row)| Some(shown(row.worker.last_heartbeat.timestamp_micros()));
    url: StringBuilder true = |(_, row)| row.worker.url.as_deref();
    model_id: StringBuilder true = |(_, row)| row.worker.model_id.as_deref();
    backend: StringBuilder true = |(_, row)| row.worker.backend.as_ref().map(|backend| backend.as_str());
    device_id: UInt32Builder true = |(_, row)| row.worker.device_id;
    vram_bytes: UInt64Builder true = |(_, row)| row.worker.vram_bytes;
    vram_total_bytes: UInt64Builder true = |(_, row)| row.worker.vram_total_bytes;
    ram_bytes: UInt64Builder true = |(_, row)| row.worker.ram_bytes;
    cpu_percent: Float32Builder true = |(_, row)| row.worker.cpu_percent;
    gpu_percent: Float32Builder true = |(_, row)| row.worker.gpu_percent;
    max_concurrency: UInt32Builder true = |(_, row)| row.worker.max_concurrency;
    reservations: UInt32Builder false = |(_, row)| Some(row.reservations);
    load: UInt64Builder false = |(_, row)| Some(row.load);
    online: BooleanBuilder false = |(hive, _)| Some(hive.online);
} }

table! { Hives of &HiveSnapshot {
    hive_id: StringBuilder false = |hive| Some(&*hive.state.hive_id);
    online: BooleanBuilder false = |hive| Some(hive.online);
    age_ms: Int64Builder false = |hive| Some(hive.age_ms);
    timestamp: TimestampMicrosecondBuilder false = |hive| Some(micros(hive));
    worker_count: UInt64Builder false = |hive| Some(hive.workers.len() as u64);
    reservations: UInt64Builder false = |hive| {
        Some(hive.workers.iter().map(|worker| u64::from(worker.reservations)).sum())
    };
    vram_used_gb: Float32Builder false = |hive| Some(hive.state.vram_used_gb);
    ram_used_gb: Float32Builder false = |hive| Some(hive.state.ram_used_gb);
    version: UInt64Builder false = |hive| Some(hive.state.version);
    hostname: StringBuilder true = |hive| hive.state.hive.as_ref().map(|hive| &*hive.hostname);
    port: UInt16Builder true = |hive| hive.state.hive.as_ref().map(|hive| hive.port);
    operational_status: StringBuilder true = |hive| {
        hive.state.hive.as_ref().map(|hive| status_word(hive.operational_status))
    };
    health_status: StringBuilder true = |hive| {
        hive.state.hive.as_ref().map(|hive| match hive.health_status {
            HiveHealth::Healthy => "healthy",
            HiveHealth::Degraded { .. } => "degraded",
            HiveHealth::Unhealthy { .. } => "unhealthy",
        })
    };
} }

/// What tables there are.
pub(crate) fn schemas() -> [SchemaRef; 2] {
    [Workers::schema(), Hives::schema()]
}

fn micros(hive: &HiveSnapshot) -> i64 {
    shown(hive.state.last_heartbeat_ms.saturating_mul(1_000))
}

/// One row a worker, by hive id, then worker id, in batches that are shared out among threads.
pub(crate) fn workers(snapshot: &Snapshot) -> (SchemaRef, Vec<RecordBatch>) {
    let batch = |hives: &[HiveSnapshot]| {
        let mut columns = Workers::with_rows(hives.iter().map(|hive| hive.workers.len()).sum());
        for hive in hives {
            for worker in &hive.workers {
                columns.push((hive, worker));
            }
        }
        columns.finish()
    };
    let shares: Vec<_> = snapshot.hives.chunks(SHARE).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(shares.len());
    let batches = std::thread::scope(|scope| {
        let of_thread = |thread| {
            shares.iter().skip(thread).step_by(threads).map(|hives| batch(hives)).collect::<Vec<_>>()
        };
        let made: Vec<_> = (0..threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        let made =
            made.into_iter().map(|made| made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let mut made: Vec<_> = made.map(Vec::into_iter).collect();
        (0..shares.len()).filter_map(|share| made[share % threads].next()).collect()
    });
    (Workers::schema(), batches)
}

/// Hives of one batch: few enough that no column of it comes near 2 GiB of text.
const SHARE: usize = 8_192;

/// One row a hive, by hive id.
pub(crate) fn hives(snapshot: &Snapshot) -> (SchemaRef, Vec<RecordBatch>) {
    let mut columns = Hives::with_rows(snapshot.hives.len());
    for hive in &snapshot.hives {
        columns.push(hive);
    }
    (Hives::schema(), vec![columns.finish()])
}
