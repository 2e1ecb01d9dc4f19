//! Policies that were written, asked in each way.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::Entities;
use proptest::prelude::*;
use proptest::sample::select;

use super::decided::DecisionKey;
use super::policy_set::{Ask, PolicySet, Verdict};
use super::schema;
use super::source::{PolicyTexts, Text};
use crate::access::decisions::{Resource, TABLE, USES};
use crate::access::grant::KeyIdentity;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::question::{
    KeyFacts, NewKeyFacts, OtherKey, RecipientFacts, RequestFacts, Subject,
};
use crate::access::service_account::ServiceAccount;
use crate::access::token_groups::TokenGroups;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::ids::KeyId;

fn texts(policies: &str, groups: Option<&str>) -> PolicyTexts {
    let text = |file: &str, text: &str| Text { file: file.to_owned(), text: text.to_owned() };
    PolicyTexts {
        policies: vec![text("a.cedar", policies)],
        groups: groups.map(|groups| text("groups.toml", groups)),
    }
}

fn written(policies: &str, groups: Option<&str>) -> PolicySet {
    PolicySet::read(&texts(policies, groups)).unwrap()
}

fn problems(policies: &str, groups: Option<&str>) -> Vec<String> {
    match PolicySet::read(&texts(policies, groups)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

/// Facts that questions borrow.
struct World {
    principal: Principal,
    tags: BTreeMap<String, String>,
    aliases: Vec<String>,
    context: EncryptionContext,
    account: ServiceAccount,
    token_groups: TokenGroups,
    key: KeyIdentity,
    other: KeyIdentity,
}

impl World {
    fn new(principal: &str) -> Self {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            principal: Principal::parse(principal).unwrap(),
            tags: BTreeMap::from([pair("team", "payments")]),
            aliases: vec!["alias/payments".to_owned()],
            context: EncryptionContext::new(BTreeMap::from([pair("app", "billing")])).unwrap(),
            account: ServiceAccount::parse("billing").unwrap(),
            token_groups: TokenGroups::new(["admins".to_owned()]).unwrap(),
            key: KeyIdentity { id: KeyId::new(), revision: 7 },
            other: KeyIdentity { id: KeyId::new(), revision: 8 },
        }
    }

    fn facts_of(&self, identity: KeyIdentity) -> KeyFacts<'_> {
        KeyFacts {
            identity,
            spec: "Aliyun_AES_256",
            usage: "ENCRYPT/DECRYPT",
            state: "Enabled",
            creator: "unix:0",
            tags: &self.tags,
            aliases: &self.aliases,
        }
    }

    /// A question about an action, with every fact that any has.
    fn ask(&self, action: Action, resource: Resource) -> Ask<'_> {
        let key = Some(self.facts_of(self.key));
        let subject = match resource {
            Resource::Instance => Subject::Instance,
            Resource::Key => Subject::Key(key),
            Resource::Destination => Subject::Destination(key),
            Resource::NewKey => Subject::NewKey,
            Resource::Alias => Subject::Alias,
            Resource::Account => Subject::Account(Some(&self.account)),
        };
        let facts = RequestFacts {
            context: Some(&self.context),
            recipient: Some(RecipientFacts { sha256: [0xab; 32], spec: "RSA_2048" }),
            algorithm: Some("RSAES_OAEP_SHA_256"),
            blob_kind: Some(BlobKind::DataKeyUnseen),
            number_of_bytes: Some(32),
            alias: Some("alias/payments"),
            new_key: Some(NewKeyFacts { spec: "Aliyun_AES_256", usage: "ENCRYPT/DECRYPT" }),
            new_tags: Some(&self.tags),
            token_groups: None,
            dry_run: false,
        };
        let other = OtherKey { key: Some(self.facts_of(self.other)), context: Some(&self.context) };
        let rpc = rpc_of(action);
        Ask { principal: &self.principal, rpc, action, subject, facts, other: Some(other) }
    }

    fn export(&self) -> Ask<'_> {
        Ask { other: None, ..self.ask(Action::ExportDataKey, Resource::Key) }
    }
}

fn rpc_of(action: Action) -> &'static str {
    let has =
        |row: &&crate::access::decisions::Row| row.required.iter().any(|it| it.action == action);
    TABLE.iter().find(has).unwrap().rpc
}

const BILLING: &str = "spiffe://kms.example/billing";

/// The sentence that policies are for.
const HEADLINE: &str = r#"
@id("billing-exports")
permit (
  principal == Spiffe::"spiffe://kms.example/billing",
  action == Action::"ExportDataKey",
  resource in Alias::"alias/payments"
) when {
  ["abababababababababababababababababababababababababababababababab",
   "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"]
    .contains(context.recipient.public_key_sha256) &&
  context.encryption_context.hasTag("app") &&
  context.encryption_context.getTag("app") == "billing" &&
  context.blob.kind == "DataKeyUnseen"
};
"#;

#[test]
fn the_headline_holds_fact_by_fact() {
    let policies = written(HEADLINE, None);
    let world = World::new(BILLING);
    let allowed = policies.decide(&world.export());
    assert_eq!((allowed.allowed, &*allowed.policies), (true, &[Arc::from("billing-exports")][..]));
    let other_world = World::new("spiffe://kms.example/shipping");
    assert!(!policies.decide(&other_world.export()).allowed);
    let mut ask = world.export();
    ask.facts.recipient = Some(RecipientFacts { sha256: [0xcd; 32], spec: "EC_SM2" });
    assert!(policies.decide(&ask).allowed, "the other HSM");
    ask.facts.recipient = Some(RecipientFacts { sha256: [0xef; 32], spec: "RSA_2048" });
    assert!(!policies.decide(&ask).allowed, "another recipient");
    let none = EncryptionContext::default();
    let mut ask = world.export();
    ask.facts.context = Some(&none);
    assert!(!policies.decide(&ask).allowed, "another context");
    for kind in [BlobKind::DataKeyShown, BlobKind::CallerBytes, BlobKind::Imported] {
        let mut ask = world.export();
        ask.facts.blob_kind = Some(kind);
        assert!(!policies.decide(&ask).allowed, "{kind:?}");
    }
    let mut ask = world.export();
    ask.subject = Subject::Key(Some(KeyFacts { aliases: &[], ..world.facts_of(world.other) }));
    assert!(!policies.decide(&ask).allowed, "a key without the alias");
    // A key that does not exist is in the alias that it was asked for by, so that a
    // caller who may export learns that there is none.
    ask.subject = Subject::Key(None);
    assert!(policies.decide(&ask).allowed);
    ask.facts.alias = Some("alias/wages");
    assert!(!policies.decide(&ask).allowed);
    let decrypt = world.ask(Action::Decrypt, Resource::Key);
    assert!(!policies.decide(&decrypt).allowed);
}

#[test]
fn each_request_and_its_entities_have_the_shape_of_the_schema() {
    let schema = schema::text();
    let (schema, warnings) = cedar_policy::Schema::from_cedarschema_str(&schema).unwrap();
    assert_eq!(warnings.count(), 0);
    let policies = written("", Some("g = [\"unix:7\", \"access-key:billing\"]"));
    for principal in
        [BILLING, "dns:api.example", "cn:Ann", "unix:7", "access-key:billing", "access-key:other"]
    {
        let world = World::new(principal);
        for decision in TABLE.iter().flat_map(|row| row.required) {
            let ask = world.ask(decision.action, decision.resource);
            let other = Some(OtherKey { key: None, context: None });
            let nothing = match decision.resource {
                Resource::Key => Some(Subject::Key(None)),
                Resource::Destination => Some(Subject::Destination(None)),
                Resource::Account => Some(Subject::Account(None)),
                _ => None,
            };
            let nothing = nothing.map(|subject| Ask { subject, other, ..ask });
            for ask in [ask, Ask { other, ..ask }].into_iter().chain(nothing) {
                let (request, entities) = policies.full_question(&ask).unwrap();
                let named = format!("{principal}: {} on {:?}", ask.action, ask.subject);
                let checked = cedar_policy::Request::new(
                    request.principal().unwrap().clone(),
                    request.action().unwrap().clone(),
                    request.resource().unwrap().clone(),
                    request.context().unwrap().clone(),
                    Some(&schema),
                );
                checked.unwrap_or_else(|why| panic!("{named}: {why}"));
                Entities::from_entities(entities.iter().cloned(), Some(&schema))
                    .unwrap_or_else(|why| panic!("{named}: {why:?}"));
            }
        }
    }
}

#[test]
fn a_forbid_on_a_group_of_actions_holds() {
    let text = r#"
        @id("all") permit (principal, action, resource);
        @id("no-use") forbid (principal, action in Action::"Use", resource);
    "#;
    let (policies, world) = (written(text, None), World::new("unix:7"));
    for decision in TABLE.iter().flat_map(|row| row.required) {
        let verdict = policies.decide(&world.ask(decision.action, decision.resource));
        assert_eq!(verdict.allowed, !USES.meets(decision.action.into()), "{}", decision.action);
        assert_eq!(verdict.fault, None);
    }
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_a_refusal_and_an_alarm() {
    let world = World::new("unix:7");
    for effect in ["permit", "forbid"] {
        let text = format!(
            r#"@id("all") permit (principal, action, resource);
            @id("broken") {effect} (principal, action == Action::"ExportDataKey", resource)
            when {{ context.number_of_bytes * 9223372036854775807 > 0 }};"#
        );
        let verdict = written(&text, None).decide(&world.export());
        assert!(!verdict.allowed, "{effect}");
        assert!(verdict.fault.unwrap().contains("overflow"), "{effect}");
    }
}

#[test]
fn groups_say_who_a_policy_is_about() {
    let text = r#"@id("operators") permit (principal in Group::"operators", action, resource);"#;
    let groups = "operators = [\"unix:7\", \"dns:Ops.example\"]\nothers = []\n";
    let policies = written(text, Some(groups));
    for (principal, allowed) in
        [("unix:7", true), ("dns:ops.example", true), ("unix:8", false), ("cn:ops.example", false)]
    {
        let world = World::new(principal);
        assert_eq!(policies.decide(&world.export()).allowed, allowed, "{principal}");
    }
    let narrowed = written(text, Some("operators = [\"unix:7\"]"));
    assert_ne!(narrowed.digest(), policies.digest());
    let again = written(text, Some("others=[]\noperators = [\"dns:ops.example\", 'unix:7']"));
    assert_eq!(again.digest(), policies.digest());
}

#[test]
fn dev_has_no_policies() {
    let text = r#"@id("all") permit (principal, action, resource);"#;
    let verdict = written(text, None).decide(&World::new("dev").export());
    assert_eq!(verdict, Verdict::by_no_policy(false));
}

#[test]
fn each_fault_is_told_with_its_place() {
    let all = "(principal, action, resource)";
    for (text, told) in [
        ("permit (principal, action, resourc);", "a.cedar:1: "),
        ("\n\npermit (principal,\n action, resource;", "a.cedar:4: "),
        (&format!("\n\npermit {all};"), "a.cedar:3: the policy has no name"),
        (&format!("@id(\"a b\") permit {all};"), "a.cedar:1: the @id of a policy has"),
        (
            &format!("@id(\"a\") permit {all};\n@id(\"a\") forbid {all};"),
            "a.cedar:2: policy a: the @id is that of another one, at a.cedar:1",
        ),
        ("@id(\"a\") permit (principal == ?principal, action, resource);", "holds a template"),
        (
            "\n@id(\"a\") permit (principal in Group::\"nobody\", action, resource);",
            "a.cedar:2: policy a: Group::\"nobody\": groups.toml has no such group",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"Export\", resource);",
            "no such action",
        ),
        (
            "@id(\"a\") permit (principal, action, resource in Alias::\"payments\");",
            "an alias is alias/",
        ),
        ("@id(\"a\") permit (principal, action, resource == Key::\"1\");", "a key's id is a UUID"),
        (
            "@id(\"a\") permit (principal == Dns::\"API.example\", action, resource);",
            "write dns:api.example",
        ),
        (
            "@id(\"a\") permit (principal == UnixUser::\"007\", action, resource);",
            "a user id is a number",
        ),
        ("@id(\"a\") permit (principal == Spiffe::\"spiffe://a\", action, resource);", "SPIFFE ID"),
        ("@id(\"a\") permit (principal == User::\"a\", action, resource);", "policy a: "),
        (
            &format!("@id(\"a\") permit {all}\nwhen {{ resource.colour == \"red\" }};"),
            "a.cedar:2: policy a: ",
        ),
        (
            "@id(\"a\") permit (principal, action == Action::\"ExportDataKey\", resource)\nwhen {\n context.encryption_context.getTag(\"app\") == \"x\" };",
            "a.cedar:3: policy a: ",
        ),
    ] {
        let found = problems(text, None);
        assert!(found.iter().any(|it| it.contains(told)), "{text}: {told:?} is not in {found:#?}");
    }
    let both = problems("permit (principal, action);\n", Some("g = [\"nobody\"]"));
    assert!(both.len() >= 2, "{both:#?}");
}

#[test]
fn each_fault_of_groups_is_told_with_its_place() {
    for (text, told) in [
        ("a = [\n\"unix:7\",\n\"unix:x\"]", "groups.toml:3: a user id"),
        ("\n\"a b\" = []", "groups.toml:2: a group has a name"),
        ("a = [\"dev\"]", "groups.toml:1: dev is no member"),
        ("a = [1]", "groups.toml:1: "),
        ("a = []\na = []", "groups.toml:2: "),
        ("a = \"unix:7\"", "groups.toml:1: "),
    ] {
        let found = problems("", Some(text));
        assert!(found.iter().any(|it| it.contains(told)), "{text}: {told:?} is not in {found:#?}");
    }
}

#[test]
fn the_schema_has_every_action_once() {
    let text = schema::text();
    for decision in TABLE.iter().flat_map(|row| row.required) {
        let declared = format!("\naction {} in [", decision.action);
        assert_eq!(text.matches(&declared).count(), 1, "{}", decision.action);
    }
}

/// A change of one fact of a use.
type Mutation = for<'a> fn(&mut Ask<'a>, &'a World, &'a World);

/// Every fact that a policy can read in a use of a key; the cache must tell them apart.
const MUTATIONS: [(&str, Mutation); 13] = [
    ("token groups", |ask, _, two| ask.facts.token_groups = Some(&two.token_groups)),
    ("rpc", |ask, _, _| ask.rpc = "Kms/Other"),
    ("action", |ask, _, _| ask.action = Action::ReEncryptTo),
    ("key id", |ask, _, two| ask.subject = Subject::Key(Some(two.facts_of(two.key)))),
    ("key revision", |ask, one, _| {
        let later = KeyIdentity { revision: 9, ..one.key };
        ask.subject = Subject::Key(Some(one.facts_of(later)));
    }),
    ("context", |ask, _, two| ask.facts.context = Some(&two.context)),
    ("recipient", |ask, _, _| {
        ask.facts.recipient = Some(RecipientFacts { sha256: [1; 32], spec: "RSA_2048" });
    }),
    ("recipient spec", |ask, _, _| {
        ask.facts.recipient = Some(RecipientFacts { sha256: [0xab; 32], spec: "RSA_3072" });
    }),
    ("algorithm", |ask, _, _| ask.facts.algorithm = Some("SM2PKE")),
    ("blob kind", |ask, _, _| ask.facts.blob_kind = Some(BlobKind::Imported)),
    ("length", |ask, _, _| ask.facts.number_of_bytes = Some(16)),
    ("dry run", |ask, _, _| ask.facts.dry_run = true),
    ("other key", |ask, one, two| {
        let key = Some(two.facts_of(two.other));
        ask.other = Some(OtherKey { key, context: Some(&one.context) });
    }),
];

#[test]
fn no_two_questions_that_differ_in_a_fact_are_one_in_the_cache() {
    let (one, mut two) = (World::new("unix:7"), World::new("unix:8"));
    two.context = EncryptionContext::default();
    let ask = one.ask(Action::ReEncryptFrom, Resource::Key);
    let key = DecisionKey::of(&ask).unwrap();
    assert_eq!(DecisionKey::of(&ask).unwrap(), key);
    for (fact, mutate) in MUTATIONS {
        let mut other = ask;
        mutate(&mut other, &one, &two);
        assert_ne!(DecisionKey::of(&other).unwrap(), key, "{fact}");
    }
    let mut other = ask;
    let same_key = ask.other.unwrap().key;
    other.other = Some(OtherKey { key: same_key, context: Some(&two.context) });
    assert_ne!(DecisionKey::of(&other).unwrap(), key, "other context");
}

#[test]
fn an_allow_is_not_kept_for_another_principal() {
    let text = r#"@id("seven") permit (principal == UnixUser::"7", action, resource);"#;
    let (policies, seven) = (written(text, None), World::new("unix:7"));
    let ask = seven.export();
    assert!(policies.decide(&ask).allowed);
    let eight = Principal::unix(8);
    assert!(!policies.decide(&Ask { principal: &eight, ..ask }).allowed);
}

#[test]
fn many_facts_leave_decisions_right_when_the_cache_is_full() {
    let text = r#"@id("short") permit (principal, action, resource) when { context.dry_run };"#;
    let (policies, world) = (written(text, None), World::new("unix:7"));
    for length in 0..20_000 {
        let mut ask = world.export();
        ask.facts.number_of_bytes = Some(length);
        ask.facts.dry_run = length % 2 == 0;
        assert_eq!(policies.decide(&ask).allowed, length % 2 == 0);
    }
}

const ALICE: &str = "jwt:https://idp.example#alice";

#[test]
fn a_tokens_groups_are_its_issuers_and_part_of_every_decision() {
    let text = r#"
@id("admins") permit (principal in JwtGroup::"https://idp.example#admins", action, resource);
@id("alice") permit (principal == JwtSubject::"https://idp.example#alice", action, resource)
  when { context.dry_run && principal.issuer == "https://idp.example" && principal.subject == "alice" };
@id("written") permit (principal in Group::"ops", action, resource);
"#;
    let policies = written(text, Some("ops = [\"jwt:https://idp.example#bob\"]"));
    let groups = |names: &[&str]| TokenGroups::new(names.iter().map(ToString::to_string)).unwrap();
    let (admins, others) = (groups(&["users", "admins"]), groups(&["users"]));
    let key = KeyIdentity { id: KeyId::new(), revision: 1 };
    let decide = |principal: &str, groups: &TokenGroups, dry_run: bool| {
        let world = World::new(principal);
        let mut ask = world.export();
        ask.facts.token_groups = Some(groups);
        ask.facts.dry_run = dry_run;
        ask.subject = Subject::Key(Some(world.facts_of(key)));
        let full = policies.decide_by_all(&ask);
        assert_eq!(policies.decide(&ask), full);
        assert_eq!(policies.decide(&ask), full, "kept");
        full.policies.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // The same caller and key, and tokens with other groups, in any order.
    for _ in 0..2 {
        assert_eq!(decide(ALICE, &admins, false), ["admins"]);
        assert!(decide(ALICE, &others, false).is_empty());
        assert!(decide(ALICE, &TokenGroups::default(), false).is_empty());
        assert_eq!(decide(ALICE, &others, true), ["alice"]);
    }
    assert_eq!(decide("jwt:https://idp.example#bob", &others, false), ["written"]);
    // Another issuer's group of that name, and groups of somebody without a token.
    assert!(decide("jwt:https://other.example#alice", &admins, true).is_empty());
    assert!(decide(BILLING, &admins, true).is_empty());
    for unfit in ["JwtGroup::\"admins\"", "JwtSubject::\"alice\"", "JwtSubject::\"a b#alice\""] {
        let policy = format!(
            "@id(\"a\") permit (principal, action, resource) when {{ principal in {unfit} }};"
        );
        assert!(!problems(&policy, None).is_empty(), "{unfit}");
    }
}

// ---- the cached, the sliced and the full decision are the same ----

const PRINCIPALS: [&str; 7] = [
    BILLING,
    "spiffe://kms.example/other",
    "unix:7",
    "dns:api.example",
    "access-key:billing",
    ALICE,
    // By a token that names groups.
    ALICE,
];
const GROUPS: &str = "ops = [\"unix:7\", \"dns:api.example\"]\n\
                      apps = [\"spiffe://kms.example/billing\", \"access-key:billing\"]\n";

fn policy() -> impl Strategy<Value = String> {
    let principal = select(vec![
        "principal",
        "principal == UnixUser::\"7\"",
        "principal in Group::\"ops\"",
        "principal in Group::\"apps\"",
        "principal in JwtGroup::\"https://idp.example#admins\"",
        "principal is Spiffe",
        "principal is ServiceAccount in Group::\"apps\"",
        "principal == Spiffe::\"spiffe://kms.example/billing\"",
    ]);
    let action = select(vec![
        "action",
        "action in Action::\"Use\"",
        "action in Action::\"Look\"",
        "action == Action::\"ExportDataKey\"",
        "action in [Action::\"ExportDataKey\", Action::\"Decrypt\"]",
        "action in [Action::\"Change\", Action::\"Decrypt\"]",
    ]);
    let resource =
        select(vec!["resource", "resource in Alias::\"alias/payments\"", "resource is Key"]);
    let condition = select(vec![
        "",
        "when { context.dry_run }",
        "unless { context.dry_run }",
        "when { resource is Key && resource.hasTag(\"team\") && resource.getTag(\"team\") == \"payments\" }",
        "when { context.rpc == \"Kms/Decrypt\" }",
        "when { principal is Spiffe && principal.trust_domain == \"kms.example\" }",
    ]);
    let effect = select(vec!["permit", "permit", "forbid"]);
    (effect, principal, action, resource, condition).prop_map(
        |(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    principal: usize,
    action: usize,
    dry_run: bool,
    tagged: bool,
    named: bool,
    revision: u64,
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..PRINCIPALS.len(), 0..5_usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(principal, action, dry_run, tagged, named)| {
            // A revision stands for what the key is.
            let revision = u64::from(tagged) + 2 * u64::from(named);
            Asked { principal, action, dry_run, tagged, named, revision }
        },
    )
}

const ACTIONS: [(Action, Resource); 5] = [
    (Action::ExportDataKey, Resource::Key),
    (Action::Decrypt, Resource::Key),
    (Action::DescribeKey, Resource::Key),
    (Action::DisableKey, Resource::Key),
    (Action::ListKeys, Resource::Instance),
];

proptest! {
    #[test]
    fn the_cached_the_sliced_and_the_full_decision_are_equal(
        policies in proptest::collection::vec(policy(), 0..12),
        asks in proptest::collection::vec(asked(), 1..40),
    ) {
        let named = policies.iter().enumerate();
        let named: Vec<_> = named.map(|(number, it)| format!("@id(\"p{number}\") {it}")).collect();
        let text = named.join("\n");
        let policies = written(&text, Some(GROUPS));
        let worlds = PRINCIPALS.map(World::new);
        let (no_tags, key) = (BTreeMap::new(), KeyId::new());
        let admins = TokenGroups::new(["admins".to_owned()]).unwrap();
        for asked in asks {
            let Some(world) = worlds.get(asked.principal) else { continue };
            let Some((action, resource)) = ACTIONS.get(asked.action) else { continue };
            let mut ask = world.ask(*action, *resource);
            ask.other = None;
            ask.facts.dry_run = asked.dry_run;
            ask.facts.token_groups = (asked.principal == PRINCIPALS.len() - 1).then_some(&admins);
            if matches!(ask.subject, Subject::Key(_)) {
                ask.subject = Subject::Key(Some(KeyFacts {
                    tags: if asked.tagged { &world.tags } else { &no_tags },
                    aliases: if asked.named { &world.aliases } else { &[] },
                    ..world.facts_of(KeyIdentity { id: key, revision: asked.revision })
                }));
            }
            let full = policies.decide_by_all(&ask);
            prop_assert_eq!(&policies.decide_anew(&ask), &full);
            prop_assert_eq!(&policies.decide(&ask), &full);
            prop_assert_eq!(&policies.decide(&ask), &full, "kept");
            prop_assert_eq!(&full.fault, &None);
        }
    }
}
