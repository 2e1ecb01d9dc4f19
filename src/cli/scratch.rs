//! A directory that is gone when this is.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::exit::Exit;
use super::failure::Failure;

/// A temporary directory for its owner alone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one.
    pub fn make() -> Result<Self, Failure> {
        let name = Uuid::new_v4().simple().to_string();
        // The socket's path must stay short, and `create` refuses a name that
        // is taken, whoever guessed it.
        let short = name.get(..8).unwrap_or(&name);
        let path = std::env::temp_dir().join(format!("keyferry-{short}"));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::new(
                Exit::InUse,
                format!("{} cannot be made: {error}.", path.display()),
                "Give a directory with --data-dir.",
            )
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a temporary directory stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_its_owners_alone_and_goes_with_all_that_is_in_it() {
        let scratch = Scratch::make().unwrap();
        let path = scratch.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(path.join("root.key"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
