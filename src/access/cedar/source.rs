//! The texts of policies and groups, and where in them a fault is.

use std::fmt;

use miette::Diagnostic;

/// A file of policies or groups, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The name of its file.
    pub file: String,
    /// What it holds.
    pub text: String,
}

/// The files of a policy set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyTexts {
    /// `*.cedar`, in the order of their names.
    pub policies: Vec<Text>,
    /// `groups.toml`, if it is there.
    pub groups: Option<Text>,
}

/// A place in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the file.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
}

/// A fault in a policy set, or a warning about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The place that it is about, if it is about one.
    pub place: Option<Place>,
    /// What was found, and what would do.
    pub text: String,
}

impl Text {
    /// The place at an offset in bytes, or the whole file.
    pub(super) fn place(&self, offset: Option<usize>) -> Place {
        let before = offset.and_then(|offset| self.text.get(..offset));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Place { file: self.file.clone(), line }
    }

    /// A fault at an offset in bytes, or of the whole file.
    pub(super) fn problem(&self, offset: Option<usize>, text: impl fmt::Display) -> Problem {
        Problem { place: Some(self.place(offset)), text: text.to_string() }
    }

    /// A fault that Cedar found, at the place that it labels.
    pub(super) fn diagnosed(&self, error: &(impl Diagnostic + fmt::Display)) -> Problem {
        let offset =
            error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let help = error.help().map(|help| format!(" ({help})")).unwrap_or_default();
        self.problem(offset, format_args!("{error}{help}"))
    }

    /// Where that part of the file begins.
    pub(super) fn offset_of(&self, part: &str) -> Option<usize> {
        self.text.find(part)
    }
}

impl Problem {
    /// One that is about no place.
    pub(super) fn of_no_file(text: impl fmt::Display) -> Self {
        Self { place: None, text: text.to_string() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}
