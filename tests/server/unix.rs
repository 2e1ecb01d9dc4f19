//! Unix sockets: their mode, their callers, their leftovers.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Barrier};

use keyferry::config::{Config, ListenerConfig};
use keyferry::server::{Drained, Limits, Listener};

use crate::world::{Server, dev_listener, play, unix_client};

fn listener(directory: &Path) -> Vec<ListenerConfig> {
    let text = "[[listener]]\naddress = \"unix:kf.sock\"\n[auth.unix]\n\
        [store]\nkind = \"sqlite\"\npath = \"store\"\n\
        [root_key]\nprovider = \"file\"\npath = \"root.key\"\n\
        [policy]\ndir = \"policies\"\n";
    Config::parse(text, directory, []).unwrap().listeners
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn the_peers_user_id_is_the_principal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kf.sock");
    let server = Server::start(&listener(directory.path()), Limits::default()).await;
    assert_eq!(server.addresses[0].to_string(), format!("unix:{}", path.display()));
    let found = std::fs::symlink_metadata(&path).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(directory.path()), ["kf.sock"], "nothing else is left behind");

    let mut client = unix_client(&path).await.unwrap();
    let answer = play(&mut client, "whoami").await.unwrap();
    assert_eq!(answer.key_id, format!("unix:{}", found.uid()));
    drop(client);
    assert_eq!(server.stopped().await, Drained::Clean);
    assert!(names(directory.path()).is_empty(), "removed at the end");
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = listener(directory.path());
    let first = Listener::bind(&listeners[0]).await.unwrap();
    let error = Listener::bind(&listeners[0]).await.unwrap_err();
    assert_eq!(error.exit_code(), 73);
    assert!(error.to_string().contains("in use"), "{error}");
    drop(first);
    drop(Listener::bind(&listeners[0]).await.unwrap());
    let dev = dev_listener("127.0.0.1:0");
    let first = Listener::bind(&dev[0]).await.unwrap();
    let error = Listener::bind(&dev_listener(&first.address().to_string())[0]).await.unwrap_err();
    assert_eq!(error.exit_code(), 73);
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kf.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file");
    let server = Server::start(&listener(directory.path()), Limits::default()).await;
    play(&mut unix_client(&path).await.unwrap(), "whoami").await.unwrap();
    drop(server);
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kf.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = Listener::bind(&listener(directory.path())[0]).await.unwrap_err();
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/tmp", &path).unwrap();
    Listener::bind(&listener(directory.path())[0]).await.unwrap_err();
}

#[tokio::test]
async fn anothers_socket_at_our_path_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kf.sock");
    let ours = Listener::bind(&listener(directory.path())[0]).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let _others = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(ours);
    assert!(path.exists());
}

#[tokio::test]
async fn many_at_once_have_one_winner() {
    for round in 0..30 {
        let directory = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(directory.path().join("kf.sock")).unwrap());
        let config = listener(directory.path());
        let together = Arc::new(Barrier::new(8));
        let mut tries = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (config, together) = (config[0].clone(), together.clone());
            tries.spawn_blocking(move || {
                together.wait();
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(async { Listener::bind(&config).await })
            });
        }
        let bound = tries.join_all().await;
        assert_eq!(bound.iter().filter(|one| one.is_ok()).count(), 1, "round {round}");
    }
}

#[tokio::test]
async fn several_listeners_serve_alike() {
    let directory = tempfile::tempdir().unwrap();
    let mut listeners = dev_listener("127.0.0.1:0");
    listeners.extend(listener(directory.path()));
    let server = Server::start(&listeners, Limits::default()).await;
    let over_tcp = play(&mut server.client().await, "whoami").await.unwrap();
    let path = directory.path().join("kf.sock");
    let over_unix = play(&mut unix_client(&path).await.unwrap(), "whoami").await.unwrap();
    assert_eq!(over_tcp.key_id, "dev");
    assert!(over_unix.key_id.starts_with("unix:"));
}

#[tokio::test]
async fn the_first_line_says_where() {
    let listeners = dev_listener("127.0.0.1:0");
    let bound = [Listener::bind(&listeners[0]).await.unwrap()];
    let mut said = Vec::new();
    keyferry::server::announce(&bound, &mut said).unwrap();
    let port = String::from_utf8(said).unwrap();
    let port = port.strip_prefix("listening on 127.0.0.1:").unwrap().trim_end().to_owned();
    assert!(port.parse::<u16>().unwrap() > 0, "the kernel's port, not 0");
}
