//! `keyferry key create`

use clap::Args;

use super::describe::metadata;
use super::tags::request_tags;
use crate::cli::client::call::CallArgs;
use crate::cli::failure::EarlyExit;
use crate::cli::options::key_value::KeyValue;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct CreateKey {
    /// A description of its purpose; not secret
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// The kind of key: Aliyun_AES_256, also the default, which seals data
    /// keys; or a key pair: RSA_2048, RSA_3072, RSA_4096, EC_P256, EC_P256K,
    /// EC_SM2
    #[arg(long, value_name = "SPEC", default_value = "")]
    key_spec: String,
    /// Its usage, for ever: ENCRYPT/DECRYPT (Aliyun_AES_256, RSA, EC_SM2) or
    /// SIGN/VERIFY (RSA, EC). Beware: the default is SIGN/VERIFY wherever the
    /// spec can sign, so that an RSA or EC_SM2 key that data keys are exported
    /// to must be made with ENCRYPT/DECRYPT
    #[arg(long, value_name = "USAGE", default_value = "")]
    key_usage: String,
    /// Where its key material comes from: Aliyun_KMS (made by the server),
    /// also the default
    #[arg(long, value_name = "ORIGIN", default_value = "")]
    origin: String,
    /// Its protection level: SOFTWARE, also the default
    #[arg(long, value_name = "LEVEL", default_value = "")]
    protection_level: String,
    /// Rotate it on a schedule: the time between rotations, 7 to 730 days, as
    /// in 90d; the units are d, h, m and s. For Aliyun_AES_256
    #[arg(long, value_name = "INTERVAL")]
    rotation_interval: Option<String>,
    /// A tag; may be given many times; not secret
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<KeyValue>,
    #[command(flatten)]
    call: CallArgs,
}

impl CreateKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let request = v1::CreateKeyRequest {
            description: self.description.clone(),
            key_spec: self.key_spec.clone(),
            key_usage: self.key_usage.clone(),
            origin: self.origin.clone(),
            protection_level: self.protection_level.clone(),
            enable_automatic_rotation: self.rotation_interval.is_some(),
            rotation_interval: self.rotation_interval.clone().unwrap_or_default(),
            tags: request_tags(&self.tags)?,
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| server.key_management().create_key(server.request(request)).await,
            |response| metadata(response.key_metadata.as_ref()),
        )
    }
}
