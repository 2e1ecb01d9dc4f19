//! Programs outside of the crate that must not compile: each is a file in
//! `tests/compile_fail/`, and the compiler's errors, in their short form, lie beside
//! it.
//!
//! The compiler is run on the library that this test was built with. A cargo project
//! for the programs, as trybuild makes one, compiles every dependency once more.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

#[test]
fn secrets_are_kept_by_their_types() {
    let library = library();
    let mut wrong = String::new();
    let mut programs: Vec<_> = fs::read_dir("tests/compile_fail")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    programs.sort();
    assert!(programs.len() >= 10, "only {programs:?}");
    for program in programs {
        let errors = errors(&program, &library);
        let expected = fs::read_to_string(program.with_extension("stderr")).unwrap_or_default();
        if errors.is_empty() {
            writeln!(wrong, "{} compiles", program.display()).unwrap();
        } else if errors != expected {
            writeln!(wrong, "expected:\n{expected}found:\n{errors}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The library that cargo built for this test. Asked for the same again, cargo builds
/// nothing and names the file.
fn library() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let profile = this.iter().nth_back(2).unwrap().to_str().unwrap();
    let again = Command::new(env!("CARGO"))
        .args(["test", "--no-run", "--test", "compile_fail", "--message-format", "json"])
        .args(["--profile", if profile == "debug" { "dev" } else { profile }])
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let files = String::from_utf8(again.stdout).unwrap().lines().find_map(|line| {
        let built: Value = serde_json::from_str(line).unwrap();
        let target = &built["target"];
        (target["name"] == "keyferry" && target["kind"] == json!(["lib"]))
            .then(|| built["filenames"].clone())
    });
    let files: Vec<PathBuf> = serde_json::from_value(files.unwrap()).unwrap();
    files
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "rlib"))
        .unwrap()
}

/// The compiler's errors, a line each; none if the program compiles.
fn errors(program: &Path, library: &Path) -> String {
    let named = |option: &str, path: &Path| format!("{option}={}", path.display());
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "--emit", "metadata", "--cap-lints", "allow"])
        .args(["--error-format", "short", "--out-dir", env!("CARGO_TARGET_TMPDIR")])
        .args(["--extern", &named("keyferry", library)])
        .args(["-L", &named("dependency", library.parent().unwrap())])
        .arg(program)
        .output()
        .unwrap();
    String::from_utf8(compiled.stderr).unwrap()
}
