//! The place of a user's own profile of a client.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// `$XDG_CONFIG_HOME/keyferry/client.toml`, or else `~/.config/keyferry/client.toml`.
#[must_use]
pub fn client_profile() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this room reads the environment")]
    let [config_home, home] = ["XDG_CONFIG_HOME", "HOME"].map(std::env::var_os);
    profile_in(config_home, home)
}

/// XDG Base Directory Specification: a relative path is to be ignored.
fn profile_in(config_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute =
        |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let folder =
        absolute(config_home).or_else(|| absolute(home).map(|home| home.join(".config")))?;
    Some(folder.join(Path::new("keyferry/client.toml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_the_users_configuration_directory() {
        let found = |config_home: Option<&str>, home: Option<&str>| {
            profile_in(config_home.map(OsString::from), home.map(OsString::from))
        };
        let expected = |path: &str| Some(PathBuf::from(path));
        for (config_home, home, path) in [
            (Some("/x"), Some("/home/a"), expected("/x/keyferry/client.toml")),
            (None, Some("/home/a"), expected("/home/a/.config/keyferry/client.toml")),
            (Some(""), Some("/home/a"), expected("/home/a/.config/keyferry/client.toml")),
            (Some("x"), Some("/home/a"), expected("/home/a/.config/keyferry/client.toml")),
            (None, Some("home"), None),
            (None, None, None),
        ] {
            assert_eq!(found(config_home, home), path, "{config_home:?} {home:?}");
        }
    }
}
