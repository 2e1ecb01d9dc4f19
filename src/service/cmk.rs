//! CMKs: created, described, listed.

use jiff::Timestamp;

use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::change::Event;
use super::{Services, fields, unless_dry_run};
use crate::access::decisions::{CREATE_KEY, DESCRIBE_KEY, LIST_KEYS};
use crate::access::question::Subject;
use crate::audit::trail::Reply;
use crate::error::{Error, Result, Rule};
use crate::keys::model::cmk::{
    Cmk, KeySpec, KeyState, KeyUsage, NewCmk, Origin, ProtectionLevel, check_description,
};
use crate::keys::model::filters::Filters;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Creates a CMK.
    pub(super) async fn answer_create_key(
        &self,
        call: &Call<'_>,
        request: v1::CreateKeyRequest,
    ) -> Result<Reply<v1::CreateKeyResponse>> {
        let dry_run = request.dry_run;
        let new = parse_new(call, request)?;
        let made = self
            .change(call, CREATE_KEY, dry_run, new, |change, new| {
                Box::pin(async move {
                    let Services { keyring, private_keys, .. } = &change.services;
                    let access = change.access().with_new_key(new);
                    let grant = change.services.authorise(access, Subject::Instance)?;
                    change.services.check_new_tags(access)?;
                    let event = Event::of("CMK created", &grant);
                    change.check_dry_run()?;
                    let (caller, left) = (&change.caller, &change.left);
                    let material = private_keys.generate(caller, left, new.spec).await?;
                    let create = |intent| async {
                        Ok(keyring.create(intent, grant, new.clone(), &material).await?)
                    };
                    change.commit(event, create).await
                })
            })
            .await?;
        Ok(call.reply(v1::CreateKeyResponse {
            key_metadata: Some(self.metadata(&made.cmk)),
            request_id: call.request_id.clone(),
        }))
    }

    /// Describes a CMK.
    pub(super) async fn answer_describe_key(
        &self,
        call: &Call<'_>,
        request: v1::DescribeKeyRequest,
    ) -> Result<Reply<v1::DescribeKeyResponse>> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let access = AccessRequest::new(call, DESCRIBE_KEY, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let cmk = granted.key.shown_to(granted.grant)?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::DescribeKeyResponse {
            key_metadata: Some(self.metadata(cmk)),
            request_id: call.request_id.clone(),
        }))
    }

    /// Lists CMKs.
    pub(super) async fn answer_list_keys(
        &self,
        call: &Call<'_>,
        request: v1::ListKeysRequest,
    ) -> Result<Reply<v1::ListKeysResponse>> {
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let filters = request.filters.into_iter().map(|filter| (filter.key, filter.values));
        let filters = Filters::parse(filters)?;
        let grant = self
            .authorise(AccessRequest::new(call, LIST_KEYS, request.dry_run), Subject::Instance)?;
        let listed = self.keyring.list(grant, &filters, &page).await?;
        unless_dry_run(request.dry_run)?;
        let key = |id| v1::Key { key_id: format!("{id}"), key_arn: self.arns.key_arn(id) };
        Ok(call.reply(v1::ListKeysResponse {
            keys: listed.entries.into_iter().map(key).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: call.request_id.clone(),
        }))
    }

    fn metadata(&self, cmk: &Cmk) -> v1::KeyMetadata {
        let is_symmetric = cmk.spec.pair().is_none();
        let primary = is_symmetric.then(|| cmk.newest_version.to_string());
        v1::KeyMetadata {
            key_id: cmk.id.to_string(),
            arn: self.arns.key_arn(cmk.id),
            key_spec: cmk.spec.as_str().to_owned(),
            key_usage: cmk.usage.as_str().to_owned(),
            key_state: cmk.state.as_str().to_owned(),
            origin: cmk.origin.as_str().to_owned(),
            protection_level: ProtectionLevel::Software.as_str().to_owned(),
            description: cmk.description.clone(),
            creator: cmk.creator.clone(),
            creation_date: date(cmk.created_at),
            delete_date: cmk.deletion_due_at.map(date).unwrap_or_default(),
            primary_key_version: primary.unwrap_or_default(),
            automatic_rotation: automatic_rotation(cmk).to_owned(),
            last_rotation_date: date(cmk.rotated_at),
            next_rotation_date: next_rotation_date(cmk).unwrap_or_default(),
            rotation_interval: cmk.rotation.map(|every| every.to_string()).unwrap_or_default(),
            material_expire_time: String::new(),
            dkms_instance_id: String::new(),
            deletion_protection: if cmk.protection.on { "Enabled" } else { "Disabled" }.to_owned(),
            deletion_protection_description: cmk.protection.description.clone(),
        }
    }
}

/// Whether it is rotated on a schedule; only an enabled CMK is.
fn automatic_rotation(cmk: &Cmk) -> &'static str {
    match (cmk.rotation, cmk.state) {
        (Some(_), KeyState::Enabled) => "Enabled",
        (Some(_), _) => "Suspended",
        (None, _) => "Disabled",
    }
}

fn next_rotation_date(cmk: &Cmk) -> Option<String> {
    match cmk.state {
        KeyState::Enabled => cmk.next_rotation_at().map(date),
        _ => None,
    }
}

/// Reads CreateKey. An empty field means its default.
fn parse_new(call: &Call<'_>, request: v1::CreateKeyRequest) -> Result<NewCmk> {
    check_description(&request.description)?;
    let spec = parse_spec(&request.key_spec)?;
    let usage = parse_usage(&request.key_usage, spec)?;
    if !request.origin.is_empty() && Origin::parse(&request.origin).is_none() {
        let error = Error::from(Rule::UnsupportedOrigin).blaming("origin");
        return Err(error.saying("The one origin offered is Aliyun_KMS."));
    }
    if !request.protection_level.is_empty()
        && ProtectionLevel::parse(&request.protection_level).is_none()
    {
        let error = Error::from(Rule::UnsupportedProtectionLevel).blaming("protection_level");
        return Err(error.saying("The one protection level offered is SOFTWARE."));
    }
    let rotation = fields::rotation(request.enable_automatic_rotation, &request.rotation_interval)?;
    if rotation.is_some() && spec.pair().is_some() {
        let found = "an asymmetric key is not rotated on a schedule";
        return Err(Error::invalid("enable_automatic_rotation", found));
    }
    Ok(NewCmk {
        description: request.description,
        spec,
        usage,
        rotation,
        tags: fields::tags(request.tags)?,
        creator: call.principal.to_string(),
    })
}

fn parse_spec(text: &str) -> Result<KeySpec> {
    if text.is_empty() {
        return Ok(KeySpec::Aes256);
    }
    KeySpec::parse(text).ok_or_else(|| {
        let offered = KeySpec::ALL.map(KeySpec::as_str).join(", ");
        Error::invalid("key_spec", format_args!("it is none of {offered}"))
    })
}

fn parse_usage(text: &str, spec: KeySpec) -> Result<KeyUsage> {
    if text.is_empty() {
        return Ok(spec.default_usage());
    }
    let usage = KeyUsage::parse(text).filter(|usage| spec.serves(*usage));
    usage.ok_or_else(|| {
        let fit = KeyUsage::ALL.into_iter().filter(|usage| spec.serves(*usage));
        let fit = fit.map(KeyUsage::as_str).collect::<Vec<_>>().join(" or ");
        Error::invalid("key_usage", format_args!("a key of spec {} is for {fit}", spec.as_str()))
    })
}

/// `YYYY-MM-DDThh:mm:ssZ`.
pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A count as the contract has it.
pub(super) fn total(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_contracts_form() {
        assert_eq!(date(Timestamp::from_second(1_700_000_000).unwrap()), "2023-11-14T22:13:20Z");
    }
}
