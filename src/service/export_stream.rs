//! ExportDataKeys: many exports over one stream.
//!
//! Items are answered one after the other, in order. Each is what ExportDataKey
//! is by itself: its caller is authenticated anew, it takes a place among the
//! requests in flight, and its own grant. An item is begun when the answer
//! before it has been taken, so that a slow reader slows its own stream and
//! holds one item and one answer of the server's memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};

use super::Services;
use super::caller::{Caller, Line};
use crate::access::decisions::EXPORT_DATA_KEYS;
use crate::error::{Error, Result, Rule};
use crate::proto::v1;

/// Longest name of an item.
pub const MAX_ITEM_ID_BYTES: usize = 256;

type Sink = mpsc::Sender<v1::ExportDataKeysResponse>;

/// The answers of a stream, and then the error that ended it, if one did.
pub struct Answers {
    answers: mpsc::Receiver<v1::ExportDataKeysResponse>,
    /// How the stream ended, apart from the answers: it waits for no place among
    /// them. There until it is told.
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
        // Whoever answered and did not say how it ended has panicked. The stream
        // must not look finished.
        let ended = ended.unwrap_or_else(|_| Err(Error::internal("a stream was broken off")));
        Poll::Ready(ended.err().map(Err))
    }
}

impl Services {
    /// Exports the data keys of a stream, for as long as it goes on.
    pub fn export_data_keys<S>(&self, caller: Caller, line: Arc<dyn Line>, items: S) -> Answers
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin + 'static,
    {
        let (sink, answers) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let exports = Exports { services: self.clone(), caller, line, sink };
        let answering = async move {
            let end = match exports.answer(items).await {
                Over::Finished | Over::CallerLeft => Ok(()),
                Over::Broken(error) => Err(error),
            };
            // An error means that the caller has left.
            let _ = ended.send(end);
        };
        tokio::spawn(tracing::Instrument::instrument(answering, tracing::Span::current()));
        Answers { answers, end: Some(end) }
    }
}

/// One stream.
struct Exports {
    services: Services,
    caller: Caller,
    line: Arc<dyn Line>,
    sink: Sink,
}

/// Why a stream is over.
enum Over {
    /// Every item was answered, and no more will come.
    Finished,
    /// There is nobody to answer.
    CallerLeft,
    /// It cannot go on.
    Broken(Error),
}

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Exports {
    /// Answers every item.
    async fn answer<S>(self, mut items: S) -> Over
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        loop {
            if let Err(over) = self.answer_next(&mut items).await {
                return over;
            }
        }
    }

    async fn answer_next<S>(&self, items: &mut S) -> Result<(), Over>
    where
        S: Stream<Item = Result<v1::ExportDataKeysRequest>> + Send + Unpin,
    {
        let item = self.heard("sent", items.next()).await?.ok_or(Over::Finished)??;
        let slot = self.heard("taken", self.sink.reserve()).await?.map_err(|_| Over::CallerLeft)?;
        let place = self.unless_over(self.line.place()).await??;
        slot.send(self.one(item).await?);
        drop(place);
        Ok(())
    }

    /// What the peer does, if it does not let us wait for too long.
    async fn heard<T>(&self, what: &str, step: impl Future<Output = T>) -> Result<T, Over> {
        let most = self.line.silence();
        self.unless_over(timeout(most, step)).await?.map_err(|_| {
            let text = format!("Nothing was {what} for {} seconds.", most.as_secs());
            Error::from(Rule::DeadlinePassed).saying(text).into()
        })
    }

    /// Waits, unless the server stops or the caller leaves.
    async fn unless_over<T>(&self, step: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            () = self.line.stopping() => Err(Over::Broken(Rule::ServerStopping.into())),
            () = self.sink.closed() => Err(Over::CallerLeft),
            done = step => Ok(done),
        }
    }

    /// The answer to one item; an error where nothing more may be answered.
    async fn one(&self, request: v1::ExportDataKeysRequest) -> Result<v1::ExportDataKeysResponse> {
        let v1::ExportDataKeysRequest { item_id, item } = request;
        let caller = Caller {
            principal: self.line.principal()?,
            deadline: self.line.deadline(),
            ..self.caller.clone()
        };
        let outcome = match self.export(&caller, &item_id, item).await {
            Ok(exported) => v1::export_data_keys_response::Outcome::Exported(exported),
            Err(error) => {
                error.log_ours(&caller.request_id);
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
        if item_id.len() > MAX_ITEM_ID_BYTES {
            let found = format_args!("it has more than {MAX_ITEM_ID_BYTES} bytes");
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
