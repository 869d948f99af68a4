//! Rows about addresses, remembered a few seconds: a burst of mail for one user asks the tables once.
//!
//! Only rows that are there and in force are kept, and only those of the tables themselves: never that
//! something does not exist, never a login, an access row or a notice, never an answer of the replica. Who
//! asks for a row that somebody else is asking for waits for that answer; if it is "no row", he asks himself,
//! because the row may have come meanwhile.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};

use super::backend::{
    AccessTable, AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, Logins,
    MailboxRow, Questions, Source, UsageRow, VacationRow,
};
use super::pages::{Page, PageRequest};

/// Most rows of one kind.
const MOST: usize = 20_000;

/// A backend in front of which rows are remembered.
pub struct Cached {
    inner: Arc<dyn Backend>,
    domains: Arc<Rows<DomainRow>>,
    alias_domains: Arc<Rows<AliasDomainRow>>,
    aliases: Arc<Rows<AliasRow>>,
    local_aliases: Arc<Rows<AliasRow>>,
    mailboxes: Arc<Rows<MailboxRow>>,
    transports: Arc<Rows<String>>,
}

impl Cached {
    /// Remembers rows of `inner` so long. Zero is no cache: leave it out then.
    pub fn new(inner: Arc<dyn Backend>, time: Duration) -> Self {
        Self::with_clock(inner, time, Arc::new(Instant::now))
    }

    fn with_clock(inner: Arc<dyn Backend>, time: Duration, now: Now) -> Self {
        let time = &(time, now);
        Self {
            inner,
            domains: Rows::new(time, |row: &DomainRow| row.active),
            alias_domains: Rows::new(time, |row: &AliasDomainRow| row.active),
            aliases: Rows::new(time, |row: &AliasRow| row.active),
            local_aliases: Rows::new(time, |row: &AliasRow| row.active),
            mailboxes: Rows::new(time, |row: &MailboxRow| row.active),
            transports: Rows::new(time, |_: &String| true),
        }
    }

    /// Forgets everything: the tables were changed.
    pub fn clear(&self) {
        self.domains.clear();
        self.alias_domains.clear();
        self.aliases.clear();
        self.local_aliases.clear();
        self.mailboxes.clear();
        self.transports.clear();
    }
}

/// What the time is.
type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

type Reply<T> = Result<Found<T>, BackendError>;

/// The rows of one kind.
struct Rows<T> {
    time: Duration,
    now: Now,
    in_force: fn(&T) -> bool,
    state: Mutex<State<T>>,
}

struct State<T> {
    /// Grows with every `clear`: what was asked for before is not remembered after.
    generation: u64,
    known: HashMap<String, (T, Instant)>,
    /// Keys of `known` in the order in which they end; a key may stand here more than once.
    order: VecDeque<(String, Instant)>,
    /// Questions under way. They go on as long as somebody waits: what nobody polls must not hold a connection.
    asking: HashMap<String, WeakShared<BoxFuture<'static, Reply<T>>>>,
}

impl<T: Clone + Send + Sync + 'static> Rows<T> {
    fn new((time, now): &(Duration, Now), in_force: fn(&T) -> bool) -> Arc<Self> {
        Arc::new(Self {
            time: *time,
            now: now.clone(),
            in_force,
            state: Mutex::new(State {
                generation: 0,
                known: HashMap::new(),
                order: VecDeque::new(),
                asking: HashMap::new(),
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.known.clear();
        state.order.clear();
        state.asking.clear();
    }

    /// The row of a key: remembered, or asked for once for all who want it now.
    async fn get<F>(self: &Arc<Self>, key: &str, ask: F) -> Reply<T>
    where
        F: Fn(String) -> BoxFuture<'static, Reply<T>>,
    {
        let (shared, first) = {
            let mut state = self.state();
            if let Some((row, until)) = state.known.get(key)
                && (self.now)() < *until
            {
                return Ok(Found {
                    row: Some(row.clone()),
                    source: Source::Cache,
                });
            }
            match state.asking.get(key).and_then(WeakShared::upgrade) {
                Some(shared) => (shared, false),
                None => {
                    let (rows, generation) = (self.clone(), state.generation);
                    let (question, name) = (ask(key.to_owned()), key.to_owned());
                    let work = async move {
                        let reply = question.await;
                        rows.keep(name, &reply, generation);
                        reply
                    };
                    let shared = work.boxed().shared();
                    // What nobody waited for to its end.
                    if state.asking.len() >= MOST {
                        state.asking.retain(|_, question| question.upgrade().is_some());
                    }
                    if let Some(weak) = shared.downgrade() {
                        state.asking.insert(key.to_owned(), weak);
                    }
                    (shared, true)
                }
            }
        };
        let reply = shared.await;
        match &reply {
            // It was asked before this question came: what is missing may have come since.
            Ok(found) if !first && found.row.is_none() => ask(key.to_owned()).await,
            _ => reply,
        }
    }

    /// Remembers what may be remembered.
    fn keep(&self, key: String, reply: &Reply<T>, generation: u64) {
        let mut state = self.state();
        if state.generation != generation {
            return;
        }
        state.asking.remove(&key);
        let Ok(Found {
            row: Some(row),
            source: Source::Database,
        }) = reply
        else {
            return;
        };
        if !(self.in_force)(row) {
            return;
        }
        let now = (self.now)();
        state.make_room(now);
        state.order.push_back((key.clone(), now + self.time));
        state.known.insert(key, (row.clone(), now + self.time));
    }
}

impl<T> State<T> {
    /// Forgets what is too old, and the oldest where there are too many.
    fn make_room(&mut self, now: Instant) {
        while let Some((_, until)) = self.order.front() {
            if *until > now && self.order.len() < MOST {
                break;
            }
            let Some((key, until)) = self.order.pop_front() else {
                break;
            };
            // Not a newer row of the same key.
            if self.known.get(&key).is_some_and(|(_, newest)| *newest <= until) {
                self.known.remove(&key);
            }
        }
    }
}

/// One question through the cache.
macro_rules! through {
    ($self:ident, $rows:ident, $question:ident, $key:ident) => {
        Box::pin(async move {
            $self
                .$rows
                .get($key, |key| {
                    let inner = $self.inner.clone();
                    Box::pin(async move { inner.$question(&key).await })
                })
                .await
        })
    };
}

impl Backend for Cached {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        self.inner.questions()
    }
    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        through!(self, domains, domain, name)
    }
    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        through!(self, aliases, alias, address)
    }
    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        through!(self, mailboxes, mailbox, address)
    }
    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        through!(self, alias_domains, alias_domain, name)
    }
    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        through!(self, transports, transport, key)
    }
    fn local_alias<'a>(&'a self, name: &'a str) -> Answer<'a, AliasRow> {
        through!(self, local_aliases, local_alias, name)
    }
    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        self.inner.login(username)
    }
    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        self.inner.logins(usernames)
    }
    fn relocated<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        self.inner.relocated(key)
    }
    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        self.inner.access(table, key)
    }
    fn sender_logins<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        self.inner.sender_logins(key)
    }
    fn vacation<'a>(&'a self, address: &'a str) -> Answer<'a, VacationRow> {
        self.inner.vacation(address)
    }
    fn usage<'a>(&'a self, username: &'a str) -> Answer<'a, UsageRow> {
        self.inner.usage(username)
    }
    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        self.inner.page(request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::memory::Memory;
    use super::*;

    const TIME: Duration = Duration::from_secs(5);

    fn cached(memory: Memory) -> (Arc<Memory>, Cached) {
        let memory = Arc::new(memory);
        (memory.clone(), Cached::new(memory, TIME))
    }

    /// The same with a clock that is put forward.
    fn clocked(memory: Memory) -> (Arc<Memory>, Cached, impl Fn()) {
        let memory = Arc::new(memory);
        let (begin, passed) = (Instant::now(), Arc::new(AtomicU32::new(0)));
        let hand = passed.clone();
        let now: Now = Arc::new(move || begin + TIME * passed.load(Ordering::SeqCst));
        let forward = move || {
            hand.fetch_add(1, Ordering::SeqCst);
        };
        (memory.clone(), Cached::with_clock(memory, TIME, now), forward)
    }

    fn asked(memory: &Memory) -> usize {
        memory.asked.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn rows_are_remembered_some_seconds() {
        let (memory, cache, forward) = clocked(Memory::default().mailbox("a@d.test"));
        let first = cache.mailbox("a@d.test").await.unwrap();
        assert_eq!(first.source, Source::Database);
        let again = cache.mailbox("a@d.test").await.unwrap();
        assert_eq!((again.source, &again.row), (Source::Cache, &first.row));
        assert_eq!(asked(&memory), 1);
        forward();
        assert_eq!(cache.mailbox("a@d.test").await.unwrap().source, Source::Database);
        // What is remembered helps over a short outage, too, but no longer than it is remembered.
        memory.away.store(true, Ordering::SeqCst);
        assert!(cache.mailbox("a@d.test").await.is_ok());
        forward();
        assert!(cache.mailbox("a@d.test").await.is_err());
        memory.away.store(false, Ordering::SeqCst);
        assert!(
            cache.mailbox("a@d.test").await.is_ok(),
            "an error is not remembered"
        );
    }

    #[tokio::test]
    async fn neither_absence_nor_rows_out_of_force_nor_the_replica() {
        let memory = Memory::default()
            .domain("off.test", "")
            .with_domain("off.test", |row| row.active = false)
            .mailbox("a@d.test");
        let (memory, cache) = cached(memory);
        for _ in 0..2 {
            assert_eq!(cache.alias("no@d.test").await.unwrap().row, None);
            assert!(cache.domain("off.test").await.unwrap().row.is_some());
            cache.login("a@d.test").await.unwrap();
        }
        assert_eq!(asked(&memory), 6);
        memory.replica.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let found = cache.mailbox("a@d.test").await.unwrap();
            assert_eq!(found.source, Source::Replica);
        }
        assert_eq!(asked(&memory), 8);
    }

    #[tokio::test]
    async fn a_change_empties_it() {
        let (memory, cache) = cached(Memory::default().mailbox("a@d.test"));
        cache.mailbox("a@d.test").await.unwrap();
        cache.clear();
        assert_eq!(cache.mailbox("a@d.test").await.unwrap().source, Source::Database);
        assert_eq!(asked(&memory), 2);
        // A question from before the change is not remembered after it.
        memory.hold();
        let late = cache.alias("a@d.test");
        let change = async {
            memory.asked_more_than(2).await;
            cache.clear();
            memory.release();
        };
        let (late, ()) = tokio::join!(late, change);
        assert!(late.unwrap().row.is_some());
        assert_eq!(cache.alias("a@d.test").await.unwrap().source, Source::Database);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question() {
        let (memory, cache) = cached(Memory::default().mailbox("a@d.test"));
        memory.hold();
        let asking = futures_util::future::join_all((0..50).map(|_| cache.mailbox("a@d.test")));
        let release = async {
            memory.asked_more_than(0).await;
            memory.release();
        };
        let (answers, ()) = tokio::join!(asking, release);
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().row.is_some())
        );
        assert_eq!(asked(&memory), 1);
        // That there is nothing each of them finds out himself but for the first.
        memory.hold();
        let asking = futures_util::future::join_all((0..10).map(|_| cache.mailbox("no@d.test")));
        let release = async {
            memory.asked_more_than(1).await;
            memory.release();
        };
        let (answers, ()) = tokio::join!(asking, release);
        assert!(
            answers
                .iter()
                .all(|answer| answer.as_ref().unwrap().row.is_none())
        );
        assert_eq!(asked(&memory), 11);
    }

    #[tokio::test]
    async fn a_question_that_nobody_waits_for_ends_there() {
        let (memory, cache) = cached(Memory::default().mailbox("a@d.test"));
        memory.hold();
        let given_up = tokio::time::timeout(Duration::ZERO, cache.mailbox("a@d.test")).await;
        assert!(given_up.is_err());
        memory.release();
        // The next one asks anew, and does not wait for the one that nobody polls.
        assert_eq!(cache.mailbox("a@d.test").await.unwrap().source, Source::Database);
        assert_eq!(cache.mailbox("a@d.test").await.unwrap().source, Source::Cache);
        assert!(cache.mailboxes.state().asking.is_empty());
    }

    #[tokio::test]
    async fn it_is_bounded() {
        let (_, cache) = cached((0..=MOST).fold(Memory::default(), |memory, n| {
            memory.alias(&format!("u{n}@d.test"), "a@d.test")
        }));
        for n in 0..=MOST {
            cache.alias(&format!("u{n}@d.test")).await.unwrap();
        }
        let state = cache.aliases.state();
        assert!(state.known.len() <= MOST && state.order.len() <= MOST && state.asking.is_empty());
    }
}
