//! Where to go on: what an output file says is done, held against the batch.
//!
//! Lines are answered in order, so that the number of whole lines says where to
//! go on, and their names prove that they are answers to this batch.

use std::io::{self, BufRead};
use std::iter::Peekable;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::item::{Item, beginning};
use super::lines::{Line, Lines};

/// What was done before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// How many lines are whole.
    pub lines: u64,
    /// How many of them are refusals.
    pub refused: u64,
    /// Where the last of them ends. What follows is a line that was cut.
    pub end: u64,
}

/// Why the output is not this batch's.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error("the output cannot be read: {0}")]
    Output(io::Error),
    /// The batch cannot be read.
    #[error("the batch cannot be read: {0}")]
    Batch(io::Error),
    /// A line is no answer of ExportDataKeys.
    #[error("its line {0} is no answer of an export")]
    NoAnswer(u64),
    /// A line answers something else.
    #[error("its line {line} answers {found:?}, and that of the batch is {expected:?}")]
    Another {
        /// Which line.
        line: u64,
        /// Its name.
        found: String,
        /// The name in the batch.
        expected: String,
    },
    /// It has more lines than the batch.
    #[error("it answers more lines than the batch has")]
    Longer,
}

/// A line of the output, as far as it matters.
#[derive(Deserialize)]
struct Told {
    item_id: String,
    exported: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
}

/// Reads the output to its end, and the batch as far as the output answers it.
pub fn finished<I>(output: impl BufRead, items: &mut Peekable<I>) -> Result<Finished, Unfit>
where
    I: Iterator<Item = io::Result<Item>>,
{
    let mut output = Lines::new(output);
    let mut finished = Finished::default();
    while let Some(line) = output.next().map_err(Unfit::Output)? {
        let number = finished.lines + 1;
        match line {
            Line::Whole(line) => {
                let told = told(&line).ok_or(Unfit::NoAnswer(number))?;
                let item = items.next().ok_or(Unfit::Longer)?.map_err(Unfit::Batch)?;
                if told.item_id != item.id {
                    let (found, expected) = (told.item_id, item.id);
                    return Err(Unfit::Another { line: number, found, expected });
                }
                finished.lines = number;
                finished.refused += u64::from(told.error.is_some());
                finished.end = output.offset();
            }
            Line::Cut(cut) => may_be_cut(&cut, number, items)?,
            Line::TooLong => return Err(Unfit::NoAnswer(number)),
        }
    }
    Ok(finished)
}

fn told(line: &[u8]) -> Option<Told> {
    let told: Told = serde_json::from_slice(line).ok()?;
    (told.exported.is_some() != told.error.is_some()).then_some(told)
}

/// A cut line is removed, so that it must be the beginning of ours: somebody's
/// file without an end of line is not emptied.
fn may_be_cut<I>(cut: &[u8], number: u64, items: &mut Peekable<I>) -> Result<(), Unfit>
where
    I: Iterator<Item = io::Result<Item>>,
{
    let item = match items.next_if(Result::is_err) {
        Some(Err(error)) => return Err(Unfit::Batch(error)),
        _ => items.peek().and_then(|item| item.as_ref().ok()),
    };
    let beginning = beginning(&item.ok_or(Unfit::Longer)?.id);
    let beginning = beginning.as_bytes();
    if beginning.starts_with(cut) || cut.starts_with(beginning) {
        return Ok(());
    }
    Err(Unfit::NoAnswer(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::batch::item::{Defaults, Items, told};
    use crate::proto::v1;
    use crate::proto::v1::export_data_keys_response::Outcome;

    const BATCH: &str = "{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}\nbroken\n";

    fn line(id: &str, outcome: Outcome) -> String {
        told(&v1::ExportDataKeysResponse { item_id: id.to_owned(), outcome: Some(outcome) })
            .unwrap()
    }

    fn exported(id: &str) -> String {
        line(id, Outcome::Exported(v1::ExportDataKeyResponse::default()))
    }

    fn refused(id: &str) -> String {
        line(id, Outcome::Error(v1::ItemError::default()))
    }

    /// What is done, and the name of the item to go on with.
    fn resumed(output: &str) -> Result<(Finished, Option<String>), Unfit> {
        let mut items = Items::new(BATCH.as_bytes(), Defaults::default()).peekable();
        let finished = finished(output.as_bytes(), &mut items)?;
        Ok((finished, items.next().map(|item| item.unwrap().id)))
    }

    fn done(lines: u64, refused: u64, end: usize) -> Finished {
        Finished { lines, refused, end: end as u64 }
    }

    #[test]
    fn it_goes_on_after_the_last_whole_line() {
        let first = exported("a");
        let second = first.clone() + &refused("b");
        let all = second.clone() + &refused("3");
        for (output, expected, next) in [
            (String::new(), done(0, 0, 0), Some("a")),
            (first.clone(), done(1, 0, first.len()), Some("b")),
            (second.clone(), done(2, 1, second.len()), Some("3")),
            (all.clone(), done(3, 2, all.len()), None),
        ] {
            let (found, goes_on) = resumed(&output).unwrap();
            assert_eq!((found, goes_on.as_deref()), (expected, next), "{output}");
        }
    }

    #[test]
    fn a_line_cut_anywhere_is_done_again() {
        let first = exported("a");
        let whole = first.clone() + &exported("b");
        for cut in first.len()..whole.len() {
            let (found, goes_on) = resumed(&whole[..cut]).unwrap();
            assert_eq!((found, goes_on.as_deref()), (done(1, 0, first.len()), Some("b")), "{cut}");
        }
    }

    #[test]
    fn what_answers_something_else_is_left_alone() {
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
            let unfit = resumed(&output).unwrap_err().to_string();
            assert!(unfit.contains(expected), "{output:.100}: {unfit}");
        }
    }
}
