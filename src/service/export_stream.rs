//! ExportDataKeys: many exports over one stream.
//!
//! Items are answered one after the other, in order. Each is an ExportDataKey of
//! its own: its caller is authenticated anew, it waits for a permit among the
//! requests in flight, and has its own deadline and grant. An item is begun when
//! the answer before it has been taken: a slow reader slows its own stream, and
//! holds one item and one answer of the server's memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

use super::Services;
use super::caller::{Caller, Connection};
use crate::access::decisions::EXPORT_DATA_KEYS;
use crate::error::{Error, Result, Rule};
use crate::limits::ITEM_ID_BYTES;
use crate::proto::v1;

type AnswerSender = mpsc::Sender<v1::ExportDataKeysResponse>;

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
    answers: AnswerSender,
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
        loop {
            if let Err(end) = self.answer_next(&mut items).await {
                return end;
            }
        }
    }

    async fn answer_next<S>(&self, items: &mut S) -> Result<(), End>
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        let item = self.within_idle_limit("sent", items.next()).await?.ok_or(End::Finished)??;
        let slot = self
            .within_idle_limit("taken", self.answers.reserve())
            .await?
            .map_err(|_| End::CallerLeft)?;
        let permit = self.unless_ended(self.connection.admit()).await??;
        slot.send(self.answer_item(item).await?);
        drop(permit);
        Ok(())
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

    /// The answer to one item; an error where nothing more may be answered.
    async fn answer_item(
        &self,
        request: v1::ExportDataKeysRequest,
    ) -> Result<v1::ExportDataKeysResponse> {
        let v1::ExportDataKeysRequest { item_id, item } = request;
        let caller = Caller {
            principal: self.connection.principal()?,
            deadline: self.connection.deadline(),
            quota: self.caller.quota.clone().patient(),
            ..self.caller.clone()
        };
        let outcome = match self.export(&caller, &item_id, item).await {
            Ok(exported) => v1::export_data_keys_response::Outcome::Exported(exported),
            Err(error) => {
                error.log_ours();
                v1::export_data_keys_response::Outcome::Error(item_error(&error))
            }
        };
        Ok(v1::ExportDataKeysResponse { item_id, outcome: Some(outcome) })
    }

    async fn export(
        &self,
        caller: &Caller,
        item_id: &str,
        item: Option<v1::ExportDataKeyRequest>,
    ) -> Result<v1::ExportDataKeyResponse> {
        if !ITEM_ID_BYTES.allows(item_id.len()) {
            let found =
                format_args!("it has {} bytes, {ITEM_ID_BYTES} are accepted", item_id.len());
            return Err(Error::invalid("item_id", found));
        }
        let item = item.ok_or_else(|| Error::missing("item"))?;
        self.services.export(caller, EXPORT_DATA_KEYS, item).await
    }
}

fn item_error(error: &Error) -> v1::ItemError {
    v1::ItemError {
        code: error.rule().code().into(),
        reason: error.rule().reason().to_owned(),
        message: error.text().to_owned(),
    }
}
