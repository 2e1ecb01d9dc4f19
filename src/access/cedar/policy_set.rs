//! A set of policies: read and judged whole, and then it decides.

use std::sync::Arc;

use cedar_policy::{Authorizer, Context, Decision, PolicyId, Request};
use sha2::{Digest, Sha256};

use super::account_power;
use super::decided::{Decided, DecisionKey};
use super::entities::UnfitFact;
use super::facts::{ContextParts, facts_of};
use super::groups::Groups;
use super::reading::{self, WrittenPolicy};
use super::schema;
use super::slices::{Slice, Slices};
use super::source::{PolicyTexts, Problem};
use super::vocabulary::Vocabulary;
use super::ways_round;
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

/// Policies that belong together.
pub struct PolicySet {
    pub(super) words: Vocabulary,
    pub(super) policies: Vec<WrittenPolicy>,
    pub(super) groups: Groups,
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
        let words = Vocabulary::new().map_err(|error| vec![Problem::of_no_file(error)])?;
        let groups = texts.groups.as_ref().map_or_else(|| Ok(Groups::default()), Groups::parse);
        let (groups, mut problems) = match groups {
            Ok(groups) => (groups, Vec::new()),
            Err(problems) => (Groups::default(), problems),
        };
        let policies = reading::read(texts).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        });
        if problems.is_empty() {
            problems.extend(reading::unknown_names(&policies, &words, &groups));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = reading::validate(texts, &policies, &words)?;
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

    /// What is odd, but may be meant: as Cedar's validation finds, and ways round what
    /// policies mean.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        self.warnings.iter().cloned().chain(ways_round::warnings(self)).collect()
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
        let verdict = match self.slice(ask) {
            Ok(slice) => self.decide_by(&slice.policies, &slice, ask),
            Err(fault) => Verdict::faulty(fault),
        };
        if verdict.allowed && self.would_gain_by_key(ask, &verdict) {
            return Verdict::by_no_policy(false);
        }
        verdict
    }

    /// Whether an access key would let its caller do more than before, and no policy that
    /// permits it names the account.
    fn would_gain_by_key(&self, ask: &Ask<'_>, verdict: &Verdict) -> bool {
        let is_named = || {
            let decided = |policy: &&WrittenPolicy| {
                verdict.policies.iter().any(|id| id.as_ref() == policy.id())
            };
            self.policies.iter().filter(decided).any(account_power::names_accounts)
        };
        ask.action == Action::CreateAccessKey && !self.beyond_caller(ask).is_empty() && !is_named()
    }

    /// Decides by every policy, as Cedar does by itself.
    #[cfg(test)]
    pub(super) fn decide_by_all(&self, ask: &Ask<'_>) -> Verdict {
        let all = self.policies.iter().map(|written| written.policy.clone());
        let all = cedar_policy::PolicySet::from_policies(all).unwrap();
        self.decide_by(&all, &self.slice(ask).unwrap(), ask)
    }

    /// What Cedar is asked.
    pub(super) fn full_question(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(Request, cedar_policy::Entities), UnfitFact> {
        let Asked { request, entities } = self.asked(&*self.slice(ask)?, ask)?;
        Ok((request, entities))
    }

    fn slice(&self, ask: &Ask<'_>) -> Result<Arc<Slice>, UnfitFact> {
        let of_token = ask.facts.token_groups;
        self.slices.of(ask.principal, of_token, ask.action, || {
            let policies = self.policies.iter().map(|written| &written.policy);
            Slice::cut(ask.principal, of_token, ask.action, &self.words, &self.groups, policies)
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
