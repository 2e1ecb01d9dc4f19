//! The texts of a new instance: its configuration, its policies and its groups.

use std::net::SocketAddr;

use crate::access::principal::Principal;

const HEAD: &str = "\
# Keyferry's configuration. `keyferry serve --check-config --config FILE` checks
# it. KEYFERRY_ and the upper-case path of a field, its parts joined by __,
# overrides it from the environment. Relative paths start where this file is.
";

const SOCKET: &str = r#"
# A Unix socket for the server's own user: the kernel tells the caller's user.
[[listener]]
address = "unix:keyferry.sock"

[auth.unix]

# For callers on other machines, which show a client certificate:
#
# [[listener]]
# address = "0.0.0.0:7311"
# tls = { cert = "server.pem", key = "server.key", client_ca = "clients.pem" }
#
# [auth.mtls]
"#;

const TAIL: &str = r#"
[store]
kind = "sqlite"
path = "store"

# Who may do what: policies (*.cedar) and groups.toml.
[policy]
dir = "policies"

# This file and the store together give every key away. Without this file, every
# key is lost. Keep copies of the two apart.
[root_key]
provider = "file"
path = "root.key"
"#;

/// The configuration of an instance: over TLS at this address, or on a Unix socket.
/// Paths in it are relative to the file.
pub fn config(tls: Option<SocketAddr>) -> String {
    let listener = tls.map(|address| {
        format!(
            r#"
# Over TLS: each caller shows a client certificate, and its SPIFFE ID is who it is. The
# certificates are of an authority for trials, good for 397 days; for keys that matter,
# put those of your own authority in their place.
[[listener]]
address = "{address}"
tls = {{ cert = "server.pem", key = "server.key", client_ca = "trial-ca.pem" }}

[auth.mtls]
"#
        )
    });
    [HEAD, listener.as_deref().unwrap_or(SOCKET), TAIL].concat()
}

/// The policies of a new instance.
pub const POLICIES: &str = r#"// Who may do what. Nothing is allowed but what a policy here permits; a forbid wins over
// every permit. `keyferry policy schema` prints what policies may speak of, `keyferry
// policy check DIR` judges a directory. The server takes changes while it runs.

// groups.toml says who is an operator.
@id("operators")
permit (principal in Group::"operators", action, resource);

// For example: the billing service may export keys of alias/payments, only to one HSM,
// only under the context app=billing, only keys that were never shown.
//
// @id("billing-exports")
// permit (
//   principal == Spiffe::"spiffe://kms.example/billing",
//   action == Action::"ExportDataKey",
//   resource in Alias::"alias/payments"
// ) when {
//   context.recipient.public_key_sha256 == "<`keyferry recipient show FILE` prints it>" &&
//   context.encryption_context.hasTag("app") &&
//   context.encryption_context.getTag("app") == "billing" &&
//   context.blob.kind == "DataKeyUnseen"
// };
"#;

/// Its groups: one principal may do everything.
pub fn groups(operator: &Principal) -> String {
    format!(
        "# Groups of principals, each as the log names it: spiffe://…, dns:…, cn:…, unix:<user id>,\n\
         # access-key:<service account>.\n\
         operators = [\"{operator}\"]\n"
    )
}
