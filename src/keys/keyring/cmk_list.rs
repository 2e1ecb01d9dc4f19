//! Lists of CMKs, oldest first.

use std::collections::BTreeSet;

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::Look;
use crate::error::Result;
use crate::ids::KeyId;
use crate::keys::keyring::Keyring;
use crate::keys::model::filters::Filters;
use crate::keys::pages::{Page, PageRequest, PageStart};
use crate::keys::paths::StorePath;

/// CMKs that are read at a time on the way through all of them.
const READ_AT_A_TIME: usize = 200;

impl Keyring {
    /// A page of the CMKs that fit. Filters read every CMK.
    pub async fn list(
        &self,
        grant: Grant<Look>,
        filters: &Filters,
        page: &PageRequest,
    ) -> Result<Page<KeyId>> {
        grant.instance_for(Action::ListKeys)?;
        if !filters.is_empty() {
            return self.list_filtered(filters, page).await;
        }
        self.vault.page(StorePath::CMKS, page).await?.try_map(|(path, _)| key_id(&path))
    }

    async fn list_filtered(&self, filters: &Filters, page: &PageRequest) -> Result<Page<KeyId>> {
        // A token goes with the filters that it came with.
        let token_path = format!("{}{}", StorePath::CMKS, filters.digest());
        let mut named = BTreeSet::new();
        for name in filters.alias_names().unwrap_or_default() {
            named.extend(self.find_alias(&name).await?);
        }
        let mut shown = FilteredPage::begin(page);
        if let PageStart::Token(token) = &page.start {
            shown.after = Some(self.vault.seals().page_cursor(&token_path, token)?);
        }
        let mut walk = self.vault.walk(StorePath::CMKS, READ_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            for (path, stored) in &entries {
                let id = key_id(&StorePath::listed(path)?)?;
                if filters.fit(&self.open_cmk(id, stored)?, &named) {
                    shown.meet(path, id);
                }
            }
        }
        let next_page_token = match shown.entries.last() {
            Some((last, _)) if shown.more => self.vault.seals().page_token(&token_path, last)?,
            _ => String::new(),
        };
        let entries = shown.entries.into_iter().map(|(_, id)| id).collect();
        Ok(Page { entries, total_count: shown.met, next_page_token })
    }
}

/// The part of a filtered list that a page shows.
struct FilteredPage {
    size: usize,
    /// How many that fit come before the page, where it has a number.
    skip: u64,
    /// The last path before the page, where it has a token.
    after: Option<String>,
    entries: Vec<(String, KeyId)>,
    /// How many fit in all.
    met: u64,
    /// Whether one that fits comes after the page.
    more: bool,
}

impl FilteredPage {
    fn begin(page: &PageRequest) -> Self {
        let skip = match page.start {
            PageStart::Number(number) => u64::from(number.saturating_sub(1)) * u64::from(page.size),
            PageStart::Token(_) => 0,
        };
        let entries = Vec::new();
        Self { size: page.size as usize, skip, after: None, entries, met: 0, more: false }
    }

    /// One that fits, in order.
    fn meet(&mut self, path: &str, id: KeyId) {
        self.met += 1;
        let before = self.after.as_deref().is_some_and(|after| path <= after);
        if before || self.met <= self.skip {
            return;
        }
        if self.entries.len() < self.size {
            self.entries.push((path.to_owned(), id));
        } else {
            self.more = true;
        }
    }
}

fn key_id(path: &StorePath) -> Result<KeyId> {
    match path {
        StorePath::Cmk(id) => Ok(*id),
        _ => Err(StorePath::malformed()),
    }
}
