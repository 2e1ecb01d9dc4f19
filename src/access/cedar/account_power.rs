//! Whether a service account may do more than the caller who wants an access key of it.
//!
//! Whoever has a key of an account may do what the account may. So a permission to make
//! access keys would be a permission to do everything that any account may, unless it is
//! bounded: a caller makes keys of accounts that may do no more than itself, and of those
//! that a policy names.
//!
//! Judged by the texts of policies, not by every request there could be: where it cannot
//! be told, the account may do more.

use cedar_policy::{Effect, EntityUid, ResourceConstraint};

use super::conditions;
use super::policy_set::{Ask, PolicySet};
use super::reading::WrittenPolicy;
use super::schema;
use super::scopes::Scopes;
use crate::access::operations::Action;
use crate::access::question::Subject;

/// Whether a permit says which accounts it is about, by an account or by a group.
pub(super) fn names_accounts(permit: &WrittenPolicy) -> bool {
    matches!(
        permit.policy.resource_constraint(),
        ResourceConstraint::Eq(_) | ResourceConstraint::In(_) | ResourceConstraint::IsIn(..)
    )
}

impl PolicySet {
    /// The policies by which the account of a new access key may do more than the caller,
    /// unless a policy that permits it names the account.
    pub(super) fn beyond_caller(&self, ask: &Ask<'_>) -> Vec<String> {
        let (Action::CreateAccessKey, Subject::Account(Some(account))) = (ask.action, ask.subject)
        else {
            return Vec::new();
        };
        let uid_of = |principal| self.words.principal_uid(principal);
        let (Some(caller), Some(account)) = (uid_of(ask.principal), uid_of(account.principal()))
        else {
            return Vec::new();
        };
        let scopes = Scopes::new(&self.words, &self.groups)
            .with_token_groups(ask.principal, ask.facts.token_groups);
        let beyond = beyond(&self.policies, &scopes, &caller, &account);
        beyond.into_iter().map(|policy| policy.id().to_owned()).collect()
    }
}

/// The policies by which the account may do what the caller may not: permits that reach
/// the account alone, and forbids that reach the caller alone.
fn beyond<'a>(
    policies: &'a [WrittenPolicy],
    scopes: &Scopes<'_>,
    caller: &EntityUid,
    account: &EntityUid,
) -> Vec<&'a WrittenPolicy> {
    if caller == account {
        return Vec::new();
    }
    let reaches = |policy: &WrittenPolicy, whom| scopes.has_principal(&policy.policy, whom);
    // A policy that reads who the caller is may decide otherwise for the other one.
    let is_alike = |policy: &WrittenPolicy| !conditions::read_principal(&policy.policy);
    let of_effect = |effect| policies.iter().filter(move |it| it.policy.effect() == effect);
    let permits_of_account: Vec<_> =
        of_effect(Effect::Permit).filter(|it| reaches(it, account)).collect();
    let more = permits_of_account.iter().copied().filter(|permit| {
        let is_shared = reaches(permit, caller) && is_alike(permit);
        let is_covered = of_effect(Effect::Permit)
            .any(|wider| reaches(wider, caller) && covers(scopes, wider, permit));
        !is_shared && !is_covered
    });
    let less = of_effect(Effect::Forbid).filter(|forbid| {
        let is_shared = reaches(forbid, account) && is_alike(forbid);
        let matters =
            permits_of_account.iter().any(|permit| share_an_action(scopes, forbid, permit));
        reaches(forbid, caller) && !is_shared && matters
    });
    more.chain(less).collect()
}

/// Whether the one permits, without conditions, all that the other does.
fn covers(scopes: &Scopes<'_>, wider: &WrittenPolicy, permit: &WrittenPolicy) -> bool {
    let (wider, permit) = (&wider.policy, &permit.policy);
    let resource = wider.resource_constraint();
    conditions::of(wider).is_empty()
        && (resource == ResourceConstraint::Any || resource == permit.resource_constraint())
        && schema::actions().iter().all(|row| {
            !scopes.has_action(permit, row.action) || scopes.has_action(wider, row.action)
        })
}

fn share_an_action(scopes: &Scopes<'_>, one: &WrittenPolicy, other: &WrittenPolicy) -> bool {
    let has = |policy: &WrittenPolicy, action| scopes.has_action(&policy.policy, action);
    schema::actions().iter().any(|row| has(one, row.action) && has(other, row.action))
}

#[cfg(test)]
mod tests {
    use crate::access::cedar::policy_set::{Ask, PolicySet};
    use crate::access::cedar::source::{PolicyTexts, Text};
    use crate::access::operations::Action;
    use crate::access::principal::Principal;
    use crate::access::question::{RequestFacts, Subject};
    use crate::access::service_account::ServiceAccount;

    /// Whether `unix:7` may make an access key of the account `web`.
    fn may_make(policies: &str) -> bool {
        let text = |file: &str, text: &str| Text { file: file.to_owned(), text: text.to_owned() };
        let groups = "ops = [\"unix:7\"]\nboth = [\"unix:7\", \"access-key:web\"]\n\
                      webs = [\"access-key:web\"]\n";
        let policies = PolicySet::read(&PolicyTexts {
            policies: vec![text("a.cedar", policies)],
            groups: Some(text("groups.toml", groups)),
        });
        let account = ServiceAccount::parse("web").unwrap();
        let ask = Ask {
            principal: &Principal::unix(7),
            rpc: "AccessManagement/CreateAccessKey",
            action: Action::CreateAccessKey,
            subject: Subject::Account(Some(&account)),
            facts: RequestFacts::default(),
            other: None,
        };
        policies.unwrap().decide(&ask).allowed
    }

    const MAKES: &str = r#"@id("makes") permit (principal in Group::"ops", action == Action::"CreateAccessKey", resource);"#;

    #[test]
    fn nobody_makes_a_key_of_an_account_that_may_do_more() {
        assert!(may_make(MAKES), "an account that may do nothing");
        for (more, may) in [
            (
                r#"permit (principal == ServiceAccount::"web", action == Action::"Decrypt", resource);"#,
                false,
            ),
            (
                r#"permit (principal in Group::"webs", action == Action::"Decrypt", resource);"#,
                false,
            ),
            (
                r#"permit (principal is ServiceAccount, action == Action::"Decrypt", resource);"#,
                false,
            ),
            // What both may do is no more.
            (
                r#"permit (principal in Group::"both", action == Action::"Decrypt", resource);"#,
                true,
            ),
            (r#"permit (principal, action == Action::"Decrypt", resource);"#, true),
            // Unless it depends on who asks.
            (
                r#"permit (principal, action == Action::"Decrypt", resource) when { principal is ServiceAccount };"#,
                false,
            ),
            // What is forbidden to the caller alone is more.
            (
                r#"permit (principal in Group::"both", action in Action::"Use", resource);
                   @id("no") forbid (principal in Group::"ops", action == Action::"Decrypt", resource);"#,
                false,
            ),
            (
                r#"permit (principal in Group::"both", action == Action::"Encrypt", resource);
                   @id("no") forbid (principal in Group::"ops", action == Action::"Decrypt", resource);"#,
                true,
            ),
            // A wider permit of the caller covers the account's.
            (
                r#"permit (principal == ServiceAccount::"web", action == Action::"Decrypt", resource in Alias::"alias/web");
                   @id("all") permit (principal in Group::"ops", action in Action::"Use", resource);"#,
                true,
            ),
            (
                r#"permit (principal == ServiceAccount::"web", action == Action::"Decrypt", resource);
                   @id("some") permit (principal in Group::"ops", action in Action::"Use", resource)
                   when { context.dry_run };"#,
                false,
            ),
        ] {
            assert_eq!(may_make(&format!("{MAKES}\n@id(\"more\") {more}")), may, "{more}");
        }
    }

    #[test]
    fn a_policy_that_names_the_account_lets_it() {
        let web = r#"@id("web") permit (principal == ServiceAccount::"web", action == Action::"Decrypt", resource);"#;
        for (resource, may) in [
            ("resource == ServiceAccount::\"web\"", true),
            ("resource in Group::\"webs\"", true),
            ("resource is ServiceAccount", false),
            ("resource", false),
        ] {
            let makes = format!(
                "@id(\"makes\") permit (principal, action == Action::\"CreateAccessKey\", {resource});"
            );
            assert_eq!(may_make(&format!("{web}\n{makes}")), may, "{resource}");
        }
    }
}
