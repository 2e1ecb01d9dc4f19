//! The conversation of a batch with the server: one stream with many items under
//! way, and another stream for the items that are not answered when one breaks.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::item::{BatchItem, answer_line};
use super::journal::Journal;
use super::tally::Tally;
use crate::cli::client::call::CallArgs;
use crate::cli::client::session::Session;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::progress::Progress;
use crate::error::Rule;
use crate::proto::v1;
use crate::proto::v1::export_data_keys_response::Outcome;

/// Items under way at once. Each is kept until it is answered, and has at most
/// 64 KiB.
pub const WINDOW: usize = 256;
/// The pause after a stream without an answer. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How many streams in a row may bring no answer.
const MAX_FRUITLESS: u32 = 6;

/// A batch on its way to the server.
pub struct ExportRun<'a> {
    call: &'a CallArgs,
    /// The items that are still to be read.
    items: mpsc::Receiver<io::Result<BatchItem>>,
    journal: Journal,
    tally: Tally,
    progress: Progress,
    /// The items that are read and not answered, in order.
    waiting: VecDeque<BatchItem>,
    /// Whether the batch has been read to its end.
    all_read: bool,
}

/// Why a stream ended before its end.
enum StreamEnd {
    /// Another stream may bring what this one did not.
    Retry(Failure),
    /// Another stream would end in the same way.
    GiveUp(EarlyExit),
}

impl From<EarlyExit> for StreamEnd {
    fn from(exit: EarlyExit) -> Self {
        Self::GiveUp(exit)
    }
}

impl From<Failure> for StreamEnd {
    fn from(failure: Failure) -> Self {
        Self::GiveUp(failure.into())
    }
}

impl<'a> ExportRun<'a> {
    /// A run that has read and answered nothing yet.
    pub fn new(
        call: &'a CallArgs,
        items: mpsc::Receiver<io::Result<BatchItem>>,
        journal: Journal,
        tally: Tally,
        progress: Progress,
    ) -> Self {
        Self { call, items, journal, tally, progress, waiting: VecDeque::new(), all_read: false }
    }

    /// Has every item answered, and every answer written.
    pub async fn run(&mut self) -> Result<(), EarlyExit> {
        let mut session: Result<_, Failure> = Ok(self.call.session().await?);
        let mut answered = self.tally.answered();
        let mut fruitless = 0;
        loop {
            let failure = match session {
                Ok(session) => match self.stream(&session).await {
                    Ok(()) => break,
                    Err(StreamEnd::Retry(failure)) => failure,
                    Err(StreamEnd::GiveUp(exit)) => return self.give_up(exit),
                },
                // The server may come back; other failures do not pass.
                Err(failure) if failure.exit() == Exit::Unreachable => failure,
                Err(failure) => return self.give_up(failure.into()),
            };
            if self.tally.answered() > answered {
                (answered, fruitless) = (self.tally.answered(), 0);
            }
            if fruitless == MAX_FRUITLESS {
                return self.give_up(failure.into());
            }
            sleep(FIRST_PAUSE * 2_u32.pow(fruitless)).await;
            fruitless += 1;
            session = self.call.session().await;
        }
        self.journal.finish()
    }

    /// Clears the bar, and gives what came of the run.
    pub fn end(self) -> (Tally, Journal) {
        self.progress.end();
        (self.tally, self.journal)
    }

    /// Keeps the answers, and advises how to get the others.
    fn give_up(&mut self, exit: EarlyExit) -> Result<(), EarlyExit> {
        let EarlyExit::Failed(failure) = exit else { return Err(exit) };
        self.journal.sync()?;
        let advice = if self.tally.is_dry_run() || !self.journal.can_be_resumed() {
            "Try again from the beginning.".to_owned()
        } else {
            format!(
                "Run the same command again: it goes on after the lines that are in {}.",
                self.journal.name()
            )
        };
        Err(failure.with_advice(advice).into())
    }

    /// Sends and receives over one stream until everything is answered.
    async fn stream(&mut self, session: &Session) -> Result<(), StreamEnd> {
        let (requests, stream) = mpsc::channel(WINDOW);
        for item in &self.waiting {
            if let Ok(request) = &item.request {
                // There is room: no more items wait than the channel holds.
                let _ = requests.try_send(request.clone());
            }
        }
        let request = session.request(ReceiverStream::new(stream));
        let answers = session.kms().export_data_keys(request).await;
        let mut answers = answers.map_err(|status| stream_end(session, &status))?.into_inner();
        loop {
            self.answer_faulty_items()?;
            if self.all_read && self.waiting.is_empty() {
                break;
            }
            tokio::select! {
                answer = next(&mut answers, session), if !self.waiting.is_empty() => {
                    self.receive(answer?)?;
                }
                item = self.items.recv(), if !self.all_read && self.waiting.len() < WINDOW => {
                    self.send(item, &requests)?;
                }
            }
        }
        // The server learns that there are no more requests, and ends the stream.
        drop(requests);
        let _ = timeout(session.timeout(), answers.message()).await;
        Ok(())
    }

    /// Answers items that are never sent, when it is their turn.
    fn answer_faulty_items(&mut self) -> Result<(), StreamEnd> {
        while let Some(item) = self.waiting.pop_front_if(|item| item.request.is_err()) {
            let Err(error) = item.request else { continue };
            self.write(item.end, item.id, Outcome::Error(error))?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        item: Option<io::Result<BatchItem>>,
        requests: &mpsc::Sender<v1::ExportDataKeysRequest>,
    ) -> Result<(), StreamEnd> {
        let Some(item) = item else {
            self.all_read = true;
            return Ok(());
        };
        let item = item.map_err(|error| {
            Failure::input(
                format!("The batch cannot be read: {error}."),
                "Check that the file exists and that you may read it.",
            )
        })?;
        if let Ok(request) = &item.request {
            // If the stream has ended, its answers say so.
            let _ = requests.try_send(request.clone());
        }
        self.waiting.push_back(item);
        Ok(())
    }

    fn receive(&mut self, answer: v1::ExportDataKeysResponse) -> Result<(), StreamEnd> {
        let expected = self.waiting.front().map(|item| item.id.as_str());
        let (Some(outcome), true) = (answer.outcome, expected == Some(answer.item_id.as_str()))
        else {
            return Err(Failure::new(
                Exit::Refused,
                format!("The server answered {:?} out of turn.", answer.item_id),
                "Report this.",
            )
            .into());
        };
        if let Outcome::Error(error) = &outcome
            && is_transient(Code::from(error.code), &error.reason)
        {
            return Err(StreamEnd::Retry(Failure::new(
                Exit::Refused,
                format!("{} ({})", error.message, error.reason),
                "Try again.",
            )));
        }
        let Some(item) = self.waiting.pop_front() else { return Ok(()) };
        self.write(item.end, item.id, outcome)
    }

    fn write(&mut self, end: u64, item_id: String, outcome: Outcome) -> Result<(), StreamEnd> {
        let is_written = self.tally.count(&outcome);
        if is_written {
            let answer = v1::ExportDataKeysResponse { item_id, outcome: Some(outcome) };
            self.journal.append(&answer_line(&answer)?)?;
        }
        self.progress.show(end, || self.tally.so_far());
        Ok(())
    }
}

/// The next answer, which must come in time.
async fn next(
    answers: &mut Streaming<v1::ExportDataKeysResponse>,
    session: &Session,
) -> Result<v1::ExportDataKeysResponse, StreamEnd> {
    let retry = |happened: &str| StreamEnd::Retry(Failure::unreachable(happened, "Try again."));
    match timeout(session.timeout(), answers.message()).await {
        Err(_) => Err(retry("The server did not answer an item in time.")),
        Ok(Err(status)) => Err(stream_end(session, &status)),
        Ok(Ok(None)) => Err(retry("The server ended the stream before its end.")),
        Ok(Ok(Some(answer))) => Ok(answer),
    }
}

/// Another stream is tried where the connection broke, and where the server's
/// error may pass.
fn stream_end(session: &Session, status: &Status) -> StreamEnd {
    use std::error::Error as _;
    let failure = session.failure(status);
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    let broke = status.source().is_some() && failure.exit() == Exit::Unreachable;
    if broke || is_transient(status.code(), reason.as_deref().unwrap_or_default()) {
        StreamEnd::Retry(failure)
    } else {
        StreamEnd::GiveUp(failure.into())
    }
}

/// A transient error; retrying may succeed.
fn is_transient(code: Code, reason: &str) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded)
        || reason == Rule::TooManyRequests.reason()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_errors_are_retried_and_others_are_answers() {
        for rule in Rule::ALL {
            let expected = matches!(
                rule,
                Rule::TooManyRequests
                    | Rule::DeadlinePassed
                    | Rule::StoreUnreachable
                    | Rule::ServerStopping
                    | Rule::AuditUnavailable
                    | Rule::ClockJumped
            );
            assert_eq!(is_transient(rule.code(), rule.reason()), expected, "{rule:?}");
        }
    }
}
