//! Why a command ends early. A failure says two things: what happened, and what
//! to do about it.

use serde_json::{Map, Value, json};
use tonic::Code;

use super::exit::Exit;
use crate::error::code_name;

/// Why a command ends early.
#[derive(Debug)]
pub enum EarlyExit {
    /// The command failed.
    Failed(Box<Failure>),
    /// The server checked a dry run and changed nothing.
    DryRunSucceeded {
        /// The id of the request in the server's log.
        request_id: String,
    },
    /// The reader of our output went away, as `head` does: not a failure.
    ReaderGone,
}

impl From<Failure> for EarlyExit {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// A failure, with advice.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    happened: String,
    advice: String,
    refusal: Option<ServerRefusal>,
}

/// The server's own account of its refusal.
#[derive(Debug)]
pub struct ServerRefusal {
    /// The gRPC code.
    pub code: Code,
    /// The reason, a name of the contract.
    pub reason: String,
    /// The id of the request in the server's log.
    pub request_id: String,
}

impl Failure {
    /// A failure with its exit code, what happened, and what to do.
    pub fn new(exit: Exit, happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, happened: happened.into(), advice: advice.into(), refusal: None }
    }

    /// The command line is wrong.
    pub fn usage(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Usage, happened, advice)
    }

    /// Input cannot be read or is not what it should be.
    pub fn input(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Input, happened, advice)
    }

    /// The server cannot be reached.
    pub fn unreachable(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, happened, advice)
    }

    /// The same failure, of a call that the server refused.
    pub fn refused_with(self, refusal: ServerRefusal) -> Self {
        Self { refusal: Some(refusal), ..self }
    }

    /// The same failure with other advice.
    pub fn with_advice(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// What happened.
    pub fn happened(&self) -> &str {
        &self.happened
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// For people: `error`, `help` and, where the server refused, `note`.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("error", self.happened.clone())];
        if !self.advice.is_empty() {
            lines.push(("help", self.advice.clone()));
        }
        if let Some(ServerRefusal { code, reason, request_id }) = &self.refusal {
            let mut note = format!("{reason} ({})", code_name(*code));
            if !request_id.is_empty() {
                note = format!("{note}, request id {request_id}");
            }
            lines.push(("note", note));
        }
        lines
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut error = Map::new();
        error.insert("exit_code".into(), self.exit.number().into());
        error.insert("message".into(), self.happened.clone().into());
        error.insert("advice".into(), self.advice.clone().into());
        if let Some(refusal) = &self.refusal {
            error.insert("code".into(), code_name(refusal.code).into());
            error.insert("reason".into(), refusal.reason.clone().into());
            error.insert("request_id".into(), refusal.request_id.clone().into());
        }
        json!({ "error": error })
    }
}
