//! The fields of spans and events in the log's text, for people: `name="value"`.
//!
//! The library's own format escapes every string character by character, a cost to
//! each request that no line may ever show.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::log_bounds::{FIELDS_BYTES_MAX, cut};
use crate::printable::printable;

/// The fields of a span, or of an event, whose message stands alone.
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut text = FieldText(String::with_capacity(256));
        fields.record(&mut text);
        writer.write_str(text.fitting())
    }
}

struct FieldText(String);

impl FieldText {
    /// As much of it as a line has room for.
    fn fitting(&self) -> &str {
        let Self(text) = self;
        text.get(..text.floor_char_boundary(FIELDS_BYTES_MAX)).unwrap_or_default()
    }

    /// The text so far, up to the value of a field.
    fn up_to(&mut self, field: &Field) -> &mut String {
        let Self(text) = self;
        if !text.is_empty() {
            text.push(' ');
        }
        if field.name() != "message" {
            text.push_str(field.name());
            text.push('=');
        }
        text
    }
}

impl Visit for FieldText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !needs_no_escape(value) {
            return self.record_debug(field, &value);
        }
        let text = self.up_to(field);
        text.push('"');
        text.push_str(cut(value));
        text.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.up_to(field).push_str(&printable(cut(&format!("{value:?}"))));
    }
}

/// Looks at each byte, as that is quicker than to stop at the first.
fn needs_no_escape(value: &str) -> bool {
    let plain = |byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    value.bytes().fold(true, |all, byte| all & plain(byte))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_says_its_fields_and_those_of_its_span() {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .fmt_fields(TextFields)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let span = tracing::error_span!("request", rpc = "/a/\u{9b}B", quoted = "\"\n");
            let _entered = span.enter();
            tracing::error!(size = 3, name = "one two", why = %"x\ny", "refused: {}", 7);
        });
        let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let span = r#"request{rpc="/a/\u{9b}B" quoted="\"\n"}"#;
        let event = r#"refused: 7 size=3 name="one two" why=x\u{a}y"#;
        assert_eq!(line, format!("ERROR {span}: {event}\n"));
    }
}
