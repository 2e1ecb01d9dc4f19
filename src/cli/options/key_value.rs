//! `KEY=VALUE` options: the encryption context, tags, filters.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;

use crate::cli::failure::Failure;

/// The text is split at the first `=`, so that values may hold more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for KeyValue {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("a pair is KEY=VALUE, with an =")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// The pairs of an option. A key that is given twice is refused, since only one of
/// its values could be meant.
pub fn unique(option: &str, pairs: &[KeyValue]) -> Result<BTreeMap<String, String>, Failure> {
    let mut unique = BTreeMap::new();
    for KeyValue { key, value } in pairs {
        if unique.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(
                format!("{option} gives {key:?} twice."),
                "Give each key once.",
            ));
        }
    }
    Ok(unique)
}

/// `--context`
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// A pair of the encryption context; may be given many times, in any
    /// order. It is bound to the blob and needed again to open it; it is not
    /// secret
    #[arg(long = "context", value_name = "KEY=VALUE")]
    pairs: Vec<KeyValue>,
}

impl ContextArgs {
    /// The pairs.
    pub fn pairs(&self) -> Result<BTreeMap<String, String>, Failure> {
        unique("--context", &self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_the_first_equals_sign() {
        let pair = |key: &str, value: &str| Ok(KeyValue { key: key.into(), value: value.into() });
        assert_eq!("a=b=c".parse(), pair("a", "b=c"));
        assert_eq!("a=".parse(), pair("a", ""));
        assert!("a".parse::<KeyValue>().is_err());
    }

    #[test]
    fn a_key_is_given_once() {
        let pairs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let twice: Vec<KeyValue> = pairs(&["a=1", "a=1"]);
        assert!(unique("--context", &twice).is_err());
        let once: Vec<KeyValue> = pairs(&["a=1", "b=1"]);
        assert_eq!(unique("--context", &once).unwrap().len(), 2);
    }
}
