//! The calls that Terraform's provider for Alibaba Cloud makes in the life of a
//! key and of an alias, in its order and with its parameters, as its release
//! 1.289.0 was seen to make them: POST, signed by version 1, the action's own
//! parameters in the form and the others in the query.
//!
//! The provider asks what it has made, and plans a change where the answer isn't
//! what the configuration says: so the answers' values matter to the letter.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::http::{Answer, Http, Signer, owned};

/// The provider's region unless it is told another. It sends it with some calls.
const REGION: (&str, &str) = ("RegionId", "cn-hangzhou");

struct Provider {
    http: Http,
    signer: Signer,
    server: TestServer,
}

impl Provider {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let signer = server.create_signer("terraform").await;
        Self { http: server.http().await, signer, server }
    }

    async fn try_call(&mut self, action: &str, own: &[(&str, &str)]) -> Answer {
        self.http.v1_split(&self.signer, action, &owned(own)).await
    }

    async fn call(&mut self, action: &str, own: &[(&str, &str)]) -> Value {
        let answer = self.try_call(action, own).await;
        assert_eq!(answer.status, 200, "{action} {own:?}: {}", answer.body);
        answer.json()
    }

    async fn create_key(&mut self, own: &[(&str, &str)]) -> String {
        let made = self.call("CreateKey", own).await;
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// `resourceAliCloudKmsKeyRead`.
    async fn read_key(&mut self, id: &str) -> (Value, Value) {
        let described = self.call("DescribeKey", &[("KeyId", id)]).await;
        let listed = self.call("ListTagResources", &tags_of(id)).await;
        assert_eq!(listed["NextToken"], "");
        (described["KeyMetadata"].clone(), listed["TagResources"]["TagResource"].clone())
    }

    /// Members of a key as it is read, which must be these.
    async fn reads(&mut self, id: &str, members: Value) {
        let (metadata, _) = self.read_key(id).await;
        for (name, value) in members.as_object().unwrap() {
            assert_eq!(&metadata[name], value, "{name}");
        }
    }

    /// `DescribeKmsAlias`: pages of 20 until the alias is found, or a page isn't full.
    async fn read_alias(&mut self, name: &str) -> Option<String> {
        for page in 1.. {
            let page = [REGION, ("PageNumber", &page.to_string()), ("PageSize", "20")];
            let listed = self.call("ListAliases", &page).await;
            let aliases = listed["Aliases"]["Alias"].as_array().unwrap();
            if let Some(found) = aliases.iter().find(|alias| alias["AliasName"] == name) {
                return Some(found["KeyId"].as_str().unwrap().to_owned());
            }
            if aliases.len() < 20 {
                break;
            }
        }
        None
    }
}

fn tags_of(id: &str) -> [(&str, &str); 3] {
    [REGION, ("ResourceId.1", id), ("ResourceType", "key")]
}

fn tag(id: &str, key: &str, value: &str) -> Value {
    json!({"ResourceId": id, "ResourceType": "key", "TagKey": key, "TagValue": value})
}

#[tokio::test]
async fn a_key_lives_as_terraform_wants_it() {
    let mut provider = Provider::start().await;
    let created = [
        ("Description", "by terraform"),
        ("KeyUsage", "ENCRYPT/DECRYPT"),
        ("Origin", "Aliyun_KMS"),
        ("ProtectionLevel", "SOFTWARE"),
        ("RotationInterval", "31536000s"),
        ("KeySpec", "Aliyun_AES_256"),
        ("EnableAutomaticRotation", "false"),
        ("Tags", r#"[{"TagKey":"Created","TagValue":"TF"}]"#),
    ];
    let id = provider.create_key(&created).await;
    let key = ("KeyId", id.as_str());
    let (metadata, tags) = provider.read_key(&id).await;
    let off =
        json!({"AutomaticRotation": "Disabled", "RotationInterval": "", "NextRotationDate": ""});
    provider.reads(&id, off.clone()).await;
    assert_eq!(
        (&metadata["KeyState"], &metadata["DKMSInstanceId"]),
        (&json!("Enabled"), &json!(""))
    );
    assert_eq!(tags, json!([tag(&id, "Created", "TF")]));

    // Updated: each attribute by its own call.
    for (action, state) in [("DisableKey", "Disabled"), ("EnableKey", "Enabled")] {
        provider.call(action, &[key]).await;
        provider.reads(&id, json!({"KeyState": state})).await;
    }
    let changed = "changed: \"é\" & 4=5";
    provider.call("UpdateKeyDescription", &[key, ("Description", changed)]).await;
    provider.reads(&id, json!({"Description": changed})).await;
    let on = [key, ("EnableAutomaticRotation", "true"), ("RotationInterval", "2592000s")];
    provider.call("UpdateRotationPolicy", &on).await;
    let shown = json!({"AutomaticRotation": "Enabled", "RotationInterval": "2592000s"});
    provider.reads(&id, shown).await;
    // With the interval, where the configuration keeps it, and without.
    for interval in [&[("RotationInterval", "2592000s")][..], &[]] {
        let policy = [&[key, ("EnableAutomaticRotation", "false")], interval].concat();
        provider.call("UpdateRotationPolicy", &policy).await;
        provider.reads(&id, off.clone()).await;
    }
    let of_key = tags_of(&id);
    provider.call("UntagResources", &[&of_key[..], &[("TagKey.1", "Created")]].concat()).await;
    let added =
        [("Tag.1.Key", "For"), ("Tag.1.Value", "Test"), ("Tag.2.Key", "B"), ("Tag.2.Value", "")];
    provider.call("TagResources", &[&of_key[..], &added].concat()).await;
    assert_eq!(provider.read_key(&id).await.1, json!([tag(&id, "B", ""), tag(&id, "For", "Test")]));

    provider.call("ScheduleKeyDeletion", &[key, ("PendingWindowInDays", "7")]).await;
    provider.reads(&id, json!({"KeyState": "PendingDeletion"})).await;
}

#[tokio::test]
async fn a_key_is_protected_as_terraform_wants_it() {
    let mut provider = Provider::start().await;
    let created = [
        ("ProtectionLevel", "SOFTWARE"),
        ("EnableAutomaticRotation", "true"),
        ("RotationInterval", "605800s"),
    ];
    let id = provider.create_key(&created).await;
    let key = ("KeyId", id.as_str());
    let kept = ("DeletionProtectionDescription", "kept");
    provider
        .call("SetDeletionProtection", &[key, kept, ("EnableDeletionProtection", "true")])
        .await;
    let shown = json!({
        "AutomaticRotation": "Enabled", "RotationInterval": "605800s",
        "DeletionProtection": "Enabled", "DeletionProtectionDescription": "kept",
    });
    provider.reads(&id, shown).await;
    let delete = [key, ("PendingWindowInDays", "366")];
    let refused = provider.try_call("ScheduleKeyDeletion", &delete).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "Rejected.DeletionProtection"));

    // What the configuration says no more is not sent, and must be gone.
    for (description, shown) in [(Some(kept), "kept"), (None, "")] {
        let off = [key, ("EnableDeletionProtection", "false")];
        let off: Vec<_> = off.into_iter().chain(description).collect();
        provider.call("SetDeletionProtection", &off).await;
        let shown = json!({
            "DeletionProtection": "Disabled", "DeletionProtectionDescription": shown,
        });
        provider.reads(&id, shown).await;
    }
    provider.call("UpdateKeyDescription", &[key, ("Description", "for a while")]).await;
    provider.call("UpdateKeyDescription", &[key]).await;
    provider.reads(&id, json!({"Description": ""})).await;
    provider.call("ScheduleKeyDeletion", &delete).await;
}

/// By these the provider knows that a key is no more.
#[tokio::test]
async fn a_key_that_is_gone_is_told_as_terraform_wants_it() {
    let mut provider = Provider::start().await;
    let nowhere = ("KeyId", "00000000-0000-4000-8000-000000000000");
    let window = ("PendingWindowInDays", "7");
    for (action, own) in
        [("DescribeKey", &[nowhere][..]), ("ScheduleKeyDeletion", &[nowhere, window])]
    {
        let answer = provider.try_call(action, own).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "Forbidden.KeyNotFound"));
    }
}

#[tokio::test]
async fn a_policy_and_an_instance_are_ignored() {
    let mut provider = Provider::start().await;
    let id = provider.create_key(&[("Policy", "{}"), ("DKMSInstanceId", "kst-1")]).await;
    // The empty one keeps the provider from asking for the policy.
    provider.reads(&id, json!({"DKMSInstanceId": "", "KeyState": "Enabled"})).await;
}

#[tokio::test]
async fn an_alias_lives_as_terraform_wants_it() {
    let mut provider = Provider::start().await;
    let (one, two) = (provider.server.create_key().await, provider.server.create_key().await);
    let alias = ("AliasName", "alias/terraform");
    provider.call("CreateAlias", &[alias, ("KeyId", &one)]).await;
    assert_eq!(provider.read_alias(alias.1).await, Some(one));
    provider.call("UpdateAlias", &[alias, ("KeyId", &two)]).await;
    assert_eq!(provider.read_alias(alias.1).await, Some(two));
    provider.call("DeleteAlias", &[alias]).await;
    assert_eq!(provider.read_alias(alias.1).await, None);
}

#[tokio::test]
async fn an_alias_is_found_behind_full_pages() {
    let mut provider = Provider::start().await;
    let key = provider.server.create_key().await;
    let names: Vec<String> = (0..40).map(|number| format!("alias/many{number:02}")).collect();
    for name in &names {
        provider.call("CreateAlias", &[("AliasName", name), ("KeyId", &key)]).await;
    }
    for name in &names {
        assert_eq!(provider.read_alias(name).await.as_ref(), Some(&key), "{name}");
    }
    assert_eq!(provider.read_alias("alias/none").await, None);
}

#[tokio::test]
async fn the_one_region_is_ours() {
    let mut provider = Provider::start().await;
    let listed = provider.call("DescribeRegions", &[]).await;
    assert_eq!(listed["Regions"], json!({"Region": [{"RegionId": "local"}]}));
}
