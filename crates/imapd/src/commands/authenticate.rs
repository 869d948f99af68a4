//! STARTTLS, AUTHENTICATE and LOGIN (RFC 3501 6.2).

use auth_api::sasl::Account;
use events::access;
use imap_proto::response::Code;
use mail_types::Secret;

use crate::capability;
use crate::error::{End, Stop, Tagged};
use crate::login::{self, Verdict};
use crate::session::{Session, User};
use crate::store;

/// RFC 3501 6.2.1. Answers itself, because nothing may follow the answer in the clear.
pub(super) async fn start_tls(session: &mut Session, tag: &str) -> Result<Tagged, Stop> {
    if session.context.tls.is_some() {
        return Ok(Tagged::bad("TLS is active already"));
    }
    if !session.may_start_tls() {
        return Ok(Tagged::no_code(Code::Unavailable, "TLS is not available"));
    }
    Tagged::ok("Begin TLS negotiation now").encode(tag, &mut session.wire.out);
    session.start_tls().await?;
    Err(Stop::Answered)
}

/// RFC 3501 6.2.3: LOGIN is PLAIN in other words.
pub(super) async fn login(session: &mut Session, user: &[u8], password: &Secret) -> Result<Tagged, Stop> {
    if !session.may_log_in() {
        return Ok(privacy_required());
    }
    match login::plain(user, password) {
        Some(initial) => exchange(session, "PLAIN", Some(initial)).await,
        None => Ok(Tagged::bad("Invalid arguments")),
    }
}

/// RFC 3501 6.2.2.
pub(super) async fn run(
    session: &mut Session,
    mechanism: &str,
    initial: Option<Secret>,
) -> Result<Tagged, Stop> {
    if !session.may_log_in() {
        return Ok(privacy_required());
    }
    exchange(session, mechanism, initial).await
}

/// Logins that nobody can judge before the connection ends: during an outage the known rows are still compared with
/// what comes, and nobody is to guess on and on at that.
const UNDECIDED: u32 = 10;
/// Exchanges that a client may cancel. That is no mistake (a program may ask its user in between), but it costs an
/// exchange with authd each time.
const CANCELS: u32 = 100;

fn privacy_required() -> Tagged {
    Tagged::no_code(Code::PrivacyRequired, "Use STARTTLS first")
}

async fn exchange(session: &mut Session, mechanism: &str, initial: Option<Secret>) -> Result<Tagged, Stop> {
    let limit = session.settings.client_auth_rate_limit;
    let mechanism_name = mechanism.to_owned();
    if !session.exempt && !session.shared.login_allowed(session.context.peer, limit) {
        let reason = "too many logins of this client".to_owned();
        session.emit(access::Kind::AuthUnavailable {
            mechanism: mechanism_name,
            reason,
        });
        return Ok(Tagged::no_code(
            Code::Unavailable,
            "Too many logins, please try again later",
        ));
    }
    let Session {
        shared,
        context,
        wire,
        login_deadline,
        ..
    } = session;
    let verdict = login::exchange(&shared.authd, context, mechanism, initial, wire, *login_deadline).await?;
    match verdict {
        Verdict::Account(account) => open(session, mechanism_name, account).await,
        Verdict::Denied(reason) => {
            session.emit(access::Kind::AuthFailed {
                mechanism: mechanism_name,
                reason,
            });
            session.failures += 1;
            let tagged = Tagged::no_code(Code::AuthenticationFailed, "Login failed.");
            if session.failures >= session.settings.auth_failure_limit {
                // The answer comes before BYE, so that the client knows it.
                return Err(Stop::Last(tagged, End::Failures));
            }
            Ok(tagged)
        }
        Verdict::NoMechanism => {
            session.count_error()?;
            Ok(Tagged::no_code(Code::Cannot, "This mechanism is not offered"))
        }
        Verdict::Unavailable(reason) => {
            session.emit(access::Kind::AuthUnavailable {
                mechanism: mechanism_name,
                reason,
            });
            session.undecided += 1;
            if session.undecided >= UNDECIDED {
                return Err(Stop::Last(Tagged::unavailable(), End::Undecided));
            }
            Ok(Tagged::unavailable())
        }
        Verdict::Cancelled => {
            session.cancels += 1;
            if session.cancels > CANCELS {
                return Err(End::Errors.into());
            }
            Ok(Tagged::bad("Authentication cancelled"))
        }
        Verdict::Broken => {
            session.count_error()?;
            Ok(Tagged::bad("Invalid response"))
        }
    }
}

/// The credentials are right: opens the account.
async fn open(session: &mut Session, mechanism: String, account: Account) -> Result<Tagged, Stop> {
    let login = account.address.to_string();
    let limit = if session.exempt {
        u32::MAX
    } else {
        session.settings.user_connection_count_limit
    };
    let Some(slot) = session.shared.user_slot(&login, session.context.peer, limit) else {
        let reason = "too many sessions of this user".to_owned();
        session.emit(access::Kind::AuthUnavailable { mechanism, reason });
        return Ok(Tagged::no_code(Code::Limit, "Too many connections of this user"));
    };
    let open = session.shared.sessions.open(&account);
    let maildirs = session.shared.maildirs.clone();
    let opened = store::blocking(move || maildirs.account(&account)).await;
    let account = match opened {
        Ok(account) => account,
        Err(error) => {
            let reason = daemon::describe(&error).to_string();
            tracing::warn!(session = %session.context.session, login, reason, "Maildir cannot be opened");
            session.emit(access::Kind::AuthUnavailable { mechanism, reason });
            return Ok(Tagged::unavailable());
        }
    };
    session.emit(access::Kind::AuthSucceeded {
        mechanism,
        login: login.clone(),
    });
    let user = User {
        login,
        account,
        selected: None,
        _slot: Some(slot),
    };
    session.logged_in(user, open);
    let capabilities = Code::Capability(capability::AFTER.to_vec());
    Ok(Tagged::ok_code(capabilities, "Logged in"))
}
