//! Text for people: aligned, short, and harmless to a terminal whatever a
//! server sends.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

/// The names of things.
const NAME: Style = Style::new().dimmed();
/// What must be seen.
const ALARM: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();
const COMMAND: Style = AnsiColor::Cyan.on_default();

/// What a command tells a person.
#[derive(Debug)]
pub enum Text {
    /// One sentence.
    Line(String),
    /// Sentences of our own, after an empty line.
    Paragraph(String),
    /// A warning that must be seen.
    Alarm(String),
    /// One step of several, with its number.
    Step(usize, String),
    /// A command for a shell.
    Command(String),
    /// Names and values; what is empty is left out.
    Fields(Vec<(&'static str, String)>),
    /// Rows under a heading.
    Table {
        /// The heading, left out after the first page.
        heading: Option<Vec<&'static str>>,
        /// The rows, as long as the heading.
        rows: Vec<Vec<String>>,
    },
}

impl Text {
    /// One sentence.
    pub fn line(sentence: impl Into<String>) -> Self {
        Self::Line(sentence.into())
    }

    /// Sentences after an empty line.
    pub fn paragraph(sentences: impl Into<String>) -> Self {
        Self::Paragraph(sentences.into())
    }

    /// The text in colours, which the stream leaves out where they are not
    /// wanted.
    #[must_use]
    pub fn render(&self) -> String {
        match self {
            Self::Line(line) => format!("{}\n", printable(line)),
            Self::Paragraph(lines) => lines
                .lines()
                .fold("\n".to_owned(), |text, line| format!("{text}{}\n", printable(line))),
            Self::Alarm(line) => format!("{ALARM}{}{ALARM:#}\n", printable(line)),
            Self::Step(number, line) => {
                format!("{STRONG}{number}.{STRONG:#} {}\n", printable(line))
            }
            Self::Command(command) => {
                format!("   {NAME}${NAME:#} {COMMAND}{}{COMMAND:#}\n", printable(command))
            }
            Self::Fields(fields) => render_fields(fields),
            Self::Table { heading, rows } => render_table(heading.as_deref(), rows),
        }
    }
}

fn render_fields(fields: &[(&'static str, String)]) -> String {
    let told = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = told().map(|(name, _)| name.len()).max().unwrap_or_default();
    told().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{NAME}{name:width$}{NAME:#}  {}", printable(value));
        text
    })
}

fn render_table(heading: Option<&[&'static str]>, rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let heading: Option<Vec<String>> =
        heading.map(|names| names.iter().map(ToString::to_string).collect());
    let columns = heading.iter().chain(&rows).map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = heading.iter().chain(&rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    if let Some(heading) = heading {
        let _ = writeln!(text, "{NAME}{}{NAME:#}", aligned(&heading, &widths));
    }
    for row in &rows {
        let _ = writeln!(text, "{}", aligned(row, &widths));
    }
    text
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, &width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// A failure's lines in colours.
#[must_use]
pub fn render_failure(lines: &[(&'static str, String)]) -> String {
    lines.iter().fold(String::new(), |mut text, (label, line)| {
        let style = match *label {
            "error" => ALARM,
            "help" => COMMAND.bold(),
            _ => NAME,
        };
        let _ = writeln!(text, "{style}{label}{style:#}: {line}");
        text
    })
}

/// The text with its control characters spelt out: what a server or a file says
/// must not move the cursor or rename the window.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if steers_a_terminal(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// Control characters, and those that turn the direction of writing
/// (CVE-2021-42574).
fn steers_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &Text) -> String {
        anstream::adapter::strip_str(&text.render()).to_string()
    }

    #[test]
    fn fields_are_aligned_and_empty_ones_left_out() {
        let text = Text::Fields(vec![
            ("key_id", "1".into()),
            ("delete_date", String::new()),
            ("key_state", "Enabled".into()),
        ]);
        assert_eq!(plain(&text), "key_id     1\nkey_state  Enabled\n");
    }

    #[test]
    fn rows_stand_under_their_heading() {
        let text = Text::Table {
            heading: Some(vec!["alias_name", "key_id"]),
            rows: vec![vec!["alias/x".into(), "k".into()]],
        };
        assert_eq!(plain(&text), "alias_name  key_id\nalias/x     k\n");
    }

    #[test]
    fn control_characters_are_spelt_out() {
        assert_eq!(printable("a\u{1b}]0;x\u{7}\u{202e}é"), "a\\u{1b}]0;x\\u{7}\\u{202e}é");
    }
}
