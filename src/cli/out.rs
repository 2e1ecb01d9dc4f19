//! `--out FILE`: where the bytes of an answer go, and who speaks beside them.

use clap::Args;
use zeroize::Zeroizing;

use super::connection::CallArgs;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination};
use super::output::Output;

/// Who speaks where: bytes on standard output leave no room for text there.
pub fn spoken_beside(
    output: Output,
    json: bool,
    out: Option<&Destination>,
    care: Care,
) -> Result<Output, Failure> {
    let Some(out) = out else { return Ok(output) };
    if *out != Destination::Stdout {
        return Ok(output);
    }
    if json {
        return Err(Failure::usage(
            "Standard output cannot hold both the bytes of --out - and JSON.",
            "Give --out a file, or leave one of the two out.",
        ));
    }
    out.check(care)?;
    Ok(output.aside())
}

/// Writes bytes, and says where they are.
pub fn keep(out: Option<&Destination>, bytes: &[u8], care: Care) -> Result<String, Stop> {
    let Some(out) = out else { return Ok(String::new()) };
    out.write(bytes, care)?;
    Ok(format!("{} bytes in {out}", bytes.len()))
}

/// Where what was secret goes, once it is decrypted.
#[derive(Args, Debug)]
pub struct SecretOut {
    /// Where the content goes, as raw bytes, readable by you alone (mode 0600);
    /// - is standard output, which must not be a terminal. May be left out with
    ///   --json, which holds it only then
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl SecretOut {
    fn care(&self) -> Care {
        Care::secret(self.force)
    }

    /// Refuses a place that is not fit for it, before the server is asked, and
    /// says who speaks where. JSON that holds a secret is not for a terminal
    /// either.
    pub fn prepare(&self, call: &CallArgs) -> Result<Output, Failure> {
        let care = self.care();
        let output = spoken_beside(call.output(), call.json(), self.out.as_ref(), care)?;
        match &self.out {
            Some(out) => out.check(care)?,
            None if call.dry_run() => {}
            None => Destination::Stdout.check(care)?,
        }
        Ok(output)
    }

    /// Writes it, and takes it out of the answer: it is in one place only.
    pub fn keep(&self, plaintext: &mut Vec<u8>) -> Result<String, Stop> {
        let Some(out) = &self.out else { return Ok(String::new()) };
        let plaintext = Zeroizing::new(std::mem::take(plaintext));
        keep(Some(out), &plaintext, self.care())
    }
}
