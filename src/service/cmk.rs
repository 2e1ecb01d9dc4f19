//! CMKs: made, described, listed, switched on and off.

use jiff::Timestamp;

use super::Services;
use super::caller::Caller;
use super::data_key::unless_dry_run;
use super::spine::{Ask, KeyRef, until_fresh};
use crate::access::decisions::{
    CREATE_KEY, DESCRIBE_KEY, DISABLE_KEY, Decisions, ENABLE_KEY, LIST_KEYS, On,
};
use crate::error::{Error, Result, Rule};
use crate::keys::cmk::{
    Cmk, KeySpec, KeyState, KeyUsage, NewCmk, Origin, ProtectionLevel, check_description,
};
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Makes a CMK.
    pub async fn create_key(
        &self,
        caller: &Caller,
        request: v1::CreateKeyRequest,
    ) -> Result<v1::CreateKeyResponse> {
        let dry_run = request.dry_run;
        let new = parse_new(caller, request)?;
        let grant = self.granted_here(Ask::new(caller, CREATE_KEY))?;
        unless_dry_run(dry_run)?;
        caller.check_deadline()?;
        let services = self.clone();
        let stored = self.change(async move { services.keyring.create(grant, new).await }).await?;
        tracing::info!(key_id = %stored.cmk.id, creator = stored.cmk.creator, "made a CMK");
        Ok(v1::CreateKeyResponse {
            key_metadata: Some(self.metadata(&stored.cmk)),
            request_id: caller.request_id.clone(),
        })
    }

    /// Describes a CMK.
    pub async fn describe_key(
        &self,
        caller: &Caller,
        request: v1::DescribeKeyRequest,
    ) -> Result<v1::DescribeKeyResponse> {
        let name = self.place.key_name("key_id", &request.key_id)?;
        let granted =
            self.granted(Ask::new(caller, DESCRIBE_KEY), On::Key, KeyRef::Named(&name)).await?;
        unless_dry_run(request.dry_run)?;
        Ok(v1::DescribeKeyResponse {
            key_metadata: Some(self.metadata(&granted.key.cmk)),
            request_id: caller.request_id.clone(),
        })
    }

    /// Lists CMKs.
    pub async fn list_keys(
        &self,
        caller: &Caller,
        request: v1::ListKeysRequest,
    ) -> Result<v1::ListKeysResponse> {
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let grant = self.granted_here(Ask::new(caller, LIST_KEYS))?;
        let listed = self.keyring.list(grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        let key = |id| v1::Key { key_id: format!("{id}"), key_arn: self.place.key_arn(id) };
        Ok(v1::ListKeysResponse {
            keys: listed.entries.into_iter().map(key).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: caller.request_id.clone(),
        })
    }

    /// Lets a CMK be used.
    pub async fn enable_key(
        &self,
        caller: &Caller,
        request: v1::EnableKeyRequest,
    ) -> Result<v1::EnableKeyResponse> {
        self.switch(caller, ENABLE_KEY, request.key_id, KeyState::Enabled, request.dry_run).await?;
        Ok(v1::EnableKeyResponse { request_id: caller.request_id.clone() })
    }

    /// Stops all use of a CMK.
    pub async fn disable_key(
        &self,
        caller: &Caller,
        request: v1::DisableKeyRequest,
    ) -> Result<v1::DisableKeyResponse> {
        self.switch(caller, DISABLE_KEY, request.key_id, KeyState::Disabled, request.dry_run)
            .await?;
        Ok(v1::DisableKeyResponse { request_id: caller.request_id.clone() })
    }

    async fn switch(
        &self,
        caller: &Caller,
        decisions: Decisions,
        key_id: String,
        state: KeyState,
        dry_run: bool,
    ) -> Result<()> {
        let name = self.place.key_name("key_id", &key_id)?;
        caller.check_deadline()?;
        let (services, caller) = (self.clone(), caller.clone());
        self.change(async move {
            until_fresh!({
                let ask = Ask::new(&caller, decisions);
                let granted = services.granted(ask, On::Key, KeyRef::Named(&name)).await?;
                unless_dry_run(dry_run)?;
                services.keyring.set_state(granted.grant, state).await?;
                tracing::info!(key_id = %granted.key.cmk.id, state = state.as_str(), "put a CMK into a state");
                Ok(())
            })
        })
        .await
    }

    fn metadata(&self, cmk: &Cmk) -> v1::KeyMetadata {
        v1::KeyMetadata {
            key_id: cmk.id.to_string(),
            arn: self.place.key_arn(cmk.id),
            key_spec: cmk.spec.as_str().to_owned(),
            key_usage: cmk.usage.as_str().to_owned(),
            key_state: cmk.state.as_str().to_owned(),
            origin: cmk.origin.as_str().to_owned(),
            protection_level: ProtectionLevel::Software.as_str().to_owned(),
            description: cmk.description.clone(),
            creator: cmk.creator.clone(),
            creation_date: date(cmk.created_at),
            primary_key_version: cmk.primary_version.to_string(),
            automatic_rotation: "Disabled".to_owned(),
            last_rotation_date: date(cmk.rotated_at),
            ..v1::KeyMetadata::default()
        }
    }
}

/// What CreateKey asks for. An empty field means its default.
fn parse_new(caller: &Caller, request: v1::CreateKeyRequest) -> Result<NewCmk> {
    check_description(&request.description)?;
    let spec = match request.key_spec.as_str() {
        "" => KeySpec::Aes256,
        text => KeySpec::parse(text)
            .ok_or_else(|| Error::invalid("key_spec", "the one spec offered is Aliyun_AES_256"))?,
    };
    if !request.key_usage.is_empty() && KeyUsage::parse(&request.key_usage).is_none() {
        return Err(Error::invalid("key_usage", "an Aliyun_AES_256 key is for ENCRYPT/DECRYPT"));
    }
    if !request.origin.is_empty() && Origin::parse(&request.origin).is_none() {
        let error = Error::from(Rule::OriginSupported).blaming("origin");
        return Err(error.saying("The one origin offered is Aliyun_KMS."));
    }
    if !request.protection_level.is_empty()
        && ProtectionLevel::parse(&request.protection_level).is_none()
    {
        let error = Error::from(Rule::ProtectionLevelSupported).blaming("protection_level");
        return Err(error.saying("The one protection level offered is SOFTWARE."));
    }
    Ok(NewCmk { description: request.description, spec, creator: caller.principal.to_string() })
}

/// `YYYY-MM-DDThh:mm:ssZ`.
fn date(at: Timestamp) -> String {
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
