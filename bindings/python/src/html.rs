//! Tables for a notebook.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, SchemaRef};

/// Rows that are shown.
const SHOWN: usize = 20;

/// One line a row, the text cut where it is too long, the whole scrolled where it is too wide.
const LEFT: &str = "white-space:nowrap;max-width:24em;overflow:hidden;text-overflow:ellipsis;padding:.1em .6em;text-align:left";
const RIGHT: &str = "white-space:nowrap;padding:.1em .6em;text-align:right;font-variant-numeric:tabular-nums";

/// The first rows as an HTML table, all text escaped, no formula in it.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let mut html = String::from(
        r#"<div class="tex2jax_ignore mathjax_ignore" style="overflow-x:auto"><table><thead><tr>"#,
    );
    for field in schema.fields() {
        cell(&mut html, "th", field.data_type(), field.name());
    }
    html.push_str("</tr></thead><tbody>");
    let mut left = SHOWN;
    for batch in batches {
        let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows().min(left) {
            html.push_str("<tr>");
            for (field, value) in schema.fields().iter().zip(&columns) {
                cell(&mut html, "td", field.data_type(), &value(row)?);
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
    let values = ArrayFormatter::try_new(array, &options)?;
    Ok(Box::new(move |row| values.value(row).try_to_string()))
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
