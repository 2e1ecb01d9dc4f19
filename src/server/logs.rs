//! The log: to standard error, JSON for programs or text for people.
//!
//! The configured level is for the messages of Keyferry. Its dependencies log from
//! WARN up, at every level: their messages at TRACE hold the bytes of frames. Those
//! that speak with peers log nothing.
//!
//! A thread of its own writes the lines. A reader of standard error who is slow, or
//! gone, costs lines, which are counted, and never holds up a request.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

pub use super::log_json::lines as json_lines;
use super::log_text::TextFields;
use crate::config::{LogConfig, LogFormat, LogLevel};

/// Lines that wait for the writer; the next ones are dropped.
const WAITING_LINES_MAX: usize = 4096;

/// The pause between two looks at what was dropped.
const DROPPED_INTERVAL: Duration = Duration::from_secs(1);

/// The log, for as long as it lives. Lines that wait when it is dropped are written first,
/// if that takes no longer than a second.
#[must_use]
pub struct Log(#[expect(dead_code, reason = "its drop writes what waits")] WorkerGuard);

/// Starts the log, once for a process. Of a panic it holds the location, never the
/// text, which may quote what the code stumbled over.
pub fn start(config: LogConfig) -> Log {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let registry = tracing_subscriber::registry().with(filter(config.level));
    // A second start, in a test's process, changes nothing.
    let _ = match config.format {
        LogFormat::Json => registry.with(json_lines().with_writer(writer)).try_init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            let lines = tracing_subscriber::fmt::layer().fmt_fields(TextFields);
            registry.with(lines.with_ansi(colours).with_writer(writer)).try_init()
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "a panic, which is a bug of ours");
    }));
    let told = std::thread::Builder::new().name("log-drops".into());
    // Without this thread, lines are dropped all the same, and nobody is told.
    let _ = told.spawn(move || tell_of_drops(&dropped));
    Log(guard)
}

/// The layers that speak with peers are silent: they log at WARN what anybody sends,
/// as often as it is sent. Our own lines say what matters of it, within bounds.
fn filter(own: LogLevel) -> Targets {
    let silent = ["h2", "hyper", "hyper_util", "rustls", "tokio_rustls"];
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_targets(silent.map(|layer| (layer, LevelFilter::OFF)))
        .with_target("keyferry", level(own))
}

/// Says how many lines were dropped, as soon as lines are written again.
fn tell_of_drops(dropped: &ErrorCounter) {
    let mut told = 0;
    loop {
        std::thread::sleep(DROPPED_INTERVAL);
        let all = dropped.dropped_lines();
        if all > told {
            let lines = all - told;
            tracing::warn!(lines, "lines of the log were dropped: standard error took none");
            // This line may have been dropped itself, and is then told of again.
            told = if dropped.dropped_lines() == all { all } else { told };
        }
    }
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn layers_that_speak_with_peers_are_silent() {
        let filter = filter(LogLevel::Trace);
        for layer in ["h2::proto::ping_pong", "hyper::proto::h1", "rustls::check", "tokio_rustls"] {
            assert!(!filter.would_enable(layer, &Level::ERROR), "{layer}");
        }
        assert!(filter.would_enable("moka::sync", &Level::WARN));
        assert!(!filter.would_enable("moka::sync", &Level::INFO));
        assert!(filter.would_enable("keyferry::server", &Level::TRACE));
    }
}
