//! Receipts: made for exports that ask for one, and demanded of imports.

use std::sync::Arc;

use super::authorise::AccessRequest;
use super::call::Call;
use super::cmk::date;
use super::{Services, cost, unless_dry_run};
use crate::access::decisions::GET_RECEIPT_KEYS;
use crate::access::question::Subject;
use crate::audit::trail::Reply;
use crate::crypto::receipt::{Claims, DatedKey, Delivery, Export, UnverifiedReceipt};
use crate::error::{Error, Result};
use crate::keys::clock::Clock;
use crate::keys::receipt_keys::ReceiptKeys;
use crate::proto::v1;
use crate::trusted_issuers::TrustedIssuers;

const SOURCE_RECEIPT: &str = "source_receipt";

/// What receipts are made and judged with.
pub(super) struct Receipts {
    keys: Arc<ReceiptKeys>,
    trusted: Arc<TrustedIssuers>,
    required_on_import: bool,
}

impl Receipts {
    pub(super) fn new(keys: Arc<ReceiptKeys>) -> Self {
        Self { keys, trusted: Arc::default(), required_on_import: false }
    }

    /// The same, with issuers whose receipts an import may come with, or must.
    pub(super) fn trusting(&self, trusted: Arc<TrustedIssuers>, required_on_import: bool) -> Self {
        Self { keys: self.keys.clone(), trusted, required_on_import }
    }

    /// The receipt of an export, if one was asked for.
    pub(super) async fn issue(
        &self,
        asked: bool,
        call: &Call<'_>,
        clock: &dyn Clock,
        export: &Export<'_>,
    ) -> Result<String> {
        if !asked {
            return Ok(String::new());
        }
        call.spend(cost::RECEIPT).await?;
        // The line of this event in the audit log tells of the export.
        let event = call.trail().event();
        let claims = Claims::of(self.keys.issuer(), event, clock.now(), export)?;
        let receipt = self.keys.sign(&claims).await?;
        call.trail().add(|entry| entry.receipt = Some(true));
        Ok(receipt)
    }

    /// Reads the receipt that an import comes with.
    pub(super) fn parse_source(&self, receipt: &str) -> Result<Option<UnverifiedReceipt>> {
        if receipt.is_empty() && self.required_on_import {
            return Err(Error::missing(SOURCE_RECEIPT));
        }
        if receipt.is_empty() {
            return Ok(None);
        }
        if self.trusted.is_empty() {
            let found = "this server is configured with no issuer of receipts that it trusts";
            return Err(Error::invalid(SOURCE_RECEIPT, found));
        }
        UnverifiedReceipt::parse(receipt).map(Some).map_err(|_| does_not_hold())
    }

    /// Refuses an import that comes with the receipt of something else, or with one that
    /// no trusted issuer signed.
    pub(super) fn check_source(
        &self,
        receipt: Option<&UnverifiedReceipt>,
        delivery: &Delivery<'_>,
    ) -> Result<()> {
        let Some(receipt) = receipt else { return Ok(()) };
        let claims = self.trusted.verify(receipt).ok_or_else(does_not_hold)?;
        claims.check(delivery).map_err(|_| does_not_hold())
    }
}

/// Refuses a receipt of what has none: a blob of this store.
pub(super) fn refuse_source(receipt: &str) -> Result<()> {
    if receipt.is_empty() {
        return Ok(());
    }
    let found = "only what was exported to an asymmetric key, source_key_id, comes with one";
    Err(Error::invalid(SOURCE_RECEIPT, found))
}

/// One text for all causes.
fn does_not_hold() -> Error {
    let found = "it is not the receipt, by an issuer that this server trusts, of this ciphertext for this public key and algorithm";
    Error::invalid(SOURCE_RECEIPT, found)
}

impl Services {
    /// Tells the public keys that verify receipts.
    pub(super) async fn answer_get_receipt_keys(
        &self,
        call: &Call<'_>,
        request: v1::GetReceiptKeysRequest,
    ) -> Result<Reply<v1::GetReceiptKeysResponse>> {
        let access = AccessRequest::new(call, GET_RECEIPT_KEYS, request.dry_run);
        let grant = self.authorise(access, Subject::Instance)?;
        unless_dry_run(request.dry_run)?;
        let keys = self.receipts.keys.publish(grant).await?;
        Ok(call.reply(v1::GetReceiptKeysResponse {
            issuer: self.receipts.keys.issuer().to_string(),
            jwks: keys.to_jwks().to_string(),
            receipt_keys: keys.keys().iter().map(receipt_key).collect(),
            request_id: call.request_id.clone(),
        }))
    }

    /// The same as a JWK Set, for anybody: they are public, and no decision is needed.
    pub async fn published_receipt_keys(&self) -> Result<String> {
        Ok(self.receipts.keys.published().await?.to_jwks().to_string())
    }
}

fn receipt_key(key: &DatedKey) -> v1::ReceiptKey {
    v1::ReceiptKey {
        kid: key.key.thumbprint().to_string(),
        signs_from: key.from.map(date).unwrap_or_default(),
        signed_until: key.until.map(date).unwrap_or_default(),
    }
}
