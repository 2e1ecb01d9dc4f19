//! The program under test, kept apart from the settings of the person who runs the tests.

use std::process::Command;

/// The program, which no variable and no profile leads to a server.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    without_settings(&mut command);
    command
}

/// Takes from a command's environment all that leads a client to a server.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for name in [
        "HOME",
        "XDG_CONFIG_HOME",
        "KEYFERRY_ENDPOINT",
        "KEYFERRY_PROFILE",
        "KEYFERRY_TLS_CA",
        "KEYFERRY_TLS_CERT",
        "KEYFERRY_TLS_KEY",
        "KEYFERRY_TLS_NAME",
    ] {
        command.env_remove(name);
    }
    command
}
