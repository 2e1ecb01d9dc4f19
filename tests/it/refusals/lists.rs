//! Lists: pages of every size, by number and by token, while others write and
//! delete; and tokens that are not of the list that they are shown to.

use std::collections::BTreeSet;

use keyferry::proto::v1;

use super::world::{World, assert_invalid};
use crate::support::days;

async fn keys(world: &World, request: v1::ListKeysRequest) -> v1::ListKeysResponse {
    world.management().list_keys(request).await.unwrap().into_inner()
}

fn after(token: &str, size: u32) -> v1::ListKeysRequest {
    v1::ListKeysRequest { page_token: token.into(), page_size: Some(size), ..Default::default() }
}

#[tokio::test]
async fn pages_of_every_size_and_number() {
    let world = World::start().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(world.server.create_key().await);
    }
    for (number, size, shown) in [
        (None, None, 0..7),
        (Some(1), Some(1), 0..1),
        (Some(7), Some(1), 6..7),
        (Some(8), Some(1), 0..0),
        (Some(2), Some(3), 3..6),
        (Some(3), Some(3), 6..7),
        (Some(4), Some(3), 0..0),
        (Some(1), Some(7), 0..7),
        (Some(2), Some(7), 0..0),
        (None, Some(100), 0..7),
        (Some(u32::MAX), Some(100), 0..0),
    ] {
        let request =
            v1::ListKeysRequest { page_number: number, page_size: size, ..Default::default() };
        let page = keys(&world, request.clone()).await;
        let ids: Vec<_> = page.keys.iter().map(|key| key.key_id.clone()).collect();
        assert_eq!(ids, made[shown.clone()], "{request:?}");
        let answered = (page.total_count, page.page_number, page.page_size);
        assert_eq!(answered, (7, number.unwrap_or(1), size.unwrap_or(10)));
        let is_last = shown.end == 7 || shown.is_empty();
        assert_eq!(page.next_page_token.is_empty(), is_last, "{request:?}");
    }
    let ask = async |number, size| {
        let request =
            v1::ListKeysRequest { page_number: number, page_size: size, ..Default::default() };
        world.management().list_keys(request).await
    };
    for size in [0, 101, u32::MAX] {
        assert_invalid(ask(None, Some(size)).await, "page_size");
    }
    assert_invalid(ask(Some(0), None).await, "page_number");
    let first = keys(&world, after("", 2)).await;
    let both = v1::ListKeysRequest { page_number: Some(0), ..after(&first.next_page_token, 2) };
    let second = keys(&world, both).await;
    assert_eq!((second.page_number, second.keys[0].key_id.as_str()), (0, made[2].as_str()));
}

#[tokio::test]
async fn tokens_stay_true_while_keys_are_made_and_deleted() {
    let world = World::start().await;
    let mut made = Vec::new();
    for _ in 0..9 {
        made.push(world.server.create_key().await);
    }
    let gone = [0, 2, 5, 8];
    for n in gone {
        world.schedule_deletion(&made[n], false).await.unwrap();
    }
    let first = keys(&world, after("", 3)).await;
    assert_eq!((first.total_count, first.keys[2].key_id.as_str()), (9, made[2].as_str()));
    // The one that the token names is deleted, and others on both sides of it.
    world.clock.pass(days(7));
    for _ in 0..121 {
        world.clock.pass(std::time::Duration::from_secs(60));
        world.keys.schedule.carry_out_due().await.unwrap();
    }
    let newest = world.server.create_key().await;
    let mut seen = Vec::new();
    let mut token = first.next_page_token;
    while !token.is_empty() {
        let page = keys(&world, after(&token, 2)).await;
        assert_eq!(page.total_count, 6);
        seen.extend(page.keys.into_iter().map(|key| key.key_id));
        token = page.next_page_token;
        assert!(seen.len() < 10);
    }
    let left: Vec<_> = [3, 4, 6, 7].map(|n| made[n].clone()).into();
    assert_eq!(seen, [left, vec![newest]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_is_seen_once_however_many_write() {
    let world = World::start().await;
    let mut made = Vec::new();
    for _ in 0..200 {
        made.push(world.server.create_key().await);
    }
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut management = world.management();
        writers.spawn(async move {
            loop {
                management.create_key(v1::CreateKeyRequest::default()).await.unwrap();
            }
        });
    }
    for size in [7, 100] {
        let mut seen = Vec::new();
        let mut token = String::new();
        while seen.len() < made.len() {
            let page = keys(&world, after(&token, size)).await;
            seen.extend(page.keys.into_iter().map(|key| key.key_id));
            token = page.next_page_token;
            assert!(!token.is_empty() || seen.len() >= made.len());
        }
        assert_eq!(seen[..made.len()], made, "pages of {size}");
    }
    assert!(writers.try_join_next().is_none(), "all of them write to the end");
    let standing = keys(&world, after("", 1)).await.total_count;
    assert!(usize::try_from(standing).unwrap() > made.len(), "{standing}");
    writers.shutdown().await;
}

#[tokio::test]
async fn versions_come_in_pages() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let mut made = world.versions(&key_id).await;
    for _ in 1..150 {
        made.push(world.add_version(&key_id, false).await.unwrap());
    }
    let list = async |number: Option<u32>, size: u32, token: &str| {
        let request = v1::ListKeyVersionsRequest {
            key_id: key_id.clone(),
            page_number: number,
            page_size: Some(size),
            page_token: token.into(),
            dry_run: false,
        };
        world.management().list_key_versions(request).await.unwrap().into_inner()
    };
    let ids = |page: &v1::ListKeyVersionsResponse| -> Vec<String> {
        assert!(page.key_versions.iter().all(|one| one.key_id == key_id));
        page.key_versions.iter().map(|one| one.key_version_id.clone()).collect()
    };
    let second = list(Some(2), 100, "").await;
    assert_eq!((ids(&second), second.total_count), (made[100..].to_vec(), 150));
    let mut page = list(None, 40, "").await;
    let mut seen = ids(&page);
    while !page.next_page_token.is_empty() {
        made.push(world.add_version(&key_id, false).await.unwrap());
        page = list(None, 40, &page.next_page_token).await;
        seen.extend(ids(&page));
        assert!(seen.len() < 300);
    }
    assert_eq!(seen, made, "each once, those made meanwhile at the end");
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), made.len());
}

#[tokio::test]
async fn names_of_a_key_move_away_between_pages() {
    let world = World::start().await;
    let (one, two) = (world.server.create_key().await, world.server.create_key().await);
    for n in 0..6 {
        world.name(&format!("alias/n{n}"), &one, false).await.unwrap();
    }
    let list = async |token: &str| {
        let request = v1::ListAliasesByKeyIdRequest {
            key_id: one.clone(),
            page_size: Some(2),
            page_token: token.into(),
            ..Default::default()
        };
        let page = world.management().list_aliases_by_key_id(request).await.unwrap().into_inner();
        let names: Vec<_> = page.aliases.into_iter().map(|alias| alias.alias_name).collect();
        (names, page.total_count, page.next_page_token)
    };
    let (first, total, token) = list("").await;
    assert_eq!((first.as_slice(), total), (&["alias/n0".to_owned(), "alias/n1".to_owned()][..], 6));
    // The one that the token names, and the next.
    for alias in ["alias/n1", "alias/n2"] {
        let request = v1::UpdateAliasRequest {
            alias_name: alias.into(),
            key_id: two.clone(),
            dry_run: false,
        };
        world.management().update_alias(request).await.unwrap();
    }
    let (second, total, token) = list(&token).await;
    assert_eq!(
        (second.as_slice(), total),
        (&["alias/n3".to_owned(), "alias/n4".to_owned()][..], 4)
    );
    let (third, _, token) = list(&token).await;
    assert_eq!((third, token.as_str()), (vec!["alias/n5".to_owned()], ""));
}

/// A token of each list that there is, in one world.
async fn tokens(world: &World) -> Vec<(&'static str, String)> {
    let key_id = world.server.create_key().await;
    let other = world.server.create_key().await;
    world.add_version(&key_id, false).await.unwrap();
    world.add_version(&other, false).await.unwrap();
    for (n, key_id) in [&key_id, &key_id, &other, &other].into_iter().enumerate() {
        world.name(&format!("alias/n{n}"), key_id, false).await.unwrap();
    }
    let mut found = Vec::new();
    for (name, filters) in filtered() {
        let page = keys(world, v1::ListKeysRequest { filters, ..after("", 1) }).await;
        found.push((name, page.next_page_token));
    }
    let mut management = world.management();
    let request = v1::ListAliasesRequest { page_size: Some(1), ..Default::default() };
    let page = management.list_aliases(request).await.unwrap().into_inner();
    found.push(("aliases", page.next_page_token));
    for (names, versions, key_id) in
        [("names", "versions", &key_id), ("names of another", "versions of another", &other)]
    {
        let request = v1::ListAliasesByKeyIdRequest {
            key_id: key_id.clone(),
            page_size: Some(1),
            ..Default::default()
        };
        let page = management.list_aliases_by_key_id(request).await.unwrap().into_inner();
        found.push((names, page.next_page_token));
        let request = v1::ListKeyVersionsRequest {
            key_id: key_id.clone(),
            page_size: Some(1),
            ..Default::default()
        };
        let page = management.list_key_versions(request).await.unwrap().into_inner();
        found.push((versions, page.next_page_token));
    }
    assert!(found.iter().all(|(_, token)| !token.is_empty()));
    found
}

/// Filters that every new key fits, and what the list is called here.
fn filtered() -> [(&'static str, Vec<v1::Filter>); 4] {
    let filter = |key: &str, values: &[&str]| v1::Filter {
        key: key.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    [
        ("keys", vec![]),
        ("enabled", vec![filter("KeyState", &["Enabled"])]),
        ("enabled or not", vec![filter("KeyState", &["Enabled", "Disabled"])]),
        (
            "enabled and of dev's",
            vec![filter("KeyState", &["Enabled"]), filter("Creator", &["dev"])],
        ),
    ]
}

#[tokio::test]
async fn a_token_is_of_one_list_alone() {
    let (world, elsewhere) = (World::start().await, World::start().await);
    let (tokens, of_elsewhere) = (tokens(&world).await, tokens(&elsewhere).await);
    let key_id = keys(&world, after("", 1)).await.keys[0].key_id.clone();
    let mut management = world.management();
    for (of, token) in tokens.iter().chain(&of_elsewhere) {
        let here = tokens.iter().any(|(_, own)| own == token);
        for (name, filters) in filtered() {
            let request = v1::ListKeysRequest { filters, ..after(token, 1) };
            let outcome = management.list_keys(request).await;
            if here && *of == name {
                outcome.unwrap();
            } else {
                assert_invalid(outcome, "page_token");
            }
        }
        if !here || *of != "aliases" {
            let request =
                v1::ListAliasesRequest { page_token: token.clone(), ..Default::default() };
            assert_invalid(management.list_aliases(request).await, "page_token");
        }
        if !here || *of != "names" {
            let request = v1::ListAliasesByKeyIdRequest {
                key_id: key_id.clone(),
                page_token: token.clone(),
                ..Default::default()
            };
            assert_invalid(management.list_aliases_by_key_id(request).await, "page_token");
        }
        if !here || *of != "versions" {
            let request = v1::ListKeyVersionsRequest {
                key_id: key_id.clone(),
                page_token: token.clone(),
                ..Default::default()
            };
            assert_invalid(management.list_key_versions(request).await, "page_token");
        }
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let world = World::start().await;
    let token = tokens(&world).await.remove(0).1;
    let mut forged = vec![
        "x".to_owned(),
        "====".into(),
        "A".repeat(2049),
        format!("{token}AAAA"),
        format!("{token}="),
        token[..token.len() - 4].into(),
        token.to_ascii_lowercase(),
    ];
    for at in [0, token.len() / 3, token.len() / 2, token.len() - 1] {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(changed).unwrap());
    }
    for token in forged {
        assert_invalid(world.management().list_keys(after(&token, 1)).await, "page_token");
    }
}
