//! A Markdown table.

pub(crate) struct Table {
    columns: usize,
    text: String,
}

impl Table {
    /// The first column is text, the others are numbers, set to the right.
    pub(crate) fn new(head: &[&str]) -> Self {
        Self::set(head, "---:")
    }

    pub(crate) fn of_text(head: &[&str]) -> Self {
        Self::set(head, "---")
    }

    fn set(head: &[&str], rest: &str) -> Self {
        let mut table = Self { columns: head.len(), text: String::new() };
        table.row(head);
        table.row((0..head.len()).map(|n| if n == 0 { "---" } else { rest }));
        table
    }

    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let mut written = 0;
        for cell in cells {
            self.text += if written == 0 { "| " } else { " | " };
            self.text += cell.as_ref();
            written += 1;
        }
        // A short row leaves the rest empty.
        self.text += &" |".repeat(self.columns + 1 - written);
        self.text.push('\n');
    }

    pub(crate) fn text(self) -> String {
        self.text
    }
}
