//! The events of a history, and how often each happens.

use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Step {
    pub event: Event,
    /// Whether a call is a dry run.
    pub dry_run: bool,
    /// A fault of the store meanwhile.
    pub trouble: Option<Trouble>,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request.
    Call(Call),
    /// So many seconds pass unobserved.
    Pass(u32),
    /// Somebody sets the wall clock, by so many seconds.
    Jump(i64),
    /// Somebody sets the wall clock right.
    SetRight,
    /// A look at what is due.
    Look,
    /// So many hours pass, with a look every ten minutes.
    Watch(u32),
    /// The server stops, and starts again over the same store.
    Restart,
}

/// A fault of the store, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A commit is not made, and says so.
    NotStored,
    /// A commit is not made, and cannot tell.
    MaybeStoredNot,
    /// A commit is made, and cannot tell.
    MaybeStoredBut,
    /// A read fails.
    Unread,
    /// A commit is not made and cannot tell, and a read fails: where it is the
    /// one that would tell, the outcome stays open.
    UnsettledNot,
    /// The same, and the commit is made.
    UnsettledBut,
}

/// How a request points at a CMK. Numbers count those that were ever made,
/// and begin again behind the last.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Id(usize),
    Arn(usize),
    Alias(usize),
    AliasArn(usize),
    /// An id that was never made.
    Foreign,
}

/// The key material of a CMK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    Symmetric,
    Sm2,
    P256,
}

/// A description.
#[derive(Clone, Copy, Debug)]
pub enum Words {
    Short(u8),
    /// As long as it may be, of characters of four bytes.
    Longest,
    TooLong,
}

/// Tags in a row: the first, how many, and the value of all.
#[derive(Clone, Copy, Debug)]
pub struct TagRow {
    pub first: usize,
    pub count: usize,
    pub value: u8,
}

/// A rotation policy; the interval is one of [`INTERVALS`].
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    pub on: bool,
    pub interval: usize,
}

/// The order and filter of a list of CMKs.
#[derive(Clone, Copy, Debug)]
pub enum ListedBy {
    Everything,
    State(&'static str),
    Tag(usize),
    Alias(usize),
}

/// A way through a list: the size of a page, and whether by page numbers.
#[derive(Clone, Copy, Debug)]
pub struct Paging {
    pub size: u32,
    pub numbered: bool,
}

/// A request. Blobs are counted as CMKs are.
#[derive(Clone, Debug)]
pub enum Call {
    CreateKey {
        spec: Spec,
        description: Words,
        rotation: Rotation,
        tags: TagRow,
    },
    DescribeKey(Target),
    ListKeys(ListedBy, Paging),
    EnableKey(Target),
    DisableKey(Target),
    ScheduleKeyDeletion(Target, Option<u32>),
    CancelKeyDeletion(Target),
    SetDeletionProtection(Target, Option<bool>, Words),
    UpdateKeyDescription(Target, Words),
    TagResource(Target, TagRow),
    UntagResource(Target, TagRow),
    ListResourceTags(Target),
    CreateKeyVersion(Target),
    ListKeyVersions(Target, Paging),
    UpdateRotationPolicy(Target, Rotation),
    CreateAlias(usize, Target),
    /// Aliases in a row: the first, and how many.
    CreateAliases(usize, usize, Target),
    UpdateAlias(usize, Target),
    DeleteAlias(usize),
    ListAliases(Paging),
    ListAliasesByKeyId(Target, Paging),
    Generate(Target),
    Encrypt(Target, u8),
    Decrypt {
        blob: usize,
        right_context: bool,
    },
    ReEncrypt {
        blob: usize,
        to: Target,
    },
}

/// Rotation intervals as they are written, and their seconds where they are
/// permitted.
pub const INTERVALS: [(&str, Option<i64>); 9] = [
    ("", None),
    ("7d", Some(7 * DAY)),
    ("168h", Some(7 * DAY)),
    ("2592000", Some(30 * DAY)),
    ("525600m", Some(365 * DAY)),
    ("63072000s", Some(730 * DAY)),
    ("6d", None),
    ("731d", None),
    ("a week", None),
];

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
pub const YEAR: i64 = 365 * DAY;

/// Longest description of a CMK, and of its protection, in characters.
pub const DESCRIPTION: usize = 8192;
pub const PROTECTION: usize = 1024;

/// Aliases that most calls name; those behind them fill a CMK to its limit.
const ALIASES: usize = 3;

impl Words {
    /// The text, where so many characters are permitted.
    pub fn text(self, longest: usize) -> String {
        match self {
            Self::Short(number) => format!("words {number}"),
            Self::Longest => "𠮷".repeat(longest),
            Self::TooLong => "a".repeat(longest + 1),
        }
    }
}

impl TagRow {
    pub fn keys(self) -> impl Iterator<Item = String> {
        (self.first..self.first + self.count).map(|number| format!("tag-{number:02}"))
    }
}

/// An alias's name.
pub fn alias(number: usize) -> String {
    format!("alias/name-{number}")
}

/// A whole history: some CMKs and an alias, and what becomes of them.
pub fn history() -> BoxedStrategy<Vec<Step>> {
    let smoothly = |call| Step { event: Event::Call(call), dry_run: false, trouble: None };
    let named = |key| Call::CreateAlias(key, Target::Id(key));
    let first = (prop::collection::vec(making(), 2..4), prop::collection::vec(0..3_usize, 0..2));
    let first = first.prop_map(move |(made, keys)| {
        made.into_iter().chain(keys.into_iter().map(named)).map(smoothly).collect::<Vec<_>>()
    });
    let rest = prop::collection::vec(step(), 40..70);
    (first, rest).prop_map(|(first, rest)| [first, rest].concat()).boxed()
}

fn step() -> BoxedStrategy<Step> {
    let dry_run = prop::bool::weighted(0.1);
    let trouble = prop::option::weighted(0.12, trouble());
    (event(), dry_run, trouble)
        .prop_map(|(event, dry_run, trouble)| Step { event, dry_run, trouble })
        .boxed()
}

fn trouble() -> BoxedStrategy<Trouble> {
    prop::sample::select(vec![
        Trouble::NotStored,
        Trouble::MaybeStoredNot,
        Trouble::MaybeStoredBut,
        Trouble::Unread,
        Trouble::UnsettledNot,
        Trouble::UnsettledBut,
    ])
    .boxed()
}

fn event() -> BoxedStrategy<Event> {
    let spans = [MINUTE, HOUR, 5 * HOUR, DAY, 7 * DAY, 8 * DAY, 8 * DAY, 40 * DAY, YEAR, 2 * YEAR];
    let spans = spans.map(|span| u32::try_from(span).unwrap());
    let jumps = [2 * MINUTE, HOUR, DAY, 10 * DAY, YEAR];
    let jumps: Vec<i64> = jumps.into_iter().flat_map(|jump| [jump, -jump]).collect();
    prop_oneof![
        60 => call().prop_map(Event::Call),
        10 => prop::sample::select(spans.to_vec()).prop_map(Event::Pass),
        2 => prop::sample::select(jumps).prop_map(Event::Jump),
        1 => Just(Event::SetRight),
        3 => Just(Event::Look),
        8 => (1..4_u32).prop_map(Event::Watch),
        3 => Just(Event::Restart),
    ]
    .boxed()
}

fn call() -> BoxedStrategy<Call> {
    prop_oneof![
        2 => making(),
        6 => switching(),
        4 => annotating(),
        3 => rotating(),
        5 => naming(),
        2 => looking(),
        6 => using(),
    ]
    .boxed()
}

fn making() -> BoxedStrategy<Call> {
    (spec(), words(), rotation(), tags())
        .prop_map(|(spec, description, rotation, tags)| Call::CreateKey {
            spec,
            description,
            rotation,
            tags,
        })
        .boxed()
}

fn switching() -> BoxedStrategy<Call> {
    let window = prop_oneof![
        8 => Just(Some(7)),
        4 => (7..=366_u32).prop_map(Some),
        1 => prop::sample::select(vec![None, Some(0), Some(6), Some(367), Some(u32::MAX)]),
    ];
    let protection = prop_oneof![3 => Just(Some(true)), 3 => Just(Some(false)), 1 => Just(None)];
    prop_oneof![
        3 => target().prop_map(Call::EnableKey),
        2 => target().prop_map(Call::DisableKey),
        5 => (target(), window).prop_map(|(key, days)| Call::ScheduleKeyDeletion(key, days)),
        2 => target().prop_map(Call::CancelKeyDeletion),
        2 => (target(), protection, words())
            .prop_map(|(key, on, words)| Call::SetDeletionProtection(key, on, words)),
    ]
    .boxed()
}

fn annotating() -> BoxedStrategy<Call> {
    prop_oneof![
        (target(), words()).prop_map(|(key, words)| Call::UpdateKeyDescription(key, words)),
        (target(), tags()).prop_map(|(key, tags)| Call::TagResource(key, tags)),
        (target(), tags()).prop_map(|(key, tags)| Call::UntagResource(key, tags)),
    ]
    .boxed()
}

fn rotating() -> BoxedStrategy<Call> {
    prop_oneof![
        target().prop_map(Call::CreateKeyVersion),
        (target(), rotation())
            .prop_map(|(key, rotation)| Call::UpdateRotationPolicy(key, rotation)),
    ]
    .boxed()
}

fn naming() -> BoxedStrategy<Call> {
    // An alias is refused where an id is wanted.
    let id = prop_oneof![9 => id(), 1 => target()].boxed();
    prop_oneof![
        6 => (0..ALIASES, id.clone()).prop_map(|(name, key)| Call::CreateAlias(name, key)),
        4 => (0..ALIASES, id.clone()).prop_map(|(name, key)| Call::UpdateAlias(name, key)),
        1 => (0..ALIASES).prop_map(Call::DeleteAlias),
        1 => (47..=50_usize, id).prop_map(|(count, key)| Call::CreateAliases(ALIASES, count, key)),
    ]
    .boxed()
}

fn looking() -> BoxedStrategy<Call> {
    let state = prop::sample::select(vec!["Enabled", "Disabled", "PendingDeletion"]);
    let by = prop_oneof![
        2 => Just(ListedBy::Everything),
        1 => state.prop_map(ListedBy::State),
        1 => (0..6_usize).prop_map(ListedBy::Tag),
        1 => (0..ALIASES).prop_map(ListedBy::Alias),
    ];
    prop_oneof![
        1 => target().prop_map(Call::DescribeKey),
        1 => target().prop_map(Call::ListResourceTags),
        1 => (target(), paging()).prop_map(|(key, paging)| Call::ListKeyVersions(key, paging)),
        3 => (by, paging()).prop_map(|(by, paging)| Call::ListKeys(by, paging)),
        1 => paging().prop_map(Call::ListAliases),
        1 => (target(), paging()).prop_map(|(key, paging)| Call::ListAliasesByKeyId(key, paging)),
    ]
    .boxed()
}

fn using() -> BoxedStrategy<Call> {
    let blob = 0..12_usize;
    prop_oneof![
        2 => target().prop_map(Call::Generate),
        2 => (target(), any::<u8>()).prop_map(|(key, byte)| Call::Encrypt(key, byte)),
        2 => (blob.clone(), prop::bool::weighted(0.8))
            .prop_map(|(blob, right_context)| Call::Decrypt { blob, right_context }),
        2 => (blob, target()).prop_map(|(blob, to)| Call::ReEncrypt { blob, to }),
    ]
    .boxed()
}

fn target() -> BoxedStrategy<Target> {
    prop_oneof![
        24 => id(),
        6 => (0..ALIASES).prop_map(Target::Alias),
        1 => (0..ALIASES).prop_map(Target::AliasArn),
    ]
    .boxed()
}

fn id() -> BoxedStrategy<Target> {
    prop_oneof![
        20 => (0..6_usize).prop_map(Target::Id),
        3 => (0..6_usize).prop_map(Target::Arn),
        1 => Just(Target::Foreign),
    ]
    .boxed()
}

fn spec() -> BoxedStrategy<Spec> {
    prop_oneof![8 => Just(Spec::Symmetric), 1 => Just(Spec::P256), 1 => Just(Spec::Sm2)].boxed()
}

fn words() -> BoxedStrategy<Words> {
    prop_oneof![
        20 => (0..4_u8).prop_map(Words::Short),
        2 => Just(Words::Longest),
        1 => Just(Words::TooLong),
    ]
    .boxed()
}

fn tags() -> BoxedStrategy<TagRow> {
    let count = prop_oneof![8 => 1..4_usize, 2 => 8..=20_usize, 1 => Just(0), 1 => Just(21)];
    (0..6_usize, count, 0..3_u8)
        .prop_map(|(first, count, value)| TagRow { first, count, value })
        .boxed()
}

fn rotation() -> BoxedStrategy<Rotation> {
    let interval = prop_oneof![1 => Just(0), 8 => 1..6_usize, 1 => 6..INTERVALS.len()];
    let on =
        (prop::bool::weighted(0.9), interval).prop_map(|(on, interval)| Rotation { on, interval });
    prop_oneof![3 => on, 1 => Just(Rotation { on: false, interval: 0 })].boxed()
}

fn paging() -> BoxedStrategy<Paging> {
    (prop::sample::select(vec![1, 2, 3, 10, 100]), any::<bool>())
        .prop_map(|(size, numbered)| Paging { size, numbered })
        .boxed()
}
