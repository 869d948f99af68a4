//! The server: authd implements [`Directory`], [`Logins`] and [`Admin`], and calls [`serve`] once for each
//! role's socket. The role decides which methods may be called.

mod admin;
mod allow;
mod directory;
mod sasl;
mod unserved;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use mail_types::{Address, Domain, Secret};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Status};

use crate::access;
use crate::admin::{
    AdminError, AdministratorRecord, AdministratorUpdate, AliasDomainRecord, AliasDomainUpdate, AliasRecord,
    AliasUpdate, AppPasswordRecord, DirectoryState, DomainCounts, DomainRecord, DomainUpdate,
    FetchmailRecord, LogEntry, MailboxRecord, MailboxUpdate, NewAdministrator, NewAppPassword, NewMailbox,
    Page, VacationRecord, Which,
};
use crate::convert::admin::list_status;
use crate::directory::{
    Explanation, MailboxAnswer, Question, Recipient, Resolution, Route, SenderLogin, Usage, Vacation,
};
use crate::pb;
use crate::sasl::{
    FailureRecord, LoginContext, LoginExplanation, LoginQuery, LoginStep, MechanismUsage, Validity,
};

pub use self::unserved::Unserved;
use crate::{EXCHANGE_IDLE, Role, Trace, Unavailable};

/// Longest request of Directory and Sasl.
const MAX_REQUEST: usize = 64 << 10;
/// Longest request of Admin.
const MAX_ADMIN_REQUEST: usize = 1 << 20;
/// Longest answer.
const MAX_ANSWER: usize = 4 << 20;
/// Longest header list of a request.
const MAX_HEADERS: u32 = 8 << 10;
/// What all streams of a connection may have in flight together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How long open calls may take to end once a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// Questions about addresses. Every error is a temporary failure for whoever asked.
pub trait Directory: Send + Sync + 'static {
    /// Where an envelope recipient delivers.
    fn resolve(
        &self,
        recipient: Recipient,
        trace: Trace,
    ) -> impl Future<Output = Result<Resolution, Unavailable>> + Send;

    /// Transport and next hop of a final address.
    fn route(
        &self,
        final_address: Address,
        trace: Trace,
    ) -> impl Future<Output = Result<Route, Unavailable>> + Send;

    /// Where the mailbox of a final address lies.
    fn lookup_mailbox(
        &self,
        final_address: Address,
        trace: Trace,
    ) -> impl Future<Output = Result<MailboxAnswer, Unavailable>> + Send;

    /// Whether a login may send as an address.
    fn check_sender_login(
        &self,
        login: Address,
        sender: Address,
        trace: Trace,
    ) -> impl Future<Output = Result<SenderLogin, Unavailable>> + Send;

    /// What the access(5) tables say.
    fn check_access(
        &self,
        question: access::Question,
        trace: Trace,
    ) -> impl Future<Output = Result<access::Answer, Unavailable>> + Send;

    /// The absence notice of an address.
    fn vacation(
        &self,
        address: Address,
        trace: Trace,
    ) -> impl Future<Output = Result<Option<Vacation>, Unavailable>> + Send;

    /// How full a mailbox is.
    fn usage(
        &self,
        address: Address,
        trace: Trace,
    ) -> impl Future<Output = Result<Usage, Unavailable>> + Send;

    /// An answer with its reasoning; trouble is an answer, too.
    fn explain(&self, question: Question) -> impl Future<Output = Explanation> + Send;
}

/// Logins. Who serves only exchanges leaves the rest as it is: unavailable.
pub trait Logins: Send + Sync + 'static {
    /// One exchange.
    type Exchange: Exchange;

    /// The mechanisms to offer, best first, in upper case.
    fn mechanisms(
        &self,
        context: LoginContext,
    ) -> impl Future<Output = Result<Vec<String>, Unavailable>> + Send;

    /// Begins an exchange; its first step follows at once.
    fn begin(&self, context: LoginContext, mechanism: &str) -> Self::Exchange;

    /// Whether the sessions of these logins may go on, one answer for each in their order. Trouble ends none.
    fn still_valid(
        &self,
        _role: Role,
        _sessions: Vec<(Address, u64)>,
    ) -> impl Future<Output = Result<Vec<Validity>, Unavailable>> + Send {
        async { Err(unserved::not_served()) }
    }

    /// How a login is judged.
    fn explain(
        &self,
        _query: LoginQuery,
    ) -> impl Future<Output = Result<LoginExplanation, Unavailable>> + Send {
        async { Err(unserved::not_served()) }
    }

    /// The failures that are remembered, the latest first.
    fn failures(
        &self,
        _limit: usize,
    ) -> impl Future<Output = Result<Vec<FailureRecord>, Unavailable>> + Send {
        async { Err(unserved::not_served()) }
    }

    /// Forgets the failures of an address, a network or an account, and says how many entries those were.
    fn unban(&self, _target: String) -> impl Future<Output = Result<u32, Unavailable>> + Send {
        async { Err(unserved::not_served()) }
    }

    /// Who logs in with which mechanism.
    fn mechanism_usage(&self) -> impl Future<Output = Result<Vec<MechanismUsage>, Unavailable>> + Send {
        async { Err(unserved::not_served()) }
    }
}

/// One login in progress. It is dropped after a verdict, and when the peer went away.
pub trait Exchange: Send + 'static {
    /// Takes the initial response (first step; `None` where the client sent none) or the answer to the last
    /// challenge.
    fn step(&mut self, response: Option<Secret>) -> impl Future<Output = LoginStep> + Send;
}

/// What PostfixAdmin does. Lists come in pages, ordered by their key: the first without `after`, each further
/// one after what the one before said.
pub trait Admin: Send + Sync + 'static {
    /// All domains, or one.
    fn domains(
        &self,
        only: Option<Domain>,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<DomainRecord>, AdminError>> + Send;
    /// Adds a domain.
    fn create_domain(&self, record: DomainRecord) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Changes a domain.
    fn update_domain(
        &self,
        domain: Domain,
        update: DomainUpdate,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// How much is in a domain.
    fn count_domain(&self, domain: Domain) -> impl Future<Output = Result<DomainCounts, AdminError>> + Send;
    /// Deletes a domain and all that is in it.
    fn delete_domain(&self, domain: Domain) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// All alias domains, those of one target, or one.
    fn alias_domains(
        &self,
        which: Which,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<AliasDomainRecord>, AdminError>> + Send;
    /// Makes one domain mirror another.
    fn create_alias_domain(
        &self,
        record: AliasDomainRecord,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Changes whom it mirrors, or whether.
    fn update_alias_domain(
        &self,
        domain: Domain,
        update: AliasDomainUpdate,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Ends that.
    fn delete_alias_domain(&self, domain: Domain) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Mailboxes, by address.
    fn mailboxes(
        &self,
        which: Which,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<MailboxRecord>, AdminError>> + Send;
    /// Adds a mailbox and its alias row.
    fn create_mailbox(&self, mailbox: NewMailbox) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Changes a mailbox.
    fn update_mailbox(
        &self,
        address: Address,
        update: MailboxUpdate,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Deletes a mailbox, its alias row and its mention in other aliases.
    fn delete_mailbox(&self, address: Address) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Sets a password.
    fn set_password(
        &self,
        address: Address,
        password: Secret,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// The app passwords of a mailbox.
    fn app_passwords(
        &self,
        address: Address,
    ) -> impl Future<Output = Result<Vec<AppPasswordRecord>, AdminError>> + Send;
    /// Adds an app password.
    fn create_app_password(&self, new: NewAppPassword)
    -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Deletes an app password.
    fn delete_app_password(
        &self,
        address: Address,
        id: i64,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Aliases, by address.
    fn aliases(
        &self,
        which: Which,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<AliasRecord>, AdminError>> + Send;
    /// Adds an alias.
    fn create_alias(&self, record: AliasRecord) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Changes an alias.
    fn update_alias(
        &self,
        address: String,
        update: AliasUpdate,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Deletes an alias.
    fn delete_alias(&self, address: String) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// All administrators, or one.
    fn administrators(
        &self,
        only: Option<String>,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<AdministratorRecord>, AdminError>> + Send;
    /// Adds an administrator.
    fn create_administrator(
        &self,
        new: NewAdministrator,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Changes an administrator.
    fn update_administrator(
        &self,
        username: String,
        update: AdministratorUpdate,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Deletes an administrator.
    fn delete_administrator(&self, username: String) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Sets an administrator's password.
    fn set_administrator_password(
        &self,
        username: String,
        password: Secret,
    ) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Automatic replies, by address; those that are off too.
    fn vacations(
        &self,
        which: Which,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<VacationRecord>, AdminError>> + Send;
    /// Turns an automatic reply on.
    fn set_vacation(&self, record: VacationRecord) -> impl Future<Output = Result<(), AdminError>> + Send;
    /// Turns it off.
    fn clear_vacation(&self, address: Address) -> impl Future<Output = Result<(), AdminError>> + Send;

    /// Rows of fetchmail, by number.
    fn fetchmail(
        &self,
        which: Which,
        after: Option<String>,
    ) -> impl Future<Output = Result<Page<FetchmailRecord>, AdminError>> + Send;

    /// The latest entries of the log, of all domains or one.
    fn log(
        &self,
        domain: Option<Domain>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<LogEntry>, AdminError>> + Send;

    /// Where the rows come from now.
    fn directory_state(&self) -> impl Future<Output = Result<DirectoryState, Unavailable>> + Send;
    /// Begins to bring the copy up to date; the answer is the state meanwhile.
    fn refresh_directory(&self) -> impl Future<Output = Result<DirectoryState, Unavailable>> + Send;
}

/// How much a role's socket takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Streams of one connection at a time: as many as the daemon may have connections.
    pub max_streams: u32,
    /// Connections of the role together. A daemon uses two.
    pub max_connections: usize,
    /// How long an exchange may wait for its peer.
    pub exchange_idle: Duration,
    /// The user ids that may connect, as the kernel names them; empty for all who reach the socket.
    pub uids: Vec<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_streams: 8192,
            max_connections: 64,
            exchange_idle: EXCHANGE_IDLE,
            uids: Vec::new(),
        }
    }
}

/// What a socket leads to.
#[derive(Debug)]
pub struct Services<D, L, A> {
    /// Questions about addresses.
    pub directory: Arc<D>,
    /// Logins.
    pub logins: Arc<L>,
    /// Administration.
    pub admin: Arc<A>,
}

impl<D, L, A> Clone for Services<D, L, A> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            logins: self.logins.clone(),
            admin: self.admin.clone(),
        }
    }
}

/// The socket's listener failed for good.
#[derive(Debug, thiserror::Error)]
#[error("serving the {} socket", .role.as_str())]
pub struct ServeError {
    role: Role,
    source: tonic::transport::Error,
}

/// Serves one role's socket until `shutdown` is ready, then lets open calls end for at most 5 s.
///
/// Methods that the role may not call are PERMISSION_DENIED. Connections over the limit, and those of users who are not
/// among [`Limits::uids`], are closed at once.
pub async fn serve<D: Directory, L: Logins, A: Admin>(
    listener: UnixListener,
    role: Role,
    services: Services<D, L, A>,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let directory = pb::directory::directory_server::DirectoryServer::new(directory::Service {
        role,
        directory: services.directory,
    })
    .max_decoding_message_size(MAX_REQUEST)
    .max_encoding_message_size(MAX_ANSWER);
    let sasl = pb::sasl::sasl_server::SaslServer::new(sasl::Service {
        role,
        logins: services.logins,
        idle: limits.exchange_idle,
    })
    .max_decoding_message_size(MAX_REQUEST)
    .max_encoding_message_size(MAX_ANSWER);
    let admin = pb::admin::admin_server::AdminServer::new(admin::Service {
        role,
        admin: services.admin,
    })
    .max_decoding_message_size(MAX_ADMIN_REQUEST)
    .max_encoding_message_size(MAX_ANSWER);

    let (begin_drain, draining) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .http2_max_header_list_size(MAX_HEADERS)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(directory)
        .add_service(sasl)
        .add_service(admin)
        .serve_with_incoming_shutdown(
            incoming(listener, role, limits.max_connections, limits.uids),
            async move {
                shutdown.await;
                let _ = begin_drain.send(());
            },
        );
    let drained = async {
        match draining.await {
            Ok(()) => tokio::time::sleep(DRAIN).await,
            // The server ended by itself; its branch is the one that counts.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = server => result.map_err(|source| ServeError { role, source }),
        () = drained => Ok(()),
    }
}

/// The accepted connections of `uids`, at most `max` at a time; all others are closed. An accept error (out of
/// file descriptors) is logged and survived.
fn incoming(
    listener: UnixListener,
    role: Role,
    max: usize,
    uids: Vec<u32>,
) -> impl futures_util::Stream<Item = io::Result<counted::Counted<UnixStream>>> {
    let slots = Arc::new(tokio::sync::Semaphore::new(max));
    UnixListenerStream::new(listener).filter_map(move |stream| {
        let slots = slots.clone();
        let stranger = stream
            .as_ref()
            .is_ok_and(|stream| !may_connect(stream, role, &uids));
        async move {
            match stream {
                Ok(_) if stranger => None,
                Ok(stream) => match slots.try_acquire_owned() {
                    Ok(slot) => Some(Ok(counted::Counted::new(stream, slot))),
                    Err(_) => {
                        tracing::warn!("more connections than this socket takes: one is closed");
                        None
                    }
                },
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    // Without a pause this would spin while descriptors are short.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
            }
        }
    })
}

/// Whether the peer is one of these users, where some are named.
fn may_connect(stream: &UnixStream, role: Role, uids: &[u32]) -> bool {
    if uids.is_empty() {
        return true;
    }
    let uid = stream.peer_cred().map(|peer| peer.uid());
    let known = uid.as_ref().is_ok_and(|uid| uids.contains(uid));
    if !known {
        tracing::warn!(role = role.as_str(), ?uid, "a user who may not use this socket");
    }
    known
}

/// The ids that a request carries; broken ones count as absent.
fn trace<T>(request: &Request<T>) -> Trace {
    let text = |key| request.metadata().get(key).and_then(|value| value.to_str().ok());
    Trace {
        session: text("postrider-session").and_then(|id| id.parse().ok()),
        message: text("postrider-message").and_then(|id| id.parse().ok()),
    }
}

/// Runs one call within its deadline.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Status> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| Status::unavailable(error.reason)),
        Err(_) => Err(Status::deadline_exceeded("authd was too slow")),
    }
}

/// The same for what an administrator asks.
async fn within_admin<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, AdminError>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(list_status),
        Err(_) => Err(Status::deadline_exceeded("authd was too slow")),
    }
}

mod counted {
    //! A stream that holds its slot among the connections until it is closed.

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::sync::OwnedSemaphorePermit;
    use tonic::transport::server::Connected;

    /// The stream and its slot.
    #[derive(Debug)]
    pub struct Counted<S> {
        stream: S,
        _slot: OwnedSemaphorePermit,
    }

    impl<S> Counted<S> {
        pub fn new(stream: S, slot: OwnedSemaphorePermit) -> Self {
            Self { stream, _slot: slot }
        }
    }

    impl<S> Connected for Counted<S> {
        type ConnectInfo = ();
        fn connect_info(&self) {}
    }

    impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
