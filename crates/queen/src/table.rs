//! Tables that fit the terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::terminal::{Style, Terminal, clean};

/// A column. Where there is too little room, columns are cut down to `least`, those of the greatest `goes` first; where
/// that is not enough, columns go altogether, in the same order; those whose `goes` is 0 stay, cut further if need be.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) goes: u8,
    pub(crate) least: usize,
}

/// A cell and how it is shown.
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn of(text: impl AsRef<str>) -> Self {
        Self::styled(text, Style::Plain)
    }

    pub(crate) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: clean(text.as_ref()), style }
    }
}

/// A column that is shown, and how wide.
#[derive(Clone, Copy)]
struct Shown {
    at: usize,
    width: usize,
}

/// Between two columns.
const GAP: usize = 2;

/// The lines of a table: the titles, then a line a row, and at last which columns had no room. Columns without any text
/// are left out. Where it is no terminal, nothing is cut.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<Cell>], terminal: &Terminal) -> Vec<String> {
    let mut shown: Vec<Shown> = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let widest = rows.iter().map(|row| row[at].text.width()).max().unwrap_or(0);
        if widest > 0 {
            shown.push(Shown { at, width: widest.max(column.title.width()) });
        }
    }
    let gone = terminal.width.map(|room| fit(&mut shown, columns, room)).unwrap_or_default();
    let line = |cell: &dyn Fn(usize) -> (String, Style)| {
        let mut line = String::new();
        for (place, Shown { at, width }) in shown.iter().enumerate() {
            let (text, style) = cell(*at);
            let text = cut(&text, *width);
            line.push_str(&terminal.paint(style, &text));
            if place + 1 < shown.len() {
                line.extend(std::iter::repeat_n(' ', width - text.width() + GAP));
            }
        }
        line.trim_end().to_owned()
    };
    let mut all = vec![line(&|at| (columns[at].title.to_owned(), Style::Bold))];
    all.extend(rows.iter().map(|row| line(&|at| (row[at].text.clone(), row[at].style))));
    if let (Some(room), false) = (terminal.width, gone.is_empty()) {
        let said = cut(&format!("no room for {}; --json has all", gone.join(", ")), room);
        all.push(terminal.paint(Style::Dim, &said));
    }
    all
}

/// Makes them fit; the titles of those that went.
fn fit(shown: &mut Vec<Shown>, columns: &[Column], room: usize) -> Vec<&'static str> {
    let least =
        |column: &Shown| column.width.min(columns[column.at].least.max(columns[column.at].title.width()));
    let gaps = |shown: &[Shown]| GAP * shown.len().saturating_sub(1);
    let mut gone = Vec::new();
    while shown.iter().map(least).sum::<usize>() + gaps(shown) > room {
        let Some(last) = (0..shown.len()).max_by_key(|place| columns[shown[*place].at].goes) else { break };
        if columns[shown[last].at].goes == 0 {
            break;
        }
        gone.push(columns[shown.remove(last).at].title);
    }
    let mut by_worth: Vec<usize> = (0..shown.len()).collect();
    by_worth.sort_by_key(|place| std::cmp::Reverse(columns[shown[*place].at].goes));
    // To their least, then, of those that stay whatever happens, to what there is.
    for bound in [None, Some(1)] {
        for place in &by_worth {
            let over =
                (shown.iter().map(|column| column.width).sum::<usize>() + gaps(shown)).saturating_sub(room);
            let bound = bound.unwrap_or_else(|| least(&shown[*place]));
            shown[*place].width =
                shown[*place].width.saturating_sub(over).max(bound.min(shown[*place].width));
        }
    }
    gone
}

/// The beginning of what is wider.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used >= width {
            break;
        }
        kept.push(letter);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::{Cell, Column, cut, lines};
    use crate::cli::{Color, Global};
    use crate::terminal::Terminal;

    fn terminal(width: Option<usize>) -> Terminal {
        let global = Global { catalog: None, json: false, color: Color::Never };
        let mut terminal = Terminal::new(&global);
        terminal.width = width;
        terminal
    }

    const COLUMNS: [Column; 4] = [
        Column { title: "NAME", goes: 0, least: 10 },
        Column { title: "HOST", goes: 1, least: 8 },
        Column { title: "NEVER", goes: 9, least: 8 },
        Column { title: "LABELS", goes: 2, least: 6 },
    ];

    fn rows() -> Vec<Vec<Cell>> {
        [["gpu-1", "192.168.1.100", "", "rack=a,zone=b"], ["日本日本日本日本日本", "h", "", ""]]
            .map(|row| row.map(Cell::of).into())
            .into()
    }

    #[test]
    fn a_table_is_whole_where_there_is_room_or_no_terminal() {
        let whole = [
            "NAME                  HOST           LABELS",
            "gpu-1                 192.168.1.100  rack=a,zone=b",
        ];
        assert_eq!(lines(&COLUMNS, &rows(), &terminal(None))[..2], whole);
        assert_eq!(lines(&COLUMNS, &rows(), &terminal(Some(50)))[..2], whole);
    }

    #[test]
    fn the_least_important_column_is_cut_then_goes_first() {
        assert_eq!(
            lines(&COLUMNS, &rows(), &terminal(Some(46)))[1],
            "gpu-1                 192.168.1.100  rack=a,z…"
        );
        assert_eq!(lines(&COLUMNS, &rows(), &terminal(Some(28)))[1], "gpu-1       192.168…  rack=…");
        let narrow = lines(&COLUMNS, &rows(), &terminal(Some(27)));
        assert_eq!(narrow[0], "NAME               HOST");
        assert_eq!(narrow[1], "gpu-1              192.168…");
        assert_eq!(narrow[3], "no room for LABELS; --json…");
        assert_eq!(lines(&COLUMNS, &rows(), &terminal(Some(12)))[2], "日本日本日…");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..80 {
            for line in lines(&COLUMNS, &rows(), &terminal(Some(width))) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
