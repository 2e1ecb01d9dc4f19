//! Answers on their way over HTTP/2 to a peer, who may not take them.
//!
//! A stream waits until the peer opens its window, for ever if need be, and keeps
//! what it has of its answer. So a stream whose peer takes nothing within a limit is
//! reset: its task is dropped.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

/// The last step, with its answer, of the task that is being polled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    /// A part of the answer was handed on, to be sent.
    Gave,
    /// All that there is was taken; more will come.
    Waits,
}

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(Last::Nothing) };
}

/// Says that a part of the answer is now to be sent.
pub(super) fn gave() {
    LAST.set(Last::Gave);
}

/// Says that everything so far was taken, and nothing more is ready.
pub(super) fn waits() {
    LAST.set(Last::Waits);
}

/// Runs the tasks of the streams of an HTTP/2 connection.
#[derive(Clone)]
pub(super) struct StreamTasks {
    /// How long a peer may take nothing.
    pub(super) limit: Duration,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(Delivery { stream, limit: self.limit, alarm: None });
    }
}

pin_project! {
    /// The task of a stream, which ends where the peer takes nothing.
    struct Delivery<F> {
        #[pin]
        stream: F,
        limit: Duration,
        // There while something waits for the peer.
        alarm: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Delivery<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        LAST.set(Last::Nothing);
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match LAST.get() {
            Last::Nothing => {}
            Last::Waits => *this.alarm = None,
            Last::Gave => {
                let over = Instant::now() + *this.limit;
                *this.alarm = Some(Box::pin(tokio::time::sleep_until(over)));
            }
        }
        let Some(alarm) = this.alarm else { return Poll::Pending };
        ready!(alarm.as_mut().poll(cx));
        tracing::debug!("a stream was reset: its answer was not taken in time");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    async fn is_reset(stream: impl Future<Output = ()>) -> bool {
        let delivery = Delivery { stream, limit: LIMIT, alarm: None };
        tokio::time::timeout(3 * LIMIT, delivery).await.is_ok()
    }

    #[tokio::test]
    async fn a_task_may_work_on_its_answer_for_long() {
        assert!(!is_reset(std::future::pending()).await);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_dropped() {
        let stream = async {
            gave();
            std::future::pending::<()>().await;
        };
        assert!(is_reset(stream).await);
    }

    #[tokio::test]
    async fn a_stream_that_has_nothing_to_send_stays() {
        let stream = async {
            gave();
            tokio::task::yield_now().await;
            waits();
            std::future::pending::<()>().await;
        };
        assert!(!is_reset(stream).await);
    }

    #[tokio::test]
    async fn an_answer_that_gets_on_slowly_stays() {
        let stream = async {
            for _ in 0..100 {
                gave();
                tokio::time::sleep(LIMIT / 4).await;
            }
        };
        assert!(!is_reset(stream).await);
    }
}
