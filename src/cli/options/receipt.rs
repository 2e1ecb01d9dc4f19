//! Receipts of exports, verified offline: whose are believed, and how old they may be.

use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::Input;
use crate::cli::io::out_file::write_out;
use crate::cli::io::output::Output;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::crypto::receipt::{
    Claims, Delivery, ReceiptKeySet, RefusedReceipt, Thumbprint, UnverifiedReceipt,
};

/// A receipt is shorter, and no set of keys is near this size.
const MAX_BYTES: usize = 1024 * 1024;

/// Clocks may differ by so much.
const LEEWAY: SignedDuration = SignedDuration::from_mins(5);

/// Whose receipts are believed.
#[derive(Args, Debug)]
pub struct TrustArgs {
    /// The key that must have signed the receipt, by its thumbprint (RFC 7638), the kid
    /// that `receipt keys` tells. No further file is needed
    #[arg(long, value_name = "THUMBPRINT", value_parser = Thumbprint::parse, conflicts_with = "receipt_keys")]
    issuer: Option<Thumbprint>,
    /// The keys of the issuer, a JWK Set, as `receipt keys --out` writes it: any of them
    /// may have signed the receipt
    #[arg(long, value_name = "FILE")]
    receipt_keys: Option<Input>,
    /// How old the receipt may be: a number and s, m, h or d
    #[arg(long, value_name = "SPAN", value_parser = span)]
    max_age: Option<Duration>,
}

impl TrustArgs {
    /// Whether any of them is given.
    pub fn is_given(&self) -> bool {
        self.issuer.is_some() || self.receipt_keys.is_some() || self.max_age.is_some()
    }

    /// The file of keys, if one is named.
    pub fn file(&self) -> Option<&Input> {
        self.receipt_keys.as_ref()
    }

    /// What a receipt says, once its signature and its age are verified.
    pub fn verify(&self, file: &Input) -> Result<Claims, Failure> {
        let receipt = read(file)?;
        let kid = receipt.kid();
        let verified = match (self.issuer, &self.receipt_keys) {
            (Some(thumbprint), _) => receipt.verify_by_thumbprint(thumbprint),
            (None, Some(keys)) => receipt.verify(&read_keys(keys)?),
            (None, None) => return Err(nobody_is_trusted()),
        };
        let claims = verified.map_err(|why| refused(file, &why, advice(why, kid)))?;
        self.check_age(file, &claims)?;
        Ok(claims)
    }

    fn check_age(&self, file: &Input, claims: &Claims) -> Result<(), Failure> {
        let now = Timestamp::now();
        let at = Timestamp::from_second(claims.iat).unwrap_or(Timestamp::MAX);
        let age = now.duration_since(at);
        if age < -LEEWAY {
            let advice = "Check the clock of this machine.".to_owned();
            return Err(refused(file, &"is of a time that is to come", advice));
        }
        let most = self.max_age.and_then(|most| SignedDuration::try_from(most).ok());
        match most {
            Some(most) if age > most => {
                let why = format!("is of {at}, older than --max-age allows");
                Err(refused(file, &why, "Ask for a new export and its receipt.".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// The output beside a receipt that is written: on standard output it must be alone.
pub fn beside_receipt(
    output: Output,
    receipt: Option<&OutputTarget>,
    others: &[Option<&OutputTarget>],
) -> Result<Output, Failure> {
    let stdout = Some(&OutputTarget::Stdout);
    if receipt == stdout && others.contains(&stdout) {
        return Err(Failure::usage(
            "Standard output cannot hold two things, but two options name it.",
            "Give a file for one of them.",
        ));
    }
    output.beside(receipt, Sensitivity::Public)
}

/// Writes a receipt, if it was asked for, a line, and says where it is.
pub fn write_receipt(out: Option<&OutputTarget>, receipt: &str) -> Result<String, EarlyExit> {
    write_out(out, format!("{receipt}\n").as_bytes(), Sensitivity::Public)
}

/// Refuses what is in hand where the receipt is of something else.
pub fn check(file: &Input, claims: &Claims, delivery: &Delivery<'_>) -> Result<(), Failure> {
    let advice = "Do not use what was delivered: ask the sender which receipt belongs to it.";
    claims.check(delivery).map_err(|why| refused(file, &why, advice.to_owned()))
}

/// Reads a receipt, and believes nothing of it.
pub fn read(file: &Input) -> Result<UnverifiedReceipt, Failure> {
    let text = text(file)?;
    UnverifiedReceipt::parse(&text).map_err(|why| {
        let happened = format!("{file} is not a receipt: it {why}.");
        Failure::input(happened, "Give the file that `data-key export --receipt` wrote.")
    })
}

/// The text of a receipt, as it is sent to a server.
pub fn text(file: &Input) -> Result<String, Failure> {
    let bytes = file.read("receipt", MAX_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
}

/// What a receipt says, for people.
pub fn fields(claims: &Claims) -> Vec<(&'static str, String)> {
    let Claims { iss, iat, jti, request_id, key_id, key_version_id, blob_kind, .. } = claims;
    let at = Timestamp::from_second(*iat).map_or_else(|_| iat.to_string(), |at| at.to_string());
    vec![
        ("issuer", iss.clone()),
        ("issued_at", at),
        ("event_id", jti.clone()),
        ("request_id", request_id.clone()),
        ("key_id", key_id.clone()),
        ("key_version_id", key_version_id.clone()),
        ("blob_kind", blob_kind.clone()),
        ("blob_sha256", claims.blob_sha256.clone()),
        ("recipient_sha256", claims.recipient_sha256.clone()),
        ("exported_sha256", claims.exported_sha256.clone()),
        ("exported_bytes", claims.exported_bytes.to_string()),
        ("wrapping_algorithm", claims.wrapping_algorithm.clone()),
        ("sm2_ciphertext_encoding", claims.sm2_ciphertext_encoding.clone().unwrap_or_default()),
    ]
}

fn read_keys(file: &Input) -> Result<ReceiptKeySet, Failure> {
    let text = file.read("set of keys", MAX_BYTES)?;
    ReceiptKeySet::parse(&text).map_err(|why| {
        let advice = "Give the file that `receipt keys --out` wrote, or what the issuer serves at /receipt-keys.";
        Failure::input(format!("{file} {why}."), advice)
    })
}

fn nobody_is_trusted() -> Failure {
    Failure::usage(
        "Nothing says whose receipts are to be believed.",
        "Give --issuer THUMBPRINT or --receipt-keys FILE, as the issuer told you by a way that you trust.",
    )
}

fn refused(file: &Input, why: &dyn std::fmt::Display, advice: String) -> Failure {
    Failure::new(Exit::Refused, format!("The receipt in {file} {why}."), advice)
}

fn advice(why: RefusedReceipt, kid: Thumbprint) -> String {
    match why {
        RefusedReceipt::UnknownKey => format!(
            "It names the key {kid}: ask the issuer, by a way that you trust, whether that is theirs."
        ),
        _ => "Do not use what was delivered, and tell the issuer.".to_owned(),
    }
}

fn span(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "a span is a whole number and s, m, h or d: 90s, 15m, 24h, 7d";
    let (digits, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or(FORM)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(FORM),
    };
    let count: u64 = if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().map_err(|_| FORM)?
    } else {
        return Err(FORM);
    };
    count.checked_mul(seconds).map(Duration::from_secs).ok_or(FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_numbers_with_a_unit() {
        for (text, seconds) in
            [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "-1d",
            "+1d",
            "1.5h",
            "1 d",
            "7D",
            "1w",
            "99999999999999999999s",
            "9999999999999999999d",
            "1\u{e9}",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
