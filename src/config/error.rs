//! Why a configuration is refused: the field, what was found, what would do,
//! and where it was set.

use std::fmt;

/// Why a configuration may not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: String,
    text: String,
    origin: Option<Origin>,
}

/// The place where a field was set.
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
        Self { field: field.into(), text: text.into(), origin: None }
    }

    pub(super) fn set_at(self, origin: Option<Origin>) -> Self {
        Self { origin, ..self }
    }

    /// The field to blame; a variable, file or option where it is no field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, text, origin } = self;
        write!(f, "{field}: {text}")?;
        match origin {
            Some(Origin::Line(line)) => write!(f, " (line {line})"),
            Some(Origin::Variable(name)) => write!(f, " (set by {name})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}
