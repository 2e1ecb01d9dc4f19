//! Why a call failed: the server refused, somebody else answered, or the
//! connection broke.

use std::error::Error;
use std::io;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::advice;
use super::causes::causes;
use super::endpoint::Endpoint;
use super::recording_stream::SpokeTls;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, ServerRefusal};
use crate::error::code_name;

/// The failure of a call. `stream_error` is the error that broke the connection,
/// if one did.
pub fn call_failure(
    status: &Status,
    endpoint: &Endpoint,
    stream_error: Option<&io::Error>,
) -> Failure {
    // Only a status that the server itself sent has no source.
    if status.source().is_some() {
        return no_answer(status, endpoint, stream_error);
    }
    let details = status.get_error_details();
    let Some(info) = details.error_info() else { return not_keyferrys(status, endpoint) };
    let exit = match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Exit::NotPermitted,
        _ => Exit::Refused,
    };
    let field = details
        .bad_request()
        .and_then(|bad| bad.field_violations.first())
        .map_or("", |violation| violation.field.as_str());
    let retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
    let request_id = details.request_info().map(|info| info.request_id.clone());
    Failure::new(exit, status.message(), advice::on_refusal(&info.reason, field, retry_after))
        .refused_with(ServerRefusal {
            code: status.code(),
            reason: info.reason.clone(),
            request_id: request_id.unwrap_or_default(),
        })
}

/// An answer of a proxy, or of another server.
fn not_keyferrys(status: &Status, endpoint: &Endpoint) -> Failure {
    let code = code_name(status.code());
    let happened = format!("{endpoint} answered {code}: {}", status.message());
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Failure::unreachable(
            happened,
            "This is not Keyferry's own answer. If a proxy stands in front of it, check that the proxy reaches the server.",
        ),
        Code::PermissionDenied | Code::Unauthenticated => Failure::new(
            Exit::NotPermitted,
            happened,
            "This is not Keyferry's own answer: a proxy in front of it refuses you. Ask the proxy's operator.",
        ),
        _ => Failure::new(
            Exit::Refused,
            happened,
            "This is not Keyferry's own answer. Check that --endpoint names a Keyferry server of this version.",
        ),
    }
}

fn no_answer(status: &Status, endpoint: &Endpoint, stream_error: Option<&io::Error>) -> Failure {
    if causes(status).any(<dyn Error>::is::<tonic::TimeoutExpired>) {
        return Failure::unreachable(
            format!("{endpoint} did not answer in time."),
            "Try again, or allow more time with --timeout SECONDS. A change may have happened all the same: check before you repeat it.",
        );
    }
    match stream_error {
        Some(error) => connection_broken(endpoint, error),
        None => connection_broken(endpoint, status),
    }
}

/// The connection broke, and why.
pub fn connection_broken(endpoint: &Endpoint, error: &(dyn Error + 'static)) -> Failure {
    let alert = causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>() {
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
    if causes(error).any(<dyn Error>::is::<SpokeTls>) {
        let secure = endpoint.to_string().replacen("http://", "https://", 1);
        return Failure::unreachable(
            format!("{endpoint} is a TLS port, and http:// is plaintext."),
            format!("Give --endpoint {secure} with --tls-ca FILE."),
        );
    }
    let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
    Failure::unreachable(
        format!("The connection to {endpoint} broke: {cause}."),
        "Check that a Keyferry server listens there (http:// for plaintext, https:// for TLS), and try again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::io::text::render_failure;
    use crate::error::{Error, Rule};

    fn failure_of(status: &Status) -> Failure {
        call_failure(status, &"http://here".parse().unwrap(), None)
    }

    fn failure(rule: Rule) -> Failure {
        failure_of(&Error::from(rule).into_status("r-1"))
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
        let proxys = failure_of(&Status::unavailable("no healthy upstream"));
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
        let text = render_failure(&failure_of(&status).lines(), Some(80));
        assert!(text.contains("\\u{1b}[2Jgone"), "{text}");
        assert!(!text.contains("\u{1b}[2J"), "{text}");
    }
}
