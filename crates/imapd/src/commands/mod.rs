//! The table of commands: in which state each may come, what may be told with its answer, who runs it.

pub(crate) mod append;
mod authenticate;
mod close;
mod copy;
mod expunge;
mod fetch;
mod folders;
mod list;
mod search;
mod select;
mod status;
mod store;
mod trivial;

use imap_proto::command::Command;

use crate::error::{Stop, Tagged};
use crate::idle;
use crate::session::Session;

/// The state that a command needs (RFC 3501 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any.
    Nothing,
    /// Not authenticated.
    NoLogin,
    /// Authenticated or selected.
    Login,
    /// Selected.
    Selected,
}

/// What may be told about the selected mailbox with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tell {
    /// EXPUNGE may be sent.
    pub(crate) expunge: bool,
    /// FETCH responses name the UID.
    pub(crate) uid: bool,
    /// The directories are looked at although they were a moment ago.
    pub(crate) always: bool,
}

/// State by command.
pub(crate) fn needs(command: &Command) -> Needs {
    use Command as C;
    match command {
        C::Capability | C::Noop | C::Logout | C::Id(_) => Needs::Nothing,
        C::StartTls | C::Authenticate { .. } | C::Login { .. } => Needs::NoLogin,
        C::Enable(_)
        | C::Namespace
        | C::Select { .. }
        | C::Create(_)
        | C::Delete(_)
        | C::Rename { .. }
        | C::Subscribe { .. }
        | C::List { .. }
        | C::Status { .. }
        | C::Append { .. }
        | C::Idle => Needs::Login,
        C::Check
        | C::Close
        | C::Unselect
        | C::Expunge(_)
        | C::Search { .. }
        | C::Fetch { .. }
        | C::Store { .. }
        | C::Copy { .. }
        | C::Move { .. } => Needs::Selected,
    }
}

/// What is told at the end of a command; `None` where the mailbox was just opened or left.
pub(crate) fn telling(command: &Command) -> Option<Tell> {
    use Command as C;
    let tell = |expunge, uid, always| Some(Tell { expunge, uid, always });
    match command {
        C::Select { .. } | C::Close | C::Unselect | C::Logout | C::StartTls => None,
        // Numbers must not change while they are being used (RFC 3501 7.4.1); UIDs may be used at any time.
        C::Fetch { uid, .. } | C::Store { uid, .. } | C::Search { uid, .. } => tell(*uid, *uid, false),
        C::Noop | C::Check | C::Expunge(_) | C::Move { .. } => tell(true, false, true),
        C::Copy { uid, .. } => tell(true, *uid, false),
        _ => tell(true, false, false),
    }
}

/// Runs a command.
pub(crate) async fn run(session: &mut Session, tag: &str, command: Command) -> Result<Tagged, Stop> {
    use Command as C;
    match command {
        C::Capability => trivial::capability(session).await,
        C::Noop => Ok(Tagged::ok("NOOP completed")),
        C::Check => Ok(Tagged::ok("CHECK completed")),
        C::Logout => trivial::logout(session, tag),
        C::Id(pairs) => trivial::id(session, &pairs),
        C::Enable(_) => trivial::enable(session),
        C::Namespace => trivial::namespace(session),
        C::StartTls => authenticate::start_tls(session, tag).await,
        C::Authenticate { mechanism, initial } => authenticate::run(session, &mechanism, initial).await,
        C::Login { user, password } => authenticate::login(session, &user, &password).await,
        C::Select { mailbox, read_only } => select::run(session, &mailbox, read_only).await,
        C::Create(mailbox) => folders::create(session, &mailbox).await,
        C::Delete(mailbox) => folders::delete(session, &mailbox).await,
        C::Rename { from, to } => folders::rename(session, &from, &to).await,
        C::Subscribe { mailbox, subscribe } => folders::subscribe(session, &mailbox, subscribe).await,
        C::List {
            reference,
            pattern,
            subscribed,
        } => list::run(session, &reference, &pattern, subscribed).await,
        C::Status { mailbox, items } => status::run(session, &mailbox, &items).await,
        // Comes with its message, never this way.
        C::Append { .. } => Ok(Tagged::bad("Message missing")),
        C::Close => close::run(session, true).await,
        C::Unselect => close::run(session, false).await,
        C::Expunge(set) => expunge::run(session, set.as_ref()).await,
        C::Search { key, uid } => search::run(session, key, uid).await,
        C::Fetch { set, items, uid } => fetch::run(session, &set, items, uid).await,
        C::Store {
            set,
            operation,
            silent,
            flags,
            uid,
        } => store::run(session, &set, operation, silent, &flags, uid).await,
        C::Copy { set, mailbox, uid } => copy::copy(session, &set, &mailbox, uid).await,
        C::Move { set, mailbox, uid } => copy::r#move(session, &set, &mailbox, uid).await,
        C::Idle => idle::run(session).await,
    }
}
