//! ExportDataKeys: many exports over one stream.
//!
//! Items are worked on one after the other, and answered in order. Each is an
//! ExportDataKey of its own: its caller is authenticated anew, it waits for a permit among
//! the requests in flight, and has its own deadline, grant and line in the audit log. The
//! next item is begun when the answer before it has been taken, or while lines are on their
//! way to the disk: a slow reader slows its own stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

use super::Services;
use super::call::Call;
use super::caller::{Caller, Connection};
use crate::access::decisions::EXPORT_DATA_KEYS;
use crate::audit::trail::Reply;
use crate::error::{Error, Result, Rule};
use crate::limits::ITEM_ID_BYTES;
use crate::proto::v1;

/// Items of one stream whose lines may be on their way to the disk.
const ITEMS_ON_THE_WAY: usize = 64;
/// How long the answers that are done when a stream is ended may take to be taken.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// An answer, once it may be given.
type Answer = Pin<Box<dyn Future<Output = v1::ExportDataKeysResponse> + Send>>;

/// Answers to items that were worked on, in order.
type OnTheWay = VecDeque<Answer>;

/// The answers of a stream, and then the error that ended it, if one did.
pub struct Answers {
    answers: mpsc::Receiver<v1::ExportDataKeysResponse>,
    /// How the stream ended; apart from the answers, so that an error waits for
    /// no reader. `None` once it was told.
    end: Option<oneshot::Receiver<Result<()>>>,
}

impl Stream for Answers {
    type Item = Result<v1::ExportDataKeysResponse>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(answer) = ready!(self.answers.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(answer)));
        }
        let Some(end) = self.end.as_mut() else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(end).poll(cx));
        self.end = None;
        // A task that did not say how the stream ended has panicked. The stream
        // must not look finished.
        let ended = ended.unwrap_or_else(|_| Err(Error::internal("a stream was broken off")));
        Poll::Ready(ended.err().map(Err))
    }
}

impl Services {
    /// Exports the data keys of a stream, for as long as it goes on.
    pub fn export_data_keys<S>(
        &self,
        caller: Caller,
        connection: Arc<dyn Connection>,
        items: S,
    ) -> Answers
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin + 'static,
    {
        let (sender, answers) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let stream = ExportStream { services: self.clone(), caller, connection, answers: sender };
        let answering = async move {
            let end = match stream.answer(items).await {
                End::Finished | End::CallerLeft => Ok(()),
                End::Failed(error) => Err(error),
            };
            // An error means that the caller has left.
            let _ = ended.send(end);
        };
        tokio::spawn(tracing::Instrument::instrument(answering, tracing::Span::current()));
        Answers { answers, end: Some(end) }
    }
}

/// One stream.
struct ExportStream {
    services: Services,
    caller: Caller,
    connection: Arc<dyn Connection>,
    answers: mpsc::Sender<v1::ExportDataKeysResponse>,
}

/// Why a stream ends.
enum End {
    /// Every item was answered, and no more will come.
    Finished,
    /// The caller reads no more answers.
    CallerLeft,
    /// It cannot continue.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl ExportStream {
    /// Answers every item.
    async fn answer<S>(self, mut items: S) -> End
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        let mut on_the_way = OnTheWay::new();
        let mut number = 0;
        let end = loop {
            let answered = self.answer_next(&mut items, &mut number, &mut on_the_way).await;
            if let Err(end) = answered {
                break end;
            }
        };
        if !matches!(end, End::CallerLeft) {
            // What is left counts as not answered, and is in the audit log.
            let _ = timeout(LAST_ANSWERS, self.give(on_the_way)).await;
        }
        end
    }

    /// Gives one answer, and meanwhile works on as many items as may be on the way.
    async fn answer_next<S>(
        &self,
        items: &mut S,
        number: &mut u64,
        on_the_way: &mut OnTheWay,
    ) -> Result<(), End>
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        let mut item = None;
        if on_the_way.is_empty() {
            item = Some(self.next_item(items).await?);
        }
        let slot = self
            .within_idle_limit("taken", self.answers.reserve())
            .await?
            .map_err(|_| End::CallerLeft)?;
        loop {
            if let Some(item) = item {
                let permit = self.unless_ended(self.connection.admit()).await??;
                *number += 1;
                on_the_way.push_back(self.work_on(item, *number).await?);
                drop(permit);
            }
            let has_room = on_the_way.len() < ITEMS_ON_THE_WAY;
            tokio::select! {
                biased;
                answer = next(on_the_way) => {
                    on_the_way.pop_front();
                    slot.send(answer);
                    return Ok(());
                }
                next = self.next_item(items), if has_room => item = Some(next?),
            }
        }
    }

    /// The next item, or why there is none.
    async fn next_item<S>(&self, items: &mut S) -> Result<v1::ExportDataKeysRequest, End>
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        let sent = self.within_idle_limit("sent", items.next()).await?;
        Ok(sent.ok_or(End::Finished)??)
    }

    /// Gives the answers to the items that were worked on.
    async fn give(&self, on_the_way: OnTheWay) {
        for answer in on_the_way {
            // An error means that the caller has left.
            let _ = self.answers.send(answer.await).await;
        }
    }

    /// A step of the peer's, if it takes no longer than the idle limit.
    async fn within_idle_limit<T>(
        &self,
        what: &str,
        step: impl Future<Output = T>,
    ) -> Result<T, End> {
        let most = self.connection.idle_limit();
        self.unless_ended(timeout(most, step)).await?.map_err(|_| {
            let text = format!("Nothing was {what} for {} seconds.", most.as_secs());
            Error::from(Rule::DeadlinePassed).saying(text).into()
        })
    }

    /// Waits, unless the server stops or the caller leaves.
    async fn unless_ended<T>(&self, step: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            biased;
            () = self.connection.stopping() => Err(End::Failed(Rule::ServerStopping.into())),
            () = self.answers.closed() => Err(End::CallerLeft),
            done = step => Ok(done),
        }
    }

    /// Does the work of one item; an error where nothing more may be answered.
    async fn work_on(&self, request: v1::ExportDataKeysRequest, number: u64) -> Result<Answer> {
        let v1::ExportDataKeysRequest { item_id, item } = request;
        let caller = Caller {
            principal: self.connection.principal()?,
            deadline: self.connection.deadline(),
            quota: self.caller.quota.clone().patient(),
            ..self.caller.clone()
        };
        let call = Call::begin(&self.services, &caller, EXPORT_DATA_KEYS, Some(number));
        let exported = self.export(&call, &item_id, item).await;
        let closing = call.close(exported);
        Ok(Box::pin(async move { answer(item_id, closing.durable().await) }))
    }

    async fn export(
        &self,
        call: &Call<'_>,
        item_id: &str,
        item: Option<v1::ExportDataKeyRequest>,
    ) -> Result<Reply<v1::ExportDataKeyResponse>> {
        if !ITEM_ID_BYTES.allows(item_id.len()) {
            let found =
                format_args!("it has {} bytes, {ITEM_ID_BYTES} are accepted", item_id.len());
            return Err(Error::invalid("item_id", found));
        }
        let item = item.ok_or_else(|| Error::missing("item"))?;
        self.services.export(call, EXPORT_DATA_KEYS, item).await
    }
}

/// The answer whose turn it is, once it may be given.
async fn next(on_the_way: &mut OnTheWay) -> v1::ExportDataKeysResponse {
    match on_the_way.front_mut() {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

fn answer(
    item_id: String,
    exported: Result<v1::ExportDataKeyResponse>,
) -> v1::ExportDataKeysResponse {
    let outcome = match exported {
        Ok(exported) => v1::export_data_keys_response::Outcome::Exported(exported),
        Err(error) => {
            error.log_ours();
            v1::export_data_keys_response::Outcome::Error(item_error(&error))
        }
    };
    v1::ExportDataKeysResponse { item_id, outcome: Some(outcome) }
}

fn item_error(error: &Error) -> v1::ItemError {
    v1::ItemError {
        code: error.rule().code().into(),
        reason: error.rule().reason().to_owned(),
        message: error.text().to_owned(),
    }
}
