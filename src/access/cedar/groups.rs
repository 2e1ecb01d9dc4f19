//! The groups of principals: `groups.toml` beside the policies.
//!
//! ```toml
//! operators = ["spiffe://kms.example/operator", "unix:1000"]
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::source::{Problem, Text};
use crate::access::principal::{Principal, PrincipalKind};

/// The file.
#[derive(Deserialize)]
#[serde(transparent)]
struct RawGroups(BTreeMap<toml::Spanned<String>, Vec<toml::Spanned<String>>>);

/// Groups, and the principals in each.
#[derive(Debug, Default)]
pub(super) struct Groups {
    names: BTreeSet<String>,
    of_principal: HashMap<Principal, BTreeSet<String>>,
}

impl Groups {
    /// Reads the file. Every fault is found.
    pub(super) fn parse(source: &Text) -> Result<Self, Vec<Problem>> {
        let raw: RawGroups = toml::from_str(&source.text).map_err(|error| {
            vec![source.problem(error.span().map(|span| span.start), error.message())]
        })?;
        let (mut groups, mut problems) = (Self::default(), Vec::new());
        for (name, members) in raw.0 {
            if !is_name(name.get_ref()) {
                let text = "a group has a name of 1 to 128 letters, digits and . _ @ / -";
                problems.push(source.problem(Some(name.span().start), text));
            }
            groups.names.insert(name.get_ref().clone());
            for member in members {
                match Principal::parse(member.get_ref()) {
                    Ok(principal) if principal.kind() != PrincipalKind::Dev => {
                        let of_it = groups.of_principal.entry(principal).or_default();
                        of_it.insert(name.get_ref().clone());
                    }
                    Ok(_) => {
                        let text = "dev is no member: a server that has policies does not know it";
                        problems.push(source.problem(Some(member.span().start), text));
                    }
                    Err(why) => problems.push(source.problem(Some(member.span().start), why)),
                }
            }
        }
        if problems.is_empty() { Ok(groups) } else { Err(problems) }
    }

    /// The groups of a principal, in order.
    pub(super) fn of(&self, principal: &Principal) -> impl Iterator<Item = &str> {
        self.of_principal.get(principal).into_iter().flatten().map(String::as_str)
    }

    /// Those that are in a group.
    pub(super) fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.of_principal.keys()
    }

    /// Whether there is a group of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// What they say, in one order.
    pub(super) fn members(&self) -> BTreeSet<(&str, &str)> {
        let members = self.of_principal.iter().flat_map(|(principal, groups)| {
            groups.iter().map(|group| (group.as_str(), principal.as_str()))
        });
        members.chain(self.names.iter().map(|name| (name.as_str(), ""))).collect()
    }
}

/// A name of a group or of a policy. It is part of lines in logs, which it cannot break
/// out of.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'/' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}
