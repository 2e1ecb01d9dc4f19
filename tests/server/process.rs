//! The process itself, seen from its parent: this test runs itself again.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use keyferry::config::{LogConfig, LogFormat, LogLevel};
use keyferry::server::hardening::harden;
use keyferry::server::{Drained, Limits, StopSignal, logs};
use rustix::process::{
    DumpableBehavior, Pid, Resource, Signal, dumpable_behavior, getrlimit, kill_process,
};

use crate::world::{Server, play};

pub fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn keys_stay_out_of_core_files_and_panics_out_of_the_log() {
    let output = child("process::hardened").output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("a panic, which is a bug of ours"), "{said}");
    assert!(said.contains("process.rs"), "it says where: {said}");
    assert!(!said.contains("planted"), "{said}");
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn hardened() {
    let _log = logs::start(LogConfig { format: LogFormat::Json, level: LogLevel::Info });
    let found = harden();
    assert!(found.no_core_files && found.not_dumpable, "{found:?}");
    let core = getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    assert_eq!(found.locked_in_memory, unlimited);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    assert_eq!(found.locked_in_memory, !locked.contains(" 0 kB"), "{locked}");
    let panicked = std::thread::spawn(|| panic!("planted-secret")).join();
    assert!(panicked.is_err());
}

#[test]
fn one_signal_drains_and_two_leave() {
    for (signals, expected) in [(1, "drained Clean"), (2, "left at once")] {
        let mut started = child("process::holding").spawn().unwrap();
        let pid = Pid::from_child(&started);
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(started.stdout.take().unwrap()));
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("holding")).unwrap();
        for _ in 0..signals {
            kill_process(pid, Signal::TERM).unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        let rest: Vec<_> = lines.map(Result::unwrap).collect();
        assert!(started.wait().unwrap().success(), "{rest:?}");
        assert!(rest.iter().any(|line| line.contains(expected)), "{rest:?}");
    }
}

/// Holds a call for a second after the first signal.
#[test]
#[ignore = "run by its parent, in a process of its own"]
fn holding() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stop = StopSignal::on_signals().unwrap();
        let mut server = Server::dev(Limits::default()).await;
        let mut client = server.client().await;
        let held = tokio::spawn(async move { play(&mut client, "hold").await });
        server.until_holding(1).await;
        println!("holding");
        stop.asked(1).await;
        server.ask_to_stop();
        let drain = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.script.release.add_permits(1);
            held.await.unwrap().unwrap();
            server.stopped().await
        };
        tokio::select! {
            drained = drain => {
                assert_eq!(drained, Drained::Clean);
                println!("drained {drained:?}");
            }
            () = stop.asked(2) => println!("left at once"),
        }
    });
    runtime.shutdown_background();
}
