//! `keyferry audit follow`: lines as they are written, from file to file.
//!
//! It looks again and again, as files on some file systems tell nobody that they grew.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::lines::{is_for_people, read};
use super::printer::Printer;
use super::selecting::{SelectArgs, ZoneArgs};
use super::unreadable;
use crate::audit::reading::{self, Lines, LogFile, RawLine};
use crate::audit::selection::{Selection, Span};
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::Output;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub struct AuditFollow {
    /// The directory of the log, or its newest file
    #[arg(value_name = "FILE|DIR")]
    path: PathBuf,
    #[command(flatten)]
    select: SelectArgs,
    /// Begin with the first line of the newest file, not with the next line that is written
    #[arg(long)]
    from_start: bool,
    #[command(flatten)]
    zone: ZoneArgs,
    /// Print the lines as they stand in the log; without it, checkpoints are left out
    /// unless --kind asks for them
    #[arg(long)]
    json: bool,
}

impl AuditFollow {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let mut followed = Followed::begin(&self.path)?;
        if !self.from_start {
            followed.skip()?;
        }
        let selection = self.select.selection(Span::default());
        let mut printer = Printer::new(Output::of(self.json), self.zone.zone())?;
        loop {
            followed.read(|line| print(line, &selection, self.json, &mut printer))?;
            printer.flush()?;
            thread::sleep(PAUSE);
        }
    }
}

fn print(
    line: &[u8],
    selection: &Selection,
    all_kinds: bool,
    printer: &mut Printer,
) -> Result<(), EarlyExit> {
    match read(line) {
        Some((line, entry))
            if selection.takes(&entry) && (all_kinds || is_for_people(selection, &entry)) =>
        {
            printer.print(&line, &entry)
        }
        _ => Ok(()),
    }
}

/// The newest file, and those that come after it.
struct Followed {
    /// The directory that later files come into; none, if the file is not one of several.
    directory: Option<PathBuf>,
    current: Option<Current>,
}

struct Current {
    file: LogFile,
    lines: Lines<BufReader<File>>,
}

impl Current {
    fn open(file: LogFile) -> Result<Self, Failure> {
        let lines = file.lines().map_err(|error| unreadable(&file.path.display(), &error))?;
        Ok(Self { file, lines })
    }

    /// Reads the whole lines that are there.
    fn read(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), EarlyExit>,
    ) -> Result<(), EarlyExit> {
        let Self { file, lines } = self;
        let cannot_read = |error| unreadable(&file.path.display(), &error);
        loop {
            match lines.read_on().map_err(cannot_read)? {
                Some(RawLine::Whole(line)) => take(line)?,
                Some(RawLine::TooLong) => {}
                Some(RawLine::Torn(_)) | None => return Ok(()),
            }
        }
    }
}

impl Followed {
    fn begin(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            let mut followed = Self { directory: Some(path.to_owned()), current: None };
            followed.current = followed.files()?.pop().map(Current::open).transpose()?;
            return Ok(followed);
        }
        let file = LogFile::at(path);
        let directory = path.parent().filter(|_| file.number.is_some());
        let here =
            |it: &Path| if it.as_os_str().is_empty() { PathBuf::from(".") } else { it.into() };
        let directory = directory.map(here);
        Ok(Self { directory, current: Some(Current::open(file)?) })
    }

    /// Leaves out what is there.
    fn skip(&mut self) -> Result<(), EarlyExit> {
        self.current.as_mut().map_or(Ok(()), |current| current.read(|_| Ok(())))
    }

    /// Reads the lines that have come, in later files too.
    fn read(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), EarlyExit>,
    ) -> Result<(), EarlyExit> {
        loop {
            // A file is written to its end before the next is begun: what is there once
            // there is a next file is all of it.
            let next = self.next()?;
            if let Some(current) = &mut self.current {
                current.read(&mut take)?;
            }
            let Some(next) = next else { return Ok(()) };
            self.current = Some(Current::open(next)?);
        }
    }

    fn next(&self) -> Result<Option<LogFile>, Failure> {
        let now = self.current.as_ref().and_then(|current| current.file.number);
        Ok(self.files()?.into_iter().find(|file| file.number > now))
    }

    fn files(&self) -> Result<Vec<LogFile>, Failure> {
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        reading::files_in(directory).map_err(|error| unreadable(&directory.display(), &error))
    }
}
