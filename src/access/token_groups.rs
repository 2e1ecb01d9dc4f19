//! The groups that a token names: of its issuer, and of nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::principal::{NoPrincipal, is_plain_name};

/// The groups of a caller, as its token names them. Cheap to clone; most callers have
/// none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TokenGroups(Option<Arc<BTreeSet<String>>>);

impl TokenGroups {
    /// Each has a name of 1 to 255 bytes, without control characters.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self, NoPrincipal> {
        let names: BTreeSet<String> = names.into_iter().collect();
        if !names.iter().all(|name| is_plain_name(name)) {
            return Err(NoPrincipal::Form("name of a group"));
        }
        Ok(Self((!names.is_empty()).then(|| Arc::new(names))))
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|names| names.iter()).map(String::as_str)
    }
}
