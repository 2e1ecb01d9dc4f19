//! From a text and an environment to the raw fields: the file is parsed, the
//! environment is laid over it, and serde reads the result.
//!
//! The line or the variable that set each field is noted on the way, so that every
//! refusal, here or in validation, can name it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::error::{ConfigError, Origin};
use super::raw::RawConfig;
use super::service_links::is_service_link;

/// The start of each variable's name.
const PREFIX: &str = "KEYFERRY_";

fn without_prefix(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Variables of the command line's client side (contract, section 3), which
/// are no fields of the server's configuration.
const CLIENT_VARIABLES: [&str; 6] = [
    "KEYFERRY_ENDPOINT",
    "KEYFERRY_PROFILE",
    "KEYFERRY_TLS_CA",
    "KEYFERRY_TLS_CERT",
    "KEYFERRY_TLS_KEY",
    "KEYFERRY_TLS_NAME",
];

/// The raw fields, and where they were set.
pub(super) fn read(
    text: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(RawConfig, Origins<'_>), ConfigError> {
    let mut origins = Origins { text, by_path: BTreeMap::new(), service_links: Vec::new() };
    let mut table = origins.parse_file()?;
    for (name, value) in environment {
        match ours(&name, &value)? {
            Some((name, value)) if is_service_link(without_prefix(name), value) => {
                origins.service_links.push(name.to_owned());
            }
            Some((name, value)) => origins.lay_over(&mut table, name, value)?,
            None => {}
        }
    }
    match serde_path_to_error::deserialize(table) {
        Ok(raw) => Ok((raw, origins)),
        Err(error) => Err(origins.tell(unreadable(&error))),
    }
}

/// A variable of the server's configuration.
fn ours<'a>(name: &'a OsStr, value: &'a OsStr) -> Result<Option<(&'a str, &'a str)>, ConfigError> {
    let Some(name) = name.to_str() else { return Ok(None) };
    if !name.starts_with(PREFIX) || CLIENT_VARIABLES.contains(&name) {
        return Ok(None);
    }
    let value = value.to_str().ok_or_else(|| {
        ConfigError::new(name, "is not UTF-8: set it to text, or unset it")
            .set_at(Some(Origin::Variable(name.to_owned())))
    })?;
    Ok(Some((name, value)))
}

/// The source of each field, by its path: `listener[0].tls.cert`.
pub(super) struct Origins<'a> {
    text: &'a str,
    by_path: BTreeMap<String, Origin>,
    service_links: Vec<String>,
}

impl<'a> Origins<'a> {
    fn parse_file(&mut self) -> Result<Table, ConfigError> {
        let not_toml = |error: toml::de::Error| {
            let origin = error.span().map(|span| self.line(span.start));
            ConfigError::new("TOML", error.message()).set_at(origin)
        };
        let document = DeTable::parse(self.text).map_err(not_toml)?;
        self.note_table("", document.get_ref());
        Table::deserialize(toml::de::Deserializer::from(document))
            .map_err(|error| ConfigError::new("TOML", error.message()))
    }

    fn note_table(&mut self, above: &str, table: &DeTable<'a>) {
        for (key, value) in table {
            let path = beneath(above, key.get_ref());
            self.by_path.insert(path.clone(), self.line(key.span().start));
            self.note_value(&path, value);
        }
    }

    fn note_value(&mut self, path: &str, value: &Spanned<DeValue<'a>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.note_table(path, table),
            DeValue::Array(members) => {
                for (index, member) in members.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.by_path.insert(path.clone(), self.line(member.span().start));
                    self.note_value(&path, member);
                }
            }
            _ => {}
        }
    }

    fn line(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or_default();
        Origin::Line(before.matches('\n').count().saturating_add(1))
    }

    /// Sets the field that a variable names. Values stay text: an account `007`
    /// is no number.
    fn lay_over(&mut self, table: &mut Table, name: &str, value: &str) -> Result<(), ConfigError> {
        let origin = Origin::Variable(name.to_owned());
        let no_field = || {
            ConfigError::new(
                name,
                "names no field: a list's members are numbered from 0, and the next free number adds one",
            )
            .set_at(Some(Origin::Variable(name.to_owned())))
        };
        let keys = without_prefix(name).to_ascii_lowercase();
        let mut keys = keys.split("__");
        let mut path = keys.next().unwrap_or_default().to_owned();
        let mut field = table.entry(path.clone()).or_insert_with(empty_table);
        for key in keys {
            self.by_path.entry(path.clone()).or_insert_with(|| origin.clone());
            field = member(field, key).ok_or_else(no_field)?;
            path = if is_index(key) { format!("{path}[{key}]") } else { beneath(&path, key) };
        }
        *field = Value::String(value.to_owned());
        self.by_path.insert(path, origin);
        Ok(())
    }

    /// The variables that were passed over, in order of their names.
    pub(super) fn service_links(mut self) -> Vec<String> {
        self.service_links.sort();
        self.service_links
    }

    /// Adds to a refusal where its field was set: the field itself, or else the
    /// table that it would be in.
    pub(super) fn tell(&self, error: ConfigError) -> ConfigError {
        let mut path = error.field();
        let origin = loop {
            if let Some(origin) = self.by_path.get(path) {
                break Some(origin.clone());
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(above) => path = above,
                None => break None,
            }
        };
        error.set_at(origin)
    }
}

fn beneath(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

fn is_index(key: &str) -> bool {
    key.parse::<usize>().is_ok()
}

fn empty_table() -> Value {
    Value::Table(Table::new())
}

/// The member of a table or a list, made where it is the next one. A table that
/// is still empty becomes a list for the member 0.
fn member<'a>(field: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let index: Option<usize> = key.parse().ok();
    if index == Some(0) && field.as_table().is_some_and(Table::is_empty) {
        *field = Value::Array(Vec::new());
    }
    match field {
        Value::Table(table) => Some(table.entry(key).or_insert_with(empty_table)),
        Value::Array(members) => {
            if index? == members.len() {
                members.push(empty_table());
            }
            members.get_mut(index?)
        }
        _ => None,
    }
}

/// serde's words, with its names for what TOML calls a table and an array.
fn unreadable(error: &serde_path_to_error::Error<toml::de::Error>) -> ConfigError {
    let text = error.inner().message();
    let text = text.replace("type: map,", "type: table,");
    let text = text.replace("expected a sequence", "expected an array of tables");
    ConfigError::new(error.path().to_string(), text)
}
