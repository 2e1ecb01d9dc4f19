//! A setting of the connection, and its source.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::parser::ValueSource;
use clap::{Arg, Command, Error};

/// The sources of a setting: each wins over those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A field of a profile.
    Profile,
    /// A variable of the environment.
    Environment,
    /// An option of the command line.
    Option,
}

/// A setting.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The source that gave it.
    pub source: Source,
    name: String,
}

impl<T> Setting<T> {
    /// A setting from this source, where it has this name.
    pub fn new(value: T, source: Source, name: impl Into<String>) -> Self {
        Self { value, source, name: name.into() }
    }

    /// How its user knows it: the option, the variable, or the field and its file.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A parser that also notes whether an option or a variable gave the value.
#[derive(Clone)]
pub struct Sourced<P>(pub P);

impl<P> TypedValueParser for Sourced<P>
where
    P: TypedValueParser,
    P::Value: Clone + Send + Sync,
{
    type Value = Setting<P::Value>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, Error> {
        let value = self.0.parse_ref_(command, arg, value, source)?;
        let variable = arg.and_then(Arg::get_env).filter(|_| source == ValueSource::EnvVariable);
        Ok(if let Some(name) = variable {
            Setting::new(value, Source::Environment, name.to_string_lossy())
        } else {
            let option = arg.and_then(Arg::get_long).unwrap_or_default();
            Setting::new(value, Source::Option, format!("--{option}"))
        })
    }
}
