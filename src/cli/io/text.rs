//! Text for people: aligned, fitted to the terminal, and harmless to it whatever
//! a server sends.
//!
//! Only prose is wrapped. Fields, tables and commands are data: each stays on one
//! line, so that it can be copied whole.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use textwrap::{Options, WordSeparator, WordSplitter};

use crate::printable::printable;

/// Longer lines are tiring to read.
const MAX_COLUMNS: usize = 100;

const NAME: Style = Style::new().dimmed();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const STRONG: Style = Style::new().bold();
const COMMAND: Style = AnsiColor::Cyan.on_default();

/// Text that a command prints for people.
#[derive(Debug)]
pub enum Text {
    /// One sentence.
    Line(String),
    /// Lines of prose after an empty line.
    Paragraph(String),
    /// A warning that must be seen.
    Alarm(String),
    /// One step of several, with its number.
    Step(usize, String),
    /// A command for a shell.
    Command(String),
    /// Text in a language of its own, as it is.
    Verbatim(String),
    /// Names and values; empty values are left out.
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

    /// Lines of prose after an empty line.
    pub fn paragraph(lines: impl Into<String>) -> Self {
        Self::Paragraph(lines.into())
    }

    /// The text in colours, which the stream leaves out where they are not
    /// wanted, and wrapped for a terminal of so many columns, if it is one.
    pub fn render(&self, columns: Option<usize>) -> String {
        match self {
            Self::Verbatim(text) => format!("{text}\n"),
            Self::Line(line) => format!("{}\n", prose(line, columns, 0)),
            Self::Paragraph(lines) => lines
                .lines()
                .fold("\n".to_owned(), |text, line| text + &prose(line, columns, 0) + "\n"),
            Self::Alarm(line) => format!("{ALARM}{}{ALARM:#}\n", prose(line, columns, 0)),
            Self::Step(number, line) => {
                let number = format!("{number}.");
                let line = prose(line, columns, number.len() + 1);
                format!("{STRONG}{number}{STRONG:#} {line}\n")
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
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or_default();
    shown().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{NAME}{name:width$}{NAME:#}  {}", printable(value));
        text
    })
}

fn render_table(heading: Option<&[&'static str]>, rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(heading) = heading {
        table.add_row(heading);
    }
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| printable(cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let _ = match heading {
            Some(_) if number == 0 => writeln!(text, "{NAME}{line}{NAME:#}"),
            _ => writeln!(text, "{line}"),
        };
    }
    text
}

/// A failure's lines in colours, each after its label.
pub fn render_failure(lines: &[(&'static str, String)], columns: Option<usize>) -> String {
    lines.iter().fold(String::new(), |mut text, (label, line)| {
        let style = match *label {
            "error" => ALARM,
            "help" => COMMAND.bold(),
            _ => NAME,
        };
        let line = prose(line, columns, label.len() + 2);
        let _ = writeln!(text, "{style}{label}{style:#}: {line}");
        text
    })
}

/// Prose that stands after `indent` columns of its first line, wrapped between
/// words. A command in backquotes stays whole, as does what is longer than a line:
/// a terminal wraps that so that it can still be copied.
fn prose(text: &str, columns: Option<usize>, indent: usize) -> String {
    let text = printable(text);
    let Some(columns) = columns else { return text.into_owned() };
    let unbroken: Vec<String> = text
        .split('`')
        .enumerate()
        .map(|(n, part)| if n % 2 == 1 { part.replace(' ', NO_BREAK) } else { part.to_owned() })
        .collect();
    let width = columns.min(MAX_COLUMNS).saturating_sub(indent).max(1);
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let unbroken = unbroken.join("`");
    let lines = textwrap::wrap(&unbroken, options);
    lines.join(&format!("\n{:indent$}", "")).replace(NO_BREAK, " ")
}

const NO_BREAK: &str = "\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &Text, columns: Option<usize>) -> String {
        anstream::adapter::strip_str(&text.render(columns)).to_string()
    }

    fn table(rows: &[[&str; 2]]) -> String {
        let row = |row: &[&str; 2]| row.map(str::to_owned).to_vec();
        let text = Text::Table {
            heading: Some(vec!["alias_name", "key_id"]),
            rows: rows.iter().map(row).collect(),
        };
        plain(&text, Some(20))
    }

    #[test]
    fn fields_are_aligned_and_empty_ones_left_out() {
        let text = Text::Fields(vec![
            ("key_id", "1".into()),
            ("delete_date", String::new()),
            ("key_state", "Enabled".into()),
        ]);
        assert_eq!(plain(&text, None), "key_id     1\nkey_state  Enabled\n");
    }

    #[test]
    fn rows_stand_under_their_heading() {
        assert_eq!(table(&[["alias/x", "k"]]), "alias_name  key_id\nalias/x     k\n");
        let later = Text::Table { heading: None, rows: vec![vec!["a".into(), "b".into()]] };
        assert_eq!(plain(&later, None), "a  b\n");
        assert_eq!(plain(&Text::Table { heading: None, rows: vec![] }, None), "");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let found = table(&[["alias/支付密钥", "1"], ["alias/é", "2"]]);
        let expected = "alias_name      key_id\nalias/支付密钥  1\nalias/é         2\n";
        assert_eq!(found, expected);
    }

    #[test]
    fn a_row_that_is_wider_than_the_terminal_stays_whole() {
        let found = table(&[["alias/a-very-long-name", "key with a tag"]]);
        assert_eq!(found.lines().nth(1), Some("alias/a-very-long-name  key with a tag"));
    }

    #[test]
    fn prose_is_wrapped_between_words() {
        let step = Text::Step(10, "The key is made, and all is well.".to_owned());
        assert_eq!(plain(&step, Some(20)), "10. The key is made,\n    and all is well.\n");
        assert_eq!(plain(&step, None), "10. The key is made, and all is well.\n");
        let wide = Text::line("密钥 已经 生成 完毕");
        assert_eq!(plain(&wide, Some(10)), "密钥 已经\n生成 完毕\n");
        let failure = [("error", "The data-key is gone.".to_owned())];
        let failure = render_failure(&failure, Some(20));
        let failure = anstream::adapter::strip_str(&failure).to_string();
        assert_eq!(failure, "error: The data-key\n       is gone.\n");
    }

    #[test]
    fn commands_and_long_words_are_not_broken() {
        let advice = Text::line("Try `keyferry key list` or /a/path/longer/than/that now.");
        let expected = "Try\n`keyferry key list`\nor\n/a/path/longer/than/that\nnow.\n";
        assert_eq!(plain(&advice, Some(20)), expected);
        let command = Text::Command("keyferry key describe --key alias/payments".to_owned());
        assert_eq!(plain(&command, Some(20)).lines().count(), 1);
    }
}
