//! Ways round what a policy means: permissions that together give more than each of them
//! says. Found in the texts of policies; a list to read, not a proof.

use cedar_policy::{Effect, ResourceConstraint};

use super::account_power;
use super::conditions;
use super::policy_set::PolicySet;
use super::reading::WrittenPolicy;
use super::scopes::Scopes;
use super::source::Problem;
use crate::access::operations::Action;

/// The attribute that pins a recipient.
pub(super) const PIN: &str = "public_key_sha256";

pub(super) const ALIAS_CHANGES: [Action; 3] =
    [Action::CreateAlias, Action::UpdateAlias, Action::DeleteAlias];
pub(super) const TAG_CHANGES: [Action; 2] = [Action::TagResource, Action::UntagResource];

/// What is odd in a set of policies, but may be meant.
pub(super) fn warnings(policies: &PolicySet) -> Vec<Problem> {
    let set = Set::new(policies);
    let written = &policies.policies;
    let pins = written.iter().filter(|policy| set.pins(policy));
    let round_pins = pins.flat_map(|pin| {
        written.iter().filter_map(|permit| set.round_a_pin(pin, permit)).collect::<Vec<_>>()
    });
    written.iter().filter_map(leans_on_an_alias).chain(round_pins).collect()
}

/// A policy that says more when an alias is moved away. The alias is a name that whoever
/// may move it can take from a key.
fn leans_on_an_alias(policy: &WrittenPolicy) -> Option<Problem> {
    let (by_being_in, by_being_out) = conditions::lean_on_alias(&policy.policy);
    let in_scope = has_alias_in_scope(policy);
    match policy.policy.effect() {
        Effect::Forbid if by_being_in || in_scope => Some(policy.problem(
            "it forbids what is in an alias, so that moving the alias away lifts it: go by the key's id or a tag, or write `forbid … unless`",
        )),
        Effect::Permit if by_being_out => Some(policy.problem(
            "it permits what is not in an alias, so that moving the alias away widens it: go by the key's id or a tag",
        )),
        _ => None,
    }
}

struct Set<'a> {
    policies: &'a [WrittenPolicy],
    scopes: Scopes<'a>,
    go_by_tags: bool,
}

impl<'a> Set<'a> {
    fn new(policies: &'a PolicySet) -> Self {
        let scopes = Scopes::new(&policies.words, &policies.groups);
        let policies = policies.policies.as_slice();
        let go_by_tags = policies.iter().any(|it| conditions::read_tags_of_key(&it.policy));
        Self { policies, scopes, go_by_tags }
    }

    fn permits(&self, policy: &WrittenPolicy, action: Action) -> bool {
        policy.policy.effect() == Effect::Permit && self.scopes.has_action(&policy.policy, action)
    }

    /// Whether it permits exports to recipients that it names.
    fn pins(&self, policy: &WrittenPolicy) -> bool {
        self.permits(policy, Action::ExportDataKey)
            && conditions::read_attribute(&policy.policy, PIN)
    }

    /// What a permit gives the callers of a pinned export beside it.
    fn round_a_pin(&self, pin: &WrittenPolicy, permit: &WrittenPolicy) -> Option<Problem> {
        if permit.policy.effect() == Effect::Forbid
            || !self.scopes.may_share_callers(&pin.policy, &permit.policy)
        {
            return None;
        }
        let actions = self.actions_round(pin, permit);
        let open = actions.into_iter().filter(|action| !self.is_forbidden(pin, *action));
        let open: Vec<String> = open.map(|action| action.to_string()).collect();
        (!open.is_empty()).then(|| {
            permit.problem(format_args!(
                "it permits {} to callers of {}, who are bound to certain recipients there: each is a way round that",
                open.join(", "),
                pin.id(),
            ))
        })
    }

    fn actions_round(&self, pin: &WrittenPolicy, permit: &WrittenPolicy) -> Vec<Action> {
        let same_keys = self.scopes.may_share_keys(&pin.policy, &permit.policy);
        let mut round = Vec::new();
        let mut add = |action, is_way: bool| {
            if is_way && self.permits(permit, action) {
                round.push(action);
            }
        };
        add(Action::Decrypt, same_keys);
        add(Action::GenerateDataKey, same_keys);
        add(Action::ExportDataKey, same_keys && !self.pins(permit));
        add(Action::ReEncryptFrom, same_keys && self.may_go_on_from_another_key(pin));
        // What was exported to a key pair here is shown by it.
        add(Action::AsymmetricDecrypt, true);
        for action in ALIAS_CHANGES {
            add(action, goes_by_alias(pin));
        }
        for action in TAG_CHANGES {
            add(action, self.go_by_tags);
        }
        add(Action::CreateAccessKey, account_power::names_accounts(permit));
        round
    }

    /// Whether callers may put a data key under another key, and have it from there.
    fn may_go_on_from_another_key(&self, pin: &WrittenPolicy) -> bool {
        let of_callers = |action| {
            self.policies.iter().filter(move |permit| {
                self.permits(permit, action)
                    && self.scopes.may_share_callers(&pin.policy, &permit.policy)
            })
        };
        let out = of_callers(Action::ExportDataKey).any(|permit| !self.pins(permit));
        of_callers(Action::ReEncryptTo).next().is_some()
            && (out || of_callers(Action::Decrypt).next().is_some())
    }

    /// Whether a policy without conditions forbids it to all callers of the pinned export.
    fn is_forbidden(&self, pin: &WrittenPolicy, action: Action) -> bool {
        self.policies.iter().any(|forbid| {
            let policy = &forbid.policy;
            let resource = policy.resource_constraint();
            policy.effect() == Effect::Forbid
                && conditions::of(policy).is_empty()
                && self.scopes.has_action(policy, action)
                && self.scopes.has_all_callers(&pin.policy, policy)
                && (resource == ResourceConstraint::Any
                    || resource == pin.policy.resource_constraint())
        })
    }
}

/// Whether a policy goes by aliases.
pub(super) fn goes_by_alias(policy: &WrittenPolicy) -> bool {
    has_alias_in_scope(policy) || conditions::name_an_alias(&policy.policy)
}

fn has_alias_in_scope(policy: &WrittenPolicy) -> bool {
    match policy.policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            uid.type_name().basename() == "Alias"
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::cedar::source::{PolicyTexts, Text};

    const PINNED: &str = r#"@id("pinned") permit (
        principal == Spiffe::"spiffe://a/billing",
        action == Action::"ExportDataKey",
        resource in Alias::"alias/payments"
    ) when { context.recipient.public_key_sha256 == "ab" };"#;

    fn found(others: &str) -> Vec<String> {
        let text = |file: &str, text: &str| Text { file: file.to_owned(), text: text.to_owned() };
        let groups = "ops = [\"unix:7\"]\nteam = [\"spiffe://a/billing\", \"unix:8\"]\n";
        let policies = PolicySet::read(&PolicyTexts {
            policies: vec![text("a.cedar", &format!("{PINNED}\n{others}"))],
            groups: Some(text("groups.toml", groups)),
        });
        policies.unwrap().warnings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_way_round_a_pin_is_found() {
        assert_eq!(found(""), Vec::<String>::new());
        for (permit, way) in [
            ("principal, action == Action::\"Decrypt\", resource", "Decrypt"),
            ("principal, action == Action::\"GenerateDataKey\", resource", "GenerateDataKey"),
            ("principal, action == Action::\"ExportDataKey\", resource", "ExportDataKey"),
            ("principal, action == Action::\"AsymmetricDecrypt\", resource", "AsymmetricDecrypt"),
            ("principal, action == Action::\"UpdateAlias\", resource", "UpdateAlias"),
            (
                "principal, action == Action::\"CreateAccessKey\", resource == ServiceAccount::\"a\"",
                "CreateAccessKey",
            ),
            (
                "principal in Group::\"team\", action == Action::\"Decrypt\", resource in Alias::\"alias/payments\"",
                "Decrypt",
            ),
            ("principal is Spiffe, action in Action::\"Use\", resource is Key", "Decrypt"),
        ] {
            let found = found(&format!("@id(\"other\") permit ({permit});"));
            let told = format!("policy other: it permits {way}");
            assert!(found.iter().any(|it| it.contains(&told)), "{permit}: {found:?}");
        }
        let through = r#"
            @id("from") permit (principal, action == Action::"ReEncryptFrom", resource);
            @id("to") permit (principal, action == Action::"ReEncryptTo", resource);
            @id("mine") permit (principal, action == Action::"Decrypt", resource in Alias::"alias/mine");
        "#;
        assert!(
            found(through).iter().any(|it| it.contains("policy from: it permits ReEncryptFrom"))
        );
        let tags = r#"
            @id("tag") permit (principal, action == Action::"TagResource", resource);
            @id("goes-by-tags") forbid (principal, action == Action::"Decrypt", resource is Key)
            when { resource.hasTag("a") };
        "#;
        assert!(found(tags).iter().any(|it| it.contains("policy tag: it permits TagResource")));
    }

    #[test]
    fn what_is_no_way_round_is_not_told() {
        for other in [
            // Others than the callers of the pinned export.
            r#"@id("other") permit (principal in Group::"ops", action, resource);"#,
            r#"@id("other") permit (principal is UnixUser, action, resource);"#,
            // Another key, a change that no policy goes by, another pin.
            r#"@id("other") permit (principal, action == Action::"Decrypt", resource in Alias::"alias/x");"#,
            r#"@id("other") permit (principal, action == Action::"TagResource", resource);"#,
            r#"@id("other") permit (principal, action == Action::"ExportDataKey", resource)
               when { context.recipient.public_key_sha256 == "cd" };"#,
            r#"@id("other") permit (principal, action == Action::"ReEncryptFrom", resource);"#,
            // Forbidden again.
            r#"@id("other") permit (principal, action == Action::"Decrypt", resource);
               @id("no") forbid (principal in Group::"team", action in Action::"Use", resource)
               ;@id("yes") permit (principal == UnixUser::"7", action, resource);"#,
        ] {
            let found = found(other);
            let other =
                if other.contains("forbid") { "policy other: it permits Decrypt" } else { "" };
            assert!(!found.iter().any(|it| it.contains(other)), "{found:?}");
        }
    }

    #[test]
    fn a_policy_that_moving_an_alias_away_lifts_is_told() {
        for (policy, told) in [
            (r#"forbid (principal, action, resource in Alias::"alias/a");"#, true),
            (
                r#"forbid (principal, action, resource) when { resource in Alias::"alias/a" };"#,
                true,
            ),
            (
                r#"forbid (principal, action, resource) unless { resource in Alias::"alias/a" };"#,
                false,
            ),
            (
                r#"forbid (principal, action, resource) when { !(resource in Alias::"alias/a") };"#,
                false,
            ),
            (
                r#"forbid (principal, action, resource) unless { !(resource in Alias::"alias/a") };"#,
                true,
            ),
            (r#"permit (principal, action, resource in Alias::"alias/a");"#, false),
            (
                r#"permit (principal == UnixUser::"7", action, resource) when { resource in Alias::"alias/a" };"#,
                false,
            ),
            (
                r#"permit (principal == UnixUser::"7", action, resource) unless { resource in Alias::"alias/a" };"#,
                true,
            ),
        ] {
            let found = found(&format!("@id(\"x\") {policy}"));
            let is_told = found.iter().any(|it| it.contains("moving the alias away"));
            assert_eq!(is_told, told, "{policy}: {found:?}");
        }
    }
}
