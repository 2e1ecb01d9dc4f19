//! The limits of the contract, in one table: what is bounded, by which numbers,
//! in which unit, and where the contract tells it.
//!
//! A limit that a caller can run into stands here, once. The services enforce
//! it, the command line enforces it before it sends anything, and every text
//! that tells it (errors, `/openapi.json`) takes its numbers from here; a test
//! compares the comments of the contract with the table. A bound on the server's
//! own memory, work or time (a cache, a queue, a pause) stays in the file that
//! it is about.

use std::fmt;
use std::ops::RangeInclusive;

/// A least and a most, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The least; 0 where there is none.
    pub min: usize,
    /// The most; `usize::MAX` where there is none.
    pub max: usize,
    /// The unit that the numbers count.
    pub unit: &'static str,
    /// Where the contract tells it: `Message.field`; `field`, of every request
    /// that has it; `Service/Rpc`; or a file.
    pub places: &'static [&'static str],
}

const fn between(min: usize, max: usize, unit: &'static str) -> Limit {
    Limit { min, max, unit, places: &[] }
}

const fn at_least(min: usize, unit: &'static str) -> Limit {
    between(min, usize::MAX, unit)
}

const fn at_most(max: usize, unit: &'static str) -> Limit {
    between(0, max, unit)
}

const fn exactly(number: usize, unit: &'static str) -> Limit {
    between(number, number, unit)
}

/// Writes a limit once: its name, its numbers and unit, and its places.
macro_rules! limits {
    ($($(#[$doc:meta])+ $name:ident: $limit:expr, in $places:expr;)+) => {
        $($(#[$doc])+ pub const $name: Limit = Limit { places: &$places, ..$limit };)+

        /// The whole table.
        pub const TABLE: &[Limit] = &[$($name),+];
    };
}

limits! {
    // Requests.

    /// A request, and an item of a stream.
    REQUEST_BYTES: at_most(64 << 10, "bytes"), in ["kms.proto", "Kms/ExportDataKeys"];
    /// How long a request may take.
    DEADLINE_SECONDS: at_most(30, "seconds"), in ["kms.proto"];
    /// How long the peer of a stream may send nothing, or take nothing.
    STREAM_IDLE_SECONDS: at_most(60, "seconds"), in ["Kms/ExportDataKeys"];
    /// A correlation id that is kept.
    REQUEST_ID_CHARS: between(1, 64, "characters"), in ["kms.proto"];
    /// The caller's name of an item of a stream.
    ITEM_ID_BYTES: at_most(256, "bytes"), in ["item_id"];
    /// An id, alias or ARN that names a key.
    KEY_NAME_BYTES: between(1, 1024, "bytes"), in ["kms.proto"];

    // Plaintexts and the keys they are encrypted under.

    /// The pairs of an encryption context.
    CONTEXT_PAIRS: at_most(128, "pairs"),
        in ["encryption_context", "source_encryption_context", "destination_encryption_context"];
    /// All keys and values of an encryption context together.
    CONTEXT_CHARS: at_most(8192, "Unicode characters"),
        in ["encryption_context", "source_encryption_context", "destination_encryption_context"];
    /// A data key.
    DATA_KEY_BYTES: between(1, 1024, "bytes"), in ["number_of_bytes"];
    /// The plaintext of Encrypt.
    PLAINTEXT_BYTES: between(1, 6144, "bytes"), in ["EncryptRequest.plaintext"];
    /// A recipient's public key, as it is sent.
    PUBLIC_KEY_BYTES: at_most(1024, "bytes"), in ["public_key_blob"];
    /// The plaintext for SM2: no other kind of key takes as much.
    SM2_PLAINTEXT_BYTES: between(1, 6047, "bytes"), in ["AsymmetricEncryptRequest.plaintext"];
    /// An SM2 ciphertext, in either encoding.
    SM2_CIPHERTEXT_BYTES: at_most(6200, "bytes"),
        in ["AsymmetricDecryptRequest.ciphertext_blob"];
    /// A digest that is signed: of SHA-256, or SM2's e.
    DIGEST_BYTES: exactly(32, "bytes"), in ["digest"];

    /// A receipt, as it is sent back.
    RECEIPT_BYTES: at_most(4096, "bytes"), in ["source_receipt"];

    // CMKs.

    /// The description of a CMK. With it, the description of the protection and
    /// all tags, each character of four bytes, a CMK still fits into a value of
    /// the store.
    DESCRIPTION_CHARS: at_most(8192, "Unicode characters"),
        in ["description", "KeyMetadata.description"];
    /// The description of a deletion protection.
    PROTECTION_DESCRIPTION_CHARS: at_most(1024, "Unicode characters"),
        in ["deletion_protection_description"];
    /// The tags of a CMK, and those that a request names.
    TAGS: at_most(20, "tags"), in ["tags", "tag_keys"];
    /// The CMKs that a request about tags names.
    TAGGED_RESOURCES: between(1, 50, "CMKs"), in ["resource_ids"];
    /// The key of a tag.
    TAG_KEY_CHARS: between(1, 128, "Unicode characters"), in ["Tag.tag_key"];
    /// The value of a tag.
    TAG_VALUE_CHARS: at_most(128, "Unicode characters"), in ["Tag.tag_value"];
    /// From ScheduleKeyDeletion to the deletion.
    DELETION_WINDOW_DAYS: between(7, 366, "days"), in ["pending_window_in_days"];
    /// Between two rotations on a schedule.
    ROTATION_DAYS: between(7, 730, "days"), in ["rotation_interval"];
    /// The versions of a symmetric CMK.
    SYMMETRIC_VERSIONS: at_most(1000, "versions"), in ["KeyManagement/CreateKeyVersion"];
    /// The versions of an asymmetric CMK.
    PAIR_VERSIONS: at_most(50, "versions"), in ["KeyManagement/CreateKeyVersion"];
    /// Between two versions of an asymmetric CMK.
    PAIR_VERSION_DAYS: at_least(7, "days"), in ["KeyManagement/CreateKeyVersion"];
    /// The name of an alias, `alias/` included.
    ALIAS_NAME_CHARS: between(7, 255, "characters"), in ["CreateAliasRequest.alias_name"];
    /// The aliases of a CMK.
    ALIASES: at_most(50, "aliases"), in ["KeyManagement/CreateAlias"];

    // Access keys.

    /// The name of a service account.
    ACCOUNT_NAME_CHARS: between(1, 128, "characters"), in ["CreateAccessKeyRequest.principal"];
    /// The access keys of a service account.
    ACCESS_KEYS: at_most(10, "access keys"), in ["AccessManagement/CreateAccessKey"];

    // Lists.

    /// The entries of a page.
    PAGE_ENTRIES: between(1, 100, "entries"), in ["page_size"];
    /// The number of a page.
    PAGE_NUMBER: at_least(1, ""), in ["page_number"];
    /// The filters of a list.
    FILTERS: at_most(10, "filters"), in ["filters"];
    /// The values of a filter.
    FILTER_VALUES: between(1, 10, "values"), in ["Filter.values"];

    // The HTTP front door, which the protobuf contract does not describe.

    /// The parameters of a request.
    PARAMETERS: at_most(512, "parameters"), in [];
    /// The name of a parameter.
    PARAMETER_NAME_BYTES: between(1, 256, "bytes"), in [];
    /// Between the time of a signature and the server's.
    SIGNATURE_SKEW_MINUTES: at_most(15, "minutes"), in [];
    /// An access key id, a nonce or a time stamp of a signature.
    SIGNATURE_PART_BYTES: between(1, 128, "bytes"), in [];
}

/// A data key whose length is not given, in bytes.
pub const DATA_KEY_BYTES_DEFAULT: usize = 32;
/// A page whose size is not given, in entries.
pub const PAGE_ENTRIES_DEFAULT: u32 = 10;

impl Limit {
    /// Whether so many are within it.
    #[must_use]
    pub fn allows(&self, found: impl TryInto<usize>) -> bool {
        found.try_into().is_ok_and(|found| (self.min..=self.max).contains(&found))
    }

    /// The same numbers for the command line's parser.
    #[must_use]
    pub fn range(&self) -> RangeInclusive<i64> {
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        number(self.min)..=number(self.max)
    }

    /// The limits of a field of a message.
    pub fn of_field(message: &str, field: &str) -> impl Iterator<Item = &'static Self> {
        TABLE
            .iter()
            .filter(move |limit| limit.places.iter().any(|place| is_at(place, message, field)))
    }
}

/// Whether a place is that field of that message.
fn is_at(place: &str, message: &str, field: &str) -> bool {
    match place.split_once('.') {
        Some((of, name)) => of == message && name == field,
        None => place == field && message.ends_with("Request"),
    }
}

/// `1 to 1024 bytes`, `at most 128 pairs`, `32 bytes`: as the contract tells it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, unit, .. } = *self;
        match (min, max) {
            (_, usize::MAX) => write!(f, "at least {min}"),
            (0, _) if unit == "bytes" && max % (1 << 14) == 0 => {
                return write!(f, "at most {} KiB", max >> 10);
            }
            (0, _) => write!(f, "at most {max}"),
            _ if min == max => write!(f, "{max}"),
            _ => write!(f, "{min} to {max}"),
        }?;
        if unit.is_empty() { Ok(()) } else { write!(f, " {unit}") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost_reflect::FileDescriptor;
    use regex::Regex;

    use super::*;
    use crate::crypto::ciphertext_blob::OVERHEAD_BYTES;
    use crate::crypto::secret::ACCESS_KEY_SECRET_LEN_BYTES;
    use crate::crypto::wrapping::{WrappingAlgorithm, WrappingKeySpec, WrappingMethod};
    use crate::error::Rule;
    use crate::ids::ACCESS_KEY_TAIL_LEN_BYTES;
    use crate::proto::{comment, field_comment, pool, rpc_comment};

    /// The path of a file's `syntax`, above which it tells of itself.
    const HEADER: [i32; 1] = [12];

    fn files() -> impl Iterator<Item = FileDescriptor> {
        pool().files().filter(|file| file.package_name() == "keyferry.v1")
    }

    /// The comments of a place, with the place's full name.
    fn comments_at(place: &str) -> Vec<(String, String)> {
        let messages = pool().all_messages().filter(|m| m.package_name() == "keyferry.v1");
        let fields = messages.flat_map(|message| message.fields().collect::<Vec<_>>());
        if let Some(file) = files().find(|file| file.name().ends_with(&format!("/{place}"))) {
            return vec![(place.to_owned(), comment(&file, &HEADER))];
        }
        if let Some((service, rpc)) = place.split_once('/') {
            let service = pool().get_service_by_name(&format!("keyferry.v1.{service}")).unwrap();
            let rpc = service.methods().find(|method| method.name() == rpc).unwrap();
            return vec![(place.to_owned(), rpc_comment(&rpc))];
        }
        let meant =
            fields.filter(|field| is_at(place, field.parent_message().name(), field.name()));
        meant.map(|field| (field.full_name().to_owned(), field_comment(&field))).collect()
    }

    #[test]
    fn the_contract_tells_every_limit_where_it_holds() {
        for limit in TABLE {
            for place in limit.places {
                let comments = comments_at(place);
                assert!(!comments.is_empty(), "{place} is not in the contract");
                for (name, comment) in comments {
                    let told = limit.to_string();
                    let is_told = comment.to_lowercase().contains(&told.to_lowercase());
                    assert!(is_told, "{name} does not tell \"{told}\": {comment}");
                }
            }
        }
    }

    /// Numbers that are no limits, as they stand before their units.
    fn sizes() -> BTreeSet<String> {
        let fixed = [
            "16 bytes",  // AES-128
            "32 bytes",  // AES-256, SHA-256 and its salt
            "97 bytes",  // C1 and C3 of SM2
            "112 bytes", // the same in DER
            "2048 bits",
            "3072 bits",
            "4096 bits",
            "64 characters", // a line of PEM
            "65,537 to",     // the least exponent
            "0 when",        // the page number of a token
        ];
        let ours = [
            format!("{DATA_KEY_BYTES_DEFAULT} bytes"),
            format!("default {PAGE_ENTRIES_DEFAULT}"),
            format!("{OVERHEAD_BYTES} bytes"),
            format!("{ACCESS_KEY_SECRET_LEN_BYTES} letters"),
            format!("{ACCESS_KEY_TAIL_LEN_BYTES} letters"),
        ];
        let [sha_256, sha_1] =
            [WrappingAlgorithm::RsaesOaepSha256, WrappingAlgorithm::RsaesOaepSha1];
        let rsa = WrappingKeySpec::ALL.into_iter().filter_map(|spec| {
            let longest = |algorithm| {
                let method = WrappingMethod::new(spec, algorithm, None).ok()?;
                Some(method.longest_data_key_bytes())
            };
            Some(format!("{} / {} bytes", longest(sha_256)?, longest(sha_1)?))
        });
        fixed.map(str::to_owned).into_iter().chain(ours).chain(rsa).collect()
    }

    #[test]
    fn the_contract_tells_no_other_numbers() {
        let references = Regex::new(
            r"\((RFC|FIPS|GB/T|SP|OID)[^)]*\)|GM/T 0009|GB/T [0-9.]+|\(2016-01-20\)|2\^33 - 1|04 \|\|",
        )
        .unwrap();
        let numbered_points = Regex::new(r"(^|\. )[1-9][0-9]?\. ").unwrap();
        let number = Regex::new(r"(?:^|[\s(])[0-9][0-9,]*(?:[\s.,;:)]|$)").unwrap();
        let longest_first = |mut texts: Vec<String>| {
            texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
            texts
        };
        let told = TABLE
            .iter()
            .flat_map(|limit| [limit.to_string(), format!("{} {}", limit.max, limit.unit)]);
        let known = longest_first(told.chain(sizes()).collect());
        let locations = files().flat_map(|file| {
            let info = file.file_descriptor_proto().source_code_info.clone().unwrap_or_default();
            info.location.into_iter().filter_map(|location| location.leading_comments)
        });
        for comment in locations {
            let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut rest = references.replace_all(&comment, "").to_lowercase();
            rest = numbered_points.replace_all(&rest, "$1").into_owned();
            for text in &known {
                rest = rest.replace(&text.to_lowercase(), "");
            }
            assert!(!number.is_match(&rest), "a number that is no limit: {rest}");
        }
    }

    #[test]
    fn fixed_texts_of_errors_tell_the_limits_of_the_table() {
        for (rule, limit) in [
            (Rule::RequestTooLarge, REQUEST_BYTES),
            (Rule::TimestampExpired, SIGNATURE_SKEW_MINUTES),
        ] {
            let text = crate::error::Error::from(rule).text().to_owned();
            assert!(text.contains(&limit.to_string()), "{text}: {limit}");
        }
    }

    #[test]
    fn limits_are_told_as_the_contract_tells_them() {
        for (limit, told) in [
            (DATA_KEY_BYTES, "1 to 1024 bytes"),
            (CONTEXT_PAIRS, "at most 128 pairs"),
            (DIGEST_BYTES, "32 bytes"),
            (REQUEST_BYTES, "at most 64 KiB"),
            (PAGE_NUMBER, "at least 1"),
            (PAIR_VERSION_DAYS, "at least 7 days"),
        ] {
            assert_eq!(limit.to_string(), told);
        }
    }

    #[test]
    fn both_ends_are_within_a_limit() {
        let allowed = |limit: Limit, found: u32| limit.allows(found);
        assert_eq!(
            [6, 7, 366, 367].map(|days| allowed(DELETION_WINDOW_DAYS, days)),
            [false, true, true, false]
        );
        assert!(PAGE_NUMBER.allows(u32::MAX) && !PAGE_NUMBER.allows(0) && !PAGE_NUMBER.allows(-1));
    }
}
