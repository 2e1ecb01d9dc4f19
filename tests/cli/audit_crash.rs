//! SIGKILL in a storm of exports and changes, again and again over one store and one audit
//! log: the log verifies, and what was acknowledged is in it, once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use keyferry::audit::entry::{Entry, Kind};
use keyferry::audit::note::VerifierKey;
use keyferry::audit::reading::{LogFile, RawLine, files_of};
use keyferry::audit::verification::{Trusted, Verification};
use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::command::{keyferry, permit_everything, run};
use crate::support::Recipient;

const WRITERS: usize = 8;

/// An instance that is served by a process after the other.
struct Instance {
    folder: tempfile::TempDir,
}

struct Server(Child);

impl Instance {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        run(keyferry(["init"]).arg(folder.path().join("kf"))).done();
        permit_everything(&folder.path().join("kf/policies"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("kf").join(name)
    }

    fn serve(&self) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_keyferry"))
            .args(["serve", "--config"])
            .arg(self.path("keyferry.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.starts_with("listening on "), "{first:?}");
        Server(child)
    }

    async fn channel(&self) -> Channel {
        let path = self.path("keyferry.sock");
        let connector = service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    fn log(&self) -> Vec<LogFile> {
        files_of(&[self.path("audit")]).unwrap()
    }
}

impl Server {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A request that bears its own id, so that its line can be told from all others.
fn named<T>(request_id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    request
}

/// What one writer was told: requests that were answered.
#[derive(Default)]
struct Acknowledged {
    exports: Vec<String>,
    changes: Vec<String>,
}

/// Makes a key, exports and changes until the server is gone.
async fn storm(
    channel: Channel,
    writer: String,
    recipient: std::sync::Arc<Recipient>,
) -> Acknowledged {
    let mut management = KeyManagementClient::new(channel.clone());
    let mut kms = KmsClient::new(channel);
    let mut told = Acknowledged::default();
    let Ok(made) = management
        .create_key(named(&format!("{writer}-create"), v1::CreateKeyRequest::default()))
        .await
    else {
        return told;
    };
    told.changes.push(format!("{writer}-create"));
    let key_id = made.into_inner().key_metadata.unwrap().key_id;
    let generate =
        v1::GenerateDataKeyWithoutPlaintextRequest { key_id: key_id.clone(), ..Default::default() };
    let Ok(blob) = kms.generate_data_key_without_plaintext(generate).await else { return told };
    let export = recipient.export(&blob.into_inner().ciphertext_blob, &[]);
    for n in 0.. {
        let id = format!("{writer}-e{n}");
        if kms.export_data_key(named(&id, export.clone())).await.is_err() {
            break;
        }
        told.exports.push(id);
        if n % 4 == 0 {
            let id = format!("{writer}-c{n}");
            let description = v1::UpdateKeyDescriptionRequest {
                key_id: key_id.clone(),
                description: id.clone(),
                dry_run: false,
            };
            if management.update_key_description(named(&id, description)).await.is_err() {
                break;
            }
            told.changes.push(id);
        }
    }
    told
}

fn entries(files: &[LogFile]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in files {
        let mut lines = file.lines().unwrap();
        while let Some(line) = lines.next().unwrap() {
            if let RawLine::Whole(line) = line {
                entries.push(serde_json::from_slice(line).unwrap());
            }
        }
    }
    entries
}

fn verifier(entries: &[Entry]) -> VerifierKey {
    let start = entries.iter().find(|entry| entry.kind == Kind::Start).unwrap();
    VerifierKey::parse(start.checkpoint_key.as_ref().unwrap()).unwrap()
}

/// How often each request is told of as done, by kind of line.
fn done(entries: &[Entry], kind: Kind) -> BTreeMap<&str, usize> {
    let mut done = BTreeMap::new();
    let of_kind = entries.iter().filter(|entry| entry.kind == kind);
    for entry in of_kind.filter(|entry| entry.outcome.as_deref() == Some("ok")) {
        *done.entry(entry.request_id.as_deref().unwrap_or_default()).or_default() += 1;
    }
    done
}

async fn survives(rounds: u64) {
    let (instance, recipient) = (Instance::make(), std::sync::Arc::new(Recipient::rsa()));
    let mut told = Acknowledged::default();
    for round in 0..rounds {
        let server = instance.serve();
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let channel = instance.channel().await;
            let name = format!("r{round}w{writer}");
            writers.push(tokio::spawn(storm(channel, name, recipient.clone())));
        }
        tokio::time::sleep(Duration::from_millis(40 + 37 * (round % 7))).await;
        server.kill();
        for writer in writers {
            let Acknowledged { exports, changes } = writer.await.unwrap();
            told.exports.extend(exports);
            told.changes.extend(changes);
        }
    }
    // The last start settles what the last kill broke off.
    instance.serve().kill();
    assert!(told.exports.len() > 20, "the storm was a breeze: {}", told.exports.len());
    assert_whole(&instance.path("audit"), &instance.log(), &told);
}

fn assert_whole(directory: &Path, files: &[LogFile], told: &Acknowledged) {
    let entries = entries(files);
    let mut verification = Verification::new(Trusted { key: verifier(&entries), kept: None }, 20);
    for file in files {
        verification.read(file, |_| {}).unwrap();
    }
    let verdict = verification.end();
    assert!(verdict.is_intact(), "{}: {verdict:#?}", directory.display());
    assert_eq!(verdict.open_changes, 0);
    let (exports, changes) = (done(&entries, Kind::Decision), done(&entries, Kind::Outcome));
    for id in &told.exports {
        assert_eq!(exports.get(&**id), Some(&1), "the export {id}");
    }
    for id in &told.changes {
        assert_eq!(changes.get(&**id), Some(&1), "the change {id}");
    }
    println!(
        "{} exports and {} changes were answered, {} lines, {} torn",
        told.exports.len(),
        told.changes.len(),
        verdict.lines,
        verdict.torn.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_in_the_log_after_kill_nine() {
    survives(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes: scripts/test --long runs it"]
async fn what_was_answered_is_in_the_log_after_kill_nine_two_hundred_times() {
    survives(200).await;
}
