//! A set of policies: read and judged whole, and then it decides.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{Authorizer, Context, Decision, Policy, PolicyId, Request, ValidationMode};
use sha2::{Digest, Sha256};

use super::decided::{Decided, DecisionKey};
use super::entities::UnfitFact;
use super::facts::{ContextParts, facts_of};
use super::groups::{Groups, is_name};
use super::literals;
use super::schema;
use super::slices::{Slice, Slices};
use super::source::{PolicyTexts, Problem, Text};
use super::vocabulary::Vocabulary;
use crate::access::grant::PolicyDigest;
use crate::access::operations::Action;
use crate::access::principal::{Principal, PrincipalKind};
use crate::access::question::{OtherKey, RequestFacts, Subject};

/// One decision that is asked for, with everything that it may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The caller.
    pub principal: &'a Principal,
    /// `Service/Method`.
    pub rpc: &'static str,
    /// The action.
    pub action: Action,
    /// The resource.
    pub subject: Subject<'a>,
    /// The facts of the request.
    pub facts: RequestFacts<'a>,
    /// The other key of an RPC that is about two.
    pub other: Option<OtherKey<'a>>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The ids of the policies that decided, in order. None: nothing permits it.
    pub policies: Arc<[Arc<str>]>,
    /// Why it could not be decided, which is a deny and an alarm.
    pub fault: Option<Arc<str>>,
}

impl Verdict {
    /// One that no policy made.
    pub(in crate::access) fn by_no_policy(allowed: bool) -> Self {
        Self { allowed, policies: Arc::default(), fault: None }
    }

    fn faulty(fault: impl std::fmt::Display) -> Self {
        Self { allowed: false, policies: Arc::default(), fault: Some(fault.to_string().into()) }
    }
}

/// A policy, and where it was read.
pub(in crate::access) struct WrittenPolicy {
    pub(in crate::access) policy: Policy,
    /// The index of its file, and where it begins there.
    file: usize,
    offset: Option<usize>,
}

/// Policies that belong together.
pub struct PolicySet {
    words: Vocabulary,
    policies: Vec<WrittenPolicy>,
    groups: Groups,
    warnings: Vec<Problem>,
    digest: PolicyDigest,
    authorizer: Authorizer,
    slices: Slices,
    decided: Decided,
}

impl std::fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PolicySet({} policies, {})", self.policies.len(), self.digest)
    }
}

impl PolicySet {
    /// Reads policies and groups. All or nothing: every fault is found, and one is
    /// enough for there to be no set.
    pub fn read(texts: &PolicyTexts) -> Result<Self, Vec<Problem>> {
        let words = Vocabulary::new().map_err(|error| vec![of_no_file(error)])?;
        let groups = texts.groups.as_ref().map_or_else(|| Ok(Groups::default()), Groups::parse);
        let (groups, mut problems) = match groups {
            Ok(groups) => (groups, Vec::new()),
            Err(problems) => (Groups::default(), problems),
        };
        let mut policies: Vec<WrittenPolicy> = Vec::new();
        for (file, source) in texts.policies.iter().enumerate() {
            match parse(source, file) {
                Ok(found) => policies.extend(found),
                Err(found) => problems.extend(found),
            }
        }
        problems.extend(twice(texts, &policies));
        if problems.is_empty() {
            problems.extend(unknown_names(texts, &policies, &words, &groups));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        policies.sort_by(|one, other| one.id().cmp(other.id()));
        let warnings = validate(texts, &policies, &words)?;
        let digest = digest(&policies, &groups);
        Ok(Self {
            words,
            policies,
            groups,
            warnings,
            digest,
            authorizer: Authorizer::new(),
            slices: Slices::new(),
            decided: Decided::new(),
        })
    }

    /// The digest that tells this set from any other.
    #[must_use]
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// The number of policies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is no policy, so that nothing is permitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// What Cedar's validation found odd, but not wrong.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Decides, or gives the decision that was made about the same facts before.
    #[must_use]
    pub fn decide(&self, ask: &Ask<'_>) -> Verdict {
        let Some(key) = DecisionKey::of(ask) else { return self.decide_anew(ask) };
        if let Some(kept) = self.decided.get(ask.principal, &key) {
            return kept;
        }
        let verdict = self.decide_anew(ask);
        if verdict.allowed {
            self.decided.keep(ask.principal, key, verdict.clone());
        }
        verdict
    }

    /// Decides by the policies that can matter.
    #[must_use]
    pub fn decide_anew(&self, ask: &Ask<'_>) -> Verdict {
        if ask.principal.kind() == PrincipalKind::Dev {
            return Verdict::by_no_policy(false);
        }
        match self.slice(ask) {
            Ok(slice) => self.decide_by(&slice.policies, &slice, ask),
            Err(fault) => Verdict::faulty(fault),
        }
    }

    /// Decides by every policy, as Cedar does by itself.
    #[cfg(test)]
    pub(super) fn decide_by_all(&self, ask: &Ask<'_>) -> Verdict {
        let all = self.policies.iter().map(|written| written.policy.clone());
        let all = cedar_policy::PolicySet::from_policies(all).unwrap();
        self.decide_by(&all, &self.slice(ask).unwrap(), ask)
    }

    /// What Cedar is asked.
    #[cfg(test)]
    pub(super) fn asked_of(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(Request, cedar_policy::Entities), UnfitFact> {
        let Asked { request, entities } = self.asked(&*self.slice(ask)?, ask)?;
        Ok((request, entities))
    }

    fn slice(&self, ask: &Ask<'_>) -> Result<Arc<Slice>, UnfitFact> {
        self.slices.of(ask.principal, ask.action, || {
            let policies = self.policies.iter().map(|written| &written.policy);
            Slice::cut(ask.principal, ask.action, &self.words, &self.groups, policies)
        })
    }

    fn decide_by(
        &self,
        policies: &cedar_policy::PolicySet,
        slice: &Slice,
        ask: &Ask<'_>,
    ) -> Verdict {
        let asked = match self.asked(slice, ask) {
            Ok(asked) => asked,
            Err(fault) => return Verdict::faulty(fault),
        };
        let response = self.authorizer.is_authorized(&asked.request, policies, &asked.entities);
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            return Verdict::faulty(error);
        }
        let mut ids: Vec<&PolicyId> = diagnostics.reason().collect();
        ids.sort_unstable();
        Verdict {
            allowed: response.decision() == Decision::Allow,
            policies: ids.into_iter().map(|id| Arc::from(id.as_ref())).collect(),
            fault: None,
        }
    }

    /// What is asked, in Cedar's terms. Its shape is that of the schema by construction,
    /// which tests hold, so that it is not checked again for each request.
    fn asked(&self, slice: &Slice, ask: &Ask<'_>) -> Result<Asked, UnfitFact> {
        let mut parts = ContextParts::of_every_action(ask);
        for fact in facts_of(ask.action) {
            fact.add(ask, &self.words, &mut parts)?;
        }
        let resource = self.words.resource(ask, &self.groups)?;
        let resource_uid = resource.uid();
        let context = Context::from_pairs(parts.pairs).map_err(|_| UnfitFact("a context"))?;
        let (principal, action) = (slice.principal.clone(), slice.action.clone());
        let request = Request::new(principal, action, resource_uid, context, None);
        // A service account may ask about itself.
        let resource = (resource.uid() != slice.principal).then_some(resource);
        let entities = parts.entities.into_iter().chain(resource);
        let entities = slice.entities.clone().add_entities(entities, None);
        Ok(Asked {
            request: request.map_err(|_| UnfitFact("a request"))?,
            entities: entities.map_err(|_| UnfitFact("an entity"))?,
        })
    }
}

/// A request, and the entities that it speaks of.
struct Asked {
    request: Request,
    entities: cedar_policy::Entities,
}

impl WrittenPolicy {
    pub(in crate::access) fn id(&self) -> &str {
        self.policy.id().as_ref()
    }

    fn problem(&self, texts: &PolicyTexts, text: impl std::fmt::Display) -> Problem {
        let text = format!("policy {}: {text}", self.id());
        match texts.policies.get(self.file) {
            Some(source) => source.problem(self.offset, text),
            None => of_no_file(text),
        }
    }
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
                policies.push(WrittenPolicy {
                    policy: policy.new_id(PolicyId::new(id)),
                    file,
                    offset,
                });
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
fn twice(texts: &PolicyTexts, policies: &[WrittenPolicy]) -> Vec<Problem> {
    let mut first: BTreeMap<&str, &WrittenPolicy> = BTreeMap::new();
    let mut problems = Vec::new();
    for policy in policies {
        if let Some(other) = first.insert(policy.id(), policy) {
            let place = other.problem(texts, "");
            let place = [place.file.unwrap_or_default(), place.line.unwrap_or(1).to_string()];
            let text = format!("the @id is that of another one, at {}: change it", place.join(":"));
            problems.push(policy.problem(texts, text));
        }
    }
    problems
}

/// Names in policies that nothing can have.
fn unknown_names(
    texts: &PolicyTexts,
    policies: &[WrittenPolicy],
    words: &Vocabulary,
    groups: &Groups,
) -> Vec<Problem> {
    let faults = policies.iter().flat_map(|policy| {
        let literals = policy.policy.entity_literals().into_iter();
        literals.filter_map(move |literal| {
            let fault = literals::fault_of(&literal, words, groups)?;
            Some(policy.problem(texts, fault))
        })
    });
    faults.collect()
}

/// Validates strictly, and gives what is odd.
fn validate(
    texts: &PolicyTexts,
    policies: &[WrittenPolicy],
    words: &Vocabulary,
) -> Result<Vec<Problem>, Vec<Problem>> {
    let set = policies.iter().map(|written| written.policy.clone());
    let set = cedar_policy::PolicySet::from_policies(set).map_err(|why| vec![of_no_file(why)])?;
    let result = words.validator.validate(&set, ValidationMode::Strict);
    let written = |id: &PolicyId| policies.iter().find(|policy| policy.policy.id() == id);
    let place = |id: &PolicyId, found: Problem| match written(id) {
        Some(policy) => {
            let of_policy = policy.problem(texts, &found.text);
            Problem { line: found.line.or(of_policy.line), ..of_policy }
        }
        None => found,
    };
    let source_of = |id: &PolicyId| written(id).and_then(|it| texts.policies.get(it.file));
    let errors: Vec<Problem> = result
        .validation_errors()
        .map(|error| {
            let found = source_of(error.policy_id())
                .map_or_else(|| of_no_file(error), |source| source.diagnosed(error));
            place(error.policy_id(), found)
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = result.validation_warnings().map(|warning| {
        let found = source_of(warning.policy_id())
            .map_or_else(|| of_no_file(warning), |source| source.diagnosed(warning));
        place(warning.policy_id(), found)
    });
    Ok(warnings.collect())
}

/// Over the schema, every policy under its name, and every member of a group; with
/// lengths, so that no byte can move from one text to the next.
fn digest(policies: &[WrittenPolicy], groups: &Groups) -> PolicyDigest {
    let mut hash = Sha256::new_with_prefix("keyferry/policy/cedar/1");
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(&schema::text());
    for policy in policies {
        add(policy.id());
        add(&policy.policy.to_string());
    }
    for (group, principal) in groups.members() {
        add(group);
        add(principal);
    }
    PolicyDigest::of(hash.finalize().into())
}

fn of_no_file(error: impl std::fmt::Display) -> Problem {
    Problem { file: None, line: None, text: error.to_string() }
}
