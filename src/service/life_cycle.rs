//! The life cycle of CMKs: enabled, disabled, described, rotated on a schedule,
//! protected, deleted.

use jiff::Timestamp;

use super::Services;
use super::authorise::KeyRef;
use super::call::Call;
use super::change::Event;
use super::fields;
use super::naming::KeyName;
use crate::access::decisions::{
    CANCEL_KEY_DELETION, DISABLE_KEY, Decisions, ENABLE_KEY, SCHEDULE_KEY_DELETION,
    SET_DELETION_PROTECTION, UPDATE_KEY_DESCRIPTION, UPDATE_ROTATION_POLICY,
};
use crate::access::purpose;
use crate::audit::trail::Reply;
use crate::error::{Error, Result};
use crate::keys::model::cmk::{
    Cmk, DeletionProtection, check_description, check_protection_description,
};
use crate::limits::DELETION_WINDOW_DAYS;
use crate::proto::v1;

impl Services {
    /// Enables a CMK.
    pub(super) async fn answer_enable_key(
        &self,
        call: &Call<'_>,
        request: v1::EnableKeyRequest,
    ) -> Result<Reply<v1::EnableKeyResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        self.alter(call, ENABLE_KEY, request.dry_run, key, |cmk, _| cmk.enabled()).await?;
        Ok(call.reply(v1::EnableKeyResponse { request_id: call.request_id.clone() }))
    }

    /// Disables a CMK: it cannot be used until it is enabled again.
    pub(super) async fn answer_disable_key(
        &self,
        call: &Call<'_>,
        request: v1::DisableKeyRequest,
    ) -> Result<Reply<v1::DisableKeyResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        self.alter(call, DISABLE_KEY, request.dry_run, key, |cmk, _| cmk.disabled()).await?;
        Ok(call.reply(v1::DisableKeyResponse { request_id: call.request_id.clone() }))
    }

    /// Changes the description of a CMK.
    pub(super) async fn answer_update_key_description(
        &self,
        call: &Call<'_>,
        request: v1::UpdateKeyDescriptionRequest,
    ) -> Result<Reply<v1::UpdateKeyDescriptionResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let description = request.description;
        check_description(&description)?;
        self.alter(call, UPDATE_KEY_DESCRIPTION, request.dry_run, key, move |cmk, _| {
            cmk.described(description.clone())
        })
        .await?;
        Ok(call.reply(v1::UpdateKeyDescriptionResponse { request_id: call.request_id.clone() }))
    }

    /// Schedules the deletion of a CMK, some days from now.
    pub(super) async fn answer_schedule_key_deletion(
        &self,
        call: &Call<'_>,
        request: v1::ScheduleKeyDeletionRequest,
    ) -> Result<Reply<v1::ScheduleKeyDeletionResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let days = pending_window(request.pending_window_in_days)?;
        let schedule = self.schedule.clone();
        let turn = move |cmk: &Cmk, now| {
            let turned = cmk.awaiting_deletion(now, days)?;
            // A date of a clock that is wrong would shorten the window.
            schedule.check_clock_steady()?;
            Ok(turned)
        };
        self.alter(call, SCHEDULE_KEY_DELETION, request.dry_run, key, turn).await?;
        Ok(call.reply(v1::ScheduleKeyDeletionResponse { request_id: call.request_id.clone() }))
    }

    /// Cancels the deletion of a CMK.
    pub(super) async fn answer_cancel_key_deletion(
        &self,
        call: &Call<'_>,
        request: v1::CancelKeyDeletionRequest,
    ) -> Result<Reply<v1::CancelKeyDeletionResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        self.alter(call, CANCEL_KEY_DELETION, request.dry_run, key, |cmk, _| cmk.kept()).await?;
        Ok(call.reply(v1::CancelKeyDeletionResponse { request_id: call.request_id.clone() }))
    }

    /// Switches a CMK's protection from deletion on or off.
    pub(super) async fn answer_set_deletion_protection(
        &self,
        call: &Call<'_>,
        request: v1::SetDeletionProtectionRequest,
    ) -> Result<Reply<v1::SetDeletionProtectionResponse>> {
        let key = self.arns.key_id("protected_resource_arn", &request.protected_resource_arn)?;
        let on = request.enable_deletion_protection;
        let on = on.ok_or_else(|| Error::missing("enable_deletion_protection"))?;
        let description = request.deletion_protection_description;
        check_protection_description(&description)?;
        let protection = DeletionProtection { on, description };
        self.alter(call, SET_DELETION_PROTECTION, request.dry_run, key, move |cmk, _| {
            cmk.protected(protection.clone())
        })
        .await?;
        Ok(call.reply(v1::SetDeletionProtectionResponse { request_id: call.request_id.clone() }))
    }

    /// Switches a CMK's rotation on a schedule on or off.
    pub(super) async fn answer_update_rotation_policy(
        &self,
        call: &Call<'_>,
        request: v1::UpdateRotationPolicyRequest,
    ) -> Result<Reply<v1::UpdateRotationPolicyResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let on = request.enable_automatic_rotation;
        let on = on.ok_or_else(|| Error::missing("enable_automatic_rotation"))?;
        let rotation = fields::rotation(on, &request.rotation_interval)?;
        self.alter(call, UPDATE_ROTATION_POLICY, request.dry_run, key, move |cmk, _| {
            cmk.rotating(rotation)
        })
        .await?;
        Ok(call.reply(v1::UpdateRotationPolicyResponse { request_id: call.request_id.clone() }))
    }

    /// Replaces a CMK by what `turn` makes of it.
    pub(super) async fn alter(
        &self,
        call: &Call<'_>,
        decisions: Decisions<purpose::Change>,
        dry_run: bool,
        key: KeyName,
        turn: impl Fn(&Cmk, Timestamp) -> Result<Cmk> + Send + Sync + 'static,
    ) -> Result<()> {
        self.change(call, decisions, dry_run, (key, turn), |change, (key, turn)| {
            Box::pin(async move {
                let keyring = change.keyring();
                let granted = change.authorise_key(KeyRef::Named(key)).await?;
                let turned = turn(&granted.key.cmk, keyring.now())?;
                if turned.tags != granted.key.cmk.tags {
                    change.services.authorise_tags(change.access(), &granted.key, &turned.tags)?;
                }
                let event =
                    Event { state: Some(turned.state), ..Event::of_key("CMK updated", &granted) };
                let (key, grant) = (&granted.key, granted.grant);
                change.commit(event, |intent| keyring.replace(intent, grant, key, &turned)).await
            })
        })
        .await
        .map(drop)
    }
}

fn pending_window(days: Option<u32>) -> Result<u32> {
    let field = "pending_window_in_days";
    match days {
        None => Err(Error::missing(field)),
        Some(days) if DELETION_WINDOW_DAYS.allows(days) => Ok(days),
        Some(days) => {
            let found = format_args!("it is {days}, {DELETION_WINDOW_DAYS} are accepted");
            Err(Error::invalid(field, found))
        }
    }
}
