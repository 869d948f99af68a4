//! Logins: the client's mechanism is carried to authd and its verdict back.

use auth_api::client::Client;
use auth_api::sasl::{Account, LoginContext, LoginStep};
use mail_types::Secret;
use pop3_proto::command::{CommandError, sasl_response};
use pop3_proto::framing::Expect;
use pop3_proto::server::LoginRequest;
use pop3_proto::{Line, reply};
use tokio::io::{AsyncRead, AsyncWrite};
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
    /// The client cancelled, sent rubbish, or a response that was not due (RFC 5034 4).
    Broken(CommandError),
    /// A response was too long.
    TooLong,
}

/// Runs one exchange. Dropping it half-way (the client hung up) abandons it on authd's side too.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    authd: &Client,
    context: &LoginContext,
    request: LoginRequest,
    wire: &mut Wire<S>,
    deadline: Instant,
) -> Result<Verdict, End> {
    let (mut step, mut exchange) = authd.login(context, &request.mechanism, request.initial).await;
    loop {
        let challenge = match step {
            LoginStep::Challenge(challenge) => challenge,
            LoginStep::Success(account) => return Ok(Verdict::Account(account)),
            LoginStep::Denied {
                no_mechanism: true, ..
            } => return Ok(Verdict::NoMechanism),
            LoginStep::Denied { malformed: true, .. } => return Ok(Verdict::Broken(CommandError::Arguments)),
            LoginStep::Denied { delay, reason, .. } => {
                // Waited here and not in authd, so that a guesser blocks nobody (robustness.md section 3).
                if !context.trusted {
                    wire.pause(delay).await?;
                }
                return Ok(Verdict::Denied(reason));
            }
            LoginStep::TemporaryFailure { reason } => return Ok(Verdict::Unavailable(reason)),
        };
        reply::write_challenge(&challenge, &mut wire.out);
        let response: Secret = match wire.next_line(Expect::SaslResponse, deadline).await? {
            Line::Complete(line) => match sasl_response(&line) {
                Ok(response) => response,
                Err(error) => return Ok(Verdict::Broken(error)),
            },
            Line::TooLong => return Ok(Verdict::TooLong),
            Line::Hopeless => return Err(End::EndlessLine),
        };
        step = exchange.next(response).await;
    }
}
