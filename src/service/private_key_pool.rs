//! Worker threads for private-key operations: a signature takes a millisecond,
//! a new RSA key up to a second, and meanwhile others are served.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::caller::Caller;
use crate::error::{Error, Result, Rule};
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::model::cmk::KeySpec;

/// Most operations that wait for a thread; one more is refused.
const MAX_WAITING: usize = 1024;

/// A bounded number of threads, and a bounded number of operations that wait
/// for one.
pub(super) struct PrivateKeyPool {
    /// Permits for operations that wait or are at work.
    admission: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    /// One RSA key is generated at a time, so that signatures never wait behind
    /// several.
    generation: Arc<Semaphore>,
}

impl PrivateKeyPool {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            admission: Arc::new(Semaphore::new(threads + MAX_WAITING)),
            threads: Arc::new(Semaphore::new(threads)),
            generation: Arc::new(Semaphore::new(1)),
        }
    }

    /// Runs an operation with a private key.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let admitted = self.admit()?;
        self.work(admitted, None, work).await
    }

    /// Generates key material. Only an RSA key needs a thread: any other takes no
    /// longer than the hand-over to one.
    pub(super) async fn generate(&self, caller: &Caller, spec: KeySpec) -> Result<VersionMaterial> {
        if !spec.is_rsa() {
            return VersionMaterial::generate(spec);
        }
        let admitted = self.admit()?;
        let turn = self.generation.clone().acquire_owned().await.map_err(closed)?;
        // The caller may have given up while others had their turn.
        caller.check_deadline()?;
        self.work(admitted, Some(turn), move || VersionMaterial::generate(spec)).await
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit> {
        self.admission.clone().try_acquire_owned().map_err(|_| Rule::TooManyRequests.into())
    }

    async fn work<T: Send + 'static>(
        &self,
        admitted: OwnedSemaphorePermit,
        turn: Option<OwnedSemaphorePermit>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let thread = self.threads.clone().acquire_owned().await.map_err(closed)?;
        // The permits move into the work: a caller who vanishes frees no thread
        // that is still at work.
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || {
            let _held = (admitted, turn, thread);
            span.in_scope(work)
        });
        done.await.map_err(|failed| Error::internal(format!("a worker did not end: {failed}")))?
    }
}

fn closed(_: AcquireError) -> Error {
    Error::internal("the pool of private-key workers is closed")
}

#[cfg(test)]
mod tests {
    use tracing::dispatcher::{self, Dispatch};
    use tracing::{Instrument, Span};

    use super::*;

    #[tokio::test]
    async fn threads_work_in_the_span_of_the_request() {
        let log = Dispatch::new(tracing_subscriber::registry());
        let _default = dispatcher::set_default(&log);
        let request = tracing::error_span!("request");
        let pool = PrivateKeyPool::new();
        let work = move || Ok(dispatcher::with_default(&log, || Span::current().id()));
        let found = pool.run(work).instrument(request.clone()).await.unwrap();
        assert!(found.is_some());
        assert_eq!(found, request.id());
    }
}
