//! What people see: width, colours, and no text that could play tricks on the terminal.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::cli::{Color, Global};
use crate::failure::Failure;

/// Where the output goes.
pub(crate) struct Terminal {
    /// Columns; none where it is no terminal, which has room for all.
    pub(crate) width: Option<usize>,
    colours: bool,
    error_colours: bool,
}

/// How a word is shown.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

/// Of a terminal that does not say how wide it is.
const WIDTH: usize = 80;

// === impl Terminal ===

impl Terminal {
    pub(crate) fn new(global: &Global) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let wanted = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
                is_terminal && said("NO_COLOR").is_none() && said("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let width = || match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => WIDTH,
        };
        Self {
            width: is_terminal.then(width),
            colours: wanted(is_terminal),
            error_colours: wanted(io::stderr().is_terminal()),
        }
    }

    /// Whether people look at the output.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// The text in that style. What people or hives wrote goes through [`clean`] first.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        painted(self.colours, style, text)
    }

    /// Text on the standard output, as it is.
    pub(crate) fn write(&self, text: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text)?;
        Ok(out.flush()?)
    }

    /// A line on the standard output.
    pub(crate) fn say(&self, line: &str) -> Result<(), Failure> {
        self.say_all(std::slice::from_ref(&line))
    }

    /// Lines on the standard output.
    pub(crate) fn say_all(&self, lines: &[impl AsRef<str>]) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        for line in lines {
            writeln!(out, "{}", line.as_ref())?;
        }
        Ok(out.flush()?)
    }

    /// A JSON document on the standard output.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::refused(format!("cannot be JSON: {error}")))?;
        self.say(&clean_json(&text))
    }

    /// Something to know beside the result, on the standard error.
    pub(crate) fn note(&self, line: &str) {
        let _ = writeln!(io::stderr(), "{}", clean(line));
    }

    /// Good advice, for people: who runs this by the clock has it already.
    pub(crate) fn advise(&self, line: &str) {
        if self.is_terminal() {
            self.note(line);
        }
    }

    pub(crate) fn complain(&self, failure: &Failure) {
        let error = painted(self.error_colours, Style::Red, "error:");
        let _ = writeln!(io::stderr(), "{error} {}", clean(&failure.to_string()));
        if let Some(hint) = failure.hint() {
            let _ = writeln!(io::stderr(), "  {hint}");
        }
    }
}

fn painted(colours: bool, style: Style, text: &str) -> String {
    let code = match style {
        Style::Plain => "",
        Style::Bold => "1",
        Style::Dim => "2",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Red => "31",
    };
    if code.is_empty() || !colours { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

/// Control characters, marks that turn the text around them, and what is not seen at all.
fn plays_tricks(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text with those escaped, for a line that a terminal may get: `\u{202e}`.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for letter in text.chars() {
        if plays_tricks(letter) {
            cleaned.extend(letter.escape_default());
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

/// In quotes, 64 letters of it: what somebody typed, in an error.
pub(crate) fn quoted(text: &str) -> String {
    let mut letters = text.chars();
    let shown: String = letters.by_ref().take(64).collect();
    format!("\"{}{}\"", clean(&shown), if letters.next().is_some() { "..." } else { "" })
}

/// The same document with those escaped as JSON has it: `\u202e`. They stand in strings only, but for line ends.
pub(crate) fn clean_json(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && plays_tricks(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(cleaned, "\\u{unit:04x}");
            }
        } else {
            cleaned.push(letter);
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::{clean, clean_json};

    #[test]
    fn text_that_plays_tricks_is_escaped() {
        assert_eq!(clean("a\u{202e}b\x1b[2Jc\n\u{feff}"), "a\\u{202e}b\\u{1b}[2Jc\\n\\u{feff}");
        assert_eq!(clean("\u{9b}31m\u{7f}\0"), "\\u{9b}31m\\u{7f}\\u{0}");
        assert_eq!(clean("Bär 日本 \"'\\"), "Bär 日本 \"'\\");
    }

    #[test]
    fn json_with_escapes_is_the_same_json() {
        let text = "a\u{202e}b\u{9b}c\u{e0041}d\u{7f}\n\"日本";
        let plain = serde_json::to_string_pretty(&[text]).unwrap();
        let cleaned = clean_json(&plain);
        assert!(cleaned.contains("a\\u202eb\\u009bc\\udb40\\udc41d\\u007f"), "{cleaned}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&cleaned).unwrap(), [text]);
    }
}
