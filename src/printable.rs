//! Text that cannot steer the terminal that shows it.

use std::borrow::Cow;
use std::fmt::Write as _;

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

/// JSON with these characters as `\uXXXX`, which every reader takes for the same:
/// serde_json leaves all but C0 as they are. Line feeds stay, as JSON has them
/// between its values only.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let steers = |c: char| c != '\n' && steers_a_terminal(c);
    if !json.contains(steers) {
        return json.into();
    }
    // Room from the start, as it may hold a secret: the least of these characters
    // is one byte, and each becomes six.
    let mut safe = String::with_capacity(6 * json.len());
    for c in json.chars() {
        if steers(c) {
            // All of them are of Unicode's first plane.
            let _ = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe.into()
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

    #[test]
    fn json_stays_the_same_and_steers_nothing() {
        let plain = "{\"description\":\"Schlüssel 密钥 🔑\"}\n";
        assert!(matches!(printable_json(plain), Cow::Borrowed(_)));
        let text = "\u{9b}2J\u{7f}\u{85}\u{202e}\u{2066}\u{2028}\u{61c} é\\\"\n";
        let json = format!("{}\n", serde_json::json!({ text: text }));
        let safe = printable_json(&json);
        assert_eq!(safe.matches(r"\u009b2J\u007f\u0085\u202e\u2066\u2028\u061c é").count(), 2);
        assert!(!safe.trim_end_matches('\n').contains(steers_a_terminal), "{safe}");
        let found: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(found[text], text);
    }
}
