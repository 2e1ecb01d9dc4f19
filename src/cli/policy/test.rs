//! `keyferry policy test`: requests, each with the decision that is expected.
//!
//! ```toml
//! [[test]]
//! name = "billing exports to its HSM"
//! principal = "spiffe://kms.example/billing"
//! action = "ExportDataKey"
//! key = "alias/payments"
//! public_key = "hsm.pem"
//! context = { app = "billing" }
//! decision = "allow"
//! policies = ["billing-exports"]
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::imagined::Imagined;
use super::scenario::Scenario;
use crate::access::cedar::policy_set::PolicySet;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::text::Text;

#[derive(Args, Debug)]
pub struct PolicyTest {
    /// Test files, TOML
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The directory of policies; by default the one that the file is in
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    test: Vec<toml::Spanned<toml::Table>>,
}

/// What is expected of a request.
#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    name: String,
    decision: Decision,
    /// The policies that decide, where the test says which.
    policies: Option<Vec<String>>,
}

/// The fields of a row that are not the request's.
const EXPECTED: [&str; 3] = ["name", "decision", "policies"];

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Allow,
    Deny,
}

impl Decision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A test that was run.
struct Outcome {
    place: String,
    name: String,
    request: String,
    expected: String,
    found: String,
    passed: bool,
}

impl PolicyTest {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let mut outcomes = Vec::new();
        for file in &self.files {
            let folder = file.parent().unwrap_or(Path::new(""));
            let here = if folder == Path::new("") { Path::new(".") } else { folder };
            let policies = super::load(self.policies.as_deref().unwrap_or(here))?;
            outcomes.extend(run_file(file, folder, &policies)?);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
        let value = json!({
            "tests": outcomes.len(),
            "failed": failed,
            "outcomes": outcomes.iter().map(|outcome| json!({
                "place": outcome.place,
                "name": outcome.name,
                "request": outcome.request,
                "expected": outcome.expected,
                "found": outcome.found,
                "passed": outcome.passed,
            })).collect::<Vec<_>>(),
        });
        self.output.output().result(&value, || table(&outcomes))?;
        if failed == 0 {
            return Ok(());
        }
        let happened = format!("{failed} of {} tests found another decision.", outcomes.len());
        let advice = "`keyferry policy explain` says why a decision is as it is.";
        Err(Failure::new(Exit::Refused, happened, advice).into())
    }
}

fn table(outcomes: &[Outcome]) -> Text {
    let row = |outcome: &Outcome| {
        let verdict = if outcome.passed { "ok" } else { "FAILED" };
        let Outcome { place, name, request, expected, found, .. } = outcome;
        [verdict, place, name, request, expected, found].map(str::to_owned).to_vec()
    };
    Text::Table {
        heading: Some(vec!["result", "place", "test", "request", "expected", "found"]),
        rows: outcomes.iter().map(row).collect(),
    }
}

fn run_file(file: &Path, folder: &Path, policies: &PolicySet) -> Result<Vec<Outcome>, Failure> {
    let unusable = |line: Option<usize>, why: String| {
        let place = line.map_or(String::new(), |line| format!(":{line}"));
        Failure::input(
            format!("{}{place}: {why}.", file.display()),
            "Each [[test]] has a principal, an action, the facts of the request, and a decision: allow or deny.",
        )
    };
    let text = fs::read_to_string(file).map_err(|error| unusable(None, error.to_string()))?;
    let line_of = |offset: usize| {
        text.get(..offset).unwrap_or_default().matches('\n').count().saturating_add(1)
    };
    let parsed: TestFile = toml::from_str(&text).map_err(|error| {
        unusable(error.span().map(|span| line_of(span.start)), error.message().to_owned())
    })?;
    let mut outcomes = Vec::new();
    for row in parsed.test {
        let line = line_of(row.span().start);
        let (scenario, expected) =
            read_row(row.into_inner()).map_err(|why| unusable(Some(line), why))?;
        let imagined = scenario.read(folder).map_err(|why| unusable(Some(line), why))?;
        let place = format!("{}:{line}", file.display());
        outcomes.push(judge(policies, &scenario, &imagined, &expected, place));
    }
    Ok(outcomes)
}

/// The request, and what is expected of it.
fn read_row(mut row: toml::Table) -> Result<(Scenario, Expected), String> {
    let taken = EXPECTED.iter().filter_map(|name| row.remove_entry(*name));
    let expected: toml::Table = taken.collect();
    let expected =
        expected.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let scenario = row.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    Ok((scenario, expected))
}

fn judge(
    policies: &PolicySet,
    scenario: &Scenario,
    imagined: &Imagined,
    expected: &Expected,
    place: String,
) -> Outcome {
    let verdicts: Vec<_> = imagined.asks().iter().map(|ask| policies.decide_anew(ask)).collect();
    let refused = verdicts.iter().find(|verdict| !verdict.allowed);
    let decision = if refused.is_some() { Decision::Deny } else { Decision::Allow };
    let decided = refused.map_or(verdicts.as_slice(), std::slice::from_ref);
    let mut by: Vec<&str> =
        decided.iter().flat_map(|verdict| verdict.policies.iter()).map(AsRef::as_ref).collect();
    by.sort_unstable();
    by.dedup();
    let mut expected_by = expected.policies.clone();
    if let Some(ids) = &mut expected_by {
        ids.sort_unstable();
    }
    let tell = |decision: Decision, by: String| match by.as_str() {
        "" => decision.as_str().to_owned(),
        by => format!("{} by {by}", decision.as_str()),
    };
    let passed = decision == expected.decision
        && expected_by.as_ref().is_none_or(|ids| ids.iter().eq(by.iter()));
    Outcome {
        place,
        name: expected.name.clone(),
        request: format!("{} {}", scenario.principal, scenario.action),
        expected: tell(expected.decision, expected_by.unwrap_or_default().join(", ")),
        found: tell(decision, by.join(", ")),
        passed,
    }
}
