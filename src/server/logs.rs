//! The log: to standard error, JSON for programs or text for people.
//!
//! The configured level is for the messages of Keyferry. Its dependencies log from
//! WARN up, at every level: their messages at TRACE hold the bytes of frames.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

pub use super::log_json::lines as json_lines;
use super::log_text::TextFields;
use crate::config::{LogConfig, LogFormat, LogLevel};

/// Starts the log, once for a process. Of a panic it holds the location, never the
/// text, which may quote what the code stumbled over.
pub fn start(config: LogConfig) {
    let filter =
        Targets::new().with_default(LevelFilter::WARN).with_target("keyferry", level(config.level));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start, in a test's process, changes nothing.
    let _ = match config.format {
        LogFormat::Json => registry.with(json_lines().with_writer(std::io::stderr)).try_init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().fmt_fields(TextFields).with_ansi(colours);
            registry.with(lines.with_writer(std::io::stderr)).try_init()
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "a panic, which is a bug of ours");
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
