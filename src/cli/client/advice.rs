//! Advice on a refusal, by the server's reason and the field it blames.

use std::time::Duration;

/// The advice; never empty.
pub fn on_refusal(reason: &str, field: &str, retry_after: Option<Duration>) -> String {
    match reason {
        "Rejected.Throttling" | "ServiceUnavailableTemporary" => {
            let seconds = retry_after.map_or(1, |delay| delay.as_secs().max(1));
            if seconds >= 60 {
                return format!("Nothing was changed. Try again in {} min.", seconds / 60);
            }
            return format!(
                "Try again in {seconds} s. A change may have happened all the same: check before you repeat it."
            );
        }
        "InvalidParameter" => on_field(field),
        _ => on_reason(reason),
    }
    .to_owned()
}

fn on_reason(reason: &str) -> &'static str {
    match reason {
        "MissingParameter" => "Give the option that sets it; --help lists the options.",
        "Forbidden.KeyNotFound" => {
            "`keyferry key list` lists the CMKs of this server. A blob can be opened only by the server that made it."
        }
        "Forbidden.KeyVersionNotFound" => {
            "`keyferry key versions --key KEY` lists the versions of a CMK."
        }
        "Forbidden.AliasNotFound" => "`keyferry alias list` lists the aliases.",
        "EntityNotExist.User.AccessKey" => "`keyferry access-key list` lists the access keys.",
        "Rejected.Disabled" => "`keyferry key enable --key KEY` enables the CMK.",
        "Rejected.PendingDeletion" => {
            "`keyferry key cancel-deletion --key KEY` keeps the CMK and enables it."
        }
        "Rejected.StateModifiedFailed" => {
            "`keyferry key describe --key KEY` shows the state of the CMK."
        }
        "Rejected.DeletionProtection" => "`keyferry key unprotect --key KEY` allows the deletion.",
        "AliasAlreadyExists" => {
            "`keyferry alias update ALIAS --key KEY` gives the alias to another CMK."
        }
        "Unsupported.Alias" => "Choose another name after alias/.",
        "Rejected.LimitExceeded" => {
            "Remove an item that is no longer needed: `keyferry alias list --key KEY` lists the aliases of a CMK, `keyferry key tags --key KEY` its tags, `keyferry access-key list --principal PRINCIPAL` the access keys of a service account. A CMK cannot have more versions: make a new CMK."
        }
        "Forbidden.NoPermission" => {
            "Ask the administrator of this server's policy for the permission."
        }
        "InvalidAccessKeyId.NotFound" => {
            "Give your certificate with --tls-cert and --tls-key, or call the server's Unix socket as a user that it knows."
        }
        "RequestTimeout" => {
            "Try again, or allow more time with --timeout SECONDS. A change may have happened all the same: check before you repeat it."
        }
        "InvalidAction.NotFound" => {
            "The server is older than this command, or does not offer the operation: compare their versions."
        }
        "InternalFailure" => {
            "Give the request id to the operator of the server: the log says more."
        }
        "DryRunOperationError" => "Leave --dry-run out to make the change.",
        "UnsupportedOperation"
        | "Rejected.UnsupportedOperation"
        | "Unsupported.Origin"
        | "Unsupported.ProtectionLevel" => {
            "`keyferry key create --help` lists the kinds of CMKs; `keyferry key describe --key KEY` shows the kind of this one."
        }
        _ => "The server's manual explains the reason; --help lists the options of this command.",
    }
}

fn on_field(field: &str) -> &'static str {
    match field {
        "public_key_blob" => {
            "`keyferry recipient show FILE` says what kind of key it is and which keys fit."
        }
        "key_spec" | "key_usage" | "origin" | "protection_level" => {
            "`keyferry key create --help` lists the kinds of CMKs."
        }
        "rotation_interval" | "enable_automatic_rotation" => {
            "Give 7d to 730d for a CMK of spec Aliyun_AES_256; key pairs are rotated by hand."
        }
        "filters" => "`keyferry key list --help` lists the filters.",
        "tags" | "tag_keys" => {
            "Give at most 20 tags, each key once. A key has up to 128 characters and does not begin with aliyun or acs:."
        }
        "protected_resource_arn" => {
            "Give a key id or its ARN: `keyferry key describe --key alias/NAME` shows both."
        }
        "algorithm" | "source_encryption_algorithm" => {
            "Leave --algorithm out to use the one that fits; `keyferry key describe --key KEY` shows the kind of the CMK."
        }
        "plaintext" => "--help says how long it may be. Encrypt longer data under a data key.",
        "wrapping_algorithm" | "wrapping_key_spec" | "sm2_ciphertext_encoding" => {
            "`keyferry recipient show FILE` lists the algorithms that fit the recipient's key."
        }
        "encryption_context" | "source_encryption_context" | "destination_encryption_context" => {
            "Give at most 128 --context pairs with at most 8192 characters in all."
        }
        "source_receipt" => {
            "Give the receipt that came with this file, whole, by an issuer that the server's [receipt] trusts."
        }
        "page_size" => "Give --page-size from 1 to 100.",
        "key_id" | "source_key_id" | "destination_key_id" => "Give a key id, alias/NAME or an ARN.",
        "alias_name" => "Give alias/NAME.",
        "principal" => {
            "Give the name of a service account, such as billing or billing@corp.example."
        }
        "" => "A request holds at most 64 KiB: send less at once.",
        "ciphertext_blob" => {
            "Give the unchanged file, with the --context pairs, or the key version and --algorithm, that it was made with."
        }
        _ => "--help says which values the option takes.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        CONTEXT_CHARS, CONTEXT_PAIRS, PAGE_ENTRIES, REQUEST_BYTES, ROTATION_DAYS, TAG_KEY_CHARS,
        TAGS,
    };

    #[test]
    fn advice_tells_the_limits_of_the_table() {
        for (field, told) in [
            ("rotation_interval", format!("{}d to {}d", ROTATION_DAYS.min, ROTATION_DAYS.max)),
            ("tags", TAGS.to_string()),
            ("tags", format!("up to {} characters", TAG_KEY_CHARS.max)),
            ("encryption_context", format!("at most {} --context pairs", CONTEXT_PAIRS.max)),
            ("encryption_context", format!("at most {} characters", CONTEXT_CHARS.max)),
            ("page_size", format!("from {} to {}", PAGE_ENTRIES.min, PAGE_ENTRIES.max)),
            ("", REQUEST_BYTES.to_string()),
        ] {
            let advice = on_refusal("InvalidParameter", field, None);
            assert!(advice.contains(&told), "{field} does not tell \"{told}\": {advice}");
        }
    }
}
