//! The output of a batch. If it is a file, it is the journal too: a later run
//! resumes after its last whole line.
//!
//! Each line is written by one write, so that it survives the end of this process;
//! lines are synced now and then and at the end, so that they survive a crash of
//! the machine. A later run repeats the items whose lines were lost.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write};
use std::iter::Peekable;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::item::BatchItem;
use super::resume::{CannotResume, DoneBefore, resume};
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output_target::{OutputTarget, is_special};
use crate::cli::io::stream::{cannot_write, unbuffered};
use crate::durable;
use crate::printable::printable_json;

/// Lines are synced when there are so many, or after so long.
const SYNC_LINES: usize = 1_000;
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// The output of a batch.
#[derive(Debug)]
pub struct Journal {
    name: String,
    output: JournalOutput,
    unsynced: usize,
    synced: Instant,
}

#[derive(Debug)]
enum JournalOutput {
    /// A file that is made with the first answer.
    New(PathBuf),
    /// A file that a later run can resume.
    File(File),
    /// A pipe, a terminal, standard output: lines cannot be read back.
    Stream(File),
}

impl Journal {
    /// Opens the output, and reads the batch up to the item to resume with.
    pub fn open<I>(
        target: &OutputTarget,
        items: &mut Peekable<I>,
    ) -> Result<(Self, DoneBefore), EarlyExit>
    where
        I: Iterator<Item = io::Result<BatchItem>>,
    {
        let OutputTarget::File(path) = target else {
            return Ok((Self::standard_output()?, DoneBefore::default()));
        };
        let cannot = |error: io::Error| cannot_write(target, &error);
        let (output, done) = if is_special(path) {
            let file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
            (JournalOutput::Stream(file), DoneBefore::default())
        } else {
            match OpenOptions::new().read(true).append(true).open(path) {
                Ok(file) => {
                    lock(&file, target)?;
                    let done = resume(BufReader::new(&file), items)
                        .map_err(|refused| cannot_resume(&refused, target))?;
                    // A line that was cut is removed.
                    file.set_len(done.end).map_err(cannot)?;
                    (JournalOutput::File(file), done)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (JournalOutput::New(path.clone()), DoneBefore::default())
                }
                Err(error) => return Err(cannot(error)),
            }
        };
        Ok((Self::new(target, output), done))
    }

    /// Standard output: of a dry run, or where it is asked for.
    pub fn standard_output() -> Result<Self, EarlyExit> {
        let target = &OutputTarget::Stdout;
        let stdout = unbuffered(io::stdout()).map_err(|error| cannot_write(target, &error))?;
        Ok(Self::new(target, JournalOutput::Stream(stdout)))
    }

    fn new(target: &OutputTarget, output: JournalOutput) -> Self {
        Self { name: target.to_string(), output, unsynced: 0, synced: Instant::now() }
    }

    /// Whether a later run can resume it.
    pub fn can_be_resumed(&self) -> bool {
        matches!(self.output, JournalOutput::File(_))
    }

    /// The name of the output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a line.
    pub fn append(&mut self, line: &str) -> Result<(), EarlyExit> {
        self.make_file()?;
        let written = match &mut self.output {
            JournalOutput::File(file) => file.write_all(line.as_bytes()),
            // It may be a terminal.
            JournalOutput::Stream(file) => file.write_all(printable_json(line).as_bytes()),
            JournalOutput::New(_) => Ok(()),
        };
        written.map_err(|error| cannot_write(&self.name, &error))?;
        self.unsynced += 1;
        if self.unsynced < SYNC_LINES && self.synced.elapsed() < SYNC_AFTER {
            return Ok(());
        }
        self.sync()
    }

    /// Makes all lines durable.
    pub fn sync(&mut self) -> Result<(), EarlyExit> {
        if let JournalOutput::File(file) = &self.output {
            file.sync_data().map_err(|error| cannot_write(&self.name, &error))?;
        }
        self.unsynced = 0;
        self.synced = Instant::now();
        Ok(())
    }

    /// Ends a batch that is done: it has a file, even an empty one.
    pub fn finish(&mut self) -> Result<(), EarlyExit> {
        self.make_file()?;
        self.sync()
    }

    /// Makes the file, if there is none yet, and its name durable.
    fn make_file(&mut self) -> Result<(), EarlyExit> {
        if let JournalOutput::New(path) = &self.output {
            let made = OpenOptions::new().read(true).append(true).create_new(true).open(path);
            let made = made.and_then(|file| durable::sync_parent(path).map(|()| file));
            let file = made.map_err(|error| cannot_write(&self.name, &error))?;
            lock(&file, &self.name)?;
            self.output = JournalOutput::File(file);
        }
        Ok(())
    }
}

/// Two runs into one file would mix their lines.
fn lock(file: &File, name: &dyn fmt::Display) -> Result<(), EarlyExit> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::InUse,
            format!("{name} is being written by another command."),
            "Wait until that command has ended, or give another --out.",
        )
        .into()),
        Err(TryLockError::Error(error)) => Err(cannot_write(name, &error)),
    }
}

fn cannot_resume(refused: &CannotResume, out: &OutputTarget) -> Failure {
    match refused {
        CannotResume::Batch(_) | CannotResume::Output(_) => Failure::input(
            format!("The batch cannot be resumed: {refused}."),
            "Check that both files exist and that you may read them.",
        ),
        _ => Failure::new(
            Exit::InUse,
            format!("{out} already exists and is not of this batch: {refused}."),
            "Give the batch that it was begun with, or another --out; to begin anew, remove the file.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cli::batch::item::{BatchItems, ItemDefaults};

    fn open(path: &Path) -> Result<(Journal, DoneBefore), EarlyExit> {
        let batch: &[u8] = b"{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}\n";
        let mut items = BatchItems::new(batch, ItemDefaults::default()).peekable();
        Journal::open(&OutputTarget::File(path.to_owned()), &mut items)
    }

    const LINE: &str = "{\"item_id\":\"a\",\"error\":{}}\n";

    #[test]
    fn a_cut_line_is_removed_and_the_next_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut journal, done) = open(&path).unwrap();
        assert_eq!(done, DoneBefore::default());
        assert!(!path.exists(), "it is made with the first answer");
        journal.append(LINE).unwrap();
        journal.append("{\"item_id\":\"b").unwrap();
        drop(journal);
        let (mut journal, done) = open(&path).unwrap();
        assert_eq!((done.lines, done.refused), (1, 1));
        journal.append("the next\n").unwrap();
        journal.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LINE}the next\n"));
    }

    #[test]
    fn a_run_without_answers_leaves_no_file_and_a_batch_that_is_done_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut journal, _) = open(&path).unwrap();
        journal.sync().unwrap();
        assert!(!journal.can_be_resumed() && !path.exists());
        journal.finish().unwrap();
        assert!(journal.can_be_resumed() && path.exists());
    }

    #[test]
    fn an_output_of_something_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "precious").unwrap();
        assert!(open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn two_runs_do_not_write_into_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, LINE).unwrap();
        let (_first, _) = open(&path).unwrap();
        let Err(EarlyExit::Failed(failure)) = open(&path) else { panic!("a second one") };
        assert_eq!(failure.exit(), Exit::InUse);
    }

    #[test]
    fn a_stream_cannot_be_resumed() {
        let (mut journal, _) = open(Path::new("/dev/null")).unwrap();
        assert!(!journal.can_be_resumed());
        journal.append(LINE).unwrap();
        journal.sync().unwrap();
    }
}
