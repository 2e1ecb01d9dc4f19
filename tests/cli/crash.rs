//! SIGKILL in a storm of CreateKey and CreateAlias: what was acknowledged is
//! there when the server comes up again, and nothing is torn.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use tonic::transport::{Channel, Endpoint};

const ROUNDS: u64 = 6;
const WRITERS: usize = 8;

struct Server(Child, String);

impl Server {
    fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyferry"))
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Self(child, address)
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.1)).unwrap().connect().await.unwrap()
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Makes keys and names until the server is gone; gives what was acknowledged.
async fn storm(channel: Channel, writer: String) -> Vec<(String, Option<String>)> {
    let mut management = KeyManagementClient::new(channel);
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let Ok(created) = management.create_key(v1::CreateKeyRequest::default()).await else {
            break;
        };
        let key_id = created.into_inner().key_metadata.unwrap().key_id;
        let alias_name = format!("alias/{writer}-{n}");
        let request = v1::CreateAliasRequest {
            alias_name: alias_name.clone(),
            key_id: key_id.clone(),
            dry_run: false,
        };
        let named = management.create_alias(request).await;
        let gone = named.is_err();
        acknowledged.push((key_id, named.ok().map(|_| alias_name)));
        if gone {
            break;
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let server = Server::start(&data_dir);
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            writers.push(tokio::spawn(storm(server.channel().await, format!("r{round}w{writer}"))));
        }
        tokio::time::sleep(Duration::from_millis(60 + 70 * round)).await;
        server.kill();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    assert!(acknowledged.len() > 50, "the storm was a breeze: {}", acknowledged.len());
    let server = Server::start(&data_dir);
    let channel = server.channel().await;
    every_acknowledged_write_is_there(&channel, &acknowledged).await;
    nothing_is_torn(&channel).await;
    server.kill();
}

async fn every_acknowledged_write_is_there(
    channel: &Channel,
    acknowledged: &[(String, Option<String>)],
) {
    let mut management = KeyManagementClient::new(channel.clone());
    let mut kms = KmsClient::new(channel.clone());
    for (key_id, alias) in acknowledged {
        let name = alias.clone().unwrap_or_else(|| key_id.clone());
        let request = v1::DescribeKeyRequest { key_id: name, dry_run: false };
        let described = management.describe_key(request).await.unwrap().into_inner();
        assert_eq!(&described.key_metadata.unwrap().key_id, key_id);
        // The version is there too, and its key material opens.
        let request =
            v1::EncryptRequest { key_id: key_id.clone(), plaintext: vec![1], ..Default::default() };
        kms.encrypt(request).await.unwrap();
    }
}

/// Every CMK that is listed has its version, and the names that are listed in
/// all are those that their CMKs list, acknowledged or not.
async fn nothing_is_torn(channel: &Channel) {
    let mut management = KeyManagementClient::new(channel.clone());
    let mut kms = KmsClient::new(channel.clone());
    let (mut token, mut of_keys) = (String::new(), Vec::new());
    loop {
        let request =
            v1::ListKeysRequest { page_size: Some(100), page_token: token, ..Default::default() };
        let page = management.list_keys(request).await.unwrap().into_inner();
        for key in page.keys {
            let request = v1::EncryptRequest {
                key_id: key.key_id.clone(),
                plaintext: vec![1],
                ..Default::default()
            };
            kms.encrypt(request).await.unwrap();
            let request = v1::ListAliasesByKeyIdRequest {
                key_id: key.key_id,
                page_size: Some(100),
                ..Default::default()
            };
            of_keys.extend(
                management.list_aliases_by_key_id(request).await.unwrap().into_inner().aliases,
            );
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let (mut token, mut in_all) = (String::new(), Vec::new());
    loop {
        let request = v1::ListAliasesRequest {
            page_size: Some(100),
            page_token: token,
            ..Default::default()
        };
        let page = management.list_aliases(request).await.unwrap().into_inner();
        for alias in page.aliases {
            let request =
                v1::DescribeKeyRequest { key_id: alias.alias_name.clone(), dry_run: false };
            let described = management.describe_key(request).await.unwrap().into_inner();
            assert_eq!(described.key_metadata.unwrap().key_id, alias.key_id);
            in_all.push(alias);
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let sorted = |mut names: Vec<v1::Alias>| {
        names.sort_by(|a, b| a.alias_name.cmp(&b.alias_name));
        names
    };
    assert_eq!(sorted(of_keys), sorted(in_all));
}
