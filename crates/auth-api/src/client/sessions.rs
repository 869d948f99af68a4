//! The open sessions of a process, and the question whether they may go on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use mail_types::Address;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Client;
use crate::sasl::{Account, Validity};

/// What a session rests on: the address of its account, and the revision that the row had at the login.
type Login = (Address, u64);

/// The sessions of a daemon that have logged in. Cloning shares them.
///
/// Sessions of one account and revision are asked about once and end together.
#[derive(Debug, Clone, Default)]
pub struct Sessions(Arc<Mutex<HashMap<Login, Weak<State>>>>);

#[derive(Debug, Default)]
struct State {
    ended: CancellationToken,
    reason: OnceLock<String>,
}

/// A session's place among [`Sessions`]; given up when it is dropped.
#[derive(Debug, Clone)]
pub struct OpenSession(Arc<State>);

impl OpenSession {
    /// A session that nobody asks about, so that it goes on: what stands here before the login.
    pub fn unwatched() -> Self {
        Self(Arc::default())
    }

    /// Cancelled when the session has to end.
    pub fn ended(&self) -> &CancellationToken {
        &self.0.ended
    }

    /// Why it has to end, for the log.
    pub fn reason(&self) -> &str {
        self.0.reason.get().map_or("", String::as_str)
    }
}

impl Sessions {
    /// Adds a session that has just logged in.
    pub fn open(&self, account: &Account) -> OpenSession {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = open.entry((account.address.clone(), account.revision));
        let known = entry.or_default();
        if let Some(state) = known.upgrade() {
            return OpenSession(state);
        }
        let state = Arc::default();
        *known = Arc::downgrade(&state);
        OpenSession(state)
    }

    /// Asks authd about all sessions again and again, and ends those that must; `every` is how long it waits
    /// between two rounds, read anew each time. Runs until it is dropped, or `stop` is cancelled.
    ///
    /// What cannot be answered ends no session.
    pub async fn watch(self, authd: Client, every: impl Fn() -> Duration, stop: CancellationToken) {
        let rounds = async {
            loop {
                sleep(every()).await;
                self.check(&authd).await;
            }
        };
        stop.run_until_cancelled(rounds).await;
    }

    /// One round of [`Sessions::watch`].
    pub async fn check(&self, authd: &Client) {
        let logins = self.logins();
        // One batch at a time, so that trouble with one of them costs the others nothing.
        for batch in super::sasl::batches(&logins) {
            match authd.still_valid(batch.to_vec()).await {
                Ok(validities) => {
                    for (login, validity) in batch.iter().zip(validities) {
                        if let Validity::Ended { reason } = validity {
                            self.end(login, reason);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "open sessions could not be checked, and go on"),
            }
        }
    }

    /// What there is to ask; forgets what has ended by itself.
    fn logins(&self) -> Vec<Login> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, state| state.strong_count() > 0);
        let enough = 2 * open.len();
        open.shrink_to(enough);
        open.keys().cloned().collect()
    }

    fn end(&self, login: &Login, reason: String) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Out of the table, so that whoever logs in afterwards with the same row (made active again) stays.
        let Some(state) = open.remove(login).and_then(|state| state.upgrade()) else {
            return;
        };
        tracing::info!(login = %login.0, reason, "sessions end: the account has changed");
        // Nobody else sets it: the entry was ours alone.
        let _ = state.reason.set(reason);
        state.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::net::UnixListener;

    use super::*;
    use crate::sasl::{LoginContext, LoginStep};
    use crate::server::{Exchange, Limits, Logins, Services, Unserved, serve};
    use crate::{Role, Unavailable};

    /// Knows which logins are over; says nothing while it is `away`.
    #[derive(Default)]
    struct Fake {
        over: Mutex<HashSet<Login>>,
        away: Mutex<bool>,
        asked: Mutex<Vec<usize>>,
    }

    struct Never;

    impl Exchange for Never {
        async fn step(&mut self, _: Option<mail_types::Secret>) -> LoginStep {
            LoginStep::TemporaryFailure {
                reason: "never".into(),
            }
        }
    }

    impl Logins for Fake {
        type Exchange = Never;

        async fn mechanisms(&self, _: LoginContext) -> Result<Vec<String>, Unavailable> {
            Ok(vec![])
        }

        fn begin(&self, _: LoginContext, _: &str) -> Never {
            Never
        }

        async fn still_valid(&self, _: Role, sessions: Vec<Login>) -> Result<Vec<Validity>, Unavailable> {
            if *self.away.lock().unwrap() {
                return Err(Unavailable::new("the database is away"));
            }
            self.asked.lock().unwrap().push(sessions.len());
            let over = self.over.lock().unwrap();
            let judge = |login: Login| match over.contains(&login) {
                true => Validity::Ended {
                    reason: "gone".into(),
                },
                false => Validity::Valid,
            };
            Ok(sessions.into_iter().map(judge).collect())
        }
    }

    fn account(address: &str, revision: u64) -> Account {
        Account {
            address: Address::parse(address).unwrap(),
            maildir: String::new(),
            uid: 1,
            gid: 1,
            quota: 0,
            revision,
        }
    }

    /// A fake authd on a socket, and a client of it.
    fn authd(dir: &tempfile::TempDir) -> (Arc<Fake>, Client) {
        let fake = Arc::new(Fake::default());
        let socket = dir.path().join("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let services = Services {
            directory: Arc::new(Unserved),
            logins: fake.clone(),
            admin: Arc::new(Unserved),
        };
        tokio::spawn(serve(
            listener,
            Role::Imapd,
            services,
            Limits::default(),
            std::future::pending(),
        ));
        (fake, Client::connect(socket))
    }

    #[tokio::test]
    async fn what_is_over_ends_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, client) = authd(&dir);
        let sessions = Sessions::default();
        let old = sessions.open(&account("u@a.test", 1));
        let second = sessions.open(&account("u@a.test", 1));
        let new = sessions.open(&account("u@a.test", 2));
        let other = sessions.open(&account("v@a.test", 1));
        drop(sessions.open(&account("gone@a.test", 1)));

        fake.over
            .lock()
            .unwrap()
            .insert((Address::parse("u@a.test").unwrap(), 1));
        *fake.away.lock().unwrap() = true;
        sessions.check(&client).await;
        assert!(!old.ended().is_cancelled(), "trouble ended a session");

        *fake.away.lock().unwrap() = false;
        sessions.check(&client).await;
        assert!(old.ended().is_cancelled() && second.ended().is_cancelled());
        assert_eq!(old.reason(), "gone");
        assert!(!new.ended().is_cancelled() && !other.ended().is_cancelled());
        // Each pair once, and not the session that is gone.
        assert_eq!(*fake.asked.lock().unwrap(), [3]);

        // The row is as it was: a new session is asked about again, and stays.
        fake.over.lock().unwrap().clear();
        let again = sessions.open(&account("u@a.test", 1));
        sessions.check(&client).await;
        assert!(!again.ended().is_cancelled());
        assert_eq!(fake.asked.lock().unwrap().last(), Some(&3));
    }

    #[tokio::test]
    async fn many_long_addresses_fit_into_the_requests() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, client) = authd(&dir);
        let sessions = Sessions::default();
        let (local, label) = ("l".repeat(64), "d".repeat(60));
        let open: Vec<OpenSession> = (0..2000)
            .map(|revision| {
                sessions.open(&account(
                    &format!("{local}@{label}.{label}.{label}.test"),
                    revision,
                ))
            })
            .collect();
        sessions.check(&client).await;
        let asked = fake.asked.lock().unwrap().clone();
        assert_eq!(asked.iter().sum::<usize>(), open.len(), "{asked:?}");
        assert!(asked.iter().all(|count| *count <= crate::MAX_SESSIONS));
    }

    #[tokio::test]
    async fn the_watch_comes_round_until_the_stop() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, client) = authd(&dir);
        let (sessions, stop) = (Sessions::default(), CancellationToken::new());
        let watch = tokio::spawn(
            sessions
                .clone()
                .watch(client, || Duration::from_millis(1), stop.clone()),
        );
        let session = sessions.open(&account("u@a.test", 1));
        fake.over
            .lock()
            .unwrap()
            .insert((Address::parse("u@a.test").unwrap(), 1));
        session.ended().cancelled().await;
        stop.cancel();
        watch.await.unwrap();
    }
}
