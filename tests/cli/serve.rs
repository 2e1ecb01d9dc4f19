//! `serve` and `init` as an operator meets them: what starts, what refuses to,
//! and with which exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use keyferry::proto::v1::ListKeysRequest;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use rustix::process::Signal;

use crate::command::{Ended, LIMIT, Server, heard, keyferry, run, tell, wait, words};

/// An instance that `init` made.
struct Instance {
    folder: tempfile::TempDir,
}

impl Instance {
    fn make() -> Self {
        let instance = Self { folder: tempfile::tempdir().unwrap() };
        run(keyferry(["init"]).arg(instance.folder.path().join("kf"))).done();
        instance
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("kf").join(name)
    }

    fn config(&self) -> PathBuf {
        self.path("keyferry.toml")
    }

    fn serve(&self, options: &str) -> Ended {
        run(keyferry(words("serve --config")).arg(self.config()).args(words(options)))
    }

    fn start(&self) -> Server {
        let mut command = keyferry(words("serve --config"));
        command.arg(self.config());
        Server::start(command, tempfile::tempdir().unwrap())
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_init_made_is_served_on_its_socket() {
    let instance = Instance::make();
    for (name, mode) in [("root.key", 0o600), ("store", 0o700), ("", 0o700)] {
        let found = fs::metadata(instance.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let judged = instance.serve("--check-config").done();
    assert!(judged.text().contains("may be served"), "{judged:?}");
    assert!(judged.text().contains("\nNot checked: "), "{judged:?}");

    let mut server = instance.start();
    assert_eq!(server.endpoint, format!("unix:{}", instance.path("keyferry.sock").display()));
    let key = server.create_key();
    let described = server.client(&format!("key describe --key {key}")).done();
    assert!(described.text().contains("creator              unix:"), "{described:?}");
    // A check reads beside the server, and changes nothing.
    let names = || {
        let names = fs::read_dir(instance.path("store")).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    instance.serve("--check-config").done();
    assert_eq!(names(), before);
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    assert!(!instance.path("keyferry.sock").exists());

    let again = instance.start();
    assert!(again.client("key list").done().text().contains(&key));
}

#[test]
fn policies_are_taken_when_they_change_and_kept_when_they_are_bad() {
    let instance = Instance::make();
    let mut server = instance.start();
    let groups = instance.path("policies/groups.toml");
    let made = fs::read_to_string(&groups).unwrap();
    server.create_key();
    let put = |text: &str| {
        fs::write(&groups, text).unwrap();
        server.signal(Signal::HUP);
    };
    let until_logged = |text: &str, times: usize| {
        let deadline = Instant::now() + LIMIT;
        while server.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{text}: {}", server.log());
            thread::sleep(Duration::from_millis(20));
        }
    };
    put("operators = []\n");
    until_logged("policies reloaded", 1);
    server.client("key list").failed(77, &["help: "]);
    put("operators = [\"unix:\"]\n");
    until_logged("policies not reloaded: the old ones stay in use", 1);
    assert!(server.log().contains("groups.toml:1: a user id is a number"), "{}", server.log());
    server.client("key list").failed(77, &["help: "]);
    put(&made);
    until_logged("policies reloaded", 2);
    server.client("key list").done();
    // Without being asked it is found too, when two looks agree.
    fs::write(&groups, "operators = []\n").unwrap();
    until_logged("policies reloaded", 3);
    server.client("key list").failed(77, &["help: "]);
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

/// A thousand policies take long to judge, and meanwhile requests are answered.
#[test]
fn many_policies_are_loaded_beside_requests() {
    let instance = Instance::make();
    let server = instance.start();
    let path = instance.path("keyferry.sock");
    let policy = |number: usize| {
        format!(
            "@id(\"p{number}\") permit (principal == UnixUser::\"{}\", action, resource is Key)\n\
             when {{ resource.hasTag(\"team\") && resource.getTag(\"team\") == \"t{number}\" }};",
            100_000 + number
        )
    };
    let policies = (0..1000).map(policy).collect::<Vec<_>>().join("\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answered = runtime.block_on(async {
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        let mut management = KeyManagementClient::new(channel);
        management.list_keys(ListKeysRequest::default()).await.unwrap();
        fs::write(instance.path("policies/many.cedar"), policies).unwrap();
        server.signal(Signal::HUP);
        let (deadline, mut answered) = (Instant::now() + LIMIT, 0);
        while !server.log().contains("policies reloaded") {
            assert!(Instant::now() < deadline, "{}", server.log());
            management.list_keys(ListKeysRequest::default()).await.unwrap();
            answered += 1;
        }
        answered
    });
    assert!(answered >= 10, "{answered} requests were answered meanwhile");
}

#[test]
fn bad_policies_are_not_served() {
    let instance = Instance::make();
    let policy = instance.path("policies/operators.cedar");
    let made = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, made.replace("operators\", action", "oprators\", action")).unwrap();
    let told =
        ["operators.cedar:6: policy operators: Group::\"oprators\": groups.toml has no such group"];
    instance.serve("").failed(78, &told);
    instance.serve("--check-config").failed(78, &told);
    run(keyferry(["policy", "check"]).arg(instance.path("policies"))).failed(78, &told);
    fs::write(&policy, &made).unwrap();
    let checked = run(keyferry(["policy", "check"]).arg(instance.path("policies"))).done();
    assert!(checked.text().contains("policies       1"), "{checked:?}");
    fs::write(instance.path("policies/extra.ceder"), "").unwrap();
    instance.serve("").failed(78, &["extra.ceder: is none of *.cedar"]);
    fs::remove_file(instance.path("policies/extra.ceder")).unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).unwrap();
    instance.serve("").failed(78, &["operators.cedar: is not safe: its mode is 0666"]);
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_dir_all(instance.path("policies")).unwrap();
    instance.serve("").failed(78, &["it cannot be read"]);
}

#[test]
fn init_says_what_it_made_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let made = run(keyferry(words("init --json")).arg(folder.path().join("a"))).done().json();
    for name in ["config", "root_key", "store", "policies"] {
        assert!(Path::new(made[name].as_str().unwrap()).exists(), "{name}");
    }
    let root_key = fs::read(folder.path().join("a/root.key")).unwrap();
    run(keyferry(["init"]).arg(folder.path().join("a"))).failed(73, &["is not empty", "help: "]);
    assert_eq!(fs::read(folder.path().join("a/root.key")).unwrap(), root_key);

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let made = run(keyferry(["init"]).arg(&empty)).done().text();
    assert!(made.contains("keyferry serve --config"), "{made}");
    let nowhere = folder.path().join("none/deeper");
    run(keyferry(["init"]).arg(nowhere)).failed(73, &["cannot be used"]);
    let long = folder.path().join("x".repeat(90));
    run(keyferry(["init"]).arg(&long)).failed(78, &["socket's path", "help: "]);
    assert!(!long.exists());
}

#[test]
fn what_is_in_use_is_left_alone() {
    let instance = Instance::make();
    let server = instance.start();
    instance.serve("").failed(73, &["in use by another keyferry"]);
    server.client("key list").done();

    let dev = Server::dev();
    let other = tempfile::tempdir().unwrap();
    run(keyferry(words("serve --dev --listen"))
        .arg(dev.address())
        .arg("--data-dir")
        .arg(other.path()))
    .failed(73, &["is in use by another process"]);
}

#[test]
fn what_is_not_safe_is_not_served() {
    let unfit = |spoil: &dyn Fn(&Instance), said: &str| {
        let instance = Instance::make();
        spoil(&instance);
        instance.serve("--check-config").failed(78, &[said]);
        instance.serve("").failed(78, &[said]);
    };
    unfit(&|instance| chmod(&instance.path("root.key"), 0o644), "is not safe");
    unfit(&|instance| chmod(&instance.path("store/keyferry.db"), 0o644), "chmod 0600");
    unfit(&|instance| chmod(&instance.path("store"), 0o777), "chmod 0700");
    unfit(
        &|instance| fs::write(instance.path("store/keyferry.db"), [7; 4096]).unwrap(),
        "not an SQLite",
    );
    unfit(&|instance| fs::remove_dir_all(instance.path("store")).unwrap(), "the store is empty");
    unfit(&|instance| instance.edit("unix:keyferry.sock", "unix:none/a.sock"), "cannot listen on");
    unfit(
        &|instance| {
            let theirs = fs::read(Instance::make().path("root.key")).unwrap();
            fs::write(instance.path("root.key"), theirs).unwrap();
        },
        "the store wants the root key",
    );
    unfit(&|instance| fs::remove_file(instance.path("root.key")).unwrap(), "there is no root key");
    unfit(&|instance| fs::write(instance.path("root.key"), "x").unwrap(), "is not");
    unfit(&|instance| instance.edit("[auth.unix]", ""), "[auth.unix]");
    unfit(&|instance| instance.edit("kind = \"sqlite\"", "kind = \"sqlite\"\nsize = 1"), "size");
    unfit(&|instance| instance.edit("unix:keyferry.sock", "0.0.0.0:7311"), "plaintext");
    let missing = tempfile::tempdir().unwrap();
    run(keyferry(words("serve --check-config --config")).arg(missing.path().join("none")))
        .failed(78, &["cannot be read", "help: "]);
}

#[test]
fn variables_of_kubernetes_are_passed_over_and_unknown_ones_named() {
    let instance = Instance::make();
    let links = [
        ("KEYFERRY_PORT", "tcp://10.0.0.11:7311"),
        ("KEYFERRY_SERVICE_HOST", "10.0.0.11"),
        ("KEYFERRY_PORT_7311_TCP_PROTO", "tcp"),
    ];
    let mut command = keyferry(words("serve --config"));
    command.arg(instance.config()).envs(links);
    let server = Server::start(command, tempfile::tempdir().unwrap());
    server.client("key list").done();
    let log = server.log();
    let line = log.lines().find(|line| line.contains("service links")).unwrap_or(&log);
    for (name, _) in links {
        assert!(line.contains(name), "{log}");
    }
    drop(server);

    let mut unknown = keyferry(words("serve --check-config --config"));
    unknown.arg(instance.config()).env("KEYFERRY_POLCY", "x");
    let refused = run(&mut unknown);
    refused.failed(78, &["polcy: unknown field", "help: Correct the variable KEYFERRY_POLCY"]);
    assert!(!refused.stderr.contains("Correct the file"), "{refused:?}");
}

#[test]
fn a_store_opens_with_its_own_root_key_in_its_own_mode() {
    let (one, other) = (Instance::make(), Instance::make());
    let theirs = fs::read(other.path("root.key")).unwrap();
    fs::write(one.path("root.key"), theirs).unwrap();
    for options in ["", "--check-config"] {
        one.serve(options).failed(78, &["the store wants the root key"]);
    }

    let dev = Server::dev();
    let key = fs::read(dev.path("root.key")).unwrap();
    fs::write(other.path("root.key"), key).unwrap();
    let store = dev.path("store").display().to_string();
    other.edit("path = \"store\"", &format!("path = \"{store}\""));
    let folder = stopped(dev);
    for options in ["", "--check-config"] {
        other.serve(options).failed(78, &["this is a development store"]);
    }
    drop(folder);
}

/// Ends a server; what it leaves.
fn stopped(mut server: Server) -> tempfile::TempDir {
    assert_eq!(server.stop(Signal::INT).code(), Some(0));
    std::mem::replace(&mut server.folder, tempfile::tempdir().unwrap())
}

#[test]
fn a_dev_server_without_a_directory_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = keyferry(words("serve --dev --listen unix:dev.sock"))
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = heard(&mut child);
    let first = lines.recv_timeout(LIMIT).unwrap();
    let socket = folder.path().canonicalize().unwrap().join("dev.sock");
    assert_eq!(first, format!("listening on unix:{}", socket.display()));
    run(keyferry(words("key create --endpoint unix:dev.sock")).current_dir(folder.path())).done();
    tell(&child, Signal::TERM);
    assert_eq!(wait(&mut child).code(), Some(0));
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert!(stderr.contains("DEV MODE"), "{stderr}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_dev_server_stays_on_this_machine() {
    for listen in ["0.0.0.0:7311", "[::]:7311", "192.0.2.1:7311", "somewhere"] {
        run(&mut keyferry(["serve", "--dev", "--listen", listen]))
            .failed(78, &["--listen", "help: "]);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for line in [
        "serve",
        "serve --dev --config x",
        "serve --check-config",
        "serve --dev --check-config",
        "serve --config x --listen 127.0.0.1:1",
        "serve --config x --data-dir y",
    ] {
        run(&mut keyferry(words(line))).failed(64, &["Usage: keyferry serve"]);
    }
}
