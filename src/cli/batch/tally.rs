//! The answers of a batch, counted.

use serde_json::{Value, json};

use super::resume::DoneBefore;
use crate::error::Rule;
use crate::proto::v1::export_data_keys_response::Outcome;

/// The answers of a batch, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    exported: u64,
    refused: u64,
    before: DoneBefore,
    dry_run: bool,
}

impl Tally {
    /// No answers yet, after those of earlier runs.
    pub fn new(before: DoneBefore, dry_run: bool) -> Self {
        Self { before, dry_run, ..Self::default() }
    }

    /// Counts an answer, and says whether it belongs in the output: of a dry run,
    /// only refusals do.
    pub fn count(&mut self, outcome: &Outcome) -> bool {
        let works = match outcome {
            Outcome::Exported(_) => true,
            Outcome::Error(error) => self.dry_run && error.reason == Rule::DryRunSucceeded.reason(),
        };
        *(if works { &mut self.exported } else { &mut self.refused }) += 1;
        !(self.dry_run && works)
    }

    /// How many have been answered in this run.
    pub fn answered(&self) -> u64 {
        self.exported + self.refused
    }

    /// How many of the whole batch were refused, in this run and before.
    pub fn refused(&self) -> u64 {
        self.refused + self.before.refused
    }

    /// How many there are in all.
    pub fn all(&self) -> u64 {
        self.answered() + self.before.lines
    }

    /// Whether items are only checked.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Beside a bar.
    pub fn so_far(&self) -> String {
        format!("{} exported, {} refused", self.exported, self.refused)
    }

    /// For people.
    pub fn sentence(&self) -> String {
        let Self { exported, refused, before, dry_run } = self;
        if *dry_run {
            return format!("Dry run: {exported} would be exported, {refused} refused.");
        }
        let earlier = match (before.lines, before.refused) {
            (0, _) => String::new(),
            (_, 0) => ": done before".to_owned(),
            (_, refused) => format!(": done before, {refused} of them refused"),
        };
        format!("{exported} exported, {refused} refused, {} skipped{earlier}.", before.lines)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "dry_run": self.dry_run,
            "exported": self.exported,
            "refused": self.refused,
            "skipped": self.before.lines,
            "skipped_refused": self.before.refused,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1;

    fn refusal(rule: Rule) -> Outcome {
        Outcome::Error(v1::ItemError { reason: rule.reason().to_owned(), ..Default::default() })
    }

    #[test]
    fn every_answer_is_counted_and_written() {
        let before = DoneBefore { lines: 5, refused: 2, end: 0 };
        let mut tally = Tally::new(before, false);
        assert!(tally.count(&Outcome::Exported(v1::ExportDataKeyResponse::default())));
        assert!(tally.count(&refusal(Rule::BlobDoesNotOpen)));
        assert!(tally.count(&refusal(Rule::DryRunSucceeded)), "a line that asked for it by itself");
        assert_eq!((tally.answered(), tally.refused(), tally.all()), (3, 4, 8));
        let sentence = "1 exported, 2 refused, 5 skipped: done before, 2 of them refused.";
        assert_eq!(tally.sentence(), sentence);
    }

    #[test]
    fn of_a_dry_run_only_refusals_are_written() {
        let mut tally = Tally::new(DoneBefore::default(), true);
        assert!(!tally.count(&refusal(Rule::DryRunSucceeded)));
        assert!(tally.count(&refusal(Rule::BlobDoesNotOpen)));
        assert_eq!(tally.sentence(), "Dry run: 1 would be exported, 1 refused.");
    }
}
