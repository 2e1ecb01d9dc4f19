//! `keyferry key enable|disable|…`: what becomes of a CMK.

use clap::Args;

use super::connection::CallArgs;
use super::failure::Stop;
use super::key::OneKey;
use super::text::Text;
use crate::proto::v1;

/// Changes a description.
#[derive(Args, Debug)]
pub struct UpdateDescription {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// What it is for, in your words, up to 8192 characters; not secret; '' for
    /// none
    #[arg(long, value_name = "TEXT")]
    description: String,
}

/// Has a CMK deleted.
#[derive(Args, Debug)]
pub struct ScheduleDeletion {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// In how many days, 7 to 366; until then `cancel-deletion` keeps it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(7..=366))]
    days: u32,
}

/// Protects a CMK, or no longer.
#[derive(Args, Debug)]
pub struct Protect {
    /// The CMK: its id or its ARN
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Why, in your words; not secret. It takes the place of what was said
    /// before
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// How the server is called.
    #[command(flatten)]
    pub call: CallArgs,
}

/// `enable`
pub fn enable(one: &OneKey) -> Result<(), Stop> {
    let request = v1::EnableKeyRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    one.call.ask(
        async |server| server.key_management().enable_key(server.request(request)).await,
        |_| Text::line(format!("{} is enabled.", one.key)),
    )
}

/// `disable`
pub fn disable(one: &OneKey) -> Result<(), Stop> {
    let request = v1::DisableKeyRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    one.call.ask(
        async |server| server.key_management().disable_key(server.request(request)).await,
        |_| Text::line(format!("{} is disabled.", one.key)),
    )
}

/// `cancel-deletion`
pub fn cancel_deletion(one: &OneKey) -> Result<(), Stop> {
    let request =
        v1::CancelKeyDeletionRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    one.call.ask(
        async |server| server.key_management().cancel_key_deletion(server.request(request)).await,
        |_| Text::line(format!("{} will not be deleted, and is enabled.", one.key)),
    )
}

impl UpdateDescription {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let request = v1::UpdateKeyDescriptionRequest {
            key_id: key.clone(),
            description: self.description.clone(),
            dry_run: call.dry_run(),
        };
        call.ask(
            async |server| {
                server.key_management().update_key_description(server.request(request)).await
            },
            |_| Text::line(format!("{key} is described anew.")),
        )
    }
}

impl ScheduleDeletion {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key.clone(),
            pending_window_in_days: Some(self.days),
            dry_run: call.dry_run(),
        };
        let days = self.days;
        call.ask(
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

impl Protect {
    /// Protects it, or no longer.
    pub fn run(&self, protect: bool) -> Result<(), Stop> {
        let request = v1::SetDeletionProtectionRequest {
            protected_resource_arn: self.key.clone(),
            enable_deletion_protection: Some(protect),
            deletion_protection_description: self.description.clone(),
            dry_run: self.call.dry_run(),
        };
        let now = if protect { "is protected from deletion" } else { "may be deleted again" };
        self.call.ask(
            async |server| {
                server.key_management().set_deletion_protection(server.request(request)).await
            },
            |_| Text::line(format!("{} {now}.", self.key)),
        )
    }
}
