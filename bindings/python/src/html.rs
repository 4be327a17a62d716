//! Tables for a notebook.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, SchemaRef};

/// Rows that are shown.
const SHOWN: usize = 20;

/// One line a row, the text cut where it is too long, the whole scrolled where it is too wide. Colours are those of the
/// page, dark or light.
const LEFT: &str = "white-space:nowrap;max-width:16em;overflow:hidden;text-overflow:ellipsis;padding:.1em .6em;text-align:left";
const RIGHT: &str = "white-space:nowrap;padding:.1em .6em;text-align:right;font-variant-numeric:tabular-nums";

/// What people look at first stands first, so that it is seen without scrolling: 1,000 pixels hold a worker's up to
/// `reservations`, names cut. Other columns follow as they come, and those that are long or tell little come last.
const FIRST: [&str; 14] = [
    "hive_id",
    "worker_id",
    "model_id",
    "state",
    "operational_status",
    "health_status",
    "device_id",
    "gpu_percent",
    "reservations",
    "online",
    "age_ms",
    "worker_count",
    "max_concurrency",
    "backend",
];
const LAST: [&str; 4] = ["timestamp", "last_heartbeat", "url", "load"];

/// Where a column stands.
fn place(name: &str) -> usize {
    let at = |names: &[&str]| names.iter().position(|one| *one == name);
    at(&FIRST).or_else(|| Some(FIRST.len() + 1 + at(&LAST)?)).unwrap_or(FIRST.len())
}

/// The columns that tell anything, in the order for people. Of a table without rows all of them.
fn columns(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<usize> {
    let is_empty = |at: usize| batches.iter().all(|batch| batch.column(at).null_count() == batch.num_rows());
    let has_rows = batches.iter().any(|batch| batch.num_rows() > 0);
    let mut told: Vec<_> = (0..schema.fields().len()).filter(|at| !has_rows || !is_empty(*at)).collect();
    told.sort_by_key(|at| place(schema.field(*at).name()));
    told
}

/// The first rows as an HTML table, all text escaped, no formula in it.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let mut html = String::from(
        r#"<div class="tex2jax_ignore mathjax_ignore" style="overflow-x:auto"><table><thead><tr>"#,
    );
    let shown = columns(schema, batches);
    for field in shown.iter().map(|at| schema.field(*at)) {
        cell(&mut html, "th", field.data_type(), field.name());
    }
    html.push_str("</tr></thead><tbody>");
    let mut left = SHOWN;
    for batch in batches {
        let columns = shown.iter().map(|at| column(batch.column(*at))).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows().min(left) {
            html.push_str("<tr>");
            for (at, value) in shown.iter().zip(&columns) {
                cell(&mut html, "td", schema.field(*at).data_type(), &value(row)?);
            }
            html.push_str("</tr>");
        }
        left -= batch.num_rows().min(left);
    }
    html.push_str("</tbody></table></div>");
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows > SHOWN {
        let _ = write!(html, "<p>{SHOWN} of {rows} rows</p>");
    }
    let left_out = schema.fields().len() - shown.len();
    if left_out > 0 {
        let (s, are) = if left_out == 1 { ("", "is") } else { ("s", "are") };
        let _ = write!(html, "<p>{left_out} column{s} that {are} empty in every row left out</p>");
    }
    Ok(html)
}

/// What a column shows in a row.
type Cells<'a> = Box<dyn Fn(usize) -> Result<String, ArrowError> + 'a>;

/// How a column's values are written: moments to the second, numbers with one decimal or none.
fn column(array: &ArrayRef) -> Result<Cells<'_>, ArrowError> {
    if let Some(numbers) = array.as_primitive_opt::<Float32Type>() {
        let one =
            |row| if numbers.is_valid(row) { format!("{:.1}", numbers.value(row)) } else { String::new() };
        return Ok(Box::new(move |row| Ok(one(row))));
    }
    let options = FormatOptions::new().with_null("").with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S"));
    // A moment past every calendar, which a pickle may have, is shown as such.
    let values = ArrayFormatter::try_new(array, &options.with_display_error(true))?;
    Ok(Box::new(move |row| Ok(values.value(row).to_string())))
}

fn cell(html: &mut String, tag: &str, of_type: &DataType, text: &str) {
    let style = if of_type.is_numeric() { RIGHT } else { LEFT };
    let _ = write!(html, r#"<{tag} style="{style}">"#);
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // What would not be seen, or turn the line round.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => {
                let _ = write!(html, "{}", letter.escape_unicode());
            }
            letter if letter.is_control() => {
                let _ = write!(html, "{}", letter.escape_debug());
            }
            letter => html.push(letter),
        }
    }
    let _ = write!(html, "</{tag}>");
}
