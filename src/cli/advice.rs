//! What to do about a refusal, by the server's reason and the field it blames.

use std::time::Duration;

/// What to do; never empty.
pub fn on_refusal(reason: &str, field: &str, retry: Option<Duration>) -> String {
    match reason {
        "Rejected.Throttling" | "ServiceUnavailableTemporary" => {
            let seconds = retry.map_or(1, |delay| delay.as_secs().max(1));
            if seconds >= 60 {
                return format!("Nothing was changed. Try again in {} min.", seconds / 60);
            }
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
            "`keyferry key versions --key KEY` lists the versions of a CMK."
        }
        "Forbidden.AliasNotFound" => "`keyferry alias list` shows the names that there are.",
        "EntityNotExist.User.AccessKey" => {
            "`keyferry access-key list` shows the access keys that there are."
        }
        "Rejected.Disabled" => "`keyferry key enable --key KEY` lets it be used again.",
        "Rejected.PendingDeletion" => {
            "`keyferry key cancel-deletion --key KEY` keeps it and lets it be used again."
        }
        "Rejected.StateModifiedFailed" => "`keyferry key describe --key KEY` shows its state.",
        "Rejected.DeletionProtection" => {
            "`keyferry key unprotect --key KEY` lets it be deleted, if that is what is wanted."
        }
        "AliasAlreadyExists" => {
            "`keyferry alias update ALIAS --key KEY` makes it name another CMK."
        }
        "Unsupported.Alias" => "Choose another name after alias/.",
        "Rejected.LimitExceeded" => {
            "Take away what is no longer needed; `keyferry alias list --key KEY` shows a CMK's names, `keyferry key tags` its tags, `keyferry access-key list --principal PRINCIPAL` a service account's access keys. A CMK that has all its versions needs a successor."
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
        "UnsupportedOperation"
        | "Rejected.UnsupportedOperation"
        | "Unsupported.Origin"
        | "Unsupported.ProtectionLevel" => {
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
        "key_spec" | "key_usage" | "origin" | "protection_level" => {
            "`keyferry key create --help` says what CMKs there are."
        }
        "rotation_interval" | "enable_automatic_rotation" => {
            "Give 7d to 730d for a CMK of spec Aliyun_AES_256; key pairs are rotated by hand."
        }
        "filters" => "`keyferry key list --help` says what there is to filter by.",
        "tags" | "tag_keys" => {
            "Give at most 20, each key once, of up to 128 characters and not beginning with aliyun or acs:."
        }
        "protected_resource_arn" => {
            "Give a key id or its ARN: `keyferry key describe --key alias/NAME` shows both."
        }
        "algorithm" | "source_encryption_algorithm" => {
            "Leave --algorithm out to have the one that fits; `keyferry key describe --key KEY` shows what the CMK is."
        }
        "plaintext" => "`--help` says how long it may be; encrypt what is longer under a data key.",
        "wrapping_algorithm" | "wrapping_key_spec" | "sm2_ciphertext_encoding" => {
            "`keyferry recipient show FILE` lists the algorithms that fit the recipient's key."
        }
        "encryption_context" | "source_encryption_context" | "destination_encryption_context" => {
            "Give at most 128 --context pairs with at most 8192 characters in all."
        }
        "page_size" => "Give --page-size from 1 to 100.",
        "key_id" | "source_key_id" | "destination_key_id" => "Give a key id, alias/NAME or an ARN.",
        "alias_name" => "Give alias/NAME.",
        "principal" => {
            "Give the name of a service account, such as billing or billing@corp.example."
        }
        "" => "A request holds at most 64 KiB: give less at once.",
        "ciphertext_blob" => {
            "Give the file as it was written, with the same --context pairs, or the same key version and --algorithm, as when it was made."
        }
        _ => "--help says what the option takes.",
    }
}
