//! The time of a signature: `YYYY-MM-DDThh:mm:ssZ`.

use jiff::{SignedDuration, Timestamp};

use super::SKEW_MAX;
use crate::error::{Result, Rule};

/// When a signature of that time expires.
pub(super) fn past_at(time: &str) -> Option<Timestamp> {
    parse(time)?.checked_add(SignedDuration::try_from(SKEW_MAX).ok()?).ok()
}

/// Refuses a malformed time, and one that is over 15 minutes from now.
pub(super) fn check(time: &str, now: Timestamp) -> Result<()> {
    let time = parse(time).ok_or(Rule::MalformedTimestamp)?;
    let skew = SignedDuration::from_secs(time.as_second() - now.as_second());
    if skew.unsigned_abs() > SKEW_MAX {
        return Err(Rule::TimestampExpired.into());
    }
    Ok(())
}

/// jiff accepts more forms than this one.
fn parse(time: &str) -> Option<Timestamp> {
    let form = b"0000-00-00T00:00:00Z";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    (time.len() == form.len() && time.bytes().zip(form).all(fits)).then(|| time.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(time: &str, now: &str) -> Option<Rule> {
        check(time, now.parse().expect(now)).err().map(|error| error.rule())
    }

    #[test]
    fn fifteen_minutes_on_either_side_are_accepted() {
        let now = "2026-11-23T12:00:00Z";
        for (time, refused) in [
            ("2026-11-23T12:00:00Z", None),
            ("2026-11-23T11:45:00Z", None),
            ("2026-11-23T12:15:00Z", None),
            ("2026-11-23T11:44:59Z", Some(Rule::TimestampExpired)),
            ("2026-11-23T12:15:01Z", Some(Rule::TimestampExpired)),
            ("1970-01-01T00:00:00Z", Some(Rule::TimestampExpired)),
            ("9999-12-30T00:00:00Z", Some(Rule::TimestampExpired)),
        ] {
            assert_eq!(refusal(time, now), refused, "{time}");
        }
        assert_eq!(refusal("2026-11-23T12:15:00Z", "2026-11-23T12:00:00.999Z"), None);
    }

    #[test]
    fn other_forms_are_refused() {
        for time in [
            "",
            "now",
            "2026-11-23T12:00:00",
            "2026-11-23T12:00:00+00:00",
            "2026-11-23T12:00:00.0Z",
            "2026-11-23 12:00:00Z",
            "2026-11-23t12:00:00z",
            "2026-13-23T12:00:00Z",
            "2026-11-23T25:00:00Z",
            "0000-00-00T00:00:00Z",
            "20261123T120000Z",
            "1764000000",
            "Mon, 23 Nov 2026 12:00:00 GMT",
            "２026-11-23T12:00:0",
        ] {
            assert_eq!(
                refusal(time, "2026-11-23T12:00:00Z"),
                Some(Rule::MalformedTimestamp),
                "{time}"
            );
        }
    }
}
