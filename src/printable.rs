//! Text that cannot steer the terminal that shows it.

use std::borrow::Cow;

/// The text with its steering characters spelt out: a caller's, a server's or a
/// file's text must not move the cursor, rename the window or forge a line.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers_a_terminal) {
        return text.into();
    }
    let spelt_out = |c: char| steers_a_terminal(c).then(|| c.escape_unicode().collect());
    text.chars().map(|c| spelt_out(c).unwrap_or_else(|| String::from(c))).collect()
}

/// Control characters (C0, DEL, C1), those that turn the direction of writing
/// (CVE-2021-42574), and those that end a line or a paragraph.
#[must_use]
pub fn steers_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelt_out() {
        assert!(matches!(printable("Schlüssel 密钥 \u{a0}"), Cow::Borrowed(_)));
        for (text, safe) in [
            ("a\u{1b}[2J", r"a\u{1b}[2J"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("one\ntwo\r", r"one\u{a}two\u{d}"),
            ("\u{202e}\u{2066}\u{200f}\u{61c}", r"\u{202e}\u{2066}\u{200f}\u{61c}"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
        ] {
            assert_eq!(printable(text), safe);
        }
    }
}
