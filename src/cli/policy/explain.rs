//! `keyferry policy explain`: why a request would be allowed or refused.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::DirArgs;
use super::imagined::Imagined;
use super::scenario::{KeyTable, KeyText, Scenario};
use crate::access::cedar::explanation::{self, Explanation};
use crate::access::cedar::policy_set::{Ask, PolicySet};
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::text::Text;
use crate::cli::options::key_value::{KeyValue, unique};

/// Most permits that a refusal is explained with, for people.
const NEAREST: usize = 5;

#[derive(Args, Debug)]
pub struct PolicyExplain {
    #[command(flatten)]
    dir: DirArgs,
    /// The caller, as the log names it: spiffe://…, dns:…, cn:…, unix:<user id>,
    /// jwt:<issuer>#<subject>, access-key:<service account>
    #[arg(long)]
    principal: String,
    /// A group that the caller's token names; may be given many times
    #[arg(long = "token-group", value_name = "NAME")]
    token_groups: Vec<String>,
    /// An RPC, such as ExportDataKey, or one of its actions, such as ReEncryptFrom
    #[arg(long)]
    action: String,
    #[command(flatten)]
    key: KeyArgs,
    /// The key that ReEncrypt seals under, or that an alias shall name: its id or an alias
    #[arg(long, value_name = "KEY")]
    other_key: Option<String>,
    /// A pair of the encryption context; may be given many times
    #[arg(long = "context", value_name = "KEY=VALUE")]
    context: Vec<KeyValue>,
    /// A pair of the context that ReEncrypt seals with; may be given many times
    #[arg(long = "other-context", value_name = "KEY=VALUE")]
    other_context: Vec<KeyValue>,
    /// The recipient's public key; without it, the recipient is one that no policy names
    #[arg(long, value_name = "FILE")]
    public_key: Option<String>,
    /// Instead of the file, the digest that `keyferry recipient show` prints
    #[arg(long, value_name = "HEX", conflicts_with = "public_key")]
    public_key_sha256: Option<String>,
    /// The algorithm; by default the one that is usual for the recipient
    #[arg(long)]
    algorithm: Option<String>,
    /// The kind of the blob: DataKeyUnseen (also the default), DataKeyShown, CallerBytes
    /// or Imported
    #[arg(long)]
    kind: Option<String>,
    /// The length of what is sealed or opened; by default 32
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// The alias that is made, moved or deleted
    #[arg(long)]
    alias: Option<String>,
    /// A tag that the key shall have; may be given many times
    #[arg(long = "new-tag", value_name = "KEY=VALUE")]
    new_tags: Vec<KeyValue>,
    /// The service account that an access key is for
    #[arg(long)]
    account: Option<String>,
    /// Whether it is a dry run
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// The key of the request, with what policies may read of it.
#[derive(Args, Debug)]
struct KeyArgs {
    /// The key: its id or an alias; given many times, its id and its aliases
    #[arg(long = "key", value_name = "KEY")]
    names: Vec<String>,
    /// A tag of the key; may be given many times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<KeyValue>,
    /// The kind of its key material; by default the usual one for the action
    #[arg(long, value_name = "SPEC")]
    key_spec: Option<String>,
    /// Its usage
    #[arg(long, value_name = "USAGE")]
    key_usage: Option<String>,
    /// Its state; by default Enabled
    #[arg(long, value_name = "STATE")]
    key_state: Option<String>,
    /// The principal that created it
    #[arg(long, value_name = "PRINCIPAL", default_value = "")]
    key_creator: String,
}

impl PolicyExplain {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let scenario = self.scenario()?;
        let policies = self.dir.load()?;
        let imagined = scenario.read(Path::new("")).map_err(|why| {
            Failure::usage(
                format!("The request is incomplete or wrong: {why}."),
                "See `keyferry policy explain --help`.",
            )
        })?;
        let explained = Explained::of(&policies, &imagined);
        let output = self.output.output();
        if !output.is_json() {
            output.print(&Text::line(explained.summary()))?;
        }
        output.result(&explained.json(), || explained.table())
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        Ok(Scenario {
            principal: self.principal.clone(),
            token_groups: self.token_groups.clone(),
            action: self.action.clone(),
            key: self.key.read()?,
            other_key: self.other_key.clone().map(KeyText::Name),
            context: unique("--context", &self.context)?,
            other_context: unique("--other-context", &self.other_context)?,
            public_key: self.public_key.clone(),
            public_key_sha256: self.public_key_sha256.clone(),
            wrapping_key_spec: None,
            algorithm: self.algorithm.clone(),
            kind: self.kind.clone(),
            number_of_bytes: self.bytes,
            alias: self.alias.clone(),
            new_tags: unique("--new-tag", &self.new_tags)?,
            account: self.account.clone(),
            dry_run: self.dry_run,
        })
    }
}

impl KeyArgs {
    fn read(&self) -> Result<Option<KeyText>, Failure> {
        if self.names.is_empty() {
            return Ok(None);
        }
        let (aliases, ids): (Vec<_>, Vec<_>) =
            self.names.iter().cloned().partition(|name| name.starts_with("alias/"));
        if ids.len() > 1 {
            return Err(Failure::usage("--key gives two ids.", "A key has one id."));
        }
        Ok(Some(KeyText::Table(KeyTable {
            id: ids.into_iter().next(),
            aliases,
            tags: unique("--tag", &self.tags)?,
            spec: self.key_spec.clone(),
            usage: self.key_usage.clone(),
            state: self.key_state.clone(),
            creator: self.key_creator.clone(),
        })))
    }
}

/// All decisions of a request, explained.
struct Explained(Vec<(String, Explanation)>);

impl Explained {
    fn of(policies: &PolicySet, imagined: &Imagined) -> Self {
        let about = |ask: &Ask<'_>| format!("{} on {}", ask.action, ask.subject.resource());
        let asks = imagined.asks().into_iter();
        Self(asks.map(|ask| (about(&ask), explanation::explain(policies, &ask))).collect())
    }

    fn is_allowed(&self) -> bool {
        self.0.iter().all(|(_, it)| it.verdict.allowed)
    }

    fn summary(&self) -> String {
        let refused = self.0.iter().find(|(_, it)| !it.verdict.allowed);
        let Some((about, Explanation { verdict, beyond_caller, .. })) = refused else {
            return "Allowed, by each of these decisions:".to_owned();
        };
        if let Some(fault) = &verdict.fault {
            return format!("Refused: a policy could not be evaluated: {fault}");
        }
        if !verdict.policies.is_empty() {
            return format!("Refused: {about} is forbidden by {}.", verdict.policies.join(", "));
        }
        if !beyond_caller.is_empty() {
            return format!(
                "Refused: the account may do more than the caller, by {}, and no policy that permits the access key names the account.",
                beyond_caller.join(", ")
            );
        }
        format!(
            "Refused: no policy permits {about}. Those that are nearest, and what would have to hold:"
        )
    }

    fn table(&self) -> Text {
        let rows = self.0.iter().flat_map(|(about, explanation)| {
            let allowed = if explanation.verdict.allowed { "allow" } else { "deny" };
            let begin = [allowed.to_owned(), about.clone()];
            let policies = explanation.policies.iter().take(NEAREST).map(|policy| {
                let missing = policy.missing.join(" && ");
                [policy.id.clone(), policy.place.to_string(), missing].to_vec()
            });
            let mut policies: Vec<_> = policies.collect();
            if policies.is_empty() {
                policies.push(vec![String::new(); 3]);
            }
            policies.into_iter().map(move |policy| begin.iter().cloned().chain(policy).collect())
        });
        let heading = Some(vec!["decision", "about", "policy", "place", "would_have_to_hold"]);
        Text::Table { heading, rows: rows.collect() }
    }

    fn json(&self) -> Value {
        let decisions: Vec<Value> = self
            .0
            .iter()
            .map(|(about, Explanation { verdict, policies, beyond_caller })| {
                json!({
                    "about": about,
                    "decision": if verdict.allowed { "allow" } else { "deny" },
                    "decided_by": verdict.policies.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
                    "fault": verdict.fault.as_deref(),
                    "account_may_do_more_by": beyond_caller,
                    "policies": policies.iter().map(|policy| json!({
                        "id": policy.id,
                        "place": policy.place.to_string(),
                        "would_have_to_hold": policy.missing,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        let decision = if self.is_allowed() { "allow" } else { "deny" };
        json!({ "decision": decision, "decisions": decisions })
    }
}
