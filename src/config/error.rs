//! Why a configuration is refused: the field, what was found, what would do,
//! and where it was set.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration may not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: String,
    text: String,
    origin: Option<Origin>,
    file: Option<PathBuf>,
}

/// The source of a field: the file or variable that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// A variable of the environment.
    Variable(String),
}

impl ConfigError {
    /// `EX_CONFIG` (contract, section 3).
    pub const EXIT_CODE: u8 = 78;

    pub(super) fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into(), origin: None, file: None }
    }

    pub(super) fn set_at(self, origin: Option<Origin>) -> Self {
        Self { origin, ..self }
    }

    pub(super) fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// The variable that set the field, if one did, or that sets none.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match &self.origin {
            Some(Origin::Variable(name)) => Some(name),
            _ => None,
        }
    }

    /// The field to blame; a variable, file or option where it is no field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, text, origin, file } = self;
        write!(f, "{field}: {text}")?;
        match (origin, file) {
            (Some(Origin::Variable(name)), _) if name == field => Ok(()),
            (Some(Origin::Variable(name)), _) => write!(f, " (set by {name})"),
            (Some(Origin::Line(line)), None) => write!(f, " (line {line})"),
            (Some(Origin::Line(line)), Some(file)) => {
                write!(f, " (line {line} of {})", file.display())
            }
            (None, Some(file)) => write!(f, " (in {})", file.display()),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}
