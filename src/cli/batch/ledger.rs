//! Where the answers of a batch go: a file that a later run goes on with, or a
//! stream.
//!
//! A line is written by one write, so that what was answered outlives the end of
//! this process; and made durable now and then and at the end, so that it
//! outlives the machine's. What is lost all the same is done again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Write};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::finished::{Finished, Unfit, finished};
use super::item::Item;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Stop};
use crate::cli::files::{Destination, is_special, sync_folder_of, unbuffered};
use crate::cli::output::stop_writing;

/// Lines that may be lost with the machine, and how long.
const SYNC_LINES: usize = 1_000;
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// Where answers go.
#[derive(Debug)]
pub struct Ledger {
    place: String,
    target: Target,
    unsynced: usize,
    synced: Instant,
}

#[derive(Debug)]
enum Target {
    /// A file that is made when the first answer is there.
    New(PathBuf),
    /// A file that may be gone on with.
    File(File),
    /// A pipe, a terminal, standard output: what is written is gone.
    Stream(File),
}

impl Ledger {
    /// Opens it, and reads on in the batch to the line to go on with.
    pub fn open<I>(out: &Destination, items: &mut Peekable<I>) -> Result<(Self, Finished), Stop>
    where
        I: Iterator<Item = io::Result<Item>>,
    {
        let place = out.to_string();
        let cannot = |error: io::Error| stop_writing(&error, &place);
        let (target, finished) = match out {
            Destination::Stdout => (stdout().map_err(cannot)?, Finished::default()),
            Destination::File(path) if is_special(path) => {
                let file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
                (Target::Stream(file), Finished::default())
            }
            Destination::File(path) => match existing(path) {
                Ok(file) => {
                    lock(&file, &place)?;
                    let finished = go_on(&file, &place, items)?;
                    (Target::File(file), finished)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (Target::New(path.clone()), Finished::default())
                }
                Err(error) => return Err(cannot(error)),
            },
        };
        Ok((Self { place, target, unsynced: 0, synced: Instant::now() }, finished))
    }

    /// Standard output, for what is told of a dry run.
    pub fn standard_output() -> Result<Self, Stop> {
        let place = Destination::Stdout.to_string();
        let target = stdout().map_err(|error| stop_writing(&error, &place))?;
        Ok(Self { place, target, unsynced: 0, synced: Instant::now() })
    }

    /// Whether there is something that a later run can go on with.
    pub fn is_lasting(&self) -> bool {
        matches!(self.target, Target::File(_))
    }

    /// Its name.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Adds a line.
    pub fn append(&mut self, line: &str) -> Result<(), Stop> {
        self.begin()?;
        if let Target::File(file) | Target::Stream(file) = &mut self.target {
            file.write_all(line.as_bytes()).map_err(|error| stop_writing(&error, &self.place))?;
        }
        self.unsynced += 1;
        if self.unsynced < SYNC_LINES && self.synced.elapsed() < SYNC_AFTER {
            return Ok(());
        }
        self.sync()
    }

    /// Makes the file where there is none yet.
    fn begin(&mut self) -> Result<(), Stop> {
        if let Target::New(path) = &self.target {
            let file = make(path).map_err(|error| stop_writing(&error, &self.place))?;
            lock(&file, &self.place)?;
            self.target = Target::File(file);
        }
        Ok(())
    }

    /// Makes durable what is there.
    pub fn sync(&mut self) -> Result<(), Stop> {
        if let Target::File(file) = &self.target {
            file.sync_data().map_err(|error| stop_writing(&error, &self.place))?;
        }
        self.unsynced = 0;
        self.synced = Instant::now();
        Ok(())
    }

    /// Ends it: a batch that is done has its file, be that empty.
    pub fn finish(&mut self) -> Result<(), Stop> {
        self.begin()?;
        self.sync()
    }
}

fn stdout() -> io::Result<Target> {
    unbuffered(io::stdout()).map(Target::Stream)
}

fn existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

/// A new file, whose name survives a crash.
fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create_new(true).open(path)?;
    sync_folder_of(path)?;
    Ok(file)
}

/// Two runs into one file would mix their lines.
fn lock(file: &File, place: &str) -> Result<(), Stop> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(place).into()),
        Err(TryLockError::Error(error)) => Err(stop_writing(&error, place)),
    }
}

fn in_use(place: &str) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{place} is being written by another command."),
        "Wait until that one has ended, or give another --out.",
    )
}

/// Reads what is done, and removes the line that was cut.
fn go_on<I>(file: &File, place: &str, items: &mut Peekable<I>) -> Result<Finished, Stop>
where
    I: Iterator<Item = io::Result<Item>>,
{
    let finished =
        finished(BufReader::new(file), items).map_err(|unfit| not_ours(&unfit, place))?;
    file.set_len(finished.end).map_err(|error| stop_writing(&error, place))?;
    Ok(finished)
}

fn not_ours(unfit: &Unfit, place: &str) -> Failure {
    match unfit {
        Unfit::Batch(_) | Unfit::Output(_) => Failure::input(
            format!("It cannot be seen where to go on: {unfit}."),
            "See that both files are there and that you may read them.",
        ),
        _ => Failure::new(
            Exit::InUse,
            format!("{place} is already there and is not of this batch: {unfit}."),
            "Give the batch that it was begun with, or another --out; to begin anew, remove it.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::batch::item::{Defaults, Items};

    fn open(path: &Path) -> Result<(Ledger, Finished), Stop> {
        let batch: &[u8] = b"{\"item_id\":\"a\"}\n{\"item_id\":\"b\"}\n";
        let mut items = Items::new(batch, Defaults::default()).peekable();
        Ledger::open(&Destination::File(path.to_owned()), &mut items)
    }

    const LINE: &str = "{\"item_id\":\"a\",\"error\":{}}\n";

    #[test]
    fn a_cut_line_is_removed_and_the_next_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut ledger, finished) = open(&path).unwrap();
        assert_eq!(finished, Finished::default());
        assert!(!path.exists(), "it is made with the first answer");
        ledger.append(LINE).unwrap();
        ledger.append("{\"item_id\":\"b").unwrap();
        drop(ledger);
        let (mut ledger, finished) = open(&path).unwrap();
        assert_eq!((finished.lines, finished.refused), (1, 1));
        ledger.append("the next\n").unwrap();
        ledger.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LINE}the next\n"));
    }

    #[test]
    fn what_was_broken_off_at_once_leaves_no_file_and_what_is_done_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut ledger, _) = open(&path).unwrap();
        ledger.sync().unwrap();
        assert!(!ledger.is_lasting() && !path.exists());
        ledger.finish().unwrap();
        assert!(ledger.is_lasting() && path.exists());
    }

    #[test]
    fn what_is_not_of_this_batch_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "precious").unwrap();
        assert!(open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn two_do_not_write_into_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, LINE).unwrap();
        let (_first, _) = open(&path).unwrap();
        let Err(Stop::Failed(failure)) = open(&path) else { panic!("a second one") };
        assert_eq!(failure.exit(), Exit::InUse);
    }

    #[test]
    fn a_stream_is_not_gone_on_with() {
        let (mut ledger, _) = open(Path::new("/dev/null")).unwrap();
        assert!(!ledger.is_lasting());
        ledger.append(LINE).unwrap();
        ledger.sync().unwrap();
    }
}
