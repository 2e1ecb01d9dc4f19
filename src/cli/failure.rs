//! Why a command ended before its end. Failures come in pairs: what happened,
//! and what to do about it.

use std::error::Error as _;
use std::io;

use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::advice;
use super::exit::Exit;
use super::text::printable;
use crate::error::code_name;

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// It failed.
    Failed(Box<Failure>),
    /// It was a dry run, and would have worked.
    WouldWork {
        /// The id of the request in the server's logs.
        request_id: String,
    },
    /// Whoever read our output went away, as `head` does: not a failure.
    ReaderGone,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// What happened and what to do.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    happened: String,
    advice: String,
    refusal: Option<Refusal>,
}

/// What the server said of its refusal.
#[derive(Debug)]
struct Refusal {
    code: Code,
    reason: String,
    request_id: String,
}

impl Failure {
    /// A failure with its exit code, what happened, and what to do.
    pub fn new(exit: Exit, happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit, happened: happened.into(), advice: advice.into(), refusal: None }
    }

    /// The command line cannot be obeyed.
    pub fn usage(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Usage, happened, advice)
    }

    /// Input that cannot be read, or is not what it should be.
    pub fn input(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Input, happened, advice)
    }

    /// The server cannot be reached.
    pub fn unreachable(happened: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, happened, advice)
    }

    /// What a call that did not succeed came to. `broke` is how the connection
    /// ended, if it did.
    pub fn of_call(status: &Status, endpoint: &str, broke: Option<&io::Error>) -> Self {
        // Only what the server itself sent has no source.
        if status.source().is_some() {
            return lost(status, endpoint, broke);
        }
        let details = status.get_error_details();
        match details.error_info() {
            Some(info) => {
                let field = details
                    .bad_request()
                    .and_then(|bad| bad.field_violations.first())
                    .map_or("", |violation| violation.field.as_str());
                let retry = details.retry_info().and_then(|retry| retry.retry_delay);
                refused(
                    status,
                    Refusal {
                        code: status.code(),
                        reason: info.reason.clone(),
                        request_id: details
                            .request_info()
                            .map(|info| info.request_id.clone())
                            .unwrap_or_default(),
                    },
                )
                .advising(advice::on_refusal(&info.reason, field, retry))
            }
            None => foreign(status, endpoint),
        }
    }

    /// The same with other advice.
    #[must_use]
    pub fn advising(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// For people: `error`, `help` and, where the server spoke, `note`.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("error", printable(&self.happened))];
        if !self.advice.is_empty() {
            lines.push(("help", printable(&self.advice)));
        }
        if let Some(Refusal { code, reason, request_id }) = &self.refusal {
            let id = if request_id.is_empty() {
                String::new()
            } else {
                format!(", request id {request_id}")
            };
            lines.push(("note", printable(&format!("{reason} ({}){id}", code_name(*code)))));
        }
        lines
    }

    /// For programs.
    #[must_use]
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

/// The server's own refusal, in its own words.
fn refused(status: &Status, refusal: Refusal) -> Failure {
    let exit = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Exit::NotPermitted,
        _ => Exit::Refused,
    };
    Failure {
        exit,
        happened: status.message().to_owned(),
        advice: String::new(),
        refusal: Some(refusal),
    }
}

/// An answer, but not one of Keyferry's: a proxy's, or another server's.
fn foreign(status: &Status, endpoint: &str) -> Failure {
    let code = code_name(status.code());
    let said = format!("{endpoint} answered {code}: {}", status.message());
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Failure::unreachable(
            said,
            "That is not Keyferry's own answer. If a proxy stands in front of it, see whether it reaches the server.",
        ),
        Code::PermissionDenied | Code::Unauthenticated => Failure::new(
            Exit::NotPermitted,
            said,
            "That is not Keyferry's own answer: a proxy in front of it refuses you.",
        ),
        _ => Failure::new(
            Exit::Refused,
            said,
            "That is not Keyferry's own answer. See that --endpoint names a Keyferry server of this version.",
        ),
    }
}

/// The connection failed under the call.
fn lost(status: &Status, endpoint: &str, broke: Option<&io::Error>) -> Failure {
    if chain(status).any(<dyn std::error::Error>::is::<tonic::TimeoutExpired>) {
        return Failure::unreachable(
            format!("{endpoint} did not answer in time."),
            "Try again, or give it longer with --timeout SECONDS. A change may have happened all the same: look before repeating it.",
        );
    }
    broken(endpoint, broke.map_or(status, |error| error as &(dyn std::error::Error + 'static)))
}

/// The connection broke, and why.
pub fn broken(endpoint: &str, cause: &(dyn std::error::Error + 'static)) -> Failure {
    let alert = chain(cause).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    });
    if let Some(alert) = alert {
        return Failure::new(
            Exit::NotPermitted,
            format!("{endpoint} ended the TLS connection: {alert:?}."),
            "Give a client certificate that the server's client_ca signed, with --tls-cert and --tls-key.",
        );
    }
    let cause = chain(cause).last().map(ToString::to_string).unwrap_or_default();
    Failure::unreachable(
        format!("The connection to {endpoint} broke: {cause}."),
        "See that a Keyferry server listens there (http:// for plaintext, https:// for TLS) and try again.",
    )
}

/// An error's causes, looking inside `io::Error`, whose `source` skips what it
/// wraps.
pub fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn std::error::Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Rule};

    fn failure(rule: Rule) -> Failure {
        Failure::of_call(&Error::from(rule).into_status("r-1"), "http://here", None)
    }

    #[test]
    fn every_rule_has_what_happened_and_what_to_do() {
        for rule in Rule::ALL {
            let labels: Vec<_> =
                failure(rule).lines().into_iter().map(|(label, _)| label).collect();
            assert_eq!(labels, ["error", "help", "note"], "{rule:?}");
        }
    }

    #[test]
    fn not_permitted_and_not_known_exit_with_77_and_other_refusals_with_1() {
        for rule in Rule::ALL {
            let expected = match rule.code() {
                Code::PermissionDenied | Code::Unauthenticated => Exit::NotPermitted,
                _ => Exit::Refused,
            };
            assert_eq!(failure(rule).exit(), expected, "{rule:?}");
        }
    }

    #[test]
    fn a_proxys_unavailable_is_unreachable_but_the_servers_own_is_a_refusal() {
        let proxys =
            Failure::of_call(&Status::unavailable("no healthy upstream"), "http://here", None);
        assert_eq!(proxys.exit(), Exit::Unreachable);
        assert_eq!(failure(Rule::StoreUnreachable).exit(), Exit::Refused);
    }

    #[test]
    fn programs_get_the_reason_and_the_request_id() {
        let json = failure(Rule::KeyNotFound).json();
        assert_eq!(json["error"]["reason"], "Forbidden.KeyNotFound");
        assert_eq!(json["error"]["request_id"], "r-1");
        assert_eq!(json["error"]["code"], "NOT_FOUND");
        assert_eq!(json["error"]["exit_code"], 1);
    }

    #[test]
    fn what_the_server_says_cannot_steer_the_terminal() {
        let status = Error::from(Rule::KeyNotFound).saying("\u{1b}[2Jgone").into_status("r");
        let lines = Failure::of_call(&status, "http://here", None).lines();
        assert!(lines.iter().all(|(_, line)| !line.contains('\u{1b}')), "{lines:?}");
    }
}
