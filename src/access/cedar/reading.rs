//! The policies of a set, read from their files: parsed, named, and judged by the schema.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Policy, PolicyId, ValidationMode};

use super::groups::{Groups, is_name};
use super::literals;
use super::source::{Place, PolicyTexts, Problem, Text};
use super::vocabulary::Vocabulary;

/// A policy, and where it was read.
pub(super) struct WrittenPolicy {
    pub(super) policy: Policy,
    pub(super) place: Place,
    /// The index of its file.
    file: usize,
}

impl WrittenPolicy {
    pub(super) fn id(&self) -> &str {
        self.policy.id().as_ref()
    }

    pub(super) fn problem(&self, text: impl std::fmt::Display) -> Problem {
        Problem { place: Some(self.place.clone()), text: format!("policy {}: {text}", self.id()) }
    }
}

/// Reads the policies of all files, in the order of their names. Every fault is found.
pub(super) fn read(texts: &PolicyTexts) -> Result<Vec<WrittenPolicy>, Vec<Problem>> {
    let (mut policies, mut problems): (Vec<WrittenPolicy>, Vec<Problem>) = Default::default();
    for (file, source) in texts.policies.iter().enumerate() {
        match parse(source, file) {
            Ok(found) => policies.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(twice(&policies));
    policies.sort_by(|one, other| one.id().cmp(other.id()));
    if problems.is_empty() { Ok(policies) } else { Err(problems) }
}

/// The policies of a file, by the names that they give themselves.
fn parse(source: &Text, file: usize) -> Result<Vec<WrittenPolicy>, Vec<Problem>> {
    let set = cedar_policy::PolicySet::from_str(&source.text)
        .map_err(|errors| errors.iter().map(|error| source.diagnosed(error)).collect::<Vec<_>>())?;
    let mut problems = Vec::new();
    if set.num_of_templates() > 0 {
        let text = "holds a template (?principal or ?resource), and nothing here links one: name the principal or the group itself";
        problems.push(source.problem(None, text));
    }
    let mut policies = Vec::new();
    for policy in set.policies() {
        let offset = policy.to_cedar().and_then(|text| source.offset_of(&text));
        match policy.annotation("id") {
            Some(id) if is_name(id) => {
                let (policy, place) = (policy.new_id(PolicyId::new(id)), source.place(offset));
                policies.push(WrittenPolicy { policy, place, file });
            }
            Some(_) => {
                let text = "the @id of a policy has 1 to 128 letters, digits and . _ @ / -";
                problems.push(source.problem(offset, text));
            }
            None => {
                let text = "the policy has no name: write @id(\"…\") before it, as the log names policies that decided";
                problems.push(source.problem(offset, text));
            }
        }
    }
    if problems.is_empty() { Ok(policies) } else { Err(problems) }
}

/// Policies that have the name of another.
fn twice(policies: &[WrittenPolicy]) -> Vec<Problem> {
    let mut first: BTreeMap<&str, &WrittenPolicy> = BTreeMap::new();
    let again = policies.iter().filter_map(|policy| {
        let other = first.insert(policy.id(), policy)?;
        let place = &other.place;
        Some(policy.problem(format_args!("the @id is that of another one, at {place}: change it")))
    });
    again.collect()
}

/// Names in policies that nothing can have.
pub(super) fn unknown_names(
    policies: &[WrittenPolicy],
    words: &Vocabulary,
    groups: &Groups,
) -> Vec<Problem> {
    let faults = policies.iter().flat_map(|policy| {
        let literals = policy.policy.entity_literals().into_iter();
        literals.filter_map(move |literal| {
            let fault = literals::fault_of(&literal, words, groups)?;
            Some(policy.problem(fault))
        })
    });
    faults.collect()
}

/// Validates strictly, and gives what is odd.
pub(super) fn validate(
    texts: &PolicyTexts,
    policies: &[WrittenPolicy],
    words: &Vocabulary,
) -> Result<Vec<Problem>, Vec<Problem>> {
    let set = policies.iter().map(|written| written.policy.clone());
    let set = cedar_policy::PolicySet::from_policies(set)
        .map_err(|why| vec![Problem::of_no_file(why)])?;
    let result = words.validator.validate(&set, ValidationMode::Strict);
    let written = |id: &PolicyId| policies.iter().find(|policy| policy.policy.id() == id);
    let place = |id: &PolicyId, found: Problem| match written(id) {
        Some(policy) => {
            let placed = found.place.filter(|place| place.line.is_some());
            let of_policy = policy.problem(&found.text);
            Problem { place: placed.or(of_policy.place), ..of_policy }
        }
        None => found,
    };
    let source_of = |id: &PolicyId| written(id).and_then(|it| texts.policies.get(it.file));
    let errors: Vec<Problem> = result
        .validation_errors()
        .map(|error| {
            let found = source_of(error.policy_id())
                .map_or_else(|| Problem::of_no_file(error), |source| source.diagnosed(error));
            place(error.policy_id(), found)
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = result.validation_warnings().map(|warning| {
        let found = source_of(warning.policy_id())
            .map_or_else(|| Problem::of_no_file(warning), |source| source.diagnosed(warning));
        place(warning.policy_id(), found)
    });
    Ok(warnings.collect())
}
