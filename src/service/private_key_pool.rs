//! Worker threads for private-key operations: a signature takes a millisecond,
//! a new RSA key up to a second, and meanwhile others are served.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::cost::{self, Cost};
use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::model::cmk::KeySpec;

/// Most callers who wait for an RSA key, and most of them of one principal.
const MAX_GENERATIONS_WAITING: usize = 32;
const MAX_GENERATIONS_WAITING_OF_PRINCIPAL: usize = 8;

/// A bounded number of threads. Operations that wait for one are admitted by their
/// cost, and bounded as all requests in flight are.
pub(super) struct PrivateKeyPool {
    threads: Arc<Semaphore>,
    generation: GenerationQueue,
}

/// The queue of those who wait for an RSA key. One is generated at a time, so that
/// signatures never wait behind several.
struct GenerationQueue {
    turn: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<Principal, usize>>>,
}

/// One who waits in that queue, until this is dropped.
struct Waiting {
    queue: Arc<Mutex<HashMap<Principal, usize>>>,
    principal: Principal,
}

impl PrivateKeyPool {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { threads: Arc::new(Semaphore::new(threads)), generation: GenerationQueue::new() }
    }

    /// Runs an operation with a private key.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = caller.admit(Cost::Private).await?;
        self.work(permit, work).await
    }

    /// Generates key material. Only an RSA key needs a thread: any other takes no
    /// longer than the hand-over to one. A caller who leaves, leaves the queue too.
    pub(super) async fn generate(
        &self,
        caller: &Caller,
        left: &CancellationToken,
        spec: KeySpec,
    ) -> Result<VersionMaterial> {
        if !spec.is_rsa() {
            return VersionMaterial::generate(spec);
        }
        caller.spend(cost::RSA_GENERATION).await?;
        let turn = left.run_until_cancelled(self.generation.turn_of(caller)).await;
        let turn = turn.ok_or(Rule::DeadlinePassed)??;
        self.work(turn, move || VersionMaterial::generate(spec)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        admitted: impl Send + 'static,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let thread = self.threads.clone().acquire_owned().await.map_err(closed)?;
        // The permits move into the work: a caller who vanishes frees no thread
        // that is still at work.
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (admitted, thread);
            span.in_scope(work)
        });
        done.await.map_err(|failed| Error::internal(format!("a worker did not end: {failed}")))?
    }
}

impl GenerationQueue {
    fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }

    /// Waits for the caller's turn, as long as the caller does.
    async fn turn_of(&self, caller: &Caller) -> Result<OwnedSemaphorePermit> {
        let _waiting = self.enter(&caller.principal)?;
        let turn = self.turn.clone().acquire_owned();
        let turn = tokio::time::timeout_at(caller.deadline.into(), turn).await;
        turn.map_err(|_| Rule::DeadlinePassed)?.map_err(closed)
    }

    fn enter(&self, principal: &Principal) -> Result<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = waiting.values().sum();
        let of_one = waiting.get(principal).copied().unwrap_or_default();
        if all >= MAX_GENERATIONS_WAITING || of_one >= MAX_GENERATIONS_WAITING_OF_PRINCIPAL {
            return Err(Rule::TooManyRequests.into());
        }
        waiting.insert(principal.clone(), of_one + 1);
        Ok(Waiting { queue: self.waiting.clone(), principal: principal.clone() })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.principal) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(waiting.remove(&self.principal)),
        }
    }
}

fn closed(_: AcquireError) -> Error {
    Error::internal("the pool of private-key workers is closed")
}

#[cfg(test)]
mod tests {
    use crate::access::token_groups::TokenGroups;
    use tracing::dispatcher::{self, Dispatch};
    use tracing::{Instrument, Span};

    use super::super::permits::Permits;
    use super::super::quotas::Quota;
    use super::*;

    fn caller(uid: u32) -> Caller {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let work = Permits::new(512, 256).share_of(&());
        Caller {
            by: None,
            peer: None,
            groups: TokenGroups::default(),
            principal: Principal::unix(uid),
            request_id: String::new(),
            deadline,
            quota: Quota::of(&Arc::default(), &Principal::unix(uid)),
            work,
            permit: None,
            begun: None,
        }
    }

    #[tokio::test]
    async fn a_principal_has_a_share_of_the_queue_and_those_who_leave_leave_it() {
        let pool = Arc::new(PrivateKeyPool::new());
        let _others_turn = pool.generation.turn.clone().acquire_owned().await.unwrap();
        let left = CancellationToken::new();
        let wait = |uid| {
            let (pool, left, caller) = (pool.clone(), left.clone(), caller(uid));
            tokio::spawn(async move { pool.generate(&caller, &left, KeySpec::Rsa2048).await })
        };
        let waiting: Vec<_> = (0..8).map(|_| wait(1)).collect();
        while pool.generation.waiting.lock().unwrap().get(&Principal::unix(1)) != Some(&8) {
            tokio::task::yield_now().await;
        }
        let refused = wait(1).await.unwrap().err().unwrap();
        assert_eq!(refused.rule(), Rule::TooManyRequests);
        drop(pool.generation.enter(&Principal::unix(2)).unwrap());
        left.cancel();
        for one in waiting {
            assert!(one.await.unwrap().is_err());
        }
        assert!(pool.generation.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn threads_work_in_the_span_of_the_request() {
        let log = Dispatch::new(tracing_subscriber::registry());
        let _default = dispatcher::set_default(&log);
        let request = tracing::error_span!("request");
        let pool = PrivateKeyPool::new();
        let work = move || Ok(dispatcher::with_default(&log, || Span::current().id()));
        let found = pool.run(&caller(1), work).instrument(request.clone()).await.unwrap();
        assert!(found.is_some());
        assert_eq!(found, request.id());
    }
}
