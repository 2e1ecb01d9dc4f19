//! The one table from a broken rule to what callers see.
//!
//! An [`Error`] names the [`Rule`] that was broken, the request's field if one
//! is to blame, a public text, and, apart from it, a text for the log. No other
//! file chooses a gRPC code, an HTTP status or an Alibaba code.
//! A text never holds a secret of the server's: no secret type can be formatted.
//! A text that has to repeat what a caller sent is left out by `Display` and
//! `Debug`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use zeroize::Zeroizing;

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "keyferry";

/// One row of the table.
struct RuleRow {
    code: Code,
    reason: &'static str,
    http: u16,
    retry_after: Option<Duration>,
    text: &'static str,
}

/// Writes a rule once: its name, after what is wrong, then gRPC code, reason,
/// HTTP status and text, and the seconds to wait before a retry, where one may
/// help.
macro_rules! rules {
    ($($(#[$doc:meta])+ $rule:ident: $code:ident, $reason:literal, $http:literal, $(retry after $seconds:literal s,)? $text:literal;)+) => {
        /// A rule of the contract, by what is wrong when it is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])+ $rule,)+
        }

        impl Rule {
            /// Every rule, for tests and documentation.
            pub const ALL: [Self; [$(stringify!($rule)),+].len()] = [$(Self::$rule),+];

            const fn row(self) -> RuleRow {
                match self {
                    $(Self::$rule => RuleRow {
                        code: Code::$code,
                        reason: $reason,
                        http: $http,
                        retry_after: rules!(@retry $($seconds)?),
                        text: $text,
                    },)+
                }
            }
        }
    };
    (@retry) => { None };
    (@retry $seconds:literal) => { Some(Duration::from_secs($seconds)) };
}

rules! {
    /// A required field is absent.
    MissingParameter: InvalidArgument, "MissingParameter", 400,
        "A required parameter is missing.";
    /// A field is malformed, or does not fit another.
    InvalidParameter: InvalidArgument, "InvalidParameter", 400,
        "A parameter is not valid.";
    /// A blob did not open: one answer for wrong context, tampering, cuts and
    /// unknown formats.
    BlobDoesNotOpen: InvalidArgument, "InvalidParameter", 400,
        "The ciphertext blob does not open: it is not intact, or the encryption context is not the one that it was made with.";
    /// No CMK of that id.
    KeyNotFound: NotFound, "Forbidden.KeyNotFound", 404,
        "The specified key is not found.";
    /// No key version of that id.
    KeyVersionNotFound: NotFound, "Forbidden.KeyVersionNotFound", 404,
        "The specified key version is not found.";
    /// No alias of that name.
    AliasNotFound: NotFound, "Forbidden.AliasNotFound", 404,
        "The specified alias is not found.";
    /// No access key of that id. The reason is that of Alibaba's RAM, where
    /// access keys live there.
    AccessKeyNotFound: NotFound, "EntityNotExist.User.AccessKey", 404,
        "The specified access key is not found.";
    /// The CMK is disabled.
    KeyDisabled: FailedPrecondition, "Rejected.Disabled", 409,
        "The request was rejected because the key state is Disabled.";
    /// The CMK is waiting to be deleted.
    KeyPendingDeletion: FailedPrecondition, "Rejected.PendingDeletion", 409,
        "The request was rejected because the key state is PendingDeletion.";
    /// The CMK has no key material yet.
    KeyPendingImport: FailedPrecondition, "Rejected.PendingImport", 409,
        "The request was rejected because the key state is PendingImport.";
    /// The state of the CMK does not permit this change.
    StateForbidsChange: FailedPrecondition, "Rejected.StateModifiedFailed", 409,
        "The request was rejected because the key state does not permit it.";
    /// The CMK is protected from deletion.
    DeletionProtected: FailedPrecondition, "Rejected.DeletionProtection", 409,
        "The request was rejected because the key is protected from deletion.";
    /// An operation on symmetric CMKs, and the CMK is of another kind.
    UnsupportedKeyKind: FailedPrecondition, "UnsupportedOperation", 400,
        "The key does not support this operation.";
    /// An operation on asymmetric CMKs, or one that makes versions, and the CMK is
    /// of another kind.
    RejectedKeyKind: FailedPrecondition, "Rejected.UnsupportedOperation", 400,
        "The key does not support this operation.";
    /// A ciphertext did not unwrap, or its content has an impossible length: one
    /// answer for both.
    CiphertextDoesNotUnwrap: InvalidArgument, "InvalidParameter", 400,
        "The ciphertext does not open: it is not intact, or was encrypted for another key or by another algorithm.";
    /// The alias exists already.
    AliasTaken: AlreadyExists, "AliasAlreadyExists", 400,
        "The alias already exists.";
    /// The alias is one of those that are reserved.
    AliasReserved: InvalidArgument, "Unsupported.Alias", 400,
        "Aliases that begin with alias/acs are reserved.";
    /// The origin is not offered.
    UnsupportedOrigin: InvalidArgument, "Unsupported.Origin", 400,
        "The origin is not supported.";
    /// The protection level is not offered.
    UnsupportedProtectionLevel: InvalidArgument, "Unsupported.ProtectionLevel", 400,
        "The protection level is not supported.";
    /// A limit on what is stored is reached.
    StoredLimitReached: ResourceExhausted, "Rejected.LimitExceeded", 400,
        "A limit on what is stored is reached.";
    /// The policy does not allow it.
    NotPermitted: PermissionDenied, "Forbidden.NoPermission", 403,
        "This operation is not permitted.";
    /// The caller is unknown.
    NotAuthenticated: Unauthenticated, "InvalidAccessKeyId.NotFound", 404,
        "The caller is not authenticated.";
    /// The access key is disabled.
    AccessKeyDisabled: Unauthenticated, "InvalidAccessKeyId.Inactive", 400,
        "The specified access key is disabled.";
    /// A part of the signature is missing.
    IncompleteSignature: Unauthenticated, "IncompleteSignature", 400,
        "The request signature does not conform to the standards.";
    /// The signature is not that of the request. The SDKs look for this text, and
    /// compare the text after the colon with the string that they signed.
    SignatureMismatch: Unauthenticated, "SignatureDoesNotMatch", 400,
        "Specified signature is not matched with our calculation. server string to sign is:";
    /// The signature's nonce was used before.
    NonceUsed: Unauthenticated, "SignatureNonceUsed", 400,
        "The specified signature nonce was used already.";
    /// The time of the signature is malformed.
    MalformedTimestamp: Unauthenticated, "IllegalTimestamp", 400,
        "The specified time stamp is not valid: its form is YYYY-MM-DDThh:mm:ssZ.";
    /// The time of the signature is too far from now.
    TimestampExpired: Unauthenticated, "InvalidTimeStamp.Expired", 400,
        "The specified time stamp has expired: at most 15 minutes from the server's time are accepted.";
    /// Too fast, or too much at once.
    TooManyRequests: ResourceExhausted, "Rejected.Throttling", 429, retry after 1 s,
        "Too many requests at once. Try again later.";
    /// The request is larger than the limit.
    RequestTooLarge: ResourceExhausted, "InvalidParameter", 413,
        "The request is too large: at most 64 KiB are accepted.";
    /// The deadline has passed.
    DeadlinePassed: DeadlineExceeded, "RequestTimeout", 504,
        "The deadline has passed.";
    /// No such operation.
    UnknownOperation: Unimplemented, "InvalidAction.NotFound", 404,
        "There is no such operation.";
    /// A protocol, a compression or a form of messages that is not offered.
    UnsupportedEncoding: Unimplemented, "UnsupportedOperation", 415,
        "This is an RPC: send it by gRPC over HTTP/2 (application/grpc), uncompressed.";
    /// The version of the API is not the one that is served.
    UnknownApiVersion: InvalidArgument, "InvalidVersion", 400,
        "The specified parameter \"Version\" is not valid: it must be 2016-01-20.";
    /// The HTTP method is not one that the API takes.
    UnsupportedHttpMethod: Unimplemented, "UnsupportedHTTPMethod", 403,
        "The HTTP method is not supported: use GET or POST.";
    /// The parameters of a request over HTTP cannot be read.
    UnreadableParameters: InvalidArgument, "ParseRequestParameterException", 400,
        "The request's parameters cannot be read.";
    /// The store cannot be reached.
    StoreUnreachable: Unavailable, "ServiceUnavailableTemporary", 503, retry after 1 s,
        "The store cannot be reached. Try again later.";
    /// The audit log cannot be written, and nothing is answered that is not recorded.
    AuditUnavailable: Unavailable, "ServiceUnavailableTemporary", 503, retry after 1 s,
        "The audit log cannot be written. Try again later.";
    /// The server is stopping.
    ServerStopping: Unavailable, "ServiceUnavailableTemporary", 503, retry after 1 s,
        "The server is stopping. Use another connection.";
    /// The server's clock has jumped, and cannot be trusted for an hour.
    ClockJumped: Unavailable, "ServiceUnavailableTemporary", 503, retry after 3600 s,
        "The server's clock has jumped: no deletion is scheduled or carried out until it has been steady for an hour.";
    /// A dry run that would have worked.
    DryRunSucceeded: FailedPrecondition, "DryRunOperationError", 400,
        "The request would have succeeded, but dry_run is set.";
    /// A fault in the server.
    Internal: Internal, "InternalFailure", 500,
        "The request failed because of a fault in the server. Its log says more under this request id.";
}

impl Rule {
    /// The reason of `ErrorInfo`, which is the Alibaba code.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.row().reason
    }

    /// The gRPC code.
    #[must_use]
    pub const fn code(self) -> Code {
        self.row().code
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        self.row().http
    }

    /// How long to wait before trying again, where that may help.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        self.row().retry_after
    }

    /// Whether the fault is the server's, and not the caller's.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Internal | Self::StoreUnreachable)
    }
}

/// A rule broken in one request. Its `Display` is fit for the log.
#[derive(Debug)]
pub struct Error {
    rule: Rule,
    field: Option<Cow<'static, str>>,
    text: Cow<'static, str>,
    private: Option<Private>,
    log: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

/// A text that repeats what the caller sent, which may be secret: it is for the
/// caller alone.
struct Private(Zeroizing<String>);

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private")
    }
}

/// The result of a service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Rule> for Error {
    fn from(rule: Rule) -> Self {
        let text = Cow::Borrowed(rule.row().text);
        Self { rule, field: None, text, private: None, log: None, retry_after: None }
    }
}

impl Error {
    /// A required field that is absent.
    #[must_use]
    pub fn missing(field: impl Into<Cow<'static, str>>) -> Self {
        let field = field.into();
        let text = format!("The parameter \"{field}\" is needed but was not provided.");
        Self { field: Some(field), text: text.into(), ..Rule::MissingParameter.into() }
    }

    /// A field that is malformed: `found` says what was found and what is accepted.
    #[must_use]
    pub fn invalid(field: impl Into<Cow<'static, str>>, found: impl fmt::Display) -> Self {
        let field = field.into();
        let text = format!("The specified parameter \"{field}\" is not valid: {found}.");
        Self { field: Some(field), text: text.into(), ..Rule::InvalidParameter.into() }
    }

    /// A fault in the server; `log` is for the log alone.
    #[must_use]
    pub fn internal(log: impl Into<Cow<'static, str>>) -> Self {
        Self { log: Some(log.into()), ..Rule::Internal.into() }
    }

    /// The same error with another public text.
    #[must_use]
    pub fn saying(self, text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), ..self }
    }

    /// The same error with a text for the caller alone, which may repeat what they
    /// sent. The log keeps the text from before.
    #[must_use]
    pub fn telling_the_caller(self, text: Zeroizing<String>) -> Self {
        Self { private: Some(Private(text)), ..self }
    }

    /// The same error, blaming a field of the request.
    #[must_use]
    pub fn blaming(self, field: impl Into<Cow<'static, str>>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// The same error with a text for the log.
    #[must_use]
    pub fn logging(self, log: impl Into<Cow<'static, str>>) -> Self {
        Self { log: Some(log.into()), ..self }
    }

    /// The same error, with the time after which a retry may succeed.
    #[must_use]
    pub fn retrying_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// The time to wait before a retry, where one may succeed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.or_else(|| self.rule.retry_after())
    }

    /// The rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The text for the caller, never for a log: it may repeat what they sent.
    /// `Display` gives the text that is fit for a log.
    #[must_use]
    pub fn text(&self) -> &str {
        self.private.as_ref().map_or(&self.text, |Private(text)| text)
    }

    /// The field of the request that is to blame, if one is.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The text for the log, where it says more than the public one.
    #[must_use]
    pub fn log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Logs a fault in the server, in the span of the request.
    pub fn log_ours(&self) {
        if self.rule.is_ours() {
            let text = self.log.as_deref().unwrap_or_default();
            tracing::error!(reason = self.rule.reason(), "{text}");
        }
    }

    /// The gRPC status with its `google.rpc` details.
    #[must_use]
    pub fn into_status(self, request_id: &str) -> Status {
        let RuleRow { code, reason, .. } = self.rule.row();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
        details.set_request_info(request_id, "");
        if code == Code::InvalidArgument
            && let Some(field) = self.field.as_deref()
        {
            details.add_bad_request_violation(field, self.text());
        }
        if code == Code::FailedPrecondition {
            details.add_precondition_failure_violation(
                reason,
                self.field.as_deref().unwrap_or("key"),
                self.text(),
            );
        }
        if let Some(delay) = self.retry_after() {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(code, self.text(), details)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// A gRPC code as the protocol's documents write it.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_error_info_and_request_info() {
        for rule in Rule::ALL {
            let status = Error::from(rule).into_status("request-1");
            let details = status.get_error_details();
            assert_eq!(status.code(), rule.code(), "{rule:?}");
            let info = details.error_info().expect("ErrorInfo");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (rule.reason(), DOMAIN));
            assert_eq!(details.request_info().expect("RequestInfo").request_id, "request-1");
        }
    }

    #[test]
    fn errors_that_may_be_retried_say_when() {
        for rule in [Rule::TooManyRequests, Rule::StoreUnreachable] {
            let details = Error::from(rule).into_status("r").get_error_details();
            assert!(details.retry_info().is_some(), "{rule:?}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        let status = Error::missing("key_id").into_status("r");
        let details = status.get_error_details();
        let violations = &details.bad_request().expect("BadRequest").field_violations;
        assert_eq!(violations.first().map(|v| v.field.as_str()), Some("key_id"));
    }

    #[test]
    fn text_for_the_caller_alone_is_not_printed() {
        let sent = Zeroizing::new("Plaintext%3DPLANTED".to_owned());
        let error = Error::from(Rule::SignatureMismatch).telling_the_caller(sent);
        assert_eq!(error.text(), "Plaintext%3DPLANTED");
        assert!(!format!("{error} {error:?} {error:#?}").contains("PLANTED"));
        assert!(error.into_status("r").message().contains("PLANTED"));
    }

    #[test]
    fn the_log_text_stays_out_of_the_status() {
        let error = Error::internal("disk on fire");
        assert_eq!(error.log(), Some("disk on fire"));
        assert!(!error.into_status("r").message().contains("fire"));
    }
}
