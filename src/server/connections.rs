//! The connections that are open, and the room that strangers have among them.
//!
//! A connection is a stranger's until its peer is known: by a client certificate,
//! by the user id at the other end of a Unix socket, or by the first request whose
//! signature is verified. Anybody can open connections, so that strangers have
//! room of their own, less than a listener has, a share of it for each network,
//! and a limit on time. Where there is no room for a new one, the one that has done
//! nothing for longest is closed: those who have something to say say it at once.
//!
//! Peers who do not take their answers make them lie in memory. The bytes of large
//! answers are counted for each connection and in all; a connection that holds too
//! many of them, or takes none for too long, is closed.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;

/// The pause between two looks for strangers whose time is over.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// An IPv4 address, or the /64 of an IPv6 address, all of which is one peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// An answer of fewer bytes is counted only where it goes to a stranger.
const COUNTED_BYTES_MIN: usize = 1024;

/// The memory that HTTP/2 keeps of a stream beside its bytes, roughly.
const STREAM_BYTES: usize = 1024;

/// All connections.
pub(super) struct Connections {
    open: Mutex<Open>,
    /// Bytes of answers that peers have not taken yet.
    undelivered: AtomicUsize,
    /// Times are told from here.
    since: Instant,
    limits: Arc<Limits>,
}

type Open = HashMap<u64, Arc<ConnectionState>>;

/// One open connection. Times are in milliseconds from `Connections::since`.
struct ConnectionState {
    /// `None` for a Unix socket.
    network: Option<Network>,
    opened_at: u64,
    known: AtomicBool,
    /// When it was opened, or its last request began.
    last_request: AtomicU64,
    /// Bytes of its answers that its peer has not taken yet.
    undelivered: AtomicUsize,
    /// When its peer last took some.
    last_delivery: AtomicU64,
    closed: CancellationToken,
}

/// A connection that is counted among the open ones until this is dropped.
pub(super) struct TrackedConnection {
    connections: Arc<Connections>,
    id: u64,
    state: Arc<ConnectionState>,
}

/// How many connections there are.
#[derive(Default)]
struct Count {
    strangers: usize,
    strangers_of_network: usize,
    of_network: usize,
}

impl Connections {
    pub(super) fn new(limits: Arc<Limits>) -> Arc<Self> {
        let (open, undelivered) = (Mutex::default(), AtomicUsize::default());
        Arc::new(Self { open, undelivered, since: Instant::now(), limits })
    }

    /// Counts a new connection. Over TCP it is a stranger there, and another
    /// stranger may be closed for it. `None` where its network holds too many of
    /// those that are known.
    pub(super) fn track(self: &Arc<Self>, address: Option<IpAddr>) -> Option<TrackedConnection> {
        let network = address.map(Network::of);
        let mut open = self.open();
        if network.is_some() && !self.make_room(&mut open, network) {
            return None;
        }
        let now = self.now();
        let state = Arc::new(ConnectionState {
            network,
            opened_at: now,
            known: AtomicBool::new(network.is_none()),
            last_request: AtomicU64::new(now),
            undelivered: AtomicUsize::new(0),
            last_delivery: AtomicU64::new(now),
            closed: CancellationToken::new(),
        });
        let id = next_id();
        open.insert(id, state.clone());
        Some(TrackedConnection { connections: self.clone(), id, state })
    }

    /// Whether there is room for one more stranger of this network.
    fn make_room(&self, open: &mut Open, network: Option<Network>) -> bool {
        let (held, limits) = (count(open, network), &self.limits);
        if held.strangers_of_network >= limits.strangers_of_network
            || held.of_network >= limits.connections_of_network
        {
            return close_idlest(open, |state| state.network == network);
        }
        if held.strangers < limits.strangers {
            return true;
        }
        let crowded = most_crowded(open);
        close_idlest(open, |state| crowded.contains(&state.network))
    }

    /// Closes the connections whose time is over, for as long as it is polled.
    pub(super) async fn sweep_for_ever(&self) -> Infallible {
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            self.sweep();
        }
    }

    fn sweep(&self) {
        let before = |limit: Duration| self.now().saturating_sub(millis(limit));
        let (idle, age) = (before(self.limits.stranger_idle), before(self.limits.stranger_age));
        let undelivered = before(self.limits.idle);
        self.open().retain(|_, state| {
            let over = (state.is_stranger()
                && (state.opened_at < age || state.last_request() < idle))
                || (state.undelivered() > 0
                    && state.last_delivery.load(Ordering::Relaxed) < undelivered);
            if over {
                state.closed.cancel();
            }
            !over
        });
    }

    /// Closes the connection whose peer has left most of its answers lying.
    fn close_fullest(&self) {
        let mut open = self.open();
        // Of those that were closed before, the bytes may not be gone yet.
        let left: usize = open.values().map(|state| state.undelivered()).sum();
        if left <= self.limits.undelivered_bytes {
            return;
        }
        let fullest = open.iter().max_by_key(|(_, state)| state.undelivered());
        let Some(id) = fullest.map(|(id, _)| *id) else { return };
        if let Some(state) = open.remove(&id) {
            state.closed.cancel();
        }
    }

    fn now(&self) -> u64 {
        millis(self.since.elapsed())
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(open: &Open, network: Option<Network>) -> Count {
    open.values().fold(Count::default(), |mut count, state| {
        let (stranger, here) = (state.is_stranger(), state.network == network);
        count.strangers += usize::from(stranger);
        count.strangers_of_network += usize::from(stranger && here);
        count.of_network += usize::from(here);
        count
    })
}

/// The networks with the most strangers. Where all strangers together are too many,
/// these make room, and a stranger who is alone in its network has to only where all are.
fn most_crowded(open: &Open) -> HashSet<Option<Network>> {
    let mut strangers = HashMap::<_, usize>::new();
    for state in open.values().filter(|state| state.is_stranger()) {
        *strangers.entry(state.network).or_default() += 1;
    }
    let most = strangers.values().max().copied().unwrap_or_default();
    strangers.into_iter().filter(|(_, count)| *count == most).map(|(network, _)| network).collect()
}

/// Closes the stranger that has done nothing for longest; whether there was one.
fn close_idlest(open: &mut Open, among: impl Fn(&ConnectionState) -> bool) -> bool {
    let strangers = open.iter().filter(|(_, state)| state.is_stranger() && among(state));
    let idlest = strangers.min_by_key(|(id, state)| (state.last_request(), **id));
    let Some(id) = idlest.map(|(id, _)| *id) else { return false };
    open.remove(&id).inspect(|state| state.closed.cancel()).is_some()
}

impl ConnectionState {
    fn is_stranger(&self) -> bool {
        !self.known.load(Ordering::Relaxed)
    }

    fn last_request(&self) -> u64 {
        self.last_request.load(Ordering::Relaxed)
    }

    fn undelivered(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }
}

impl TrackedConnection {
    /// Its peer is known from now on.
    pub(super) fn set_known(&self) {
        if self.state.is_stranger() {
            self.state.known.store(true, Ordering::Relaxed);
        }
    }

    /// Its peer is no longer known: its certificate was revoked, or has expired.
    pub(super) fn set_unknown(&self) {
        self.state.known.store(false, Ordering::Relaxed);
    }

    /// Its number, which no other connection has.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Where its peer is; `None` over a Unix socket.
    pub(super) fn network(&self) -> Option<Network> {
        self.state.network
    }

    /// A request begins.
    pub(super) fn begin_request(&self) {
        if self.state.is_stranger() {
            self.state.last_request.store(self.connections.now(), Ordering::Relaxed);
        }
    }

    /// Cancelled when the connection is to be closed at once.
    pub(super) fn closed(&self) -> &CancellationToken {
        &self.state.closed
    }

    /// A part of an answer, which is counted until the peer has taken it.
    pub(super) fn deliver(&self, part: Bytes) -> Bytes {
        if part.len() < COUNTED_BYTES_MIN && !self.state.is_stranger() {
            return part;
        }
        let bytes = part.len() + STREAM_BYTES;
        let Connections { undelivered, limits, .. } = &*self.connections;
        let of_all = undelivered.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let here = self.state.undelivered.fetch_add(bytes, Ordering::Relaxed);
        if here == 0 {
            self.state.last_delivery.store(self.connections.now(), Ordering::Relaxed);
        }
        if here + bytes > limits.undelivered_bytes_of_connection {
            self.state.closed.cancel();
        } else if of_all > limits.undelivered_bytes {
            self.connections.close_fullest();
        }
        let (connections, state) = (self.connections.clone(), self.state.clone());
        Bytes::from_owner(Undelivered { part, connections, state })
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.connections.open().remove(&self.id);
    }
}

/// A part of an answer that the peer has not taken yet.
struct Undelivered {
    part: Bytes,
    connections: Arc<Connections>,
    state: Arc<ConnectionState>,
}

impl AsRef<[u8]> for Undelivered {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        let bytes = self.part.len() + STREAM_BYTES;
        self.connections.undelivered.fetch_sub(bytes, Ordering::Relaxed);
        self.state.undelivered.fetch_sub(bytes, Ordering::Relaxed);
        self.state.last_delivery.store(self.connections.now(), Ordering::Relaxed);
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(limits: Limits) -> Arc<Connections> {
        Connections::new(Arc::new(limits))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_closed(tracked: &TrackedConnection) -> bool {
        tracked.closed().is_cancelled()
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix_of_64_bits() {
        let network = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn the_stranger_that_did_nothing_for_longest_makes_room() {
        let all = connections(Limits { strangers: 3, ..Limits::default() });
        let track = |last| all.track(Some(address(last))).unwrap();
        let (first, second, known) = (track(1), track(2), track(3));
        known.set_known();
        std::thread::sleep(Duration::from_millis(2));
        first.begin_request();
        let third = track(4);
        let fourth = track(5);
        assert!(is_closed(&second) && !is_closed(&first) && !is_closed(&known));
        assert!(!is_closed(&third) && !is_closed(&fourth));
    }

    #[test]
    fn a_stranger_alone_in_its_network_stays() {
        let all = connections(Limits { strangers: 4, ..Limits::default() });
        let alone = all.track(Some(address(1))).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let crowd: Vec<_> = (0..20).map(|_| all.track(Some(address(2))).unwrap()).collect();
        assert!(!is_closed(&alone), "it did nothing for longest, and is in nobody's way");
        assert_eq!(crowd.iter().filter(|tracked| !is_closed(tracked)).count(), 3);
    }

    #[test]
    fn a_network_takes_room_from_itself_alone() {
        let limits = Limits { strangers_of_network: 2, strangers: 4, ..Limits::default() };
        let all = connections(limits);
        let other = all.track(Some(address(9))).unwrap();
        let of_one: Vec<_> = (0..100).map(|_| all.track(Some(address(1))).unwrap()).collect();
        assert!(!is_closed(&other));
        assert_eq!(of_one.iter().filter(|tracked| !is_closed(tracked)).count(), 2);
    }

    #[test]
    fn a_network_that_is_known_everywhere_is_full_at_its_limit() {
        let all = connections(Limits { connections_of_network: 2, ..Limits::default() });
        let [one, two] = [1, 1].map(|last| all.track(Some(address(last))).unwrap());
        one.set_known();
        two.set_known();
        assert!(all.track(Some(address(1))).is_none());
        assert!(all.track(Some(address(2))).is_some() && all.track(None).is_some());
        drop(one);
        assert!(all.track(Some(address(1))).is_some());
    }

    #[test]
    fn time_is_over_for_strangers_alone() {
        let limits = Limits { stranger_idle: Duration::from_millis(1), ..Limits::default() };
        let all = connections(limits);
        let (stranger, known) =
            (all.track(Some(address(1))).unwrap(), all.track(Some(address(1))).unwrap());
        let unix = all.track(None).unwrap();
        known.set_known();
        std::thread::sleep(Duration::from_millis(5));
        all.sweep();
        assert!(is_closed(&stranger) && !is_closed(&known) && !is_closed(&unix));
    }

    #[test]
    fn answers_that_nobody_takes_close_the_connection_that_has_most() {
        let limits = Limits {
            undelivered_bytes: 13_000,
            undelivered_bytes_of_connection: 11_000,
            ..Limits::default()
        };
        let all = connections(limits);
        let [one, two] = [1, 2].map(|last| all.track(Some(address(last))).unwrap());
        let part = || Bytes::from(vec![7; 4_000]);
        for _ in 0..10 {
            assert_eq!(two.deliver(part()), part());
        }
        assert!(!is_closed(&two), "each was taken at once");
        let held = [two.deliver(part()), two.deliver(part()), two.deliver(part())];
        assert!(is_closed(&two));
        drop((held, two));

        let two = all.track(Some(address(2))).unwrap();
        let _held = [one.deliver(part()), one.deliver(part()), two.deliver(part())];
        assert!(is_closed(&one) && !is_closed(&two));
        assert_eq!(all.undelivered.load(Ordering::Relaxed), 3 * (4_000 + STREAM_BYTES));
    }

    #[test]
    fn small_answers_to_strangers_are_counted() {
        let all = connections(Limits::default());
        let [stranger, known] = [1, 2].map(|last| all.track(Some(address(last))).unwrap());
        known.set_known();
        let small = || Bytes::from(vec![7; 10]);
        let held = [stranger.deliver(small()), known.deliver(small())];
        assert_eq!(all.undelivered.load(Ordering::Relaxed), 10 + STREAM_BYTES);
        drop(held);
        assert_eq!(all.undelivered.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_answer_that_is_not_taken_in_time_closes_its_connection() {
        let all = connections(Limits { idle: Duration::from_millis(1), ..Limits::default() });
        let [slow, quick] = [1, 2].map(|last| all.track(Some(address(last))).unwrap());
        let _held = slow.deliver(Bytes::from(vec![7; 4_000]));
        drop(quick.deliver(Bytes::from(vec![7; 4_000])));
        std::thread::sleep(Duration::from_millis(5));
        all.sweep();
        assert!(is_closed(&slow) && !is_closed(&quick));
    }
}
