//! How long a line of the log may be.

/// Most bytes of the fields of an event, or of its span, as they are written: with
/// both of them, and its head, a line stays within 2 KiB.
pub(super) const FIELDS_BYTES_MAX: usize = 900;

/// Most bytes of one value; a longer one is cut.
const VALUE_BYTES_MAX: usize = 512;

/// The value, or as much of it as a line has room for.
pub(super) fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(VALUE_BYTES_MAX)).unwrap_or_default()
}
