//! `--out FILE`: where the bytes of an answer go.

use clap::Args;
use zeroize::Zeroizing;

use super::output::Output;
use super::output_target::{OutputTarget, Sensitivity};
use crate::cli::failure::{EarlyExit, Failure};

/// Writes bytes, if there is a target, and says where they are.
pub fn write_out(
    out: Option<&OutputTarget>,
    bytes: &[u8],
    sensitivity: Sensitivity,
) -> Result<String, EarlyExit> {
    let Some(out) = out else { return Ok(String::new()) };
    out.write(bytes, sensitivity)?;
    Ok(format!("{} bytes in {out}", bytes.len()))
}

/// `--out` of a plaintext.
#[derive(Args, Debug)]
pub struct SecretOut {
    /// The file that the content is written to, as raw bytes, readable by you
    /// alone (mode 0600); - is standard output, which must not be a terminal.
    /// May be left out with --json, which holds the content only then
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl SecretOut {
    fn sensitivity(&self) -> Sensitivity {
        Sensitivity::Secret { replace: self.force }
    }

    /// Refuses an unfit target before the server is asked, and gives the output
    /// beside it. JSON that holds a secret is not for a terminal either.
    pub fn prepare(&self, output: Output, dry_run: bool) -> Result<Output, Failure> {
        let sensitivity = self.sensitivity();
        let beside = output.beside(self.out.as_ref(), sensitivity)?;
        match &self.out {
            Some(out) => out.check(sensitivity)?,
            None if dry_run => {}
            None => OutputTarget::Stdout.check(sensitivity)?,
        }
        Ok(beside)
    }

    /// Writes the plaintext, and takes it out of the answer: it is in one place
    /// only.
    pub fn write(&self, plaintext: &mut Vec<u8>) -> Result<String, EarlyExit> {
        let Some(out) = &self.out else { return Ok(String::new()) };
        let plaintext = Zeroizing::new(std::mem::take(plaintext));
        write_out(Some(out), &plaintext, self.sensitivity())
    }
}
