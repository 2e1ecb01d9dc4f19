//! The directory of policies: read whole, and read again when it changes.
//!
//! ```text
//! *.cedar        policies
//! groups.toml    groups of principals, if there are any
//! *.test.toml    tests of policies, *.pem keys that they speak of, *.cedarschema and *.md
//!                for people, and names that begin with a dot: passed over
//! ```
//!
//! Any other name is refused: `exports.ceder` would be a policy that is never read, and
//! a `forbid` that is not read forbids nothing. So is a file that others can write, as
//! they could permit themselves everything.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::access::cedar::policy_set::PolicySet;
use crate::access::cedar::source::{Place, PolicyTexts, Problem, Text};
use crate::access::policy::Policy;
use crate::secret_file;

/// Most bytes of all files together.
const MAX_BYTES: u64 = 4 << 20;
/// Most files, those that are passed over included.
const MAX_FILES: usize = 4096;

/// The file of groups.
const GROUPS: &str = "groups.toml";

/// For whom the policies are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A server that decides by them.
    Server,
    /// Somebody who checks them, in a checkout that may be anybody's.
    Reviewer,
}

/// Policies that are of no use: every fault, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policies in {} are not usable:\n{}", dir.display(), lines(problems))]
pub struct UnusablePolicies {
    dir: PathBuf,
    /// The faults.
    pub problems: Vec<Problem>,
}

fn lines(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| format!("  {problem}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Reads a directory, and judges what it holds.
pub fn load(dir: &Path, reader: Reader) -> Result<PolicySet, UnusablePolicies> {
    read(dir, reader)
        .and_then(|texts| PolicySet::read(&texts))
        .map_err(|problems| UnusablePolicies { dir: dir.to_owned(), problems })
}

/// Reads the files of a directory.
pub fn read(dir: &Path, reader: Reader) -> Result<PolicyTexts, Vec<Problem>> {
    let mut names =
        names_in(dir).map_err(|error| vec![of_dir(format!("it cannot be read: {error}"))])?;
    names.sort_unstable();
    let (mut texts, mut problems, mut left) = (PolicyTexts::default(), Vec::new(), MAX_BYTES);
    for file in names {
        let is_policy = has_ending(&file, "cedar");
        if !is_policy && file != GROUPS {
            if !is_passed_over(&file) {
                let text = "is none of *.cedar, groups.toml, *.test.toml, *.pem and *.md, and no policy may be overlooked: rename it, or take it away";
                problems.push(of_file(file, text.to_owned()));
            }
            continue;
        }
        match read_file(&dir.join(&file), reader, &mut left) {
            Ok(text) if is_policy => texts.policies.push(Text { file, text }),
            Ok(text) => texts.groups = Some(Text { file, text }),
            Err(text) => problems.push(of_file(file, text)),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        if names.len() == MAX_FILES {
            return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
        }
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn has_ending(file: &str, ending: &str) -> bool {
    !file.starts_with('.') && Path::new(file).extension().is_some_and(|found| found == ending)
}

/// Names that begin with a dot are editors' and Kubernetes's.
fn is_passed_over(file: &str) -> bool {
    let for_people = ["md", "pem", "cedarschema"].iter().any(|ending| has_ending(file, ending));
    file.starts_with('.') || file.ends_with(".test.toml") || for_people
}

fn read_file(path: &Path, reader: Reader, left: &mut u64) -> Result<String, String> {
    let file = match reader {
        Reader::Server => {
            secret_file::open_unless_others_can_write(path).map_err(|error| error.to_string())?
        }
        Reader::Reviewer => {
            fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?
        }
    };
    let mut text = String::new();
    let read = file.take(*left + 1).read_to_string(&mut text);
    let read = read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "is not UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    })?;
    let read = u64::try_from(read).unwrap_or(u64::MAX);
    *left = left
        .checked_sub(read)
        .ok_or_else(|| format!("is too much: all files together may have {MAX_BYTES} bytes"))?;
    Ok(text)
}

fn of_file(file: String, text: String) -> Problem {
    Problem { place: Some(Place { file, line: None }), text }
}

fn of_dir(text: String) -> Problem {
    Problem { place: None, text }
}

/// A directory whose policies decide, looked at again and again.
#[derive(Debug)]
pub struct PolicyDir {
    dir: PathBuf,
    policy: Policy,
    /// What was last seen and not taken: it must be seen twice, as a directory may be
    /// found half copied.
    seen: Option<Seen>,
    /// What decides.
    taken: PolicyTexts,
    /// The fault that was last logged: it is found every two seconds.
    last_fault: Option<UnusablePolicies>,
    standing: PolicyStanding,
}

/// How a directory stands, for health and for metrics. Clones are the same standing.
#[derive(Clone, Debug, Default)]
pub struct PolicyStanding(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    unusable: AtomicBool,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl PolicyStanding {
    /// Whether what lies there now can be used, as far as was seen.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.0.unusable.load(Ordering::Relaxed)
    }

    /// How often other policies were taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    /// How often policies were found that are not usable; each look that finds them counts.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn note(&self, look: &Look) {
        let count = match look {
            Look::Nothing => return,
            Look::Taken => &self.0.taken,
            Look::Refused(_) => &self.0.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.0.unusable.store(matches!(look, Look::Refused(_)), Ordering::Relaxed);
    }
}

/// What one look found.
type Seen = Result<PolicyTexts, Vec<Problem>>;

/// What came of a look.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing is new, or it has to be seen once more.
    Nothing,
    /// Other policies decide from now on.
    Taken,
    /// What is there now is not usable. Those that decided go on.
    Refused(UnusablePolicies),
}

impl PolicyDir {
    /// Reads the policies that decide first.
    pub fn open(dir: &Path) -> Result<Self, UnusablePolicies> {
        let unusable = |problems| UnusablePolicies { dir: dir.to_owned(), problems };
        let taken = read(dir, Reader::Server).map_err(unusable)?;
        let policies = PolicySet::read(&taken).map_err(unusable)?;
        Ok(Self {
            dir: dir.to_owned(),
            policy: Policy::written(policies),
            seen: None,
            taken,
            last_fault: None,
            standing: PolicyStanding::default(),
        })
    }

    /// The policy that follows the directory.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy.clone()
    }

    /// How it stands, from now on.
    #[must_use]
    pub fn standing(&self) -> PolicyStanding {
        self.standing.clone()
    }

    /// Tells the operator what came of a look.
    pub fn log(&mut self, look: &Look) {
        match look {
            Look::Nothing => {}
            Look::Taken => {
                let policy_sha256 = self.policy.digest();
                tracing::info!(dir = %self.dir.display(), %policy_sha256, "policies reloaded");
            }
            Look::Refused(why) if self.last_fault.as_ref() == Some(why) => return,
            Look::Refused(why) => {
                tracing::error!(error = %why, "policies not reloaded: the old ones stay in use");
            }
        }
        self.last_fault = match look {
            Look::Refused(why) => Some(why.clone()),
            Look::Taken => None,
            Look::Nothing => return,
        };
    }

    /// Looks again. What has changed is judged when two looks agree, or at once where
    /// somebody asked for it; all of it is taken, or nothing.
    pub fn look(&mut self, asked: bool) -> Look {
        let look = self.look_again(asked);
        self.standing.note(&look);
        look
    }

    fn look_again(&mut self, asked: bool) -> Look {
        let found = read(&self.dir, Reader::Server);
        if found.as_ref() == Ok(&self.taken) {
            // What was not usable has been taken back.
            (self.seen, self.last_fault) = (None, None);
            self.standing.0.unusable.store(false, Ordering::Relaxed);
            return Look::Nothing;
        }
        let seen_before = self.seen.as_ref() == Some(&found);
        if !seen_before && !asked {
            self.seen = Some(found);
            return Look::Nothing;
        }
        let judged = found.clone().and_then(|texts| {
            let policies = PolicySet::read(&texts)?;
            Ok((texts, policies))
        });
        self.seen = Some(found);
        match judged {
            Ok((texts, policies)) => {
                self.policy.replace(policies);
                self.taken = texts;
                self.seen = None;
                Look::Taken
            }
            Err(problems) => Look::Refused(UnusablePolicies { dir: self.dir.clone(), problems }),
        }
    }
}
