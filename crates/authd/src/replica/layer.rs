//! The layer between the tables and the rules: the tables first, the copy while they are away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::daemon::Clock;
use events::{About, Log};
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::file::{Extent, File};
use super::format::{self, Meta};
use super::outage::{Outage, Tasks, Trouble};
use super::refresh::{LastPass, Refresher, State};
use super::rows::{self, Kept};
use super::seen::{self, Recorder, Seen};
use super::{Origin, ReplicaError, Settings};
use crate::directory::backend::{
    AccessTable, AliasDomainRow, AliasRow, Answer, Backend, BackendError, DomainRow, Found, LoginRow, Logins,
    MailboxRow, Questions, Source, UsageRow, VacationRow,
};
use crate::directory::pages::{Kind, Listed, Page, PageRequest};

/// Time between two looks whether the database is back.
const PROBE: Duration = Duration::from_secs(1);
/// An error that took longer than this is a wait: the questions of one recipient would add up.
const AT_ONCE: Duration = Duration::from_millis(200);

/// The tables, with a copy for the time when they are away.
pub struct WithReplica {
    live: Arc<dyn Backend>,
    file: Arc<File>,
    settings: Settings,
    clock: Clock,
    events: Log,
    outage: Arc<Outage>,
    recorder: Recorder,
    pub(super) refresher: Arc<Refresher>,
    tasks: Arc<Tasks>,
}

/// How a row is read from the copy.
type Fetch<T> = fn(&Connection, Kind, &str) -> Result<Option<Kept<T>>, ReplicaError>;

/// What an operator wants to know.
#[derive(Debug, Clone)]
pub struct Status {
    /// The trouble with the database; `None`: it answers.
    pub trouble: Option<Trouble>,
    /// What the file says about itself; `None`: there is none.
    pub meta: Option<Meta>,
    /// How big it is.
    pub extent: Extent,
    /// How the last pass of this process went.
    pub last: Option<LastPass>,
    /// Until the next pass begins.
    pub next_in: Option<Duration>,
    /// Whether it would be used now.
    pub usable: bool,
    /// How many passes were asked for.
    pub requested: u64,
    /// The last of those that was served.
    pub served: u64,
}

impl WithReplica {
    /// Over these tables, which `origin` names. Fills the file and looks after it until dropped. Blocks, and
    /// has to be called in a runtime.
    pub fn open(
        live: Arc<dyn Backend>,
        settings: Settings,
        origin: Origin,
        clock: Clock,
        events: Log,
    ) -> Self {
        let file = Arc::new(File::open(&settings.path, origin));
        let refresher = Arc::new(Refresher {
            live: live.clone(),
            file: file.clone(),
            settings: settings.clone(),
            clock: clock.clone(),
            events: events.clone(),
            wake: Notify::new(),
            state: Arc::new(Mutex::new(State::default())),
            served: watch::channel(0).0,
        });
        let tasks = Tasks::new();
        tasks.spawn(refresher.clone().run());
        let (recorder, answers) = Recorder::new();
        tasks.spawn(seen::write(
            file.clone(),
            settings.clone(),
            clock.clone(),
            answers,
        ));
        Self {
            live,
            file,
            settings,
            clock,
            events,
            outage: Arc::default(),
            recorder,
            refresher,
            tasks,
        }
    }

    /// For the operator.
    pub async fn status(&self) -> Status {
        let generation = self.file.current();
        let extent = match &generation {
            Some(generation) => generation.extent().await.unwrap_or_default(),
            None => Extent::default(),
        };
        let meta = generation.map(|generation| generation.meta());
        let state = self.refresher.lock();
        Status {
            trouble: self.outage.trouble(),
            usable: meta.as_ref().is_some_and(|meta| !self.too_old(meta.read_at)),
            meta,
            extent,
            last: state.last.clone(),
            requested: state.requests,
            served: *self.refresher.served.borrow(),
            next_in: state.next.map(|at| at.saturating_duration_since(Instant::now())),
        }
    }

    /// How it is kept.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks for a pass, over all rows or over those that changed; the number is that of the request.
    pub fn request_refresh(&self, whole: bool) -> u64 {
        let mut state = self.refresher.lock();
        state.requests += 1;
        state.wanted |= whole;
        self.refresher.wake.notify_one();
        state.requests
    }

    /// Brings rows up to date that we changed ourselves: a password that was just taken from a user must not be
    /// good again because the database goes away. A row that cannot be read now is taken out, which makes it a
    /// temporary failure. False where there is no file to write to.
    pub async fn changed(&self, rows: &[(Kind, &str)]) -> bool {
        self.refresher.lock().changed(rows);
        let mut answers = Vec::with_capacity(rows.len());
        for (kind, name) in rows {
            let seen = match timeout(self.settings.patience, read(&*self.live, *kind, name)).await {
                Ok(Ok(Some(row))) => Seen::Row(row),
                _ => Seen::Nothing,
            };
            answers.push((*kind, (*name).to_owned(), seen));
        }
        let usable = self.file.current().is_some();
        let written = seen::write_batch(&self.file, &self.settings, &self.clock, answers).await;
        usable && written
    }

    /// Makes a pass and says how it went.
    #[cfg(test)]
    pub async fn refresh(&self, whole: bool) -> Option<LastPass> {
        let mut served = self.refresher.served.subscribe();
        let request = self.request_refresh(whole);
        // The sender lives as long as we do.
        let _ = served.wait_for(|served| *served >= request).await;
        self.refresher.lock().last.clone()
    }

    fn too_old(&self, read_at: i64) -> bool {
        let now = i64::try_from(self.clock.unix_millis() / 1000).unwrap_or_default();
        let age = u64::try_from(now.saturating_sub(read_at)).unwrap_or_default();
        age > self.settings.max_age.as_secs()
    }

    /// Whether there is a copy that may be used.
    fn usable(&self) -> bool {
        let current = self.file.current();
        current.is_some_and(|generation| !self.too_old(generation.read_at()))
    }

    /// What the tables say, where they answer in time.
    async fn ask_live<T>(
        &self,
        kind: Kind,
        key: &str,
        question: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        if !self.usable() {
            return question.await;
        }
        if self.outage.waits() {
            return Err(self.away());
        }
        let begin = Instant::now();
        let (error, waits) = tokio::select! {
            answer = question => match answer {
                Ok(answer) => return Ok(answer),
                // The tables answer; the copy may know what this row was.
                Err(error @ BackendError::Odd(_)) => {
                    if self.outage.odd(kind, key, &error.to_string()) {
                        self.begins(&error);
                    }
                    return Err(error);
                }
                Err(error) => (error, begin.elapsed() > AT_ONCE),
            },
            () = sleep(self.settings.patience) => {
                let text = format!("no answer within {:?}", self.settings.patience);
                (BackendError::Away(text), true)
            }
            () = self.outage.begins_to_wait() => return Err(self.away()),
        };
        if self.outage.failed(kind, key, &error.to_string(), waits) {
            self.begins(&error);
        }
        Err(error)
    }

    fn away(&self) -> BackendError {
        let reason = self
            .outage
            .trouble()
            .map(|trouble| trouble.reason)
            .unwrap_or_default();
        BackendError::Away(format!("the database is away: {reason}"))
    }

    /// Tells that the copy is in use, and looks after the database until it is back.
    fn begins(&self, error: &BackendError) {
        let reason = error.to_string();
        tracing::warn!(
            reason,
            "the database does not answer as it should: known rows come from the replica"
        );
        self.events
            .emit(About::process(), events::authd::Kind::ReplicaInUse { reason });
        let (live, outage, events) = (self.live.clone(), self.outage.clone(), self.events.clone());
        let (patience, refresher) = (self.settings.patience, self.refresher.clone());
        self.tasks.spawn(async move {
            loop {
                sleep(PROBE).await;
                let (Some(trouble), Some((kind, key))) = (outage.trouble(), outage.probe()) else {
                    return;
                };
                match timeout(patience, read(&*live, kind, &key)).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(BackendError::Odd(_))) if !trouble.unreadable => break,
                    Ok(Err(_)) => outage.refuses(),
                    Err(_) => {}
                }
            }
            ends(&outage, &events, &refresher);
        });
    }

    /// What the copy says: a row, or that it has none. `None`: it says nothing.
    async fn ask_copy<T: Send + 'static>(&self, kind: Kind, key: &str, fetch: Fetch<T>) -> Option<Option<T>> {
        // Once more where a new file took its place in between.
        for _ in 0..2 {
            let generation = self.file.current()?;
            if self.too_old(generation.read_at()) {
                return None;
            }
            let name = key.to_owned();
            match generation
                .ask(move |connection| fetch(connection, kind, &name))
                .await
            {
                Ok(None) => return Some(None),
                Ok(Some(kept)) if self.too_old(kept.read_at) => {
                    return (!generation.lists(kind)).then_some(None);
                }
                Ok(Some(kept)) => return kept.row.map(Some),
                Err(ReplicaError::Replaced) => {}
                Err(error) => {
                    let damaged = self.file.failed(&generation, &error);
                    let error = ::daemon::describe(&error);
                    if damaged {
                        tracing::error!(error, "the replica is damaged");
                        self.refresher.wake.notify_one();
                    } else {
                        tracing::warn!(error, "the replica does not answer a question");
                    }
                    return None;
                }
            }
        }
        None
    }

    /// The tables first, the copy where they have no answer.
    async fn ask<T: Clone + Send + 'static>(
        &self,
        kind: Kind,
        key: &str,
        question: Answer<'_, T>,
        fetch: Fetch<T>,
        seen: fn(T) -> Seen,
    ) -> Result<Found<T>, BackendError> {
        let error = match self.ask_live(kind, key, question).await {
            Ok(found) if found.row.is_none() && self.outage.is_unreadable() => {
                let text = "the tables hold rows that cannot be read: that they lack one says nothing";
                BackendError::Odd(text.to_owned())
            }
            Ok(found) => {
                if found.row.is_some() && self.outage.read() {
                    ends(&self.outage, &self.events, &self.refresher);
                }
                self.record(kind, key, &found, seen);
                return Ok(found);
            }
            Err(error) => error,
        };
        match self.ask_copy(kind, key, fetch).await {
            Some(row) => {
                self.outage.answered();
                Ok(Found {
                    row,
                    source: Source::Replica,
                })
            }
            None => Err(error),
        }
    }

    /// Remembers an answer of the tables where no pass would find the row.
    fn record<T: Clone>(&self, kind: Kind, key: &str, found: &Found<T>, seen: fn(T) -> Seen) {
        let listed = |generation: Arc<super::file::Generation>| generation.lists(kind);
        if self.file.current().is_none_or(listed) {
            return;
        }
        let seen = found.row.clone().map_or(Seen::Nothing, seen);
        self.recorder.saw(kind, key, seen);
    }

    /// Questions that the copy does not carry: nobody waits for a database that lets wait.
    async fn only_live<T>(&self, question: Answer<'_, T>) -> Result<Found<T>, BackendError> {
        if self.outage.waits() {
            return Err(self.away());
        }
        question.await
    }
}

/// Tells that the tables are in use again.
fn ends(outage: &Outage, events: &Log, refresher: &Refresher) {
    let Some((lasted, answers)) = outage.over() else {
        return;
    };
    tracing::info!(?lasted, answers, "the database answers again");
    let after_ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
    let kind = events::authd::Kind::ReplicaLeft { after_ms, answers };
    events.emit(About::process(), kind);
    refresher.wake.notify_one();
}

/// Asks the tables a question, for its row or for the sake of being answered.
async fn read(live: &dyn Backend, kind: Kind, key: &str) -> Result<Option<Listed>, BackendError> {
    Ok(match kind {
        Kind::Domain => live.domain(key).await?.row.map(Listed::Domain),
        Kind::AliasDomain => live.alias_domain(key).await?.row.map(Listed::AliasDomain),
        Kind::Alias => live.alias(key).await?.row.map(Listed::Alias),
        Kind::Mailbox => live
            .login(key)
            .await?
            .row
            .map(|row| Listed::Mailbox(Box::new(row))),
        Kind::Transport => live.transport(key).await?.row.map(Listed::Text),
        Kind::Relocated => live.relocated(key).await?.row.map(Listed::Text),
        Kind::SenderLogins => live.sender_logins(key).await?.row.map(Listed::Text),
        Kind::LocalAlias => live.local_alias(key).await?.row.map(Listed::Alias),
        Kind::Access(table) => live.access(table, key).await?.row.map(Listed::Text),
    })
}

fn login(connection: &Connection, _kind: Kind, name: &str) -> Result<Option<Kept<LoginRow>>, ReplicaError> {
    let Some(mut kept) = rows::get_login(connection, name)? else {
        return Ok(None);
    };
    let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
    let domain = rows::get::<DomainRow>(connection, Kind::Domain, domain)?;
    if let (Some(row), Some(domain)) = (&mut kept.row, domain)
        && let Some(active) = domain.row.map(|domain| domain.active)
    {
        // It was switched since the mailbox changed last. Only where the tables were gone through: a statement of
        // the site for logins may know better than the one for domains.
        row.domain_active = match domain.read_at >= kept.read_at && format::lists(connection, Kind::Domain)? {
            true => active,
            false => row.domain_active && active,
        };
    }
    Ok(Some(kept))
}

fn seen_text(row: String) -> Seen {
    Seen::Row(Listed::Text(row))
}

impl Backend for WithReplica {
    fn questions(&self) -> BoxFuture<'_, Result<Questions, BackendError>> {
        Box::pin(async {
            let error = match self.ask_live(Kind::Domain, "", self.live.questions()).await {
                Ok(questions) => return Ok(questions),
                Err(error) => error,
            };
            let meta = self.file.current().map(|generation| generation.meta());
            let meta = meta.filter(|meta| !self.too_old(meta.read_at));
            meta.map(|meta| meta.questions).ok_or(error)
        })
    }

    fn domain<'a>(&'a self, name: &'a str) -> Answer<'a, DomainRow> {
        let seen = |row| Seen::Row(Listed::Domain(row));
        Box::pin(self.ask(Kind::Domain, name, self.live.domain(name), rows::get, seen))
    }

    fn alias<'a>(&'a self, address: &'a str) -> Answer<'a, AliasRow> {
        let seen = |row| Seen::Row(Listed::Alias(row));
        Box::pin(self.ask(Kind::Alias, address, self.live.alias(address), rows::get, seen))
    }

    fn mailbox<'a>(&'a self, address: &'a str) -> Answer<'a, MailboxRow> {
        Box::pin(self.ask(
            Kind::Mailbox,
            address,
            self.live.mailbox(address),
            rows::get,
            Seen::Mailbox,
        ))
    }

    fn login<'a>(&'a self, username: &'a str) -> Answer<'a, LoginRow> {
        let seen = |row| Seen::Row(Listed::Mailbox(Box::new(row)));
        Box::pin(self.ask(Kind::Mailbox, username, self.live.login(username), login, seen))
    }

    fn logins<'a>(&'a self, usernames: &'a [String]) -> Logins<'a> {
        Box::pin(async move {
            let Some(first) = usernames.first() else {
                return Ok(Vec::new());
            };
            let error = match self
                .ask_live(Kind::Mailbox, first, self.live.logins(usernames))
                .await
            {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let mut rows = Vec::with_capacity(usernames.len());
            for username in usernames {
                let row = self.ask_copy(Kind::Mailbox, username, login).await;
                rows.push(Ok(Found {
                    row: row.ok_or_else(|| error.clone())?,
                    source: Source::Replica,
                }));
            }
            self.outage.answered();
            Ok(rows)
        })
    }

    fn alias_domain<'a>(&'a self, name: &'a str) -> Answer<'a, AliasDomainRow> {
        let seen = |row| Seen::Row(Listed::AliasDomain(row));
        Box::pin(self.ask(
            Kind::AliasDomain,
            name,
            self.live.alias_domain(name),
            rows::get,
            seen,
        ))
    }

    fn transport<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.ask(
            Kind::Transport,
            key,
            self.live.transport(key),
            rows::get,
            seen_text,
        ))
    }

    fn relocated<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.ask(
            Kind::Relocated,
            key,
            self.live.relocated(key),
            rows::get,
            seen_text,
        ))
    }

    fn sender_logins<'a>(&'a self, key: &'a str) -> Answer<'a, String> {
        Box::pin(self.ask(
            Kind::SenderLogins,
            key,
            self.live.sender_logins(key),
            rows::get,
            seen_text,
        ))
    }

    fn local_alias<'a>(&'a self, name: &'a str) -> Answer<'a, AliasRow> {
        let seen = |row| Seen::Row(Listed::Alias(row));
        Box::pin(self.ask(
            Kind::LocalAlias,
            name,
            self.live.local_alias(name),
            rows::get,
            seen,
        ))
    }

    fn access<'a>(&'a self, table: AccessTable, key: &'a str) -> Answer<'a, String> {
        // That there is no row is the answer for nearly all mail: it counts, though the copy may not know all
        // rows, since otherwise no mail at all would be taken during an outage.
        Box::pin(self.ask(
            Kind::Access(table),
            key,
            self.live.access(table, key),
            rows::get,
            seen_text,
        ))
    }

    fn vacation<'a>(&'a self, address: &'a str) -> Answer<'a, VacationRow> {
        Box::pin(self.only_live(self.live.vacation(address)))
    }

    fn usage<'a>(&'a self, username: &'a str) -> Answer<'a, UsageRow> {
        Box::pin(self.only_live(self.live.usage(username)))
    }

    fn page<'a>(&'a self, request: PageRequest<'a>) -> BoxFuture<'a, Result<Option<Page>, BackendError>> {
        self.live.page(request)
    }
}
