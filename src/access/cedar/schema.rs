//! The Cedar schema, made of the decision table and of the facts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::facts::{ALWAYS, facts_of};
use crate::access::decisions::{Resource, TABLE};
use crate::access::operations::Action;
use crate::access::principal::PrincipalKind;

/// The types of principals, in the schema's words. `dev` has none: a server that is
/// started with `--dev` has no policies.
pub(super) const PRINCIPALS: [(PrincipalKind, &str, &str); 6] = [
    (PrincipalKind::Spiffe, "Spiffe", "trust_domain: String, path: String"),
    (PrincipalKind::Dns, "Dns", "name: String"),
    (PrincipalKind::Cn, "CommonName", "name: String"),
    (PrincipalKind::Unix, "UnixUser", "uid: Long"),
    (PrincipalKind::AccessKey, "ServiceAccount", "name: String"),
    (PrincipalKind::Jwt, "JwtSubject", "issuer: String, subject: String"),
];

/// The groups of actions: one for each purpose.
pub(super) const ACTION_GROUPS: [&str; 3] = ["Use", "Change", "Look"];

impl Resource {
    /// Its entity type.
    pub(super) const fn entity_type(self) -> &'static str {
        match self {
            Self::Instance => "Instance",
            Self::Key | Self::Destination | Self::NewKey => "Key",
            Self::Alias => "Alias",
            Self::Account => "ServiceAccount",
        }
    }
}

/// An action as the decision table has it.
pub(super) struct ActionRow {
    pub(super) action: Action,
    pub(super) group: &'static str,
    pub(super) resources: Vec<&'static str>,
}

/// The actions of the table, in its order.
pub(super) fn actions() -> Vec<ActionRow> {
    let mut rows: Vec<ActionRow> = Vec::new();
    let decisions = TABLE.iter().flat_map(|row| row.required.iter().map(|it| (row.purpose, it)));
    for (group, decision) in decisions {
        let resource = decision.resource.entity_type();
        match rows.iter_mut().find(|row| row.action == decision.action) {
            Some(row) if row.resources.contains(&resource) => {}
            Some(row) => row.resources.push(resource),
            None => {
                rows.push(ActionRow { action: decision.action, group, resources: vec![resource] });
            }
        }
    }
    rows
}

/// The schema, in Cedar's own form.
#[must_use]
pub fn text() -> String {
    let mut out = String::from(
        "// What policies may speak of: principals, keys, actions, and the facts of a request.\n\
         // `keyferry policy schema` prints it.\n\n\
         // Principals, each known in its own way; a group is a name in groups.toml, or what\n\
         // the issuer of a token calls one: JwtGroup::\"ISSUER#NAME\", JwtSubject::\"ISSUER#NAME\".\n\
         entity Group;\n\
         entity JwtGroup;\n",
    );
    for (kind, name, attributes) in PRINCIPALS {
        let groups = if kind == PrincipalKind::Jwt { "Group, JwtGroup" } else { "Group" };
        line(&mut out, format_args!("entity {name} in [{groups}] {{ {attributes} }};"));
    }
    out.push_str(
        "\n// Resources. A key is in each of its aliases; the tags of a key are its tags.\n\
         entity Instance;\n\
         entity Alias;\n\
         entity Key in [Alias] { spec: String, usage: String, state: String, creator: String } tags String;\n\
         \n// The pairs of an encryption context, and the tags that a new key shall have, as tags.\n\
         entity EncryptionContext tags String;\n\
         entity Tags tags String;\n\
         \n// Actions that use key material, that change the store, that show metadata.\n",
    );
    for group in ACTION_GROUPS {
        line(&mut out, format_args!("action {group};"));
    }
    let principals = PRINCIPALS.map(|(_, name, _)| name).join(", ");
    for ActionRow { action, group, resources } in actions() {
        let facts = facts_of(action).iter().map(|fact| fact.declaration());
        let facts = facts.chain([ALWAYS]).collect::<Vec<_>>().join(",\n    ");
        let resources = resources.join(", ");
        line(
            &mut out,
            format_args!(
                "\naction {action} in [{group}] appliesTo {{\n  principal: [{principals}],\n  resource: [{resources}],\n  context: {{\n    {facts}\n  }}\n}};"
            ),
        );
    }
    out
}

/// The schema file: the schema, and the decision table as comments below it.
#[must_use]
pub fn file() -> String {
    let rows = decisions();
    let rows = rows.iter().map(|(rpc, all)| format!("//   {rpc}: {}", all.join(", ")));
    let rows = rows.collect::<Vec<_>>().join("\n");
    let schema = text();
    format!("{schema}\n// The decisions of each RPC, all of which must allow it:\n{rows}")
}

/// The decision table, as text: each RPC with every decision that must allow it.
#[must_use]
pub fn decisions() -> BTreeMap<&'static str, Vec<String>> {
    let decision = |action: Action, resource: Resource| format!("{action} on {resource}");
    TABLE
        .iter()
        .map(|row| {
            let required = row.required.iter().map(|it| decision(it.action, it.resource));
            (row.rpc, required.collect())
        })
        .collect()
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}
