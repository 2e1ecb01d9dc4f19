//! Pages of lists.
//!
//! A page token names the last entry of the page before, authenticated for the
//! one list that it came from, so that it stays true while others write and
//! cannot be forged to look elsewhere.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Error, Result};
use crate::keys::guard::records::{RecordKind, RecordSeals, v1};
use crate::limits::{PAGE_ENTRIES, PAGE_ENTRIES_DEFAULT, PAGE_NUMBER};

/// Longer than any token that we make.
const MAX_TOKEN_CHARS: usize = 2048;

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Entries a page.
    pub size: u32,
    /// Where it begins.
    pub start: PageStart,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// After so many pages, counted now.
    Number(u32),
    /// After the entry that a token names.
    Token(String),
}

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries, oldest first.
    pub entries: Vec<T>,
    /// How many there are in all.
    pub total_count: u64,
    /// For the next page; empty on the last.
    pub next_page_token: String,
}

impl<T> Page<T> {
    /// The same page, each entry turned into another.
    pub(super) fn try_map<U>(self, turn: impl FnMut(T) -> Result<U>) -> Result<Page<U>> {
        let Self { entries, total_count, next_page_token } = self;
        let entries = entries.into_iter().map(turn).collect::<Result<_>>()?;
        Ok(Page { entries, total_count, next_page_token })
    }

    /// The same page with other entries.
    pub(super) fn with<U>(self, entries: Vec<U>) -> Page<U> {
        let Self { total_count, next_page_token, .. } = self;
        Page { entries, total_count, next_page_token }
    }
}

impl PageRequest {
    /// Reads the three fields of a list request, which belong together.
    pub fn parse(number: Option<u32>, size: Option<u32>, token: String) -> Result<Self> {
        let size = size.unwrap_or(PAGE_ENTRIES_DEFAULT);
        if !PAGE_ENTRIES.allows(size) {
            let found = format_args!("it is {size}, and a page has {PAGE_ENTRIES}");
            return Err(Error::invalid("page_size", found));
        }
        let start = match (token.is_empty(), number.unwrap_or(1)) {
            (false, _) => PageStart::Token(token),
            (true, number) if PAGE_NUMBER.allows(number) => PageStart::Number(number),
            (true, number) => {
                let found = format_args!("it is {number}, and must be {PAGE_NUMBER}");
                return Err(Error::invalid("page_number", found));
            }
        };
        Ok(Self { size, start })
    }

    /// The page number to answer; 0 where a token was given.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self.start {
            PageStart::Number(number) => number,
            PageStart::Token(_) => 0,
        }
    }
}

impl RecordSeals {
    /// The token for the entries that follow `last` in the list at `path`.
    pub(super) fn page_token(&self, path: &str, last: &str) -> Result<String> {
        let cursor = v1::PageCursor { last: last.to_owned() };
        let sealed = self.seal(RecordKind::PageCursor, path, &cursor, &[])?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// A page of a short list that is known in full, in its order.
    pub(super) fn page_of<T>(
        &self,
        path: &str,
        all: Vec<T>,
        order: impl Fn(&T) -> &str,
        page: &PageRequest,
    ) -> Result<Page<T>> {
        let (total, size) = (all.len(), page.size as usize);
        let first = match &page.start {
            PageStart::Number(number) => (number.saturating_sub(1) as usize).saturating_mul(size),
            PageStart::Token(token) => {
                let last = self.page_cursor(path, token)?;
                all.partition_point(|entry| order(entry) <= last.as_str())
            }
        };
        let entries: Vec<_> = all.into_iter().skip(first).take(size).collect();
        let next_page_token = match entries.last() {
            Some(last) if first.saturating_add(size) < total => {
                self.page_token(path, order(last))?
            }
            _ => String::new(),
        };
        Ok(Page { entries, total_count: total as u64, next_page_token })
    }

    /// The entry that a token of the list at `path` names.
    pub(super) fn page_cursor(&self, path: &str, token: &str) -> Result<String> {
        let refused = || Error::invalid("page_token", "it is not a token of this list");
        if token.len() > MAX_TOKEN_CHARS {
            return Err(refused());
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (cursor, _): (v1::PageCursor, _) =
            self.open(RecordKind::PageCursor, path, &sealed).map_err(|_| refused())?;
        Ok(cursor.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::StoreKey;
    use crate::ids::{StoreId, StoreKeyId};

    fn seals() -> RecordSeals {
        RecordSeals::new(StoreId::new(), &[(StoreKeyId::new(), StoreKey::generate().unwrap())])
    }

    #[test]
    fn a_token_is_good_for_its_own_list_and_store_alone() {
        let (here, elsewhere) = (seals(), seals());
        let token = here.page_token("cmk/", "cmk/1").unwrap();
        assert_eq!(here.page_cursor("cmk/", &token).unwrap(), "cmk/1");
        assert!(here.page_cursor("alias-order/", &token).is_err());
        assert!(elsewhere.page_cursor("cmk/", &token).is_err());
    }

    #[test]
    fn a_forged_token_is_refused() {
        let seals = seals();
        let token = seals.page_token("cmk/", "cmk/1").unwrap();
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(seals.page_cursor("cmk/", &forged).is_err(), "character {at}");
        }
        for forged in ["", "x", "####", &"A".repeat(MAX_TOKEN_CHARS + 1)] {
            assert!(seals.page_cursor("cmk/", forged).is_err());
        }
    }

    #[test]
    fn a_token_wins_over_a_number() {
        let page = PageRequest::parse(Some(3), None, "token".into()).unwrap();
        assert_eq!((page.number(), page.size), (0, PAGE_ENTRIES_DEFAULT));
        assert_eq!(PageRequest::parse(None, Some(100), String::new()).unwrap().number(), 1);
        for (number, size) in [(Some(0), None), (None, Some(0)), (None, Some(101))] {
            assert!(PageRequest::parse(number, size, String::new()).is_err());
        }
    }
}
