//! `keyferry key enable|disable|…`: changes of a CMK's state, its description and
//! its protection, and its deletion.

use clap::Args;

use super::key_args::KeyArgs;
use crate::cli::client::call::CallArgs;
use crate::cli::failure::EarlyExit;
use crate::cli::io::text::Text;
use crate::limits::DELETION_WINDOW_DAYS;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct UpdateDescription {
    #[command(flatten)]
    key: KeyArgs,
    /// A description of its purpose, up to 8192 characters; not secret; ''
    /// removes it
    #[arg(long, value_name = "TEXT")]
    description: String,
}

#[derive(Args, Debug)]
pub struct ScheduleDeletion {
    #[command(flatten)]
    key: KeyArgs,
    /// In how many days, 7 to 366; until then `cancel-deletion` keeps the CMK
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(DELETION_WINDOW_DAYS.range()))]
    days: u32,
}

#[derive(Args, Debug)]
pub struct ProtectKey {
    /// The CMK: its id or its ARN
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The reason; not secret. It replaces the former one
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    call: CallArgs,
}

/// `enable`
pub fn enable(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::EnableKeyRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().enable_key(server.request(request)).await,
        |_| Text::line(format!("{key} is enabled.")),
    )
}

/// `disable`
pub fn disable(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::DisableKeyRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().disable_key(server.request(request)).await,
        |_| Text::line(format!("{key} is disabled.")),
    )
}

/// `cancel-deletion`
pub fn cancel_deletion(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::CancelKeyDeletionRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().cancel_key_deletion(server.request(request)).await,
        |_| Text::line(format!("{key} is enabled and will not be deleted.")),
    )
}

impl UpdateDescription {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let request = v1::UpdateKeyDescriptionRequest {
            key_id: key.clone(),
            description: self.description.clone(),
            dry_run: call.dry_run(),
        };
        call.call(
            async |server| {
                server.key_management().update_key_description(server.request(request)).await
            },
            |_| Text::line(format!("The description of {key} is changed.")),
        )
    }
}

impl ScheduleDeletion {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key.clone(),
            pending_window_in_days: Some(self.days),
            dry_run: call.dry_run(),
        };
        let days = self.days;
        call.call(
            async |server| {
                server.key_management().schedule_key_deletion(server.request(request)).await
            },
            |_| {
                Text::line(format!(
                    "{key} is out of use and will be deleted for ever in {days} days; `keyferry key cancel-deletion` keeps it."
                ))
            },
        )
    }
}

impl ProtectKey {
    /// `protect` and `unprotect`
    pub fn run(&self, protect: bool) -> Result<(), EarlyExit> {
        let request = v1::SetDeletionProtectionRequest {
            protected_resource_arn: self.key.clone(),
            enable_deletion_protection: Some(protect),
            deletion_protection_description: self.description.clone(),
            dry_run: self.call.dry_run(),
        };
        let now = if protect { "is protected" } else { "is not protected" };
        self.call.call(
            async |server| {
                server.key_management().set_deletion_protection(server.request(request)).await
            },
            |_| Text::line(format!("{} {now} from deletion.", self.key)),
        )
    }
}
