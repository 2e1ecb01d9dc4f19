//! `keyferry audit verify`: whether a log is whole and as it was written.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{LogArgs, unreadable};
use crate::audit::note::{Checkpoint, VerifierKey};
use crate::audit::reading::LogFile;
use crate::audit::verification::{LineAt, Trusted, Verdict, Verification};
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::Input;
use crate::cli::io::output::{Output, OutputArgs};
use crate::cli::io::progress::Progress;
use crate::cli::io::text::Text;

/// How many flaws are told, of all.
const FLAWS_MAX: usize = 20;
/// The bar is drawn anew after so many bytes at the earliest.
const SHOWN_EVERY_BYTES: u64 = 1 << 20;
const KEY_BYTES_MAX: usize = 1024;
const NOTE_BYTES_MAX: usize = 1 << 20;

#[derive(Args, Debug)]
pub struct AuditVerify {
    #[command(flatten)]
    log: LogArgs,
    /// The public key of the log's checkpoints, as keyferry/audit/…+…+…, or @ and a file
    /// that holds it. Take it from the server when you set it up, not from the log
    #[arg(long = "checkpoint-key", alias = "key", value_name = "KEY|@FILE")]
    key: String,
    /// A checkpoint that you kept elsewhere: the log must reach it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl AuditVerify {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let key = self.key()?;
        let kept = self.checkpoint.as_ref().map(|path| kept(path, &key)).transpose()?;
        let files = self.log.files()?;
        let output = self.output.output();
        let verdict = verify(&files, Trusted { key, kept }, !output.is_json())?;
        print(&verdict, output)
    }

    fn key(&self) -> Result<VerifierKey, Failure> {
        const ADVICE: &str = "It begins with keyferry/audit/ and the store's id. The server logs it when it starts, and each line of kind start has it as checkpoint_key.";
        let Some(path) = self.key.strip_prefix('@') else {
            return VerifierKey::parse(&self.key).ok_or_else(|| {
                Failure::usage("--checkpoint-key is not the public key of an audit log.", ADVICE)
            });
        };
        let input = Input::File(PathBuf::from(path));
        let bytes = input.read("checkpoint key", KEY_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
        VerifierKey::parse(text).ok_or_else(|| {
            Failure::input(format!("{path} does not hold the public key of an audit log."), ADVICE)
        })
    }
}

/// The checkpoint that was kept.
fn kept(path: &Path, key: &VerifierKey) -> Result<Checkpoint, Failure> {
    let bytes = Input::from(path).read("checkpoint", NOTE_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|note| key.open(note));
    text.and_then(Checkpoint::parse).ok_or_else(|| {
        Failure::input(
            format!("{} does not hold a checkpoint that this key signed.", path.display()),
            "Keep checkpoints as they are, with their line feeds: `keyferry audit show DIR --kind checkpoint --limit 1 --json | jq -j .note > FILE`.",
        )
    })
}

fn verify(files: &[LogFile], trusted: Trusted, shows_bar: bool) -> Result<Verdict, Failure> {
    let sizes = files.iter().map(|file| fs::metadata(&file.path).map_or(0, |it| it.len()));
    let shows_bar = shows_bar && io::stderr().is_terminal();
    let progress = Progress::new(Some(sizes.sum()), shows_bar);
    let mut verification = Verification::new(trusted, FLAWS_MAX);
    let (mut read, mut shown) = (0, 0);
    for file in files {
        let verified = verification.read(file, |bytes| {
            read += bytes;
            if read - shown >= SHOWN_EVERY_BYTES {
                shown = read;
                progress.show(read, || file.path.display().to_string());
            }
        });
        if let Err(error) = verified {
            progress.end();
            return Err(unreadable(&file.path.display(), &error));
        }
    }
    progress.end();
    Ok(verification.end())
}

fn print(verdict: &Verdict, output: Output) -> Result<(), EarlyExit> {
    for flaw in &verdict.flaws {
        output.hint(&Text::Alarm(flaw.to_string()));
    }
    let mut value = json!(verdict);
    if let Some(value) = value.as_object_mut() {
        value.insert("intact".to_owned(), verdict.is_intact().into());
    }
    output.result(&value, || Text::Fields(fields(verdict)))?;
    if !output.is_json() {
        output.print(&Text::paragraph(sentences(verdict).join("\n")))?;
    }
    if verdict.is_intact() {
        return Ok(());
    }
    Err(failure(verdict).into())
}

fn failure(verdict: &Verdict) -> Failure {
    let told = verdict.flaws.len() as u64;
    let happened = match verdict.flaw_count {
        1 => "The log has 1 flaw.".to_owned(),
        count if count > told => {
            format!("The log has {count} flaws, of which the first {told} are told.")
        }
        count => format!("The log has {count} flaws."),
    };
    Failure::new(
        Exit::Refused,
        happened,
        "Keep the files as they are, and compare them with copies: of a backup, or of where the log is sent.",
    )
}

fn fields(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let at =
        |at: &Option<LineAt>, of: fn(&LineAt) -> String| at.as_ref().map(of).unwrap_or_default();
    let seq = |at: &LineAt| at.seq.to_string();
    let time = |at: &LineAt| at.time.clone();
    vec![
        ("files", verdict.files.to_string()),
        ("lines", verdict.lines.to_string()),
        ("first_seq", at(&verdict.first, seq)),
        ("last_seq", at(&verdict.last, seq)),
        ("from", at(&verdict.first, time)),
        ("to", at(&verdict.last, time)),
        ("starts", verdict.starts.to_string()),
        ("checkpoints", verdict.checkpoints.to_string()),
        ("signed_to", at(&verdict.signed, seq)),
        ("unsigned_lines", verdict.unsigned_lines.to_string()),
        ("open_changes", verdict.open_changes.to_string()),
        ("torn_lines", verdict.torn.len().to_string()),
        ("flaws", verdict.flaw_count.to_string()),
    ]
}

/// What there is to know beside flaws.
fn sentences(verdict: &Verdict) -> Vec<String> {
    let mut sentences = Vec::new();
    if verdict.is_intact() {
        sentences.push(
            "Nothing is missing between the first line and the last, and nothing was changed."
                .to_owned(),
        );
    }
    if let Some(first) = verdict.first.as_ref().filter(|first| first.seq > 1) {
        sentences.push(format!(
            "Lines before number {} are not here: earlier files were left out or deleted.",
            first.seq
        ));
    }
    if verdict.begins_after_kept {
        sentences.push(
            "The log begins after the checkpoint that was kept, and cannot be held to it."
                .to_owned(),
        );
    }
    sentences.push(reach(verdict));
    if !verdict.ends_with_stop {
        sentences.push("The last process did not end in order: it still writes, or crashed, or the end was cut. A checkpoint that was kept elsewhere tells: --checkpoint.".to_owned());
    }
    for torn in &verdict.torn {
        sentences.push(format!(
            "{}, line {}: a crash cut this line short, and it does not count.",
            torn.file, torn.line
        ));
    }
    for open in &verdict.open {
        let place = format!("{}, line {}", open.file, open.line);
        sentences.push(format!("{place}: change {} has no outcome yet.", open.event));
    }
    sentences
}

/// How far signatures reach.
fn reach(verdict: &Verdict) -> String {
    match (&verdict.signed, verdict.unsigned_lines) {
        (None, _) => "No line is signed.".to_owned(),
        (Some(signed), 0) => {
            format!("All lines are signed; the last checkpoint is of {}.", signed.time)
        }
        (Some(signed), 1) => format!(
            "1 line after the last checkpoint, of {}, is chained but not signed yet.",
            signed.time
        ),
        (Some(signed), lines) => format!(
            "{lines} lines after the last checkpoint, of {}, are chained but not signed yet.",
            signed.time
        ),
    }
}
