//! Filters of ListKeys: each kind, together and in pages.

use keyferry::proto::v1;

use super::world::{World, assert_invalid, tags};

fn filter(key: &str, values: &[&str]) -> v1::Filter {
    v1::Filter { key: key.into(), values: values.iter().map(|value| (*value).to_owned()).collect() }
}

/// Five keys that differ in everything that can be filtered by.
struct Five {
    world: World,
    ids: [String; 5],
}

impl Five {
    async fn new() -> Self {
        let world = World::start().await;
        let create = async |key_spec: &str, key_usage: &str, pairs| {
            let request = v1::CreateKeyRequest {
                key_spec: key_spec.into(),
                key_usage: key_usage.into(),
                tags: tags(pairs),
                ..Default::default()
            };
            world.key(request).await
        };
        let ids = [
            create("", "", &[("team", "pay"), ("env", "prod")]).await,
            create("", "", &[("team", "ship"), ("env", "test"), ("owner", "pay")]).await,
            create("EC_SM2", "ENCRYPT/DECRYPT", &[("team", "")]).await,
            create("EC_SM2", "SIGN/VERIFY", &[]).await,
            create("EC_P256", "", &[("env", "prod")]).await,
        ];
        let request = v1::DisableKeyRequest { key_id: ids[1].clone(), dry_run: false };
        world.management().disable_key(request).await.unwrap();
        world.schedule_deletion(&ids[2], false).await.unwrap();
        for (alias, n) in [("alias/one", 0), ("alias/first", 0), ("alias/five", 4)] {
            world.name(alias, &ids[n], false).await.unwrap();
        }
        Self { world, ids }
    }

    /// The numbers of the keys that fit.
    async fn fit(&self, filters: &[v1::Filter]) -> Vec<usize> {
        let request = v1::ListKeysRequest { filters: filters.to_vec(), ..Default::default() };
        let listed = self.world.management().list_keys(request).await.unwrap().into_inner();
        assert_eq!(listed.total_count as usize, listed.keys.len());
        let number = |key: v1::Key| self.ids.iter().position(|id| *id == key.key_id).unwrap();
        listed.keys.into_iter().map(number).collect()
    }
}

#[tokio::test]
async fn each_kind_of_filter() {
    let five = Five::new().await;
    let arn = format!("acs:kms:local:0:key/{}", five.ids[0]);
    let all = vec![0, 1, 2, 3, 4];
    for (key, values, expected) in [
        ("KeyState", &["Enabled"][..], vec![0, 3, 4]),
        ("KeyState", &["Disabled", "PendingDeletion"], vec![1, 2]),
        ("KeyState", &["PendingImport"], vec![]),
        ("KeyState", &["enabled"], vec![]),
        ("KeySpec", &["Aliyun_AES_256"], vec![0, 1]),
        ("KeySpec", &["EC_SM2", "EC_P256", "RSA_2048"], vec![2, 3, 4]),
        ("KeyUsage", &["SIGN/VERIFY"], vec![3, 4]),
        ("ProtectionLevel", &["SOFTWARE"], all.clone()),
        ("ProtectionLevel", &["HSM"], vec![]),
        ("CreatorType", &["User"], all.clone()),
        ("CreatorType", &["Service"], vec![]),
        ("DKMSInstanceId", &["kst-1"], vec![]),
        ("DKMSInstanceId", &[""], all.clone()),
        ("KeyId", &[five.ids[3].as_str(), &five.ids[1], "nobody"], vec![1, 3]),
        ("keyId", &[five.ids[3].as_str()], vec![3]),
        ("KeyId", &[arn.as_str()], vec![]),
        ("AliasName", &["alias/one"], vec![0]),
        ("AliasName", &["alias/five", "alias/first", "alias/one"], vec![0, 4]),
        ("AliasName", &["alias/nobody", "never possible"], vec![]),
        ("Creator", &["dev"], all),
        ("Creator", &["unix:0"], vec![]),
        ("TagKey", &["team"], vec![0, 1, 2]),
        ("TagKey", &["owner", "env"], vec![0, 1, 4]),
        ("TagValue", &["pay"], vec![0, 1]),
        ("TagValue", &[""], vec![2]),
        ("TagKey", &["pay"], vec![]),
    ] {
        assert_eq!(five.fit(&[filter(key, values)]).await, expected, "{key} {values:?}");
    }
}

#[tokio::test]
async fn filters_together() {
    let five = Five::new().await;
    for (filters, expected) in [
        (vec![filter("KeySpec", &["EC_SM2"]), filter("KeyUsage", &["SIGN/VERIFY"])], vec![3]),
        (vec![filter("KeyState", &["Enabled"]), filter("KeySpec", &["Aliyun_AES_256"])], vec![0]),
        // Key and value of one and the same tag.
        (vec![filter("TagKey", &["team"]), filter("TagValue", &["pay"])], vec![0]),
        (vec![filter("TagValue", &["pay"]), filter("TagKey", &["owner", "team"])], vec![0, 1]),
        (vec![filter("TagKey", &["env"]), filter("TagValue", &["pay"])], vec![]),
        (
            vec![
                filter("TagKey", &["env"]),
                filter("TagValue", &["prod"]),
                filter("AliasName", &["alias/five", "alias/one"]),
                filter("KeyUsage", &["SIGN/VERIFY"]),
            ],
            vec![4],
        ),
        (vec![filter("AliasName", &["alias/one"]), filter("KeyState", &["Disabled"])], vec![]),
    ] {
        assert_eq!(five.fit(&filters).await, expected, "{filters:?}");
    }
}

#[tokio::test]
async fn unfit_filters() {
    let five = Five::new().await;
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let names = [
        "KeyState",
        "KeySpec",
        "KeyUsage",
        "ProtectionLevel",
        "CreatorType",
        "DKMSInstanceId",
        "KeyId",
        "AliasName",
        "Creator",
        "TagKey",
        "TagValue",
    ];
    let eleven: Vec<_> = names.iter().map(|name| filter(name, &["x"])).collect();
    for filters in [
        vec![filter("Region", &["x"])],
        vec![filter("", &["x"])],
        vec![filter("KeyState", &[])],
        vec![filter("KeyState", &many)],
        vec![filter("KeyState", &["Enabled"]), filter("KeyState", &["Disabled"])],
        vec![filter("KeyId", &["x"]), filter("keyId", &["x"])],
        eleven.clone(),
    ] {
        let request = v1::ListKeysRequest { filters, ..Default::default() };
        assert_invalid(five.world.management().list_keys(request).await, "filters");
    }
    assert_eq!(five.fit(&eleven[1..]).await, Vec::<usize>::new());
    assert_eq!(five.fit(&[filter("TagKey", &many[1..])]).await, Vec::<usize>::new());
}

#[tokio::test]
async fn filtered_pages() {
    let world = World::start().await;
    let mut wanted = Vec::new();
    for n in 0..450 {
        let value = if n % 3 == 0 { "yes" } else { "no" };
        let request =
            v1::CreateKeyRequest { tags: tags(&[("wanted", value)]), ..Default::default() };
        let key_id = world.key(request).await;
        if n % 3 == 0 {
            wanted.push(key_id);
        }
    }
    let list = async |number: Option<u32>, size, token: &str| {
        let request = v1::ListKeysRequest {
            page_number: number,
            page_size: Some(size),
            page_token: token.into(),
            filters: vec![filter("TagKey", &["wanted"]), filter("TagValue", &["yes", "perhaps"])],
            dry_run: false,
        };
        world.management().list_keys(request).await.unwrap().into_inner()
    };
    let ids = |page: &v1::ListKeysResponse| -> Vec<String> {
        page.keys.iter().map(|key| key.key_id.clone()).collect()
    };
    let third = list(Some(3), 60, "").await;
    assert_eq!((ids(&third), third.total_count), (wanted[120..].to_vec(), 150));
    assert_eq!((third.page_number, third.next_page_token.as_str()), (3, ""));
    assert!(list(Some(4), 60, "").await.keys.is_empty());
    let mut page = list(None, 50, "").await;
    let mut seen = ids(&page);
    // Meanwhile one that was seen and one that was not fit no more, and one more
    // fits.
    for n in [0, 149] {
        let request = v1::UntagResourceRequest {
            key_id: wanted[n].clone(),
            tag_keys: vec!["wanted".into()],
            dry_run: false,
        };
        world.management().untag_resource(request).await.unwrap();
    }
    let request =
        v1::CreateKeyRequest { tags: tags(&[("wanted", "perhaps")]), ..Default::default() };
    let newest = world.key(request).await;
    while !page.next_page_token.is_empty() {
        page = list(Some(7), 50, &page.next_page_token).await;
        assert_eq!((page.total_count, page.page_number), (149, 0));
        seen.extend(ids(&page));
        assert!(seen.len() < 300);
    }
    assert_eq!(seen, [&wanted[..149], &[newest]].concat());
}
