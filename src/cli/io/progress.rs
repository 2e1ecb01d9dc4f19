//! How far a command is, on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn, at most.
const HERTZ: u8 = 10;

/// A bar on the terminal.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar, if one is shown, over that many bytes, or over an unknown number.
    pub fn new(bytes: Option<u64>, shown: bool) -> Self {
        if !shown {
            return Self(None);
        }
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{bar:32} {percent:>3} %  {msg}  {eta} left",
            None => "{spinner} {msg}  {elapsed}",
        };
        // If indicatif refused the template, its own bar would be shown.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(Some(bar.with_style(style)))
    }

    /// Shows how far it is.
    pub fn show(&self, bytes: u64, message: impl FnOnce() -> String) {
        let Some(bar) = &self.0 else { return };
        bar.set_position(bytes);
        bar.set_message(message());
    }

    /// Leaves the terminal as it was.
    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
