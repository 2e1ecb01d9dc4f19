//! SIGTERM and SIGINT: the first asks to drain, the second to leave at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Counts how often the process was asked to stop.
#[derive(Clone, Debug)]
pub struct StopSignal {
    times: watch::Receiver<u32>,
}

impl StopSignal {
    /// Listens for the signals from now on.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (asked, times) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                asked.send_modify(|times| *times += 1);
            }
        });
        Ok(Self { times })
    }

    /// Resolves when the process was asked for the `n`th time: once is `run`'s
    /// shutdown, twice is the end of the process.
    pub fn asked(&self, n: u32) -> impl Future<Output = ()> + Send + use<> {
        let mut times = self.times.clone();
        async move {
            if times.wait_for(|times| *times >= n).await.is_err() {
                // The listening task lives as long as the runtime.
                std::future::pending::<()>().await;
            }
        }
    }
}
