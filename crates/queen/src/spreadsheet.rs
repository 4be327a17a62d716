//! CSV for people who open it in a spreadsheet: there a cell that begins with `=` is a program, and hives' names are
//! not only ours. Such a cell goes out with `'` before it and comes back without.

use crate::failure::Failure;

/// What a spreadsheet takes for a formula: these, the forms of full width, and white space that it skips before them.
fn begins_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

/// Of such a cell, however many `'` are before it already: else one that was there would be lost on the way back.
fn is_guarded_or_needs_it(cell: &str) -> bool {
    begins_formula(cell.trim_start_matches('\''))
}

/// The same table with those cells guarded.
pub(crate) fn guard(table: &str) -> Result<String, Failure> {
    each_cell(table, |cell| if is_guarded_or_needs_it(cell) { format!("'{cell}") } else { cell.to_owned() })
}

/// The table as it was before [`guard`]. A table of another make that has no such cell stays as it is, and with it the
/// numbers of its lines.
pub(crate) fn unguard(table: &str) -> Result<String, Failure> {
    if !table.contains('\'') {
        return Ok(table.to_owned());
    }
    each_cell(table, |cell| match cell.strip_prefix('\'') {
        Some(plain) if is_guarded_or_needs_it(plain) => plain.to_owned(),
        _ => cell.to_owned(),
    })
}

fn each_cell(table: &str, change: impl Fn(&str) -> String) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::refused(format!("CSV: {error}"));
    // Rows of other lengths go through: the catalog names their line.
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(table.as_bytes());
    let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows.records() {
        let row = row.map_err(|error| failed(&error))?;
        out.write_record(row.iter().map(&change)).map_err(|error| failed(&error))?;
    }
    let bytes = out.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::{guard, unguard};

    #[test]
    fn formulas_are_guarded_and_come_back_unchanged() {
        let cells = [
            "=1+1",
            "+1",
            "-oProxyCommand=x",
            "@sum",
            "'=1",
            "''=1",
            "'quoted",
            "'",
            "a=b",
            "a,b\"c\nd",
            "＝1",
        ];
        let mut plain = csv::Writer::from_writer(Vec::new());
        plain.write_record(cells).unwrap();
        let plain = String::from_utf8(plain.into_inner().unwrap()).unwrap();
        let guarded = guard(&plain).unwrap();
        assert_eq!(
            guarded,
            "'=1+1,'+1,'-oProxyCommand=x,'@sum,''=1,'''=1,'quoted,',a=b,\"a,b\"\"c\nd\",'＝1\n"
        );
        assert_eq!(unguard(&guarded).unwrap(), plain);
    }

    #[test]
    fn a_table_without_guards_stays_as_it_is() {
        let text = "id,host\n\n  gpu-1 , h\n\n";
        assert_eq!(unguard(text).unwrap(), text);
    }
}
