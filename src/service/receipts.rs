//! Receipts: made for exports that ask for one, and demanded of imports.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::authorise::AccessRequest;
use super::caller::Caller;
use super::cmk::date;
use super::{Services, cost, unless_dry_run};
use crate::access::decisions::GET_RECEIPT_KEYS;
use crate::access::question::Subject;
use crate::audit::event_ids::EventIds;
use crate::crypto::receipt::{Claims, DatedKey, Delivery, Export, UnverifiedReceipt};
use crate::error::{Error, Result};
use crate::ids::EventId;
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
    events: OnceCell<EventIds>,
}

impl Receipts {
    pub(super) fn new(keys: Arc<ReceiptKeys>) -> Self {
        Self { keys, trusted: Arc::default(), required_on_import: false, events: OnceCell::new() }
    }

    /// The same, with issuers whose receipts an import may come with, or must.
    pub(super) fn trusting(&self, trusted: Arc<TrustedIssuers>, required_on_import: bool) -> Self {
        Self { trusted, required_on_import, ..Self::new(self.keys.clone()) }
    }

    /// The receipt of an export, if one was asked for.
    pub(super) async fn issue(
        &self,
        asked: bool,
        caller: &Caller,
        clock: &dyn Clock,
        export: &Export<'_>,
    ) -> Result<String> {
        if !asked {
            return Ok(String::new());
        }
        caller.spend(cost::RECEIPT).await?;
        let event = self.next_event(clock).await?;
        let claims = Claims::of(self.keys.issuer(), event, clock.now(), export)?;
        self.keys.sign(&claims).await
    }

    /// The id of the event that a receipt is about.
    async fn next_event(&self, clock: &dyn Clock) -> Result<EventId> {
        let events = self.events.get_or_try_init(async || EventIds::begin()).await?;
        Ok(events.next(clock.now()))
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
    pub async fn get_receipt_keys(
        &self,
        caller: &Caller,
        request: v1::GetReceiptKeysRequest,
    ) -> Result<v1::GetReceiptKeysResponse> {
        let access = AccessRequest::new(caller, GET_RECEIPT_KEYS, request.dry_run);
        let grant = self.authorise(access, Subject::Instance)?;
        unless_dry_run(request.dry_run)?;
        let keys = self.receipts.keys.publish(grant).await?;
        Ok(v1::GetReceiptKeysResponse {
            issuer: self.receipts.keys.issuer().to_string(),
            jwks: keys.to_jwks().to_string(),
            receipt_keys: keys.keys().iter().map(receipt_key).collect(),
            request_id: caller.request_id.clone(),
        })
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
