//! What a line of the audit log says, beside its place in the chain.
//!
//! No secret is in any, and no value of an encryption context: its keys alone, and a
//! digest under a key of the store.

use serde::{Deserialize, Serialize};

/// The kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The first line of each file.
    File,
    /// A process begins to serve.
    Start,
    /// It ends, in order.
    Stop,
    /// Other policies decide from here on.
    Policy,
    /// A request or an item of a stream that changes nothing, or that was refused: with
    /// all its decisions, and how it ended.
    Decision,
    /// A change is about to be committed.
    Intent,
    /// How a change ended; it has the event id of its intent.
    Outcome,
    /// Callers who were refused before anybody knew them, counted.
    Auth,
    /// A signed note over all lines before it.
    Checkpoint,
}

/// One decision of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The action.
    pub action: String,
    /// The key that it is about, where it is about one that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The ids of the policies that decided; none where nothing permitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Whether it was allowed.
    pub allowed: bool,
}

/// The time of a line: RFC 3339, UTC, microseconds.
pub const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S.%6fZ";

/// Declares the entry, all of whose fields but the first ones are left out where a line
/// does not have them.
macro_rules! entry {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)+) => {
        /// A line, but for its place in the chain. Fields are written in this order.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Entry {
            /// When, as [`TIME_FORMAT`] has it.
            pub time: String,
            /// The id of the event: proves nothing by itself, and is unique.
            pub event: String,
            /// The store's id.
            pub store: String,
            /// The run of the process that wrote it.
            pub run: String,
            /// What it tells.
            pub kind: Kind,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }

        impl Entry {
            /// A line that says nothing more yet.
            #[must_use]
            pub fn new(time: String, event: String, store: String, run: String, kind: Kind) -> Self {
                Self { time, event, store, run, kind, $($field: None,)+ }
            }
        }
    };
}

entry! {
    /// `file`: the number of the file, from 1.
    file: u64,
    /// `file`: why it was begun: `start`, `size`, `age`, `asked`, `deleted`, `truncated`,
    /// `failure`.
    after: String,
    /// `start`: the program's version.
    version: String,
    /// `start`: the public key of the checkpoints, as a signed note's verifier key.
    checkpoint_key: String,
    /// `start`: the sealed checkpoint that the log did not reach, and that an operator
    /// gave up.
    lost_checkpoint: String,
    /// The caller's id of the request, which proves nothing.
    request_id: String,
    /// The item of a stream, from 1.
    item: u64,
    /// The caller.
    principal: String,
    /// The proxy that vouched for the caller.
    by: String,
    /// The address of the connection's other end.
    peer: String,
    /// `Service/Method`.
    rpc: String,
    /// The key that was used, changed or shown.
    key_id: String,
    /// The version of it that was used or made.
    key_version_id: String,
    /// The other key of an RPC about two: the destination.
    other_key_id: String,
    /// The alias that was asked for or changed.
    alias: String,
    /// The access key that was made or changed.
    access_key_id: String,
    /// The service account of an access key.
    account: String,
    /// The digest of the policies that decided.
    policy_set: String,
    /// Every decision, in the order in which they were made.
    decisions: Vec<Decided>,
    /// SHA-256 of the recipient's public key, as DER.
    recipient_sha256: String,
    /// The recipient's kind of key.
    recipient_spec: String,
    /// The algorithm of wrapping, encryption or signature.
    algorithm: String,
    /// The keys of the encryption context.
    context_keys: Vec<String>,
    /// HMAC-SHA-256 of the encryption context, under a key of the store: equal where the
    /// context is.
    context_hmac: String,
    /// The kind of the data key or data.
    blob_kind: String,
    /// The length of the data key or data.
    bytes: u64,
    /// Whether nothing was to be done.
    dry_run: bool,
    /// Whether a receipt was given.
    receipt: bool,
    /// `intent`, `outcome`: the change, in words.
    change: String,
    /// The state of the key after the change.
    state: String,
    /// How it ended: `ok`, a reason of the error table, `abandoned`, `settled:done`,
    /// `settled:not done`.
    outcome: String,
    /// `auth`: at which door: `connection`, `rpc`, `action`. `decision`: not set.
    refused: String,
    /// How many events this line stands for, where it is more than one.
    count: u64,
    /// `checkpoint`: the signed note.
    note: String,
}
