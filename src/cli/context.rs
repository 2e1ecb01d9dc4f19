//! `--context k=v`: the encryption context on a command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;

use super::failure::Failure;

/// The encryption context.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// A pair of the encryption context; may be given many times, in any
    /// order. It is bound to the blob and needed again to open it; it is not
    /// secret
    #[arg(long = "context", value_name = "KEY=VALUE")]
    pairs: Vec<Pair>,
}

/// One pair; the first `=` parts it, so that values may hold more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("a pair is KEY=VALUE, with an =")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl ContextArgs {
    /// The pairs; a key given twice is refused, since only one of its values
    /// could be bound.
    pub fn pairs(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut pairs = BTreeMap::new();
        for Pair { key, value } in &self.pairs {
            if pairs.insert(key.clone(), value.clone()).is_some() {
                return Err(Failure::usage(
                    format!("--context gives {key:?} twice."),
                    "Give each key once.",
                ));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_parts_a_pair() {
        let pair = |key: &str, value: &str| Ok(Pair { key: key.into(), value: value.into() });
        assert_eq!("a=b=c".parse(), pair("a", "b=c"));
        assert_eq!("a=".parse(), pair("a", ""));
        assert!("a".parse::<Pair>().is_err());
    }
}
