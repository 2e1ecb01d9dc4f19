//! The log: to standard error, JSON for programs or text for people.
//!
//! The configured level is for what Keyferry says. Its dependencies log from
//! WARN up, at every level: what they say at TRACE holds the bytes of frames.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Starts the log, once for a process. What panics says where, never what: the
/// text of a panic may quote what it stumbled over.
pub fn start(config: LogConfig) {
    let filter =
        Targets::new().with_default(LevelFilter::WARN).with_target("keyferry", level(config.level));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    // A second start, in a test's process, changes nothing.
    let _ = match config.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => registry.with(lines).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(tracing::field::display);
        tracing::error!(place, "a panic, which is a bug of ours");
    }));
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
