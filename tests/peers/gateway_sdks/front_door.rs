//! A server whose HTTP front door is written down, and that can be started anew.

use std::process::Command;

use tempfile::TempDir;

use crate::support::harness::{Server, keyferry, run};

/// `serve --dev` over a directory that outlives it.
pub struct FrontDoor {
    pub server: Server,
    instance: TempDir,
}

/// The access key that a program signs with.
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl FrontDoor {
    pub fn open() -> Self {
        let instance = tempfile::tempdir().unwrap();
        Self { server: serve(&instance), instance }
    }

    /// Another process over the same store, with nothing in memory.
    pub fn open_anew(&mut self) {
        self.server.stop();
        self.server = serve(&self.instance);
    }

    /// Makes an access key by the command line.
    pub fn access_key(&self, account: &str) -> AccessKey {
        let mut create = self.server.client();
        create.args(["access-key", "create", "--json", "--principal", account]);
        let made: serde_json::Value = serde_json::from_slice(&run(&mut create).stdout).unwrap();
        let member = |name: &str| made[name].as_str().unwrap().to_owned();
        AccessKey { id: member("access_key_id"), secret: member("access_key_secret") }
    }

    pub fn disable(&self, access_key: &AccessKey) {
        let mut disable = self.server.client();
        run(disable.args(["access-key", "disable", "--access-key-id", &access_key.id]));
    }

    /// How many CMKs there are.
    pub fn cmks(&self) -> usize {
        let mut list = self.server.client();
        let listed = run(list.args(["key", "list", "--json"]));
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        usize::try_from(listed["total_count"].as_u64().unwrap()).unwrap()
    }
}

fn serve(instance: &TempDir) -> Server {
    let mut serve: Command = keyferry();
    serve
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(instance.path().join("instance"));
    Server::start(&mut serve, tempfile::tempdir().unwrap())
}
