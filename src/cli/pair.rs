//! `KEY=VALUE` on a command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::failure::Failure;

/// One pair; the first `=` parts it, so that values may hold more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("a pair is KEY=VALUE, with an =")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// The pairs of an option; a key given twice is refused, since only one of its
/// values could be meant.
pub fn unique(option: &str, pairs: &[Pair]) -> Result<BTreeMap<String, String>, Failure> {
    let mut unique = BTreeMap::new();
    for Pair { key, value } in pairs {
        if unique.insert(key.clone(), value.clone()).is_some() {
            return Err(Failure::usage(
                format!("{option} gives {key:?} twice."),
                "Give each key once.",
            ));
        }
    }
    Ok(unique)
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

    #[test]
    fn a_key_is_given_once() {
        let pairs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let twice: Vec<Pair> = pairs(&["a=1", "a=1"]);
        assert!(unique("--context", &twice).is_err());
        let once: Vec<Pair> = pairs(&["a=1", "b=1"]);
        assert_eq!(unique("--context", &once).unwrap().len(), 2);
    }
}
