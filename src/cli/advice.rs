//! What to do about a refusal, by the server's reason and the field it blames.

use std::time::Duration;

/// What to do; never empty.
pub fn on_refusal(reason: &str, field: &str, retry: Option<Duration>) -> String {
    match reason {
        "Rejected.Throttling" | "ServiceUnavailableTemporary" => {
            let seconds = retry.map_or(1, |delay| delay.as_secs().max(1));
            return format!(
                "Try again in {seconds} s. A change may have happened all the same: look before repeating it."
            );
        }
        "InvalidParameter" => on_field(field),
        _ => on_reason(reason),
    }
    .to_owned()
}

fn on_reason(reason: &str) -> &'static str {
    match reason {
        "MissingParameter" => "Give the option that sets it; --help lists them.",
        "Forbidden.KeyNotFound" => {
            "`keyferry key list` shows the CMKs of this server. A blob can only be opened where it was made."
        }
        "Forbidden.KeyVersionNotFound" => {
            "`keyferry key describe --key KEY` shows the primary version."
        }
        "Forbidden.AliasNotFound" => "`keyferry alias list` shows the names that there are.",
        "Rejected.Disabled" => "`keyferry key enable --key KEY` lets it be used again.",
        "AliasAlreadyExists" => {
            "`keyferry alias update ALIAS --key KEY` makes it name another CMK."
        }
        "Unsupported.Alias" => "Choose another name after alias/.",
        "Rejected.LimitExceeded" => {
            "Delete what is no longer needed; `keyferry alias list --key KEY` shows a CMK's names."
        }
        "Forbidden.NoPermission" => "Ask whoever keeps this server's policy to permit it.",
        "InvalidAccessKeyId.NotFound" => {
            "Say who you are: --tls-cert and --tls-key, or the server's Unix socket as a user it knows."
        }
        "RequestTimeout" => {
            "Try again, or give it longer with --timeout SECONDS. A change may have happened all the same: look before repeating it."
        }
        "InvalidAction.NotFound" => {
            "The server is older than this command, or does not offer it: compare versions."
        }
        "InternalFailure" => "Give the request id to whoever runs the server: its log says more.",
        "DryRunOperationError" => "Leave out --dry-run to do it.",
        "UnsupportedOperation" | "Unsupported.Origin" | "Unsupported.ProtectionLevel" => {
            "`keyferry key create --help` says what CMKs there are; `keyferry key describe --key KEY` shows what this one is."
        }
        _ => "The server's reason is in its manual; --help lists the options of this command.",
    }
}

fn on_field(field: &str) -> &'static str {
    match field {
        "public_key_blob" => {
            "`keyferry recipient show FILE` says what the key is and what would do."
        }
        "wrapping_algorithm" | "wrapping_key_spec" | "sm2_ciphertext_encoding" => {
            "`keyferry recipient show FILE` lists the algorithms that fit the recipient's key."
        }
        "encryption_context" => {
            "Give at most 128 --context pairs with at most 8192 characters in all."
        }
        "page_size" => "Give --page-size from 1 to 100.",
        "key_id" => "Give a key id, alias/NAME or an ARN.",
        "alias_name" => "Give alias/NAME.",
        "ciphertext_blob" | "" => {
            "Give the file as it was written, with the same --context pairs as when it was made."
        }
        _ => "--help says what the option takes.",
    }
}
