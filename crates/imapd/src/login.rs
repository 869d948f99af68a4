//! Logins: the client's mechanism is carried to authd and its verdict back.

use auth_api::client::Client;
use auth_api::sasl::{Account, LoginContext, LoginStep};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap_proto::framing::Input;
use imap_proto::response::Response;
use mail_types::Secret;
use tokio::time::Instant;

use crate::error::End;
use crate::wire::Wire;

/// What became of an exchange.
pub(crate) enum Verdict {
    /// Logged in.
    Account(Account),
    /// Wrong credentials, and for the log why; the delay is over.
    Denied(String),
    /// The mechanism is not offered.
    NoMechanism,
    /// Nobody could say.
    Unavailable(String),
    /// The client cancelled with `*`.
    Cancelled,
    /// A response that is no base64, too long, or not due (RFC 9051 6.2.2).
    Broken,
}

/// Runs one exchange. Dropping it half-way (the client hung up) abandons it on authd's side too.
pub(crate) async fn exchange(
    authd: &Client,
    context: &LoginContext,
    mechanism: &str,
    initial: Option<Secret>,
    wire: &mut Wire,
    deadline: Instant,
) -> Result<Verdict, End> {
    let (mut step, mut exchange) = authd.login(context, mechanism, initial).await;
    loop {
        let challenge = match step {
            LoginStep::Challenge(challenge) => challenge,
            LoginStep::Success(account) => return Ok(Verdict::Account(account)),
            LoginStep::Denied {
                no_mechanism: true, ..
            } => return Ok(Verdict::NoMechanism),
            LoginStep::Denied { malformed: true, .. } => return Ok(Verdict::Broken),
            LoginStep::Denied { delay, reason, .. } => {
                // Waited here and not in authd, so that a guesser blocks nobody (robustness.md section 3).
                if !context.trusted {
                    wire.pause(delay).await?;
                }
                return Ok(Verdict::Denied(reason));
            }
            LoginStep::TemporaryFailure { reason } => return Ok(Verdict::Unavailable(reason)),
        };
        Response::Challenge(&challenge).encode(&mut wire.out);
        let response = match wire.next(deadline).await? {
            Input::Command(line) if line == b"*" => return Ok(Verdict::Cancelled),
            Input::Command(line) => match STANDARD.decode(line) {
                Ok(octets) => Secret::new(octets),
                Err(_) => return Ok(Verdict::Broken),
            },
            Input::Fatal(refusal) => return Err(End::Framing(refusal)),
            _ => {
                wire.framer().refuse_literal_of_line();
                return Ok(Verdict::Broken);
            }
        };
        step = exchange.next(response).await;
    }
}

/// LOGIN as the mechanism PLAIN (RFC 4616); `None` where NUL would shift its fields (robustness.md I07).
pub(crate) fn plain(user: &[u8], password: &Secret) -> Option<Secret> {
    if user.contains(&0) || password.expose().contains(&0) {
        return None;
    }
    Some(Secret::new([b"\0", user, b"\0", password.expose()].concat()))
}
