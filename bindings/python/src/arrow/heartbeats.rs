//! Heartbeats out of a table with one row a worker.

use std::collections::HashMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, RecordBatch, RecordBatchReader, StringViewArray};
use arrow_schema::{ArrowError, DataType};
use chrono::{DateTime, SecondsFormat, Utc};
use hive_registry::{HeartbeatError, HeartbeatOutcome, HiveHeartbeatPayload, HiveRegistry, WorkerState};

use super::{cast, moments};
use crate::number::unix_us;
use crate::order::{Key, replayed};

/// The heartbeats of a table, as their first rows come.
pub(crate) struct Heartbeats {
    batches: Vec<Columns>,
    beats: Vec<Vec<Run>>,
}

/// Rows of one heartbeat that stand together.
struct Run {
    batch: usize,
    rows: Range<usize>,
}

impl Heartbeats {
    /// Rows with one hive id, timestamp, epoch and seq are one heartbeat, wherever they stand. Everything that could be
    /// wrong with the table itself is found here.
    pub(crate) fn read(reader: impl RecordBatchReader) -> Result<Self, String> {
        // Of a table without any batch its columns are looked at all the same.
        let mut batches = vec![Columns::of(&RecordBatch::new_empty(reader.schema()), 0)?];
        let mut first_row = 0;
        for batch in reader {
            let batch = batch.map_err(|error| format!("table: {error}"))?;
            batches.push(Columns::of(&batch, first_row)?);
            first_row += batch.num_rows();
        }
        let mut beats: Vec<Vec<Run>> = Vec::new();
        let mut known = HashMap::new();
        let mut last = None;
        for (batch, columns) in batches.iter().enumerate() {
            for row in 0..columns.rows {
                columns.worker_id.need(row)?;
                let order = (columns.timestamp.need(row)?, columns.epoch.get(row), columns.seq.get(row));
                let beat = (columns.hive_id.need(row)?, order);
                // Mostly they stand together.
                let at = match last {
                    Some((last, at)) if last == beat => at,
                    _ => *known.entry(beat).or_insert_with(|| {
                        beats.push(Vec::new());
                        beats.len() - 1
                    }),
                };
                last = Some((beat, at));
                match beats[at].last_mut() {
                    Some(run) if run.batch == batch && run.rows.end == row => run.rows.end += 1,
                    _ => beats[at].push(Run { batch, rows: row..row + 1 }),
                }
            }
        }
        Ok(Self { batches, beats })
    }

    /// Applies them hive by hive, in the order of keys (I3); the outcome of each, with its first row.
    pub(crate) fn apply(
        &self,
        registry: &HiveRegistry,
    ) -> Vec<(usize, Result<HeartbeatOutcome, HeartbeatError>)> {
        // Filled again and again: half the time would go into its strings.
        let mut payload = HiveHeartbeatPayload::default();
        let mut apply = |beat: &[Run]| {
            let row = self.fill(&mut payload, beat);
            (row, registry.ingest_payload(&payload))
        };
        let keys: Vec<_> = self.beats.iter().map(|beat| self.key(beat)).collect();
        replayed(&keys).into_iter().map(|at| apply(&self.beats[at])).collect()
    }

    fn key(&self, beat: &[Run]) -> Key<'_> {
        let (columns, row) = (&self.batches[beat[0].batch], beat[0].rows.start);
        Key {
            hive_id: columns.hive_id.get(row).unwrap_or_default(),
            pair: columns.epoch.get(row).zip(columns.seq.get(row)),
            timestamp: columns.timestamp.get(row).and_then(Moment::time),
        }
    }

    /// Makes `payload` say what `beat` says, and returns its first row.
    fn fill(&self, payload: &mut HiveHeartbeatPayload, beat: &[Run]) -> usize {
        let (columns, row) = (&self.batches[beat[0].batch], beat[0].rows.start);
        columns.hive_id.fill(row, &mut payload.hive_id, "");
        payload.timestamp = columns.timestamp.get(row).map(Moment::rfc3339).unwrap_or_default();
        payload.epoch = columns.epoch.get(row);
        payload.seq = columns.seq.get(row);
        let rows = beat.iter().flat_map(|run| run.rows.clone().map(|row| (&self.batches[run.batch], row)));
        payload.workers.resize_with(beat.iter().map(|run| run.rows.len()).sum(), WorkerState::default);
        for (worker, (columns, row)) in payload.workers.iter_mut().zip(rows) {
            columns.fill(row, worker, &payload.timestamp);
        }
        columns.first_row + row
    }
}

/// What is read of a batch; other columns are left alone.
struct Columns {
    /// Of the batch, in the table.
    first_row: usize,
    rows: usize,
    hive_id: Text,
    timestamp: Moments,
    worker_id: Text,
    state: Text,
    last_heartbeat: Moments,
    health_status: Text,
    url: Text,
    model_id: Text,
    backend: Text,
    device_id: Numbers<UInt32Type>,
    vram_bytes: Numbers<UInt64Type>,
    vram_total_bytes: Numbers<UInt64Type>,
    ram_bytes: Numbers<UInt64Type>,
    cpu_percent: Numbers<Float32Type>,
    gpu_percent: Numbers<Float32Type>,
    max_concurrency: Numbers<UInt32Type>,
    epoch: Numbers<UInt64Type>,
    seq: Numbers<UInt64Type>,
}

impl Columns {
    fn of(batch: &RecordBatch, first_row: usize) -> Result<Self, String> {
        let from = &Batch { batch, first_row };
        Ok(Self {
            first_row,
            rows: batch.num_rows(),
            hive_id: from.needed("hive_id").and_then(Text::of)?,
            timestamp: from.needed("timestamp").and_then(Moments::of)?,
            worker_id: from.needed("worker_id").and_then(Text::of)?,
            state: Text::of(from.column("state"))?,
            last_heartbeat: Moments::of(from.column("last_heartbeat"))?,
            health_status: Text::of(from.column("health_status"))?,
            url: Text::of(from.column("url"))?,
            model_id: Text::of(from.column("model_id"))?,
            backend: Text::of(from.column("backend"))?,
            device_id: Numbers::of(from.column("device_id"))?,
            vram_bytes: Numbers::of(from.column("vram_bytes"))?,
            vram_total_bytes: Numbers::of(from.column("vram_total_bytes"))?,
            ram_bytes: Numbers::of(from.column("ram_bytes"))?,
            cpu_percent: Numbers::of(from.column("cpu_percent"))?,
            gpu_percent: Numbers::of(from.column("gpu_percent"))?,
            max_concurrency: Numbers::of(from.column("max_concurrency"))?,
            epoch: Numbers::of(from.column("epoch"))?,
            seq: Numbers::of(from.column("seq"))?,
        })
    }

    /// What is null is as [`WorkerState::default`] has it; its hive heard from it when it sent the heartbeat.
    fn fill(&self, row: usize, worker: &mut WorkerState, timestamp: &str) {
        self.worker_id.fill(row, &mut worker.worker_id, "");
        self.state.fill(row, &mut worker.state, "Idle");
        match self.last_heartbeat.get(row) {
            Some(moment) => worker.last_heartbeat = moment.rfc3339(),
            None => timestamp.clone_into(&mut worker.last_heartbeat),
        }
        self.health_status.fill(row, &mut worker.health_status, "healthy");
        self.url.fill_option(row, &mut worker.url);
        self.model_id.fill_option(row, &mut worker.model_id);
        self.backend.fill_option(row, &mut worker.backend);
        worker.device_id = self.device_id.get(row);
        worker.vram_bytes = self.vram_bytes.get(row);
        worker.vram_total_bytes = self.vram_total_bytes.get(row);
        worker.ram_bytes = self.ram_bytes.get(row);
        worker.cpu_percent = self.cpu_percent.get(row);
        worker.gpu_percent = self.gpu_percent.get(row);
        worker.max_concurrency = self.max_concurrency.get(row);
    }
}

/// A batch and where it begins in the table.
struct Batch<'b> {
    batch: &'b RecordBatch,
    first_row: usize,
}

/// A column by its name; none is a column of nulls.
struct Column<'b> {
    name: &'static str,
    array: Option<&'b ArrayRef>,
    first_row: usize,
}

impl<'b> Batch<'b> {
    /// A column of nothing but nulls is none, whatever its type.
    fn column(&self, name: &'static str) -> Column<'b> {
        let array = self.batch.column_by_name(name).filter(|array| array.logical_null_count() < array.len());
        Column { name, array, first_row: self.first_row }
    }

    fn needed(&self, name: &'static str) -> Result<Column<'b>, String> {
        let array = Some(self.batch.column_by_name(name).ok_or_else(|| format!("{name}: no such column"))?);
        Ok(Column { name, array, first_row: self.first_row })
    }
}

impl Column<'_> {
    fn cast(&self, to: &DataType) -> Result<Option<ArrayRef>, String> {
        let cast = |array: &ArrayRef| match array.data_type() {
            // In one step, what is null in the dictionary would become empty.
            DataType::Dictionary(_, values) => cast(&cast(array, values)?, to),
            _ => cast(array, to),
        };
        self.array.map(cast).transpose().map_err(|error| self.faulty(&error))
    }

    fn faulty(&self, error: &ArrowError) -> String {
        format!("{}: {error}", self.name)
    }

    /// Casts would cut them off.
    fn refuse_fractions(&self) -> Result<(), String> {
        let numbers = self.cast(&DataType::Float64)?;
        let mut values =
            numbers.iter().flat_map(|numbers| numbers.as_primitive::<Float64Type>().iter().flatten());
        match values.find(|value| value.fract() != 0.0) {
            Some(value) => Err(format!("{}: {value} refused: whole numbers", self.name)),
            None => Ok(()),
        }
    }

    /// Seconds since 1970 as microseconds.
    fn seconds(&self) -> Result<PrimitiveArray<TimestampMicrosecondType>, String> {
        let numbers = self.cast(&DataType::Float64)?;
        let numbers = numbers.iter().flat_map(|numbers| numbers.as_primitive::<Float64Type>());
        let micros = |(at, seconds): (usize, Option<f64>)| {
            let Some(seconds) = seconds else { return Ok(None) };
            unix_us(seconds).map(Some).ok_or_else(|| {
                let row = self.first_row + at;
                format!("{}[{row}]: {seconds} refused: seconds since 1970 up to the year 9999", self.name)
            })
        };
        numbers.enumerate().map(micros).collect()
    }

    fn refused(&self, bound: &str) -> String {
        let found = self.array.map_or(DataType::Null, |array| array.data_type().clone());
        format!("{}: {found} refused: {bound}", self.name)
    }
}

/// Where a value of a column would be named from.
struct Place {
    name: &'static str,
    first_row: usize,
}

impl Place {
    fn of(column: &Column<'_>) -> Self {
        Self { name: column.name, first_row: column.first_row }
    }

    fn need<T>(&self, row: usize, value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| format!("{}[{}]: null refused", self.name, self.first_row + row))
    }
}

struct Text {
    values: Option<StringViewArray>,
    place: Place,
}

impl Text {
    fn of(column: Column<'_>) -> Result<Self, String> {
        if column.array.is_some_and(|array| !is_text(array.data_type())) {
            return Err(column.refused("text"));
        }
        // Other libraries do not look whether it is UTF-8; everything here relies on it.
        let valid = column.array.map(|array| array.to_data().validate_full()).transpose();
        valid.map_err(|error| column.faulty(&error))?;
        let values = column.cast(&DataType::Utf8View)?.map(|array| array.as_string_view().clone());
        Ok(Self { values, place: Place::of(&column) })
    }

    fn get(&self, row: usize) -> Option<&str> {
        let values = self.values.as_ref()?;
        values.is_valid(row).then(|| values.value(row))
    }

    fn fill(&self, row: usize, into: &mut String, if_null: &str) {
        self.get(row).unwrap_or(if_null).clone_into(into);
    }

    fn fill_option(&self, row: usize, into: &mut Option<String>) {
        match self.get(row) {
            Some(text) => text.clone_into(into.get_or_insert_default()),
            None => *into = None,
        }
    }

    fn need(&self, row: usize) -> Result<&str, String> {
        self.place.need(row, self.get(row))
    }
}

fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Dictionary(_, values) => is_text(values),
        found => matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null),
    }
}

struct Numbers<T: ArrowPrimitiveType>(Option<PrimitiveArray<T>>);

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn of(column: Column<'_>) -> Result<Self, String> {
        if column.array.is_some_and(|array| !array.data_type().is_numeric() && !array.data_type().is_null()) {
            return Err(column.refused("numbers"));
        }
        if !T::DATA_TYPE.is_floating() && column.array.is_some_and(|array| !array.data_type().is_integer()) {
            column.refuse_fractions()?;
        }
        Ok(Self(column.cast(&T::DATA_TYPE)?.map(|array| array.as_primitive().clone())))
    }

    fn get(&self, row: usize) -> Option<T::Native> {
        let values = self.0.as_ref()?;
        values.is_valid(row).then(|| values.value(row))
    }
}

/// Moments, whichever way they come.
struct Moments {
    values: Told,
    place: Place,
}

enum Told {
    Text(Text),
    Times(PrimitiveArray<TimestampMicrosecondType>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Moment<'c> {
    Text(&'c str),
    Micros(i64),
}

impl Moments {
    fn of(column: Column<'_>) -> Result<Self, String> {
        let place = Place::of(&column);
        let has_zone = |array: &ArrayRef| matches!(array.data_type(), DataType::Timestamp(_, Some(_)));
        let values =
            if column.array.is_some_and(has_zone) {
                Told::Times(column.cast(&moments())?.map_or_else(
                    || PrimitiveArray::from_iter_values([]),
                    |array| array.as_primitive().clone(),
                ))
            } else if column.array.is_none_or(|array| is_text(array.data_type())) {
                Told::Text(Text::of(column)?)
            } else if column.array.is_some_and(|array| array.data_type().is_numeric()) {
                Told::Times(column.seconds()?)
            } else {
                return Err(
                    column.refused("a timestamp with a time zone, seconds since 1970, or text as RFC 3339")
                );
            };
        Ok(Self { values, place })
    }

    fn get(&self, row: usize) -> Option<Moment<'_>> {
        match &self.values {
            Told::Text(text) => text.get(row).map(Moment::Text),
            Told::Times(times) => times.is_valid(row).then(|| Moment::Micros(times.value(row))),
        }
    }

    fn need(&self, row: usize) -> Result<Moment<'_>, String> {
        self.place.need(row, self.get(row))
    }
}

impl Moment<'_> {
    fn time(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Text(text) => DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.to_utc()),
            Self::Micros(micros) => DateTime::from_timestamp_micros(micros),
        }
    }

    /// What lies past every calendar becomes a text that the registry refuses.
    fn rfc3339(self) -> String {
        match self {
            Self::Text(text) => text.to_owned(),
            Self::Micros(micros) => match DateTime::from_timestamp_micros(micros) {
                Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Micros, true),
                None => format!("{micros} us since 1970"),
            },
        }
    }
}
