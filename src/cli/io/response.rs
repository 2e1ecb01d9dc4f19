//! Responses of the contract: as JSON, and the ids that they bear.

use prost::Name;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use zeroize::Zeroizing;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::proto::{ZeroizingMessage, pool, v1};

/// A response that names the version of a CMK that was used.
pub trait KeyVersionResponse: Name {
    /// The ids of the CMK, of its version and of the request.
    fn ids(&self) -> [&str; 3];
}

macro_rules! key_version_responses {
    ($($name:ident),* $(,)?) => {$(
        impl KeyVersionResponse for v1::$name {
            fn ids(&self) -> [&str; 3] {
                [&self.key_id, &self.key_version_id, &self.request_id]
            }
        }
    )*};
}
key_version_responses!(
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

/// The contract's description of a message.
pub fn descriptor<M: Name>() -> Option<MessageDescriptor> {
    pool().get_message_by_name(&M::full_name())
}

/// A message as one line of proto-JSON: with the proto's own field names in their
/// order, and every field present, so that a program finds each name in each
/// answer.
pub fn json_line<M: Name>(message: &M) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room from the start: a buffer that grows leaves copies of a secret behind.
    let mut line = Zeroizing::new(Vec::with_capacity(1024 + 2 * message.encoded_len()));
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut encode = || {
        let mut dynamic = ZeroizingMessage(DynamicMessage::new(descriptor::<M>()?));
        dynamic.0.transcode_from(message).ok()?;
        let mut serializer = serde_json::Serializer::new(&mut *line);
        dynamic.0.serialize_with_options(&mut serializer, &options).ok()
    };
    encode().ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            format!("The answer cannot be shown as {} in JSON.", M::full_name()),
            "Try again without --json, and report this.",
        )
    })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn json_bears_the_protos_names_and_every_field() {
        let response = v1::ExportDataKeyResponse {
            key_id: "k".into(),
            exported_data_key: vec![0xfb, 0xff],
            ..Default::default()
        };
        let expected = json!({
            "key_id": "k", "key_version_id": "", "exported_data_key": "+/8=", "receipt": "",
            "request_id": "",
        });
        let found: Value = serde_json::from_slice(&json_line(&response).unwrap()).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_list_without_members_is_still_there() {
        let line = json_line(&v1::ListKeysResponse::default()).unwrap();
        let found: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(found["keys"], json!([]));
        assert_eq!(found["next_page_token"], "");
    }
}
