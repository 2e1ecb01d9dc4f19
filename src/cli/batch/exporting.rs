//! The conversation of a batch: one stream, many items on their way, and another
//! stream for what is not answered where one breaks.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::item::{Item, told};
use super::ledger::Ledger;
use super::progress::{Progress, Tally};
use crate::cli::connection::{CallArgs, Session};
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Stop};
use crate::error::Rule;
use crate::proto::v1;
use crate::proto::v1::export_data_keys_response::Outcome;

/// Items on their way at once. Each is kept until it is answered, and has at
/// most 64 KiB.
pub const WINDOW: usize = 256;
/// How long is waited after a stream that brought nothing broke, the first time;
/// each time after it twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// How many streams in a row may bring nothing.
const MAX_FRUITLESS: u32 = 6;

/// A batch on its way to the server.
pub struct Exporting<'a> {
    /// How the server is called.
    pub call: &'a CallArgs,
    /// What is still to be read of the batch.
    pub items: mpsc::Receiver<io::Result<Item>>,
    /// Where answers go.
    pub ledger: Ledger,
    /// What has come of it so far.
    pub tally: Tally,
    /// Who watches.
    pub progress: Progress,
    /// Read and not answered, in order.
    pub waiting: VecDeque<Item>,
    /// Whether the batch has been read to its end.
    pub read: bool,
}

/// Why a stream ended before its end.
enum Broken {
    /// Another one may bring what this one did not.
    Lost(Failure),
    /// None would.
    Stop(Stop),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Stop(failure.into())
    }
}

impl Exporting<'_> {
    /// Has every item answered, and every answer written.
    pub async fn run(&mut self) -> Result<(), Stop> {
        let mut session: Result<_, Failure> = Ok(self.call.session().await?);
        let mut answered = self.tally.answered();
        let mut fruitless = 0;
        loop {
            let lost = match session {
                Ok(session) => match self.over(&session).await {
                    Ok(()) => break,
                    Err(Broken::Lost(failure)) => failure,
                    Err(Broken::Stop(stop)) => return self.stopped(stop),
                },
                // Nobody there yet; anything else is no matter of time.
                Err(failure) if failure.exit() == Exit::Unreachable => failure,
                Err(failure) => return self.stopped(failure.into()),
            };
            if self.tally.answered() > answered {
                (answered, fruitless) = (self.tally.answered(), 0);
            }
            if fruitless == MAX_FRUITLESS {
                return self.stopped(lost.into());
            }
            sleep(FIRST_PAUSE * 2_u32.pow(fruitless)).await;
            fruitless += 1;
            session = self.call.session().await;
        }
        self.ledger.finish()
    }

    /// What was answered is kept, and is said to be.
    fn stopped(&mut self, stop: Stop) -> Result<(), Stop> {
        let Stop::Failed(failure) = stop else { return Err(stop) };
        self.ledger.sync()?;
        let advice = if self.tally.is_dry_run() || !self.ledger.is_lasting() {
            "Try again from the beginning.".to_owned()
        } else {
            format!(
                "Run the same command again: it goes on after the lines that are in {}.",
                self.ledger.place()
            )
        };
        Err(failure.advising(advice).into())
    }

    /// Sends and receives over one stream until everything is answered.
    async fn over(&mut self, session: &Session) -> Result<(), Broken> {
        let (requests, stream) = mpsc::channel(WINDOW);
        for item in &self.waiting {
            if let Ok(request) = &item.request {
                // There is room: no more wait than may be on their way.
                let _ = requests.try_send(request.clone());
            }
        }
        let request = session.request(ReceiverStream::new(stream));
        let answers = session.kms().export_data_keys(request).await;
        let mut answers = answers.map_err(|status| broken(session, &status))?.into_inner();
        loop {
            self.settle()?;
            if self.read && self.waiting.is_empty() {
                break;
            }
            tokio::select! {
                answer = next(&mut answers, session), if !self.waiting.is_empty() => {
                    self.answered(answer?)?;
                }
                item = self.items.recv(), if !self.read && self.waiting.len() < WINDOW => {
                    self.send(item, &requests)?;
                }
            }
        }
        // The server hears that there is no more, and ends the stream.
        drop(requests);
        let _ = timeout(session.timeout(), answers.message()).await;
        Ok(())
    }

    /// Answers the items that were never sent, as far as they are next.
    fn settle(&mut self) -> Result<(), Broken> {
        while let Some(item) = self.waiting.pop_front_if(|item| item.request.is_err()) {
            let Err(error) = item.request else { continue };
            self.write(item.end, item.id, Outcome::Error(error))?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        item: Option<io::Result<Item>>,
        requests: &mpsc::Sender<v1::ExportDataKeysRequest>,
    ) -> Result<(), Broken> {
        let Some(item) = item else {
            self.read = true;
            return Ok(());
        };
        let item = item.map_err(|error| {
            Failure::input(
                format!("The batch cannot be read: {error}."),
                "See that the file is there and that you may read it.",
            )
        })?;
        if let Ok(request) = &item.request {
            // A stream that has ended says so where its answers come from.
            let _ = requests.try_send(request.clone());
        }
        self.waiting.push_back(item);
        Ok(())
    }

    fn answered(&mut self, answer: v1::ExportDataKeysResponse) -> Result<(), Broken> {
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
            && passes(error)
        {
            let reason = &error.reason;
            return Err(Broken::Lost(Failure::new(
                Exit::Refused,
                format!("{} ({reason})", error.message),
                "Try again.",
            )));
        }
        let Some(item) = self.waiting.pop_front() else { return Ok(()) };
        self.write(item.end, item.id, outcome)
    }

    fn write(&mut self, end: u64, item_id: String, outcome: Outcome) -> Result<(), Broken> {
        let to_be_told = self.tally.count(&outcome);
        if to_be_told {
            let answer = v1::ExportDataKeysResponse { item_id, outcome: Some(outcome) };
            self.ledger.append(&told(&answer)?)?;
        }
        self.progress.show(end, &self.tally);
        Ok(())
    }
}

/// The next answer, which must come in time.
async fn next(
    answers: &mut Streaming<v1::ExportDataKeysResponse>,
    session: &Session,
) -> Result<v1::ExportDataKeysResponse, Broken> {
    let lost = |happened: &str| Broken::Lost(Failure::unreachable(happened, "Try again."));
    match timeout(session.timeout(), answers.message()).await {
        Err(_) => Err(lost("The server did not answer an item in time.")),
        Ok(Err(status)) => Err(broken(session, &status)),
        Ok(Ok(None)) => Err(lost("The server ended the stream before its end.")),
        Ok(Ok(Some(answer))) => Ok(answer),
    }
}

/// Whether another stream may bring what this one did not: where the connection
/// broke, and where the server says so.
fn broken(session: &Session, status: &Status) -> Broken {
    use std::error::Error as _;
    let failure = session.failed(status);
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    let broke = status.source().is_some() && failure.exit() == Exit::Unreachable;
    if broke || is_a_matter_of_time(status.code(), reason.as_deref().unwrap_or_default()) {
        Broken::Lost(failure)
    } else {
        Broken::Stop(failure.into())
    }
}

/// An answer to an item that is none: asked later, there may be another.
fn passes(error: &v1::ItemError) -> bool {
    is_a_matter_of_time(Code::from(error.code), &error.reason)
}

fn is_a_matter_of_time(code: Code, reason: &str) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded)
        || reason == Rule::TooManyRequests.reason()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_for_again_and_what_does_not_is_told() {
        for rule in Rule::ALL {
            let error = v1::ItemError {
                code: rule.code().into(),
                reason: rule.reason().to_owned(),
                message: String::new(),
            };
            let expected = matches!(
                rule,
                Rule::TooManyRequests
                    | Rule::DeadlinePassed
                    | Rule::StoreUnreachable
                    | Rule::ServerStopping
                    | Rule::ClockJumped
            );
            assert_eq!(passes(&error), expected, "{rule:?}");
        }
    }
}
