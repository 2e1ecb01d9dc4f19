//! The calls that Terraform's provider for Alibaba Cloud makes in the life of a
//! key and of an alias, in its order and with its parameters: POST, signed by
//! version 1, everything in the form.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::http::{Http, Signer, owned};

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

    async fn call(&mut self, action: &str, own: &[(&str, &str)]) -> Value {
        let answer = self.http.v1_form(&self.signer, action, &owned(own)).await;
        assert_eq!(answer.status, 200, "{action} {own:?}: {}", answer.body);
        answer.json()
    }

    /// `resourceAliCloudKmsKeyRead`.
    async fn read_key(&mut self, id: &str) -> (Value, Value) {
        let described = self.call("DescribeKey", &[("KeyId", id)]).await;
        let tags = [("ResourceId.1", id), ("ResourceType", "key")];
        let listed = self.call("ListTagResources", &tags).await;
        assert_eq!(listed["NextToken"], "");
        (described["KeyMetadata"].clone(), listed["TagResources"]["TagResource"].clone())
    }
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
    let made = provider.call("CreateKey", &created).await;
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let key = ("KeyId", id.as_str());
    let (metadata, tags) = provider.read_key(&id).await;
    assert_eq!(metadata["AutomaticRotation"], "Disabled");
    assert_eq!(
        (&metadata["KeyState"], &metadata["DKMSInstanceId"]),
        (&json!("Enabled"), &json!(""))
    );
    let tag = |key: &str, value: &str| json!({"ResourceId": id, "ResourceType": "key", "TagKey": key, "TagValue": value});
    assert_eq!(tags, json!([tag("Created", "TF")]));

    // Updated: each attribute by its own call.
    for (action, state) in [("DisableKey", "Disabled"), ("EnableKey", "Enabled")] {
        provider.call(action, &[key]).await;
        assert_eq!(provider.read_key(&id).await.0["KeyState"], state);
    }
    provider.call("UpdateKeyDescription", &[key, ("Description", "changed")]).await;
    for (on, shown) in [("true", "Enabled"), ("false", "Disabled")] {
        let policy = [key, ("EnableAutomaticRotation", on), ("RotationInterval", "2592000s")];
        provider.call("UpdateRotationPolicy", &policy).await;
        assert_eq!(provider.read_key(&id).await.0["AutomaticRotation"], shown);
    }
    for on in ["true", "false"] {
        let description = ("DeletionProtectionDescription", "kept");
        let protection = [key, description, ("EnableDeletionProtection", on)];
        provider.call("SetDeletionProtection", &protection).await;
        let shown = if on == "true" { "Enabled" } else { "Disabled" };
        assert_eq!(provider.read_key(&id).await.0["DeletionProtection"], shown);
    }
    let of_key = [("ResourceId.1", id.as_str()), ("ResourceType", "key")];
    provider.call("UntagResources", &[&of_key[..], &[("TagKey.1", "Created")]].concat()).await;
    let added =
        [("Tag.1.Key", "For"), ("Tag.1.Value", "Test"), ("Tag.2.Key", "B"), ("Tag.2.Value", "")];
    provider.call("TagResources", &[&of_key[..], &added].concat()).await;
    let (metadata, tags) = provider.read_key(&id).await;
    assert_eq!(metadata["Description"], "changed");
    assert_eq!(tags, json!([tag("B", ""), tag("For", "Test")]));

    provider.call("ScheduleKeyDeletion", &[key, ("PendingWindowInDays", "7")]).await;
    assert_eq!(provider.read_key(&id).await.0["KeyState"], "PendingDeletion");
}

#[tokio::test]
async fn an_alias_lives_as_terraform_wants_it() {
    let mut provider = Provider::start().await;
    let (one, two) = (provider.server.create_key().await, provider.server.create_key().await);
    let alias = ("AliasName", "alias/terraform");
    provider.call("CreateAlias", &[alias, ("KeyId", &one)]).await;
    for key in [&one, &two] {
        provider.call("UpdateAlias", &[alias, ("KeyId", key)]).await;
        let page = [("PageNumber", "1"), ("PageSize", "20")];
        let listed = provider.call("ListAliases", &page).await;
        assert_eq!(listed["Aliases"]["Alias"][0]["AliasName"], alias.1);
        assert_eq!(listed["Aliases"]["Alias"][0]["KeyId"], key.as_str());
    }
    provider.call("DeleteAlias", &[alias]).await;
    let listed = provider.call("ListAliases", &[("PageNumber", "1"), ("PageSize", "20")]).await;
    assert_eq!(listed["Aliases"], json!({"Alias": []}));
}

#[tokio::test]
async fn the_one_region_is_ours() {
    let mut provider = Provider::start().await;
    let listed = provider.call("DescribeRegions", &[]).await;
    assert_eq!(listed["Regions"], json!({"Region": [{"RegionId": "local"}]}));
}
