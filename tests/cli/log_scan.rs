//! No key's bytes in a log, a message or a stored file, however they are
//! spelled: the real server at trace level, every RPC driven, good and bad.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use keyferry::config::{AuditConfig, Config, RootKeyConfig, StoreConfig};
use keyferry::crypto::random;
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec as Spec;
use keyferry::keys::guard::file_root_key::FileRootKey;
use keyferry::keys::guard::records::RecordKind;
use keyferry::keys::guard::root_key::RootKeyProvider;
use keyferry::keys::guard::store_keys::{self, StoreMode};
use keyferry::proto::CONTRACT;
use keyferry::proto::v1::export_data_keys_response::Outcome;
use keyferry::proto::v1::{self, WrappingAlgorithm, WrappingKeySpec};
use keyferry::storage::{SqliteStore, Store};
use prost::Message as _;
use prost_reflect::DescriptorPool;

use crate::support::harness::{Caller, Server, keyferry as program, run};
use crate::support::http::{Http, Signer, owned};

// ---- the scan ----

/// As many bytes of a key in a row are a leak: part of a key is one too.
const CHUNK_BYTES: usize = 8;

/// Each way in which bytes come to stand in a text.
fn spellings(chunk: &[u8]) -> Vec<Vec<u8>> {
    let hex = base16ct::lower::encode_string(chunk);
    let escaped = chunk.escape_ascii().to_string();
    let list = format!("{chunk:?}");
    let list = list.trim_matches(['[', ']']);
    let hex_list = format!("{chunk:02x?}");
    let texts = [
        hex.clone(),
        hex.to_uppercase(),
        list.to_owned(),
        list.replace(' ', ""),
        hex_list.trim_matches(['[', ']']).to_owned(),
        // Inside of JSON, a backslash is two.
        escaped.replace('\\', "\\\\"),
        escaped,
    ];
    let mut all: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    all.push(chunk.to_vec());
    for before in 0..3 {
        all.push(base64_amid(&STANDARD_NO_PAD, chunk, before));
        all.push(base64_amid(&URL_SAFE_NO_PAD, chunk, before));
    }
    all
}

/// The Base64 characters that are this chunk's alone when it follows `before`
/// other bytes in a group of three.
fn base64_amid(engine: &impl base64::Engine, chunk: &[u8], before: usize) -> Vec<u8> {
    let text = engine.encode([&[0; 2][..before], chunk].concat());
    let first = (8 * before).div_ceil(6);
    let end = 8 * (before + chunk.len()) / 6;
    text.as_bytes()[first..end].to_vec()
}

/// Whether any part of a secret stands in a text.
fn leaks(text: &[u8], secret: &[u8]) -> bool {
    assert!(secret.len() >= CHUNK_BYTES, "too short to be told from chance");
    secret.chunks_exact(CHUNK_BYTES).flat_map(spellings).any(|needle| contains(text, &needle))
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == first) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn the_scan_finds_a_planted_key() {
    let key: [u8; 32] = random::array().unwrap();
    let amid = |before: &[u8]| [before, &key, b"~~"].concat();
    let hex = base16ct::upper::encode_string(&key);
    let quoted = serde_json::to_string(&bytes_debug(&key)).unwrap();
    let planted: Vec<Vec<u8>> = vec![
        key.to_vec(),
        hex.clone().into_bytes(),
        hex.to_lowercase().into_bytes(),
        hex.as_bytes()[16..32].to_vec(),
        format!("{key:?}").into_bytes(),
        format!("{key:02x?}").into_bytes(),
        serde_json::to_vec(&key).unwrap(),
        bytes_debug(&key).into_bytes(),
        quoted.into_bytes(),
        STANDARD.encode(key).into_bytes(),
        STANDARD.encode(amid(b"x")).into_bytes(),
        STANDARD.encode(amid(b"xy")).into_bytes(),
        URL_SAFE.encode(key).into_bytes(),
        URL_SAFE.encode(amid(b"x")).into_bytes(),
        URL_SAFE.encode(amid(b"xy")).into_bytes(),
    ];
    for (which, spelled) in planted.iter().enumerate() {
        let text = [b"{\"level\":\"TRACE\",\"x\":\"", spelled.as_slice(), b"\"}\n"].concat();
        assert!(leaks(&text, &key), "planted key {which} was not found");
        assert!(!leaks(&text, &random::array::<32>().unwrap()), "{which}: another key was found");
    }
}

/// As `{:?}` shows a byte string.
fn bytes_debug(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

// ---- the drive ----

/// Secrets by name, which must not be shown, and everything that was shown.
#[derive(Default)]
struct Notes {
    secrets: BTreeMap<String, Vec<u8>>,
    shown: String,
}

impl Notes {
    fn keep_secret(&mut self, name: &str, bytes: &[u8]) {
        assert!(self.secrets.insert(name.to_owned(), bytes.to_vec()).is_none(), "{name}: twice");
    }

    /// Keeps what `{:?}` makes of a message or a status, and hands it on.
    fn show<T: Debug>(&mut self, what: T) -> T {
        writeln!(self.shown, "{what:?}").unwrap();
        what
    }
}

/// Calls one RPC and shows request and outcome.
macro_rules! call {
    ($caller:ident.$service:ident.$rpc:ident, $notes:ident, $request:expr) => {{
        let request = $notes.show($request);
        let outcome = $caller.runtime.block_on($caller.$service.$rpc(request));
        $notes.show(outcome.map(tonic::Response::into_inner))
    }};
}

/// Every RPC once at least, as it should be called.
fn call_well(caller: &mut Caller, notes: &mut Notes) -> (String, Vec<u8>) {
    let made = call!(caller.management.create_key, notes, v1::CreateKeyRequest::default());
    let key_id = made.unwrap().key_metadata.unwrap().key_id;
    let blob = call_for_data_keys(caller, notes, &key_id);
    call_for_export(caller, notes, &key_id, &blob);
    call_for_bytes(caller, notes, &key_id);
    call_for_stream(caller, notes, &blob);
    call_for_decryption(caller, notes, &key_id);
    call_for_signatures(caller, notes);
    call_for_management(caller, notes, &key_id);
    call_for_life(caller, notes);
    call_for_access_keys(caller, notes);
    (key_id, blob)
}

fn call_for_data_keys(caller: &mut Caller, notes: &mut Notes, key_id: &str) -> Vec<u8> {
    let request = v1::GenerateDataKeyRequest { key_id: key_id.to_owned(), ..Default::default() };
    let shown = call!(caller.kms.generate_data_key, notes, request).unwrap();
    notes.keep_secret("a shown data key", &shown.plaintext);
    let request = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key_id.to_owned(),
        number_of_bytes: Some(64),
        ..Default::default()
    };
    let unseen = call!(caller.kms.generate_data_key_without_plaintext, notes, request).unwrap();
    let request = v1::DecryptRequest {
        ciphertext_blob: unseen.ciphertext_blob.clone(),
        ..Default::default()
    };
    let opened = call!(caller.kms.decrypt, notes, request).unwrap();
    notes.keep_secret("an unseen data key", &opened.plaintext);
    unseen.ciphertext_blob
}

fn export_request(
    blob: &[u8],
    public_key: &[u8],
    spec: WrappingKeySpec,
) -> v1::ExportDataKeyRequest {
    let algorithm = match spec {
        WrappingKeySpec::EcSm2 => WrappingAlgorithm::Sm2pke,
        _ => WrappingAlgorithm::RsaesOaepSha256,
    };
    v1::ExportDataKeyRequest {
        ciphertext_blob: blob.to_vec(),
        public_key_blob: public_key.to_vec(),
        wrapping_algorithm: algorithm.into(),
        wrapping_key_spec: spec.into(),
        ..Default::default()
    }
}

fn call_for_export(caller: &mut Caller, notes: &mut Notes, key_id: &str, blob: &[u8]) {
    let recipients =
        [(Spec::Rsa2048, WrappingKeySpec::Rsa2048), (Spec::EcSm2, WrappingKeySpec::EcSm2)];
    for (spec, named) in recipients {
        let recipient = RecipientPrivateKey::generate(spec).unwrap();
        // From the third time on, an SM2 key has a table.
        for _ in 0..3 {
            let request = export_request(blob, recipient.public_key_der(), named);
            let answer = call!(caller.kms.export_data_key, notes, request).unwrap();
            unwrap_by_hand(notes, &recipient, &answer.exported_data_key);
        }
        let request = v1::GenerateAndExportDataKeyRequest {
            key_id: key_id.to_owned(),
            public_key_blob: recipient.public_key_der().to_vec(),
            wrapping_algorithm: export_request(&[], &[], named).wrapping_algorithm,
            wrapping_key_spec: named.into(),
            ..Default::default()
        };
        let both = call!(caller.kms.generate_and_export_data_key, notes, request).unwrap();
        let data_key = caller.decrypt(&both.ciphertext_blob);
        notes.keep_secret(&format!("a data key for {named:?}"), &data_key);
        send_private_key(caller, notes, blob, &recipient, named);
    }
}

/// By mistake, the private key where the public one belongs.
fn send_private_key(
    caller: &mut Caller,
    notes: &mut Notes,
    blob: &[u8],
    recipient: &RecipientPrivateKey,
    named: WrappingKeySpec,
) {
    let pem = recipient.to_pkcs8_pem();
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    let der = STANDARD.decode(lines.collect::<String>()).unwrap();
    notes.keep_secret(&format!("the private key of {named:?}"), private_part(&der));
    for sent in [pem.as_bytes(), &der] {
        let request = export_request(blob, sent, named);
        let outcome = caller.runtime.block_on(caller.kms.export_data_key(request));
        notes.show(outcome.unwrap_err());
    }
}

/// PKCS#8 holds the public key too. Private are an elliptic curve's scalar, after
/// its ECPrivateKey's version 1, and the end of RSA's: qInv. Key material that is
/// not PKCS#8 is private all of it.
fn private_part(material: &[u8]) -> &[u8] {
    let version = [2, 1, 1, 4, 32];
    match material.windows(version.len()).position(|window| window == version) {
        Some(at) => &material[at + version.len()..at + version.len() + 32],
        None => &material[material.len() - material.len().min(64)..],
    }
}

/// The recipient's side: the command line says nothing of what it unwrapped.
fn unwrap_by_hand(notes: &mut Notes, recipient: &RecipientPrivateKey, exported: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let [key, input, out] = ["pem", "in", "out"].map(|name| folder.path().join(name));
    fs::write(&key, recipient.to_pkcs8_pem().as_bytes()).unwrap();
    fs::write(&input, exported).unwrap();
    let mut unwrap = program();
    unwrap.args(["data-key", "unwrap", "--json", "--private-key"]).arg(key);
    let finished = run(unwrap.arg("--in").arg(input).arg("--out").arg(out));
    notes.shown += &String::from_utf8_lossy(&finished.stdout);
    notes.shown += &String::from_utf8_lossy(&finished.stderr);
}

fn call_for_stream(caller: &mut Caller, notes: &mut Notes, blob: &[u8]) {
    let recipient = RecipientPrivateKey::generate(Spec::EcSm2).unwrap();
    let good = export_request(blob, recipient.public_key_der(), WrappingKeySpec::EcSm2);
    let bad = export_request(&blob[1..], recipient.public_key_der(), WrappingKeySpec::EcSm2);
    let items = [good, bad]
        .map(|item| v1::ExportDataKeysRequest { item_id: "scanned".into(), item: Some(item) });
    let items = notes.show(items);
    let mut answers = caller.runtime.block_on(async {
        let items = tokio_stream::iter(items);
        caller.kms.export_data_keys(items).await.unwrap().into_inner()
    });
    for _ in 0..2 {
        let answer = caller.runtime.block_on(answers.message()).unwrap().unwrap();
        if let Some(Outcome::Exported(exported)) = notes.show(answer).outcome {
            unwrap_by_hand(notes, &recipient, &exported.exported_data_key);
        }
    }
}

/// A new key pair: the CMK and its version.
fn make_pair(caller: &mut Caller, notes: &mut Notes, spec: &str, usage: &str) -> (String, String) {
    let request = v1::CreateKeyRequest {
        key_spec: spec.into(),
        key_usage: usage.into(),
        ..Default::default()
    };
    let made = call!(caller.management.create_key, notes, request).unwrap();
    let key_id = made.key_metadata.unwrap().key_id;
    let request = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    let listed = call!(caller.management.list_key_versions, notes, request).unwrap();
    let key_version_id = listed.key_versions[0].key_version_id.clone();
    let request = v1::GetPublicKeyRequest {
        key_id: key_id.clone(),
        key_version_id: key_version_id.clone(),
        ..Default::default()
    };
    call!(caller.kms.get_public_key, notes, request).unwrap();
    (key_id, key_version_id)
}

fn call_for_decryption(caller: &mut Caller, notes: &mut Notes, destination_key_id: &str) {
    for (spec, algorithm) in
        [("RSA_2048", WrappingAlgorithm::RsaesOaepSha1), ("EC_SM2", WrappingAlgorithm::Sm2pke)]
    {
        let (key_id, key_version_id) = make_pair(caller, notes, spec, "ENCRYPT/DECRYPT");
        let plaintext: [u8; 40] = random::array().unwrap();
        notes.keep_secret(&format!("bytes for {spec}"), &plaintext);
        let request = v1::AsymmetricEncryptRequest {
            key_id: key_id.clone(),
            key_version_id: key_version_id.clone(),
            algorithm: algorithm.into(),
            plaintext: plaintext.to_vec(),
            ..Default::default()
        };
        let encrypted = call!(caller.kms.asymmetric_encrypt, notes, request).unwrap();
        let mut request = v1::AsymmetricDecryptRequest {
            key_id: key_id.clone(),
            key_version_id: key_version_id.clone(),
            algorithm: algorithm.into(),
            ciphertext_blob: encrypted.ciphertext_blob.clone(),
            ..Default::default()
        };
        let opened = call!(caller.kms.asymmetric_decrypt, notes, request.clone()).unwrap();
        assert_eq!(opened.plaintext, plaintext);
        *request.ciphertext_blob.last_mut().unwrap() ^= 1;
        call!(caller.kms.asymmetric_decrypt, notes, request).unwrap_err();
        let request = v1::ReEncryptRequest {
            ciphertext_blob: encrypted.ciphertext_blob,
            source_key_id: key_id,
            source_key_version_id: key_version_id,
            source_encryption_algorithm: algorithm.into(),
            destination_key_id: destination_key_id.to_owned(),
            ..Default::default()
        };
        let imported = call!(caller.kms.re_encrypt, notes, request).unwrap();
        assert_eq!(caller.decrypt(&imported.ciphertext_blob), plaintext);
    }
}

fn call_for_signatures(caller: &mut Caller, notes: &mut Notes) {
    for (spec, algorithm) in [
        ("RSA_2048", v1::SigningAlgorithm::RsaPssSha256),
        ("EC_P256", v1::SigningAlgorithm::EcdsaSha256),
        ("EC_P256K", v1::SigningAlgorithm::EcdsaSha256),
        ("EC_SM2", v1::SigningAlgorithm::Sm2dsa),
    ] {
        let (key_id, key_version_id) = make_pair(caller, notes, spec, "SIGN/VERIFY");
        let request = v1::AsymmetricSignRequest {
            key_id: key_id.clone(),
            key_version_id: key_version_id.clone(),
            algorithm: algorithm.into(),
            digest: vec![7; 32],
            ..Default::default()
        };
        let signed = call!(caller.kms.asymmetric_sign, notes, request).unwrap();
        let request = v1::AsymmetricVerifyRequest {
            key_id,
            key_version_id,
            algorithm: algorithm.into(),
            digest: vec![7; 32],
            value: signed.value,
            ..Default::default()
        };
        assert!(call!(caller.kms.asymmetric_verify, notes, request).unwrap().value);
    }
}

fn call_for_bytes(caller: &mut Caller, notes: &mut Notes, key_id: &str) {
    let plaintext: [u8; 48] = random::array().unwrap();
    notes.keep_secret("a caller's bytes", &plaintext);
    let request = v1::EncryptRequest {
        key_id: key_id.to_owned(),
        plaintext: plaintext.to_vec(),
        ..Default::default()
    };
    let encrypted = call!(caller.kms.encrypt, notes, request).unwrap();
    let request = v1::ReEncryptRequest {
        ciphertext_blob: encrypted.ciphertext_blob,
        destination_key_id: key_id.to_owned(),
        ..Default::default()
    };
    let moved = call!(caller.kms.re_encrypt, notes, request).unwrap();
    assert_eq!(caller.decrypt(&moved.ciphertext_blob), plaintext);
}

fn call_for_management(caller: &mut Caller, notes: &mut Notes, key_id: &str) {
    let key_id = || key_id.to_owned();
    let alias_name = || "alias/scanned".to_owned();
    let request =
        v1::CreateAliasRequest { alias_name: alias_name(), key_id: key_id(), dry_run: false };
    call!(caller.management.create_alias, notes, request).unwrap();
    let request =
        v1::UpdateAliasRequest { alias_name: alias_name(), key_id: key_id(), dry_run: false };
    call!(caller.management.update_alias, notes, request).unwrap();
    let request = v1::DescribeKeyRequest { key_id: alias_name(), dry_run: false };
    call!(caller.management.describe_key, notes, request).unwrap();
    call!(caller.management.list_keys, notes, v1::ListKeysRequest::default()).unwrap();
    call!(caller.management.list_aliases, notes, v1::ListAliasesRequest::default()).unwrap();
    let request = v1::ListAliasesByKeyIdRequest { key_id: key_id(), ..Default::default() };
    call!(caller.management.list_aliases_by_key_id, notes, request).unwrap();
    let request = v1::DisableKeyRequest { key_id: key_id(), dry_run: false };
    call!(caller.management.disable_key, notes, request).unwrap();
    let request = v1::EnableKeyRequest { key_id: key_id(), dry_run: false };
    call!(caller.management.enable_key, notes, request).unwrap();
    let request = v1::DeleteAliasRequest { alias_name: alias_name(), dry_run: false };
    call!(caller.management.delete_alias, notes, request).unwrap();
}

fn call_for_life(caller: &mut Caller, notes: &mut Notes) {
    let made = call!(caller.management.create_key, notes, v1::CreateKeyRequest::default());
    let id = made.unwrap().key_metadata.unwrap().key_id;
    let (key_id, dry_run) = (|| id.clone(), false);
    let request = v1::CreateKeyVersionRequest { key_id: key_id(), dry_run };
    let version = call!(caller.management.create_key_version, notes, request).unwrap();
    let key_version_id = version.key_version.unwrap().key_version_id;
    let request = v1::DescribeKeyVersionRequest { key_id: key_id(), key_version_id, dry_run };
    call!(caller.management.describe_key_version, notes, request).unwrap();
    let request = v1::UpdateRotationPolicyRequest {
        key_id: key_id(),
        enable_automatic_rotation: Some(true),
        rotation_interval: "7d".into(),
        dry_run,
    };
    call!(caller.management.update_rotation_policy, notes, request).unwrap();
    let description = "scanned".to_owned();
    let request = v1::UpdateKeyDescriptionRequest { key_id: key_id(), description, dry_run };
    call!(caller.management.update_key_description, notes, request).unwrap();
    let tags = vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }];
    let request = v1::TagResourceRequest { key_id: key_id(), tags, dry_run };
    call!(caller.management.tag_resource, notes, request).unwrap();
    let request = v1::ListResourceTagsRequest { key_id: key_id(), dry_run };
    call!(caller.management.list_resource_tags, notes, request).unwrap();
    let tag_keys = vec!["team".to_owned()];
    let request = v1::UntagResourceRequest { key_id: key_id(), tag_keys, dry_run };
    call!(caller.management.untag_resource, notes, request).unwrap();
    let (resource_type, resource_ids) = (|| "key".to_owned(), || vec![id.clone()]);
    let tags = vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }];
    let request = v1::TagResourcesRequest {
        resource_type: resource_type(),
        resource_ids: resource_ids(),
        tags: tags.clone(),
        dry_run,
    };
    call!(caller.management.tag_resources, notes, request).unwrap();
    let request = v1::ListTagResourcesRequest {
        resource_type: resource_type(),
        resource_ids: resource_ids(),
        tags,
        dry_run,
    };
    call!(caller.management.list_tag_resources, notes, request).unwrap();
    let request = v1::UntagResourcesRequest {
        resource_type: resource_type(),
        resource_ids: resource_ids(),
        tag_keys: vec![],
        all: true,
        dry_run,
    };
    call!(caller.management.untag_resources, notes, request).unwrap();
    let request = v1::DescribeRegionsRequest { dry_run };
    call!(caller.management.describe_regions, notes, request).unwrap();
    let request = v1::SetDeletionProtectionRequest {
        protected_resource_arn: key_id(),
        enable_deletion_protection: Some(false),
        ..Default::default()
    };
    call!(caller.management.set_deletion_protection, notes, request).unwrap();
    let pending_window_in_days = Some(7);
    let request =
        v1::ScheduleKeyDeletionRequest { key_id: key_id(), pending_window_in_days, dry_run };
    call!(caller.management.schedule_key_deletion, notes, request).unwrap();
    let request = v1::CancelKeyDeletionRequest { key_id: key_id(), dry_run };
    call!(caller.management.cancel_key_deletion, notes, request).unwrap();
}

/// One access key stays, one is deleted: neither's secret is anywhere.
fn call_for_access_keys(caller: &mut Caller, notes: &mut Notes) {
    let (principal, dry_run) = ("billing".to_owned(), false);
    for name in ["a kept access key", "a deleted access key"] {
        let request = v1::CreateAccessKeyRequest { principal: principal.clone(), dry_run };
        let made = call!(caller.access.create_access_key, notes, request).unwrap();
        notes.keep_secret(name, made.access_key_secret.as_bytes());
        // By mistake, the secret where the id belongs, or the account.
        let secret = made.access_key_secret;
        let request = v1::DeleteAccessKeyRequest { access_key_id: secret.clone(), dry_run };
        let outcome = caller.runtime.block_on(caller.access.delete_access_key(request));
        notes.show(outcome.unwrap_err());
        let request = v1::ListAccessKeysRequest { principal: secret, ..Default::default() };
        caller.runtime.block_on(caller.access.list_access_keys(request)).unwrap();
        let request = v1::DisableAccessKeyRequest { access_key_id: made.access_key_id, dry_run };
        call!(caller.access.disable_access_key, notes, request).unwrap();
    }
    let request = v1::ListAccessKeysRequest { principal, ..Default::default() };
    let listed = call!(caller.access.list_access_keys, notes, request).unwrap().access_keys;
    let access_key_id = listed[1].access_key_id.clone();
    let request = v1::DeleteAccessKeyRequest { access_key_id, dry_run };
    call!(caller.access.delete_access_key, notes, request).unwrap();
    let request = v1::GetReceiptKeysRequest { dry_run };
    call!(caller.access.get_receipt_keys, notes, request).unwrap();
}

/// Logs become talkative where something goes wrong.
fn call_badly(caller: &mut Caller, notes: &mut Notes, key_id: &str, blob: &[u8]) {
    let mut torn = blob.to_vec();
    *torn.last_mut().unwrap() ^= 1;
    for bad in [&torn[..], &blob[..blob.len() - 1], b"", b"not a blob"] {
        let request = v1::DecryptRequest { ciphertext_blob: bad.to_vec(), ..Default::default() };
        call!(caller.kms.decrypt, notes, request).unwrap_err();
    }
    let plaintext: Vec<u8> = random::array::<32>().unwrap().repeat(200);
    notes.keep_secret("too many of a caller's bytes", &plaintext[..64]);
    for (key_id, length) in [(key_id, 6400), ("no such key", 32), (key_id, 0)] {
        let request = v1::EncryptRequest {
            key_id: key_id.to_owned(),
            plaintext: plaintext[..length].to_vec(),
            ..Default::default()
        };
        call!(caller.kms.encrypt, notes, request).unwrap_err();
    }
    let request = v1::GenerateDataKeyRequest {
        key_id: key_id.to_owned(),
        dry_run: true,
        ..Default::default()
    };
    call!(caller.kms.generate_data_key, notes, request).unwrap_err();
    // A key where an id belongs.
    let key: [u8; 32] = random::array().unwrap();
    notes.keep_secret("a key in the place of an id", &key);
    let request = v1::DescribeKeyRequest { key_id: STANDARD.encode(key), dry_run: false };
    let outcome = caller.runtime.block_on(caller.management.describe_key(request));
    notes.show(outcome.unwrap_err());
}

// ---- the store ----

/// A slot's fields that hold the wrapped store keys, and one store key.
#[derive(prost::Message)]
struct Slot {
    #[prost(string, tag = "2")]
    root_key_id: String,
    #[prost(string, tag = "3")]
    provider: String,
    #[prost(bytes = "vec", tag = "4")]
    store_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    wrapped_store_keys: Vec<u8>,
}

/// The root key, the store key and all key material, read with the root key
/// after the server is gone.
async fn stored_secrets(config: &Config, notes: &mut Notes) {
    let RootKeyConfig::File { path: root_key } = &config.root_key;
    let text = fs::read_to_string(root_key).unwrap();
    let (_, encoded) = text.trim_end().rsplit_once(':').unwrap();
    notes.keep_secret("the root key", &STANDARD.decode(encoded).unwrap());
    let StoreConfig::Sqlite { path } = &config.store;
    let store = SqliteStore::open(path).unwrap();
    let root = FileRootKey::read(root_key).unwrap();
    notes.keep_secret("the store keys", &store_keys_of(&store, &root).await);
    let seals = store_keys::unlock(&store, &root, StoreMode::Production).await.unwrap();
    for (path, version) in store.list("version/", None, 100).await.unwrap().entries {
        let opened = seals.open::<()>(RecordKind::KeyVersion, &path, &version.value);
        notes.keep_secret(&format!("key material of {path}"), private_part(&opened.unwrap().1));
    }
}

async fn store_keys_of(store: &SqliteStore, root: &FileRootKey) -> Vec<u8> {
    let slots = store.list("store/slot/", None, 1).await.unwrap().entries;
    let slot = Slot::decode(slots[0].1.value.as_slice()).unwrap();
    let mut aad = b"keyferry/slot\0\0\0\x01".to_vec();
    aad.extend_from_slice(&slot.store_id);
    for part in [&slot.root_key_id, &slot.provider] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    let opened = root.unwrap(&aad, &slot.nonce, &slot.wrapped_store_keys).unwrap();
    // One StoreKey, whose key is its last field.
    opened[opened.len() - 32..].to_vec()
}

// ---- the test ----

/// Everything that must hold no secret, by name.
fn texts(server: &Server, notes: &Notes, folders: &[&Path]) -> Vec<(String, Vec<u8>)> {
    let mut texts = vec![
        ("the log".to_owned(), server.log().into_bytes()),
        ("messages and statuses".to_owned(), notes.shown.clone().into_bytes()),
    ];
    for file in folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let path = file.unwrap().path();
        texts.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    texts
}

/// A value within requests, of which the HTTP front door must log no part.
const PLANTED: &str = "PLANTED0value0of0a0caller";

/// Through the HTTP front door, well and badly.
fn call_through_the_door(server: &Server, caller: &mut Caller, notes: &mut Notes, key_id: &str) {
    let request = v1::CreateAccessKeyRequest { principal: "scanned".into(), dry_run: false };
    let made = caller.runtime.block_on(caller.access.create_access_key(request)).unwrap();
    let made = made.into_inner();
    let signer = Signer {
        access_key_id: made.access_key_id,
        secret: made.access_key_secret,
        version: keyferry::gateway::VERSION,
    };
    notes.keep_secret("the secret of an access key", signer.secret.as_bytes());
    let wrong = Signer { secret: "0".repeat(44), ..signer.clone() };
    let plaintext: [u8; 48] = random::array().unwrap();
    notes.keep_secret("a caller's bytes over HTTP", &plaintext);
    let plaintext = STANDARD.encode(plaintext);
    let own = owned(&[
        ("KeyId", key_id),
        ("Plaintext", &plaintext),
        ("EncryptionContext", &format!("{{\"{PLANTED}\":\"{PLANTED}\"}}")),
        (PLANTED, PLANTED),
    ]);
    caller.runtime.block_on(async {
        let mut http = http_on(server).await;
        let encrypted = http.v3(&signer, "Encrypt", &own).await;
        let blob = encrypted.json()["CiphertextBlob"].as_str().unwrap().to_owned();
        let own_blob = owned(&[("CiphertextBlob", &blob), ("EncryptionContext.x", PLANTED)]);
        for signer in [&signer, &wrong] {
            http.v1(signer, "Encrypt", &own).await;
            http.v1_form(signer, "Encrypt", &own).await;
            http.v3(signer, "Encrypt", &own).await;
            http.v3(signer, "Decrypt", &own_blob).await;
            http.v3(signer, PLANTED, &own).await;
        }
        let generated = http.v3(&signer, "GenerateDataKey", &own[..1]).await.json();
        let data_key = STANDARD.decode(generated["Plaintext"].as_str().unwrap()).unwrap();
        notes.keep_secret("a data key over HTTP", &data_key);
    });
    caller.runtime.block_on(call_badly_over_http(server, &plaintext));
}

/// Requests that are refused before anybody knows whose they are.
async fn call_badly_over_http(server: &Server, plaintext: &str) {
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    for request in [
        format!("GET /{PLANTED} HTTP/1.1\r\nhost: {PLANTED}\r\n\r\n"),
        format!(
            "GET /?{PLANTED}={PLANTED}&{PLANTED}=1&Plaintext={plaintext} HTTP/1.1\r\nhost: a\r\n\r\n"
        ),
        format!("GET /?%{PLANTED} HTTP/1.1\r\nhost: a\r\nauthorization: {PLANTED}\r\n\r\n"),
        format!("{PLANTED} / HTTP/1.1\r\nhost: a\r\nx-request-id: {PLANTED} {PLANTED}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nhost: a\r\n{form}content-length: 99\r\n\r\n{PLANTED}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {PLANTED}\r\n\r\n{PLANTED}"),
        format!("{PLANTED}\r\n\r\n"),
    ] {
        let mut http = http_on(server).await;
        http.send(request).await;
        // The one whose body does not come is left waiting.
        let _ = tokio::time::timeout(Duration::from_secs(1), http.answer()).await;
    }
}

async fn http_on(server: &Server) -> Http {
    let stream = tokio::net::UnixStream::connect(server.socket()).await.unwrap();
    Http::over(stream, "localhost")
}

fn scan(format: &str) {
    let mut server = Server::on_socket(&[
        ("KEYFERRY_LOG__LEVEL", "trace"),
        ("KEYFERRY_LOG__FORMAT", format),
        ("KEYFERRY_LISTENER__0__GATEWAY", "true"),
        ("KEYFERRY_AUTH__ACCESS_KEY__SIGNATURE_V1", "true"),
    ]);
    let config = server.config();
    let mut notes = Notes::default();
    let mut caller = server.caller();
    let (key_id, blob) = call_well(&mut caller, &mut notes);
    call_badly(&mut caller, &mut notes, &key_id, &blob);
    call_through_the_door(&server, &mut caller, &mut notes, &key_id);
    server.stop();
    caller.runtime.block_on(stored_secrets(&config, &mut notes));

    every_rpc_is_logged(&server.log());
    if format == "json" {
        every_line_says_whose_it_is(&server.log());
    }
    assert!(server.log().contains("SignatureDoesNotMatch"), "the door is logged too");
    assert!(!server.log().contains(PLANTED), "{:?}", planted_lines(&server.log()));
    let StoreConfig::Sqlite { path: store } = &config.store;
    let AuditConfig::Kept(audit) = &config.audit else { panic!("an audit log is kept") };
    for (name, text) in texts(&server, &notes, &[store, &audit.directory]) {
        for (secret, bytes) in &notes.secrets {
            assert!(!leaks(&text, bytes), "{secret} stands in {name}");
        }
    }
}

fn planted_lines(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(PLANTED)).collect()
}

/// Lines of a request bear its fields, and none bears a field twice. The one at a
/// request's end has no principal where none was known.
fn every_line_says_whose_it_is(log: &str) {
    for line in log.lines() {
        let fields: Fields =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let has = |name: &str| fields.0.iter().any(|field| field == name);
        let names: BTreeSet<&String> = fields.0.iter().collect();
        assert_eq!(names.len(), fields.0.len(), "a field stands twice: {line}");
        let of_request =
            ["keyferry::rpc", "keyferry::access", "keyferry::service", "keyferry::error"]
                .iter()
                .any(|target| line.contains(&format!("\"target\":\"{target}")));
        if of_request {
            assert!(has("request_id") && has("peer"), "{line}");
        }
        if of_request && !line.contains("\"keyferry::rpc\"") {
            assert!(has("principal") && (has("rpc") || has("action")), "{line}");
        }
    }
}

/// The names of an object's fields, each as often as it stands there.
struct Fields(Vec<String>);

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Fields, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Fields(names))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A new RPC must be driven here too.
fn every_rpc_is_logged(log: &str) {
    let pool = DescriptorPool::decode(CONTRACT).unwrap();
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            assert!(log.contains(&path), "{path} is not in the log: drive it");
        }
    }
}

#[test]
fn a_json_log_at_trace_level_holds_no_key() {
    scan("json");
}

#[test]
fn a_text_log_at_trace_level_holds_no_key() {
    scan("text");
}
