//! Attempts: a request begins again where the key that it was granted has
//! changed before it was used.

use crate::error::{Error, Result, Rule};
use crate::keys::not_done::NotDone;

/// How often a request begins before it gives way to the others that change the
/// same key.
const MAX_ATTEMPTS: usize = 16;

/// Acts, and begins again while what was granted is stale: each attempt finds
/// and asks anew. A macro, as the future of an async closure that borrows is not
/// known to be `Send`.
macro_rules! until_fresh {
    ($attempt:block) => {{
        let mut attempts = $crate::service::attempts::Attempts::default();
        loop {
            if let Some(finished) = attempts.finish(async $attempt.await).await {
                break finished;
            }
        }
    }};
}
pub(super) use until_fresh;

/// How often a request has begun.
#[derive(Default)]
pub(super) struct Attempts(usize);

impl Attempts {
    /// The outcome of an attempt, or `None` where another is due.
    pub(super) async fn finish<T>(&mut self, outcome: Result<T, NotDone>) -> Option<Result<T>> {
        self.0 += 1;
        match outcome {
            Ok(done) => Some(Ok(done)),
            Err(NotDone::Refused(error)) => Some(Err(error)),
            Err(NotDone::Stale) if self.0 < MAX_ATTEMPTS => {
                tokio::task::yield_now().await;
                None
            }
            Err(NotDone::Stale) => {
                let text = "The key is being changed by many at once. Try again later.";
                Some(Err(Error::from(Rule::TooManyRequests).saying(text)))
            }
        }
    }
}
