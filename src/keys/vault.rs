//! The vault: the store and the seals of its records in one.
//!
//! It opens the records that it reads and seals those that it writes. It
//! remembers that a record was not intact, and tells the caches what each commit
//! has made stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::caches::{Caches, ReadAt};
use crate::keys::guard::records::{Record, RecordSeals};
use crate::keys::not_done::NotDone;
use crate::keys::pages::{Page, PageRequest, PageStart};
use crate::keys::paths::StorePath;
use crate::storage::{
    Precondition, Revision, Snapshot, Store, StoreError, Versioned, Write, commit_settled,
};

/// Entries that a list skips at a time on its way to a numbered page.
const SKIP_AT_A_TIME: usize = 1000;

/// The store, and the seals of its records.
pub struct Vault {
    store: Arc<dyn Store>,
    seals: RecordSeals,
    caches: Caches,
    damaged: AtomicBool,
}

/// A record that was read and opened.
pub struct Opened<R> {
    /// Its plain fields.
    pub record: R,
    /// Its secret bytes.
    pub secret: Zeroizing<Vec<u8>>,
    /// The commit that put it.
    pub revision: Revision,
    /// When it was read.
    pub read_at: ReadAt,
}

impl Vault {
    /// A vault over a store that is open, and the caches in front of it.
    pub fn new(store: Arc<dyn Store>, seals: RecordSeals, caches: Caches) -> Self {
        Self { store, seals, caches, damaged: AtomicBool::new(false) }
    }

    /// Whether the store answers and every record that was opened was intact.
    pub async fn is_healthy(&self) -> bool {
        !self.damaged.load(Ordering::Relaxed) && self.store.probe().await.is_ok()
    }

    /// The seals, for page tokens, which lie at no path.
    pub fn seals(&self) -> &RecordSeals {
        &self.seals
    }

    /// The values at these paths, sealed, all at one revision.
    pub async fn read(&self, paths: &[StorePath]) -> Result<(Vec<Option<Versioned>>, ReadAt)> {
        let doubts = self.caches.doubts();
        let paths: Vec<_> = paths.iter().map(StorePath::to_string).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let Snapshot { revision, values } = self.store.read(&paths).await?;
        Ok((values, ReadAt::new(doubts, revision)))
    }

    /// The record at a path, if there is one.
    pub async fn find<R: Record>(&self, path: &StorePath) -> Result<Option<Opened<R>>> {
        Ok(self.find_all(std::slice::from_ref(path)).await?.into_iter().next().flatten())
    }

    /// The records at these paths, all as of one moment.
    pub async fn find_all<R: Record>(&self, paths: &[StorePath]) -> Result<Vec<Option<Opened<R>>>> {
        let (values, read_at) = self.read(paths).await?;
        let open = |(path, stored): (_, Option<Versioned>)| {
            let Some(stored) = stored else { return Ok(None) };
            let (record, secret) = self.open(path, &stored)?;
            Ok(Some(Opened { record, secret, revision: stored.revision, read_at }))
        };
        paths.iter().zip(values).map(open).collect()
    }

    /// Opens what was read at a path: its plain fields and its secret bytes.
    pub fn open<R: Record>(
        &self,
        path: &StorePath,
        stored: &Versioned,
    ) -> Result<(R, Zeroizing<Vec<u8>>)> {
        self.seals.open(R::KIND, &path.to_string(), &stored.value).map_err(|not_intact| {
            self.damaged.store(true, Ordering::Relaxed);
            not_intact.into()
        })
    }

    /// A record that is intact and yet is not what it should be.
    pub fn not_intact(&self, path: &StorePath) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::internal(format!("the stored record at {path} is not what it should be"))
    }

    /// The write that puts a record at its path, sealed.
    pub fn put<R: Record>(&self, path: &StorePath, record: &R, secret: &[u8]) -> Result<Write> {
        let path = path.to_string();
        let sealed = self.seals.seal(R::KIND, &path, record, secret)?;
        Ok(Write::Put(path, sealed))
    }

    /// Commits, and settles an uncertain outcome where a re-read can. Then the
    /// caches forget what this made stale, and only then it is answered: so a
    /// change of what is cached runs in a task that no caller can cancel.
    pub async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, NotDone> {
        let written = writes.iter().map(Write::path);
        match commit_settled(self.store.as_ref(), preconditions, writes).await {
            Ok(revision) => {
                self.caches.forget(written, Some(revision));
                Ok(revision)
            }
            // It may have been made all the same, or another process has changed
            // what was judged.
            Err(error) => {
                let judged = preconditions.iter().map(Precondition::path);
                self.caches.forget(written.chain(judged), None);
                Err(match error {
                    StoreError::Conflict => NotDone::Stale,
                    error => error.into(),
                })
            }
        }
    }

    /// Makes the next look at this path go to the store.
    pub fn forget(&self, path: &StorePath) {
        self.caches.forget(std::iter::once(path.to_string().as_str()), None);
    }

    /// A page of what lies under a prefix.
    pub async fn page(
        &self,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<(StorePath, Versioned)>> {
        let total_count = self.store.count(prefix).await?;
        let after = match &page.start {
            PageStart::Token(token) => Some(self.seals.page_cursor(prefix, token)?),
            PageStart::Number(number) => {
                let skip = u64::from(number.saturating_sub(1)) * u64::from(page.size);
                if skip >= total_count && skip > 0 {
                    let next_page_token = String::new();
                    return Ok(Page { entries: Vec::new(), total_count, next_page_token });
                }
                self.skip(prefix, usize::try_from(skip).unwrap_or(usize::MAX)).await?
            }
        };
        let listed = self.store.list(prefix, after.as_deref(), page.size as usize).await?;
        let next_page_token = match listed.entries.last() {
            Some((last, _)) if listed.more => self.seals.page_token(prefix, last)?,
            _ => String::new(),
        };
        let parse = |(path, stored): (String, _)| Ok((parse(&path)?, stored));
        let entries = listed.entries.into_iter().map(parse).collect::<Result<_>>()?;
        Ok(Page { entries, total_count, next_page_token })
    }

    /// The path of the last of `skip` entries.
    async fn skip(&self, prefix: &str, mut skip: usize) -> Result<Option<String>> {
        let mut after = None;
        while skip > 0 {
            let page = self.store.list(prefix, after.as_deref(), skip.min(SKIP_AT_A_TIME)).await?;
            let Some((last, _)) = page.entries.last() else { break };
            after = Some(last.clone());
            skip -= page.entries.len().min(skip);
        }
        Ok(after)
    }

    /// A walk through all that lies under a prefix, so many entries at a time.
    pub fn walk<'a>(&'a self, prefix: &'a str, at_a_time: usize) -> Walk<'a> {
        Walk { store: self.store.as_ref(), prefix, at_a_time, after: None, ended: false }
    }
}

/// A walk through a list.
pub struct Walk<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    at_a_time: usize,
    after: Option<String>,
    ended: bool,
}

impl Walk<'_> {
    /// The next entries, in order of paths; `None` where there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<(String, Versioned)>>> {
        if self.ended {
            return Ok(None);
        }
        let listed = self.store.list(self.prefix, self.after.as_deref(), self.at_a_time).await?;
        self.after = listed.entries.last().map(|(path, _)| path.clone());
        self.ended = !listed.more;
        Ok(self.after.is_some().then_some(listed.entries))
    }
}

/// Parses a path that was read from the store.
pub fn parse(path: &str) -> Result<StorePath> {
    StorePath::parse(path).ok_or_else(malformed_path)
}

/// A path that is not where it should be, or none at all.
pub fn malformed_path() -> Error {
    Error::internal("a path in the store is malformed")
}
