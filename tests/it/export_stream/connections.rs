//! The service over a connection of the test's: credentials that lapse, permits
//! that are taken, peers that do nothing, a server that stops, a fault of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyferry::access::principal::Principal;
use keyferry::error::{Error, Result, Rule};
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::service::caller::{Caller, Connection};
use keyferry::service::export_stream::Answers;
use keyferry::service::permits::{Permit, Permits, Share};
use keyferry::storage::MemoryStore;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::talk::{World, assert_exported, soon};
use crate::support::{TestServer, dev_caller, services_over};

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(600);

/// The state of the caller's credentials.
#[derive(Clone, Copy)]
enum Credentials {
    Good,
    /// Asked so often, they are good no longer.
    Lapse(usize),
    /// Asked so often, the program fails.
    Panic(usize),
}

struct TestConnection {
    credentials: Credentials,
    asked: AtomicUsize,
    silence: Duration,
    in_flight: Share,
    stop: CancellationToken,
}

impl TestConnection {
    fn new(credentials: Credentials, silence: Duration) -> Arc<Self> {
        Arc::new(Self {
            credentials,
            asked: AtomicUsize::new(0),
            silence,
            in_flight: Permits::new(1, 1).share_of(&()),
            stop: CancellationToken::new(),
        })
    }

    /// Waits until no stream holds it any more.
    async fn let_go(self: &Arc<Self>) {
        soon(async {
            while Arc::strong_count(self) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

#[tonic::async_trait]
impl Connection for TestConnection {
    fn principal(&self) -> Result<Principal> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        match self.credentials {
            Credentials::Lapse(after) if asked >= after => Err(Rule::NotAuthenticated.into()),
            Credentials::Panic(after) if asked >= after => panic!("planted"),
            _ => Ok(Principal::dev()),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + LONG
    }

    async fn admit(&self) -> Result<Permit> {
        self.in_flight.take(1).await
    }

    fn idle_limit(&self) -> Duration {
        self.silence
    }

    async fn stopping(&self) {
        self.stop.cancelled().await;
    }
}

/// The service, and items for it.
struct House {
    services: Services,
    world: World,
}

type Items = mpsc::UnboundedSender<Result<v1::ExportDataKeysRequest>>;

impl House {
    async fn new() -> Self {
        let services = services_over(Arc::new(MemoryStore::new())).await;
        let world = World::over(TestServer::serving(services.clone()).await).await;
        Self { services, world }
    }

    fn begin(&self, connection: &Arc<TestConnection>) -> (Items, Answers) {
        let (items, received) = mpsc::unbounded_channel();
        let caller =
            Caller { request_id: "request-1".into(), deadline: Instant::now(), ..dev_caller() };
        let items_in = UnboundedReceiverStream::new(received);
        (items, self.services.export_data_keys(caller, connection.clone(), items_in))
    }

    fn say(&self, items: &Items, numbers: std::ops::Range<usize>) {
        for n in numbers {
            items.send(Ok(self.world.item(n.to_string()))).unwrap();
        }
    }
}

async fn exported(answers: &mut Answers, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let answer = soon(answers.next()).await.expect("an answer").unwrap();
        assert_exported(&answer, &n.to_string());
    }
}

/// The stream ends with this rule, and nothing follows.
async fn ends_with(answers: &mut Answers, rule: Rule) -> Error {
    let error = soon(answers.next()).await.expect("an error").unwrap_err();
    assert_eq!(error.rule(), rule);
    assert!(soon(answers.next()).await.is_none(), "nothing follows");
    error
}

#[tokio::test]
async fn who_has_no_more_items_has_every_answer() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Good, LONG);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..30);
    drop(items);
    exported(&mut answers, 0..30).await;
    assert!(soon(answers.next()).await.is_none());
    connection.let_go().await;
    assert_eq!(
        connection.asked.load(Ordering::SeqCst),
        30,
        "the caller is known anew for each item"
    );
    assert!(connection.in_flight.try_take(1).is_some());
}

#[tokio::test]
async fn credentials_lapse_between_items() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Lapse(2), LONG);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..5);
    exported(&mut answers, 0..2).await;
    ends_with(&mut answers, Rule::NotAuthenticated).await;
    connection.let_go().await;
}

#[tokio::test]
async fn a_fault_of_ours_does_not_look_like_the_end() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Panic(1), LONG);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..5);
    exported(&mut answers, 0..1).await;
    ends_with(&mut answers, Rule::Internal).await;
    assert!(connection.in_flight.try_take(1).is_some(), "its permit is free again");
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_stream_after_the_answers() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Good, LONG);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..3);
    items.send(Err(Rule::RequestTooLarge.into())).unwrap();
    house.say(&items, 3..5);
    exported(&mut answers, 0..3).await;
    ends_with(&mut answers, Rule::RequestTooLarge).await;
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let house = House::new().await;
    let silence = Duration::from_secs(2);
    let connection = TestConnection::new(Credentials::Good, silence);
    let (items, mut answers) = house.begin(&connection);
    // Slow, for longer than that in all, is not silent.
    for n in 0..6 {
        tokio::time::sleep(silence / 4).await;
        house.say(&items, n..n + 1);
        exported(&mut answers, n..n + 1).await;
    }
    let fell_silent = Instant::now();
    let error = ends_with(&mut answers, Rule::DeadlinePassed).await;
    assert!(fell_silent.elapsed() >= silence / 2, "{:?}", fell_silent.elapsed());
    assert!(error.text().contains("sent"), "{error}");
    connection.let_go().await;
}

#[tokio::test]
async fn who_takes_nothing_is_not_waited_for_and_told_so_later() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Good, SHORT);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..10);
    connection.let_go().await;
    assert_eq!(
        connection.asked.load(Ordering::SeqCst),
        1,
        "one answer waits, and no more are made"
    );
    exported(&mut answers, 0..1).await;
    let error = ends_with(&mut answers, Rule::DeadlinePassed).await;
    assert!(error.text().contains("taken"), "{error}");
}

#[tokio::test]
async fn a_last_answer_may_be_taken_late() {
    let house = House::new().await;
    let connection = TestConnection::new(Credentials::Good, SHORT);
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..1);
    drop(items);
    tokio::time::sleep(SHORT * 2).await;
    exported(&mut answers, 0..1).await;
    assert!(soon(answers.next()).await.is_none());
}

#[tokio::test]
async fn an_item_waits_for_its_permit() {
    let house = House::new().await;
    // A caller that waits for a permit of ours is not silent.
    let connection = TestConnection::new(Credentials::Good, SHORT);
    let taken = connection.in_flight.try_take(1).unwrap();
    let (items, mut answers) = house.begin(&connection);
    house.say(&items, 0..1);
    let early = tokio::time::timeout(SHORT * 2, answers.next()).await;
    assert!(early.is_err(), "answered without a permit: {early:?}");
    drop(taken);
    exported(&mut answers, 0..1).await;
}

/// A stream waits for one of three things.
#[derive(Clone, Copy, Debug)]
enum WaitsFor {
    Item,
    Permit,
    Reader,
}

/// A stream that has come to wait.
async fn waiting(
    house: &House,
    connection: &Arc<TestConnection>,
    wait: WaitsFor,
) -> (Items, Answers) {
    let taken = match wait {
        WaitsFor::Permit => Some(connection.in_flight.try_take(1).unwrap()),
        WaitsFor::Item | WaitsFor::Reader => None,
    };
    let (items, mut answers) = house.begin(connection);
    match wait {
        WaitsFor::Item => {
            house.say(&items, 0..1);
            exported(&mut answers, 0..1).await;
        }
        WaitsFor::Permit => house.say(&items, 0..1),
        WaitsFor::Reader => house.say(&items, 0..3),
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Never given back.
    if let Some(taken) = taken {
        std::mem::forget(taken);
    }
    (items, answers)
}

#[tokio::test]
async fn a_caller_who_vanishes_is_let_go() {
    let house = House::new().await;
    for wait in [WaitsFor::Item, WaitsFor::Permit, WaitsFor::Reader] {
        let connection = TestConnection::new(Credentials::Good, LONG);
        let (items, answers) = waiting(&house, &connection, wait).await;
        assert_eq!(Arc::strong_count(&connection), 2, "{wait:?}: it runs");
        drop(answers);
        connection.let_go().await;
        assert!(items.is_closed(), "{wait:?}: no more items are taken");
    }
}

#[tokio::test]
async fn a_server_that_stops_says_so_at_once() {
    let house = House::new().await;
    for wait in [WaitsFor::Item, WaitsFor::Permit, WaitsFor::Reader] {
        let connection = TestConnection::new(Credentials::Good, LONG);
        let (_items, mut answers) = waiting(&house, &connection, wait).await;
        connection.stop.cancel();
        connection.let_go().await;
        if matches!(wait, WaitsFor::Reader) {
            exported(&mut answers, 0..1).await;
        }
        ends_with(&mut answers, Rule::ServerStopping).await;
    }
}
