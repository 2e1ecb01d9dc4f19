//! When files that the server goes by are read again: at every interval, and on SIGHUP at
//! once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The times.
#[derive(Debug)]
pub struct ReloadTimes {
    interval: Duration,
    hangup: Option<Signal>,
}

/// Why it is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadTime {
    /// The interval has passed.
    Interval,
    /// The operator asks.
    Asked,
}

impl ReloadTimes {
    /// SIGHUP is handled from the call on: left alone, it would end the process.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        let hangup = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP will not reload anything"))
            .ok();
        Self { interval, hangup }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> ReloadTime {
        let asked = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(self.interval) => ReloadTime::Interval,
            _ = asked => ReloadTime::Asked,
        }
    }
}
