//! The lines of the log in JSON: one flat object each, the fields of a request's
//! span beside those of the event.
//!
//! The library's own format nests spans, and formats their fields at a higher cost
//! to each request.

use std::fmt;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{
    self as log, FmtContext, FormatEvent, FormatFields, FormattedFields,
};
use tracing_subscriber::registry::LookupSpan;

use super::log_bounds::{FIELDS_BYTES_MAX, cut};

/// The layer that writes these lines.
#[must_use]
pub fn lines<S>() -> log::Layer<S, SpanFields, Line>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    log::layer().fmt_fields(SpanFields).event_format(Line)
}

/// One line.
pub struct Line;

/// The fields of a span, as they stand in each line under it.
pub struct SpanFields;

impl<S> FormatEvent<S, SpanFields> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, SpanFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Libraries that log by the crate `log` have their target in the event.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut entries = Entries::default();
        entries.add("timestamp", &time);
        entries.add("level", metadata.level().as_str());
        event.record(&mut entries);
        entries.add("target", metadata.target());
        write!(writer, "{{{}", entries.text())?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<SpanFields>>()
                && !fields.is_empty()
            {
                write!(writer, ",{fields}")?;
            }
        }
        writeln!(writer, "}}")
    }
}

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut entries = Entries::default();
        fields.record(&mut entries);
        writer.write_str(entries.text())
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut entries = Entries::default();
        fields.record(&mut entries);
        // A field that is recorded as absent adds nothing.
        if !current.is_empty() && !entries.text().is_empty() {
            current.fields.push(',');
        }
        current.fields.push_str(entries.text());
        Ok(())
    }
}

/// Entries of a JSON object: `"name":"value","name":"value"`, as many as fit.
struct Entries {
    text: Vec<u8>,
    full: bool,
}

impl Default for Entries {
    fn default() -> Self {
        Self { text: Vec::with_capacity(256), full: false }
    }
}

impl Entries {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if self.full {
            return;
        }
        let before = self.text.len();
        self.write(name, value);
        if self.text.len() > FIELDS_BYTES_MAX {
            self.full = true;
            self.text.truncate(before);
            self.write("cut", &true);
        }
    }

    fn write(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        // Neither fails: strings and numbers are written to memory.
        let _ = serde_json::to_writer(&mut self.text, name);
        self.text.push(b':');
        let _ = serde_json::to_writer(&mut self.text, value);
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

impl Visit for Entries {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), cut(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), cut(&format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_do_not_fit_are_left_out_and_it_is_said() {
        let mut entries = Entries::default();
        for name in ["one", "two", "three"] {
            entries.add(name, cut(&"é".repeat(1000)));
        }
        assert!(entries.text().len() <= FIELDS_BYTES_MAX + 16);
        let read: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", entries.text())).unwrap();
        assert_eq!(read, serde_json::json!({ "one": "é".repeat(256), "cut": true }));
    }
}
