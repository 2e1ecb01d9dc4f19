//! The log's lines about strangers: callers who are refused before anybody knows
//! them. They could fill a disk, so that each kind has a few lines a second; the
//! others are counted, and their number is logged.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lines of one kind: so many at once, and so many a second after that.
const LINES_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);
const LINES_A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// The pause between two lines about what was left out.
const INTERVAL: Duration = Duration::from_secs(10);

/// The kinds of refusals of strangers.
#[derive(Clone, Copy)]
pub(super) enum RefusalKind {
    /// A connection.
    Connection,
    /// An RPC.
    Rpc,
    /// A request over HTTP.
    Action,
}

impl RefusalKind {
    const NAMED: [(Self, &'static str); 3] =
        [(Self::Connection, "connection"), (Self::Rpc, "rpc"), (Self::Action, "action")];
}

struct Budget {
    lines: DefaultDirectRateLimiter,
    left_out: AtomicU64,
    /// For the audit log.
    refused: AtomicU64,
}

impl Budget {
    fn new() -> Self {
        let quota = Quota::per_second(LINES_A_SECOND).allow_burst(LINES_AT_ONCE);
        let (left_out, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { lines: RateLimiter::direct(quota), left_out, refused }
    }

    fn has_room(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let has_room = self.lines.check().is_ok();
        if !has_room {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

/// The log is the process's, and so is the room in it.
static BUDGETS: LazyLock<[Budget; 3]> = LazyLock::new(|| std::array::from_fn(|_| Budget::new()));

/// Whether there is room for a line of this kind. If there is none, it is counted.
pub(super) fn has_room(kind: RefusalKind) -> bool {
    BUDGETS.get(kind as usize).is_none_or(Budget::has_room)
}

/// How many strangers were refused at each door since this was asked last.
#[must_use]
pub fn take_refused() -> [(&'static str, u64); 3] {
    RefusalKind::NAMED.map(|(kind, door)| {
        let refused = BUDGETS.get(kind as usize).map(|budget| &budget.refused);
        (door, refused.map_or(0, |refused| refused.swap(0, Ordering::Relaxed)))
    })
}

/// Logs, again and again, how many lines were left out.
pub(super) async fn tell_of_left_out() -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for (kind, refused) in RefusalKind::NAMED {
            let lines = BUDGETS.get(kind as usize).map_or(0, Budget::take_left_out);
            if lines > 0 {
                tracing::warn!(refused, lines, "refusals of strangers were left out of the log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_a_few_lines_and_is_counted() {
        let budget = Budget::new();
        let logged = (0..1000).filter(|_| budget.has_room()).count();
        assert!((50..60).contains(&logged), "{logged}");
        assert_eq!(budget.take_left_out(), 1000 - logged as u64);
        assert_eq!(budget.take_left_out(), 0);
    }
}
