//! Whether lines follow one another, and which of them was changed, taken out or put in
//! where they do not.
//!
//! The next line proves the one before it: it names its digest. Where it names another,
//! either of the two may have been changed; the line after that tells which.

use super::super::chain::{Head, LineDigest, LinkedLine};
use super::flaw::{Findings, Flaw, Place};

/// Where the chain is.
#[derive(Debug, Default)]
pub(super) struct Linking {
    tip: Option<Tip>,
    /// Another line that lines may go on from: before some were left out, or put in.
    aside: Option<Head>,
    /// Lines since the tip that are none.
    unread: u64,
    suspect: Option<Suspect>,
}

/// The last line.
#[derive(Clone, Copy, Debug)]
struct Tip {
    head: Head,
    place: Place,
    /// It has been told of: that the next line names another digest says nothing more.
    is_told: bool,
}

/// A line whose digest the next one does not name, though its number follows.
#[derive(Debug)]
struct Suspect {
    line: Tip,
    named: LineDigest,
}

impl Suspect {
    fn convict(self, findings: &mut Findings) {
        let Self { line, named: expected } = self;
        let flaw = Flaw::Changed { expected, found: line.head.digest };
        findings.tell(line.place, Some(line.head.seq), flaw);
    }

    fn leave_open(self, findings: &mut Findings) {
        let Self { line, named: expected } = self;
        let flaw = Flaw::ChangedOrNext { expected, found: line.head.digest };
        findings.tell(line.place, Some(line.head.seq), flaw);
    }
}

impl Linking {
    /// The end of the chain so far.
    pub(super) fn head(&self) -> Option<Head> {
        self.tip.map(|tip| tip.head)
    }

    /// The number that comes next.
    pub(super) fn expected(&self) -> u64 {
        self.head().map_or(1, |head| head.seq.saturating_add(1).saturating_add(self.unread))
    }

    /// The last line has been told of.
    pub(super) fn tip_is_told(&mut self) {
        if let Some(tip) = &mut self.tip {
            tip.is_told = true;
        }
    }

    /// The last line is proven to be as it was written: if it names another digest than
    /// the line before it has, that was changed.
    pub(super) fn tip_is_proven(&mut self, findings: &mut Findings) {
        if let Some(suspect) = self.suspect.take() {
            suspect.convict(findings);
        }
    }

    /// Takes what is no line.
    pub(super) fn take_unreadable(&mut self, place: Place, findings: &mut Findings) {
        if let Some(suspect) = self.suspect.take() {
            suspect.leave_open(findings);
        }
        findings.tell(place, None, Flaw::Unreadable { expected: self.expected() });
        self.unread += 1;
    }

    /// Takes a line, and says whether it follows the line before it.
    pub(super) fn take(
        &mut self,
        line: &LinkedLine<'_>,
        head: Head,
        place: Place,
        findings: &mut Findings,
    ) -> bool {
        let next = Tip { head, place, is_told: false };
        let Some(tip) = self.tip.replace(next) else { return self.begin(line, place, findings) };
        let (suspect, unread) = (self.suspect.take(), std::mem::take(&mut self.unread));
        if line.prev == tip.head.digest {
            if let Some(suspect) = suspect {
                suspect.convict(findings);
            }
            return self.keep_number(tip.head.seq.saturating_add(1), place, findings);
        }
        if self.aside.is_some_and(|aside| line.follows(&aside)) {
            self.go_back(line, tip, place, findings);
        } else if unread > 0 && line.seq > tip.head.seq {
            Self::measure_gap(line, tip, unread, place, findings);
        } else if line.seq == tip.head.seq.saturating_add(1) {
            self.doubt(line, tip, suspect.as_ref(), findings);
            return false;
        } else {
            self.jump(line, tip, place, findings);
        }
        if let Some(suspect) = suspect {
            suspect.leave_open(findings);
        }
        false
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, findings: &mut Findings) {
        if let Some(suspect) = self.suspect.take() {
            suspect.leave_open(findings);
        }
    }

    /// The first line names no line before it if it is number 1.
    fn begin(&mut self, line: &LinkedLine<'_>, place: Place, findings: &mut Findings) -> bool {
        if self.unread == 0 && line.prev == LineDigest::NONE {
            return self.keep_number(1, place, findings);
        }
        self.unread = 0;
        if line.seq == 1 {
            findings.tell(place, Some(1), Flaw::OtherForm);
            self.tip_is_told();
        }
        line.seq != 1
    }

    /// The last line names the one before it, and so must its number.
    fn keep_number(&mut self, expected: u64, place: Place, findings: &mut Findings) -> bool {
        let Some(tip) = self.tip.as_mut().filter(|tip| tip.head.seq != expected) else {
            return true;
        };
        let found = tip.head.seq;
        (tip.head.seq, tip.is_told) = (expected, true);
        findings.tell(place, Some(expected), Flaw::Renumbered { expected, found });
        false
    }

    /// Lines go on from where others were put in or left out.
    fn go_back(&mut self, line: &LinkedLine<'_>, tip: Tip, place: Place, findings: &mut Findings) {
        self.aside = Some(tip.head);
        if line.seq <= tip.head.seq {
            Self::misplaced(line, tip, place, findings);
        }
    }

    /// More numbers are left out than there are lines that cannot be read.
    fn measure_gap(
        line: &LinkedLine<'_>,
        tip: Tip,
        unread: u64,
        place: Place,
        findings: &mut Findings,
    ) {
        if line.seq - tip.head.seq - 1 > unread {
            let missing = Flaw::Missing { from: tip.head.seq + 1, to: line.seq - 1 };
            findings.tell(place, Some(line.seq), missing);
        }
    }

    /// One of two lines was changed, whose numbers follow one another.
    fn doubt(
        &mut self,
        line: &LinkedLine<'_>,
        tip: Tip,
        earlier: Option<&Suspect>,
        findings: &mut Findings,
    ) {
        let suspect = Suspect { line: tip, named: line.prev };
        if earlier.is_some() {
            // It was the witness against the line before it, and is none.
            suspect.convict(findings);
        } else if !tip.is_told {
            self.suspect = Some(suspect);
        }
    }

    /// The line is of another place.
    fn jump(&mut self, line: &LinkedLine<'_>, tip: Tip, place: Place, findings: &mut Findings) {
        self.aside = Some(tip.head);
        if line.seq > tip.head.seq {
            let missing = Flaw::Missing { from: tip.head.seq.saturating_add(1), to: line.seq - 1 };
            findings.tell(place, Some(line.seq), missing);
        } else {
            Self::misplaced(line, tip, place, findings);
        }
    }

    fn misplaced(line: &LinkedLine<'_>, tip: Tip, place: Place, findings: &mut Findings) {
        let (expected, found) = (tip.head.seq.saturating_add(1), line.seq);
        let is_tip = line.seq == tip.head.seq && line.head() == tip.head;
        let flaw = if is_tip {
            Flaw::Repeated { expected, found }
        } else {
            Flaw::OutOfOrder { expected, found }
        };
        findings.tell(place, Some(found), flaw);
    }
}
