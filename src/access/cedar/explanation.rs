//! Why a decision is as it is, and what would have to be otherwise.

use cedar_policy::{
    Effect, Entities, EvalResult, Expression, PrincipalConstraint, Request, ResourceConstraint,
    eval_expression,
};

use super::conditions;
use super::policy_set::{Ask, PolicySet, Verdict};
use super::reading::WrittenPolicy;
use super::scopes::Scopes;
use super::source::Place;
use crate::access::operations::Action;

/// A decision, and the policies that it hangs on.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision.
    pub verdict: Verdict,
    /// Of an allow, the permits that made it. Of a refusal, the forbids that made it, or
    /// else the permits that would have to hold, the nearest first.
    pub policies: Vec<ExplainedPolicy>,
    /// Where an access key is refused as its account may do more than the caller: the
    /// policies by which it may.
    pub beyond_caller: Vec<String>,
}

/// A policy that a decision hangs on.
#[derive(Clone, Debug)]
pub struct ExplainedPolicy {
    /// Its id.
    pub id: String,
    /// Its place in the files.
    pub place: Place,
    /// What would have to hold for it to decide: empty if it decides.
    pub missing: Vec<String>,
}

/// Explains a decision.
#[must_use]
pub fn explain(policies: &PolicySet, ask: &Ask<'_>) -> Explanation {
    let verdict = policies.decide_anew(ask);
    let named = |id: &str| policies.policies.iter().find(|policy| policy.id() == id);
    if !verdict.policies.is_empty() {
        let decided = verdict.policies.iter().filter_map(|id| named(id));
        let decided = decided.map(|policy| explained(policy, Vec::new())).collect();
        return Explanation { verdict, policies: decided, beyond_caller: Vec::new() };
    }
    let beyond = policies.beyond_caller(ask);
    let mut near: Vec<_> = policies
        .full_question(ask)
        .map(|(request, entities)| near_permits(policies, ask.action, &request, &entities))
        .unwrap_or_default();
    near.sort_by_key(|policy| policy.missing.len());
    Explanation { verdict, policies: near, beyond_caller: beyond }
}

/// The permits of the action, each with what would have to hold.
fn near_permits(
    policies: &PolicySet,
    action: Action,
    request: &Request,
    entities: &Entities,
) -> Vec<ExplainedPolicy> {
    let scopes = Scopes::new(&policies.words, &policies.groups);
    let permits = policies.policies.iter().filter(|policy| {
        policy.policy.effect() == Effect::Permit && scopes.has_action(&policy.policy, action)
    });
    let holds = |text: &str| {
        let expression = text.parse::<Expression>().ok()?;
        match eval_expression(request, entities, &expression) {
            Ok(EvalResult::Bool(value)) => Some(value),
            _ => None,
        }
    };
    permits
        .map(|permit| {
            let scope = [of_principal(permit), of_resource(permit)].into_iter().flatten();
            let scope = scope.filter(|text| holds(text) != Some(true));
            let conditions = conditions::of(&permit.policy);
            let conditions = conditions.iter().filter_map(|condition| {
                let is_met = holds(&condition.expression()) == Some(condition.wanted);
                (!is_met).then(|| condition.to_string())
            });
            explained(permit, scope.chain(conditions).collect())
        })
        .collect()
}

fn of_principal(policy: &WrittenPolicy) -> Option<String> {
    match policy.policy.principal_constraint() {
        PrincipalConstraint::Any => None,
        PrincipalConstraint::Eq(uid) => Some(format!("principal == {uid}")),
        PrincipalConstraint::In(uid) => Some(format!("principal in {uid}")),
        PrincipalConstraint::Is(name) => Some(format!("principal is {name}")),
        PrincipalConstraint::IsIn(name, uid) => Some(format!("principal is {name} in {uid}")),
    }
}

fn of_resource(policy: &WrittenPolicy) -> Option<String> {
    match policy.policy.resource_constraint() {
        ResourceConstraint::Any => None,
        ResourceConstraint::Eq(uid) => Some(format!("resource == {uid}")),
        ResourceConstraint::In(uid) => Some(format!("resource in {uid}")),
        ResourceConstraint::Is(name) => Some(format!("resource is {name}")),
        ResourceConstraint::IsIn(name, uid) => Some(format!("resource is {name} in {uid}")),
    }
}

fn explained(policy: &WrittenPolicy, missing: Vec<String>) -> ExplainedPolicy {
    ExplainedPolicy { id: policy.id().to_owned(), place: policy.place.clone(), missing }
}
