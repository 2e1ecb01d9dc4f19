//! What a command says: text for people, or with `--json` the response as
//! proto-JSON for programs.

use std::io::{self, Write};

use clap::Args;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::Serializer;
use serde_json::Value;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::unbuffered;
use super::text::{Text, render_failure};
use crate::proto::{UnderWay, pool, v1};

/// How a command speaks.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputArgs {
    /// Print JSON: responses on standard output, one per line, with the names
    /// of the proto; errors on standard error
    #[arg(long)]
    json: bool,
}

/// A message of the contract that JSON is made of.
pub trait Answer: prost::Message {
    /// Its name in the proto.
    const NAME: &'static str;
}

macro_rules! answers {
    ($($name:ident),* $(,)?) => {$(
        impl Answer for v1::$name {
            const NAME: &'static str = concat!("keyferry.v1.", stringify!($name));
        }
    )*};
}
answers!(
    AsymmetricDecryptResponse,
    AsymmetricEncryptResponse,
    AsymmetricSignResponse,
    AsymmetricVerifyResponse,
    CancelKeyDeletionResponse,
    CreateAccessKeyResponse,
    CreateAliasResponse,
    CreateKeyResponse,
    CreateKeyVersionResponse,
    DecryptResponse,
    DeleteAccessKeyResponse,
    DeleteAliasResponse,
    DescribeKeyResponse,
    DescribeKeyVersionResponse,
    DisableAccessKeyResponse,
    DisableKeyResponse,
    EnableKeyResponse,
    EncryptResponse,
    ExportDataKeyResponse,
    ExportDataKeysRequest,
    ExportDataKeysResponse,
    GenerateAndExportDataKeyResponse,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextResponse,
    GetPublicKeyResponse,
    ListAccessKeysResponse,
    ListAliasesByKeyIdResponse,
    ListAliasesResponse,
    ListKeyVersionsResponse,
    ListKeysResponse,
    ListResourceTagsResponse,
    ReEncryptResponse,
    ScheduleKeyDeletionResponse,
    SetDeletionProtectionResponse,
    TagResourceResponse,
    UntagResourceResponse,
    UpdateAliasResponse,
    UpdateKeyDescriptionResponse,
    UpdateRotationPolicyResponse,
);

/// An answer of a version of a CMK, which has things in it to be written.
pub trait OfVersion: Answer {
    /// The CMK, the version and the request.
    fn ids(&self) -> [&str; 3];
}

macro_rules! of_version {
    ($($name:ident),* $(,)?) => {$(
        impl OfVersion for v1::$name {
            fn ids(&self) -> [&str; 3] {
                [&self.key_id, &self.key_version_id, &self.request_id]
            }
        }
    )*};
}
of_version!(
    AsymmetricDecryptResponse,
    AsymmetricEncryptResponse,
    AsymmetricSignResponse,
    DecryptResponse,
    EncryptResponse,
    ExportDataKeyResponse,
    GenerateAndExportDataKeyResponse,
    GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintextResponse,
    GetPublicKeyResponse,
);

/// Where a command speaks and in which tongue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    json: bool,
    /// Text for people goes to standard error when standard output carries
    /// bytes.
    aside: bool,
}

impl OutputArgs {
    /// A command that speaks on standard output.
    #[must_use]
    pub fn output(self) -> Output {
        Output { json: self.json, aside: false }
    }

    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(self) -> bool {
        self.json
    }
}

impl Output {
    /// The same, leaving standard output to the bytes of `--out -`.
    #[must_use]
    pub fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// Tells a response.
    pub fn answer<A: Answer>(self, answer: &A, human: impl FnOnce() -> Text) -> Result<(), Stop> {
        if !self.json {
            return self.tell(&human());
        }
        // It may be a secret: std's buffer would keep a copy.
        let line = json_line(answer)?;
        let written = unbuffered(io::stdout()).and_then(|mut out| out.write_all(&line));
        written.map_err(|error| stop_writing(&error, "standard output"))
    }

    /// Tells a response, and what of it was written where.
    pub fn written<A: OfVersion, const N: usize>(
        self,
        answer: &A,
        written: [(&'static str, String); N],
    ) -> Result<(), Stop> {
        self.answer(answer, || {
            let [key_id, key_version_id, request_id] = answer.ids().map(str::to_owned);
            let mut fields = vec![("key_id", key_id), ("key_version_id", key_version_id)];
            fields.extend(written);
            fields.push(("request_id", request_id));
            Text::Fields(fields)
        })
    }

    /// Tells a result that is no response of the contract.
    pub fn result(self, value: &Value, human: impl FnOnce() -> Text) -> Result<(), Stop> {
        if self.json { self.write(&line(value)) } else { self.tell(&human()) }
    }

    /// Tells a person something beside the answer; programs are spared it.
    pub fn hint(self, hint: &Text) {
        if !self.json {
            // Nothing hangs on whether the hint is seen.
            let _ = anstream::stderr().write_all(hint.render().as_bytes());
        }
    }

    /// Tells a person something.
    pub fn tell(self, text: &Text) -> Result<(), Stop> {
        self.write(&text.render())
    }

    fn write(self, text: &str) -> Result<(), Stop> {
        let written = if self.aside {
            anstream::stderr().write_all(text.as_bytes())
        } else if self.json {
            // JSON needs no colours taken out.
            flushed(&mut io::stdout().lock(), text)
        } else {
            flushed(&mut anstream::stdout().lock(), text)
        };
        written.map_err(|error| stop_writing(&error, "standard output"))
    }
}

fn flushed(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// What an error of writing means: a reader that went away is not a failure.
pub fn stop_writing(error: &io::Error, place: &str) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stop::ReaderGone;
    }
    let happened = format!("{place} cannot be written: {error}.");
    Failure::new(Exit::InUse, happened, "See that there is room and that you may write there.")
        .into()
}

/// Ends a command: says why it stopped, if it did, and gives its exit code.
pub fn conclude(outcome: Result<(), Stop>, json: bool) -> Exit {
    match outcome {
        Ok(()) | Err(Stop::ReaderGone) => Exit::Done,
        Err(Stop::WouldWork { request_id }) => would_work(&request_id, json),
        Err(Stop::Failed(failure)) => {
            complain(&failure, json);
            failure.exit()
        }
    }
}

fn would_work(request_id: &str, json: bool) -> Exit {
    let value = serde_json::json!({
        "dry_run": true, "reason": "DryRunOperationError", "request_id": request_id,
    });
    let text = || Text::line("Dry run: this would have worked. Nothing was changed.");
    let told = Output { json, aside: false }.result(&value, text);
    conclude(told, json)
}

/// Says a failure on standard error; if even that cannot be written, the exit
/// code still tells.
pub fn complain(failure: &Failure, json: bool) {
    let text = if json { line(&failure.json()) } else { render_failure(&failure.lines()) };
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// What the proto says of a message of its own.
pub fn descriptor(name: &str) -> Option<MessageDescriptor> {
    pool().get_message_by_name(name)
}

/// Proto-JSON with the proto's own field names, every field present, so that a
/// program finds each name in each answer.
fn encode<A: Answer, S: Serializer>(answer: &A, serializer: S) -> Result<S::Ok, Failure> {
    let encode = || {
        let mut message = UnderWay(DynamicMessage::new(descriptor(A::NAME)?));
        message.0.transcode_from(answer).ok()?;
        let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
        message.0.serialize_with_options(serializer, &options).ok()
    };
    encode().ok_or_else(|| {
        let happened = format!("The answer cannot be shown as {} in JSON.", A::NAME);
        Failure::new(Exit::Refused, happened, "Try again without --json, and report this.")
    })
}

/// The answer in JSON, members in the order of the proto, as a line.
pub fn json_line<A: Answer>(answer: &A) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room from the start: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(1024 + 2 * answer.encoded_len()));
    encode(answer, &mut serde_json::Serializer::new(&mut *text))?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_bears_the_protos_names_and_every_field() {
        let answer = v1::ExportDataKeyResponse {
            key_id: "k".into(),
            exported_data_key: vec![0xfb, 0xff],
            ..Default::default()
        };
        let expected = serde_json::json!({
            "key_id": "k", "key_version_id": "", "exported_data_key": "+/8=", "request_id": "",
        });
        let json: Value = serde_json::from_slice(&json_line(&answer).unwrap()).unwrap();
        assert_eq!(json, expected);
    }

    #[test]
    fn a_list_without_members_is_still_there() {
        let line = json_line(&v1::ListKeysResponse::default()).unwrap();
        let json: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["keys"], serde_json::json!([]));
        assert_eq!(json["next_page_token"], "");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(conclude(Err(stop_writing(&gone, "x")), false), Exit::Done);
    }
}
