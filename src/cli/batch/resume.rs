//! Where to resume a batch: the output of an earlier run is compared with the
//! batch.
//!
//! Lines are answered in order, so that the number of whole lines says where to
//! resume, and their item ids prove that they are answers to this batch.

use std::io::{self, BufRead};
use std::iter::Peekable;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::item::{BatchItem, answer_prefix};
use super::lines::{InputLine, Lines};

/// The output of earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DoneBefore {
    /// How many lines are whole.
    pub lines: u64,
    /// How many of them are refusals.
    pub refused: u64,
    /// Where the last of them ends. A line that was cut may follow.
    pub end: u64,
}

/// Why a batch cannot be resumed with an output.
#[derive(Debug, thiserror::Error)]
pub enum CannotResume {
    /// The output cannot be read.
    #[error("the output cannot be read: {0}")]
    Output(io::Error),
    /// The batch cannot be read.
    #[error("the batch cannot be read: {0}")]
    Batch(io::Error),
    /// A line is no answer of ExportDataKeys.
    #[error("its line {0} is no answer of an export")]
    NoAnswer(u64),
    /// A line answers another item.
    #[error("its line {line} answers {found:?}, and that line of the batch is {expected:?}")]
    AnotherItem {
        /// The number of the line.
        line: u64,
        /// Its item id.
        found: String,
        /// The item id in the batch.
        expected: String,
    },
    /// The output has more lines than the batch.
    #[error("it answers more lines than the batch has")]
    Longer,
}

/// A line of the output, as far as it matters.
#[derive(Deserialize)]
struct OutputLine {
    item_id: String,
    exported: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Reads the output to its end, and the batch as far as the output answers it.
pub fn resume<I>(output: impl BufRead, items: &mut Peekable<I>) -> Result<DoneBefore, CannotResume>
where
    I: Iterator<Item = io::Result<BatchItem>>,
{
    let mut output = Lines::new(output);
    let mut done = DoneBefore::default();
    while let Some(line) = output.next().map_err(CannotResume::Output)? {
        let number = done.lines + 1;
        match line {
            InputLine::Whole(line) => {
                let answer = output_line(&line).ok_or(CannotResume::NoAnswer(number))?;
                let item =
                    items.next().ok_or(CannotResume::Longer)?.map_err(CannotResume::Batch)?;
                if answer.item_id != item.id {
                    let (found, expected) = (answer.item_id, item.id);
                    return Err(CannotResume::AnotherItem { line: number, found, expected });
                }
                done.lines = number;
                done.refused += u64::from(answer.error.is_some());
                done.end = output.offset();
            }
            InputLine::Cut(cut) => may_be_cut(&cut, number, items)?,
            InputLine::TooLong => return Err(CannotResume::NoAnswer(number)),
        }
    }
    Ok(done)
}

fn output_line(line: &[u8]) -> Option<OutputLine> {
    let line: OutputLine = serde_json::from_slice(line).ok()?;
    (line.exported.is_some() != line.error.is_some()).then_some(line)
}

/// A cut line will be removed, so that it must be the beginning of an answer:
/// another file without an end of line is not emptied.
fn may_be_cut<I>(cut: &[u8], number: u64, items: &mut Peekable<I>) -> Result<(), CannotResume>
where
    I: Iterator<Item = io::Result<BatchItem>>,
{
    let item = match items.next_if(Result::is_err) {
        Some(Err(error)) => return Err(CannotResume::Batch(error)),
        _ => items.peek().and_then(|item| item.as_ref().ok()),
    };
    let prefix = answer_prefix(&item.ok_or(CannotResume::Longer)?.id);
    let prefix = prefix.as_bytes();
    if prefix.starts_with(cut) || cut.starts_with(prefix) {
        return Ok(());
    }
    Err(CannotResume::NoAnswer(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::batch::item::{BatchItems, ItemDefaults, answer_line};
    use crate::proto::v1;
    use crate::proto::v1::export_data_keys_response::Outcome;

    const BATCH: &str = "{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}\nbroken\n";

    fn line(id: &str, outcome: Outcome) -> String {
        let answer = v1::ExportDataKeysResponse { item_id: id.to_owned(), outcome: Some(outcome) };
        answer_line(&answer).unwrap()
    }

    fn exported(id: &str) -> String {
        line(id, Outcome::Exported(v1::ExportDataKeyResponse::default()))
    }

    fn refused(id: &str) -> String {
        line(id, Outcome::Error(v1::ItemError::default()))
    }

    /// The lines that are done, and the id of the next item.
    fn resumed(output: &str) -> Result<(DoneBefore, Option<String>), CannotResume> {
        let mut items = BatchItems::new(BATCH.as_bytes(), ItemDefaults::default()).peekable();
        let done = resume(output.as_bytes(), &mut items)?;
        Ok((done, items.next().map(|item| item.unwrap().id)))
    }

    fn done(lines: u64, refused: u64, end: usize) -> DoneBefore {
        DoneBefore { lines, refused, end: end as u64 }
    }

    #[test]
    fn a_batch_is_resumed_after_the_last_whole_line() {
        let first = exported("a");
        let second = first.clone() + &refused("b");
        let all = second.clone() + &refused("3");
        for (output, expected, next) in [
            (String::new(), done(0, 0, 0), Some("a")),
            (first.clone(), done(1, 0, first.len()), Some("b")),
            (second.clone(), done(2, 1, second.len()), Some("3")),
            (all.clone(), done(3, 2, all.len()), None),
        ] {
            let (found, next_item) = resumed(&output).unwrap();
            assert_eq!((found, next_item.as_deref()), (expected, next), "{output}");
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_done_again() {
        let first = exported("a");
        let whole = first.clone() + &exported("b");
        for cut in first.len()..whole.len() {
            let (found, next_item) = resumed(&whole[..cut]).unwrap();
            assert_eq!(
                (found, next_item.as_deref()),
                (done(1, 0, first.len()), Some("b")),
                "{cut}"
            );
        }
    }

    #[test]
    fn an_output_of_something_else_is_refused() {
        let all = exported("a") + &exported("b") + &exported("3");
        for (output, expected) in [
            (exported("b"), "line 1 answers \"b\""),
            (exported("a") + &exported("a"), "line 2 answers \"a\""),
            (all.clone() + &exported("4"), "more lines"),
            (all + "{", "more lines"),
            ("somebody's words\n".to_owned(), "line 1 is no answer"),
            ("somebody's words".to_owned(), "line 1 is no answer"),
            (exported("a") + "{\"item_id\":\"c", "line 2 is no answer"),
            ("{\"item_id\":\"a\"}\n".to_owned(), "line 1 is no answer"),
            ("\n".to_owned(), "line 1 is no answer"),
            ("x".repeat(crate::cli::batch::lines::MAX_LINE_BYTES + 1), "line 1 is no answer"),
        ] {
            let refused = resumed(&output).unwrap_err().to_string();
            assert!(refused.contains(expected), "{output:.100}: {refused}");
        }
    }
}
