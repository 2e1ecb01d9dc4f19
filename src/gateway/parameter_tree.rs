//! The parameters of a request as a tree, by the API's names.
//!
//! Lists and maps come in two forms, flattened (`Tag.1.Key=a`) or as JSON text
//! (`Tags=[{"TagKey":"a"}]`). JSON text is flattened first, so that there is one
//! form to read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::names;

/// Names and values; a dot in a name leads one level down.
#[derive(Default)]
pub(super) struct ParameterTree<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> ParameterTree<'a> {
    /// The parameters of a request. An older name stands for the present one,
    /// unless that is given too.
    pub(super) fn of(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut tree = Self::default();
        for (name, value) in parameters {
            match names::present(name, value) {
                Some((name, value)) => drop(tree.0.entry(name.into()).or_insert(value)),
                None => drop(tree.0.insert(name.into(), value.into())),
            }
        }
        tree
    }

    /// The value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Cow::as_ref)
    }

    /// The subtree of that name.
    pub(super) fn under(&self, name: &str) -> ParameterTree<'_> {
        let prefix = format!("{name}.");
        let from = self.0.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let within = from.map_while(|(name, value)| {
            Some((
                Cow::Borrowed(name.strip_prefix(prefix.as_str())?),
                Cow::Borrowed(value.as_ref()),
            ))
        });
        ParameterTree(within.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned()))
    }

    /// The members of a list by their numbers; the value of a member that is a
    /// string has the empty name. `None`: a name does not begin with a number.
    pub(super) fn items(&self) -> Option<BTreeMap<u32, ParameterTree<'_>>> {
        let mut items = BTreeMap::<u32, ParameterTree<'_>>::new();
        for (name, value) in &self.0 {
            let (number, member) = name.split_once('.').unwrap_or((name, ""));
            let index: u32 =
                number.parse().ok().filter(|index: &u32| index.to_string() == number)?;
            let item = items.entry(index).or_default();
            item.0.insert(member.into(), Cow::Borrowed(value.as_ref()));
        }
        Some(items)
    }

    /// A list of the values between commas.
    pub(super) fn by_commas(text: &'a str) -> Self {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        let numbered =
            (1..).zip(values).map(|(n, value): (u32, _)| (n.to_string().into(), value.into()));
        Self(numbered.collect())
    }

    /// A JSON text of that form, flattened. Each name stands once, and every
    /// value is a string.
    pub(super) fn from_json(text: &str, form: Form) -> Option<Self> {
        let mut tree = Self::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let part =
            Part { tree: &mut tree, path: String::new(), levels: form.levels(), inner: false };
        part.deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        Some(tree)
    }
}

/// The forms of JSON text.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// One object of strings.
    Pairs,
    /// A list of strings, or of objects whose members are strings or lists of
    /// strings.
    Items,
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Object,
    List,
}

impl Form {
    const fn levels(self) -> &'static [Level] {
        match self {
            Self::Pairs => &[Level::Object],
            Self::Items => &[Level::List, Level::Object, Level::List],
        }
    }
}

/// A part of a JSON text, on its way into the tree.
struct Part<'p, 't> {
    tree: &'p mut ParameterTree<'t>,
    path: String,
    /// The permitted kinds of this part, of its members, and so on.
    levels: &'static [Level],
    /// Whether it is a member of another part: a string must be.
    inner: bool,
}

impl Part<'_, '_> {
    fn within<E: serde::de::Error>(&self, level: Level) -> Result<&'static [Level], E> {
        match self.levels.split_first() {
            Some((first, rest)) if *first == level => Ok(rest),
            _ => Err(E::custom("not of this form")),
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.inner { format!("{}.{name}", self.path) } else { name.to_owned() }
    }

    fn keep<E: serde::de::Error>(&mut self, value: &str) -> Result<(), E> {
        let path = std::mem::take(&mut self.path);
        match self.tree.0.insert(path.into(), value.to_owned().into()) {
            None => Ok(()),
            Some(_) => Err(E::custom("a name is there twice")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strings")
    }

    fn visit_str<E: serde::de::Error>(mut self, value: &str) -> Result<(), E> {
        if self.inner { self.keep(value) } else { Err(E::custom("a string by itself")) }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let levels = self.within(Level::Object)?;
        let mut names = std::collections::BTreeSet::new();
        if self.inner {
            // So that an empty object counts as a member too.
            let path = self.path.clone();
            self.keep("")?;
            self.path = path;
        }
        while let Some(name) = members.next_key::<String>()? {
            let path = self.path_of(&name);
            members.next_value_seed(Part { tree: self.tree, path, levels, inner: true })?;
            if !names.insert(name) {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let levels = self.within(Level::List)?;
        for number in 1_u32.. {
            let path = self.path_of(&number.to_string());
            let item = Part { tree: self.tree, path, levels, inner: true };
            if items.next_element_seed(item)?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(tree: ParameterTree<'_>) -> Vec<(String, String)> {
        tree.into_pairs().collect()
    }

    fn read(text: &str, form: Form) -> Option<Vec<(String, String)>> {
        ParameterTree::from_json(text, form).map(pairs)
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_context_is_one_object_of_strings() {
        assert_eq!(read("{}", Form::Pairs), Some(vec![]));
        let found = read(r#" {"b.c":"2","a":"1\n","":""} "#, Form::Pairs);
        assert_eq!(found, Some(owned(&[("", ""), ("a", "1\n"), ("b.c", "2")])));
        for odd in [
            "",
            "null",
            "\"a\"",
            "[]",
            "5",
            r#"{"a":1}"#,
            r#"{"a":true}"#,
            r#"{"a":null}"#,
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":["b"]}"#,
            r#"{"a":"1","a":"1"}"#,
            r#"{"a":"1"}x"#,
            r#"{"a":"1""#,
            r"{'a':'1'}",
        ] {
            assert_eq!(read(odd, Form::Pairs), None, "{odd}");
        }
    }

    #[test]
    fn a_list_is_flattened() {
        let found = read(r#"[{"Key":"KeyState","Values":["Enabled","Disabled"]},{}]"#, Form::Items);
        let expected = [
            ("1", ""),
            ("1.Key", "KeyState"),
            ("1.Values.1", "Enabled"),
            ("1.Values.2", "Disabled"),
            ("2", ""),
        ];
        assert_eq!(found, Some(owned(&expected)));
        assert_eq!(read(r#"["a","b"]"#, Form::Items), Some(owned(&[("1", "a"), ("2", "b")])));
        for odd in
            [r#"{"a":"b"}"#, "[1]", r#"[["a"]]"#, r#"[{"a":{"b":"c"}}]"#, r#"[{"a":"b","a":"b"}]"#]
        {
            assert_eq!(read(odd, Form::Items), None, "{odd}");
        }
    }

    #[test]
    fn a_subtree_is_found() {
        let tree = ParameterTree::of(
            [("Tag.1.Key", "a"), ("Tag.10.Key", "b"), ("Tags", "x"), ("Tag", "y")].into_iter(),
        );
        assert_eq!(pairs(tree.under("Tag")), owned(&[("1.Key", "a"), ("10.Key", "b")]));
        assert!(tree.under("Ta").is_empty());
        let under = tree.under("Tag");
        let items = under.items().unwrap();
        assert_eq!(items.keys().copied().collect::<Vec<_>>(), [1, 10]);
        for odd in ["Tag.01.Key", "Tag.x.Key", "Tag.-1.Key", "Tag..Key", "Tag.4294967296.Key"] {
            let tree = ParameterTree::of([(odd, "a")].into_iter());
            assert!(tree.under("Tag").items().is_none(), "{odd}");
        }
    }
}
