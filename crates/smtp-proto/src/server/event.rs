//! What a server session tells its caller, and asks.

use mail_types::{Reply, Secret};

use crate::command::{Hello, Mail, Rcpt};
use crate::framing::BodyFault;

/// One thing that happened. Events marked *asks* stop the session until they are answered.
#[derive(Debug)]
pub enum Event<'a> {
    /// A greeting; any transaction is gone. *Asks*: [`accept_hello`](super::Session::accept_hello) or a refusal.
    Hello(Hello),
    /// A new transaction. *Asks*: 250 opens it.
    Mail(Mail),
    /// A recipient. *Asks*: 250 adds it; with LMTP it will get a reply of its own.
    Rcpt(Rcpt),
    /// DATA or the first BDAT, with at least one recipient. *Asks*:
    /// [`accept_data`](super::Session::accept_data) or a refusal.
    Data,
    /// A piece of the message, CRLF line ends, dots taken off. No piece follows a fault.
    Body(&'a [u8]),
    /// The message is complete, or faulty. *Asks* for [`EndOfData::answers`] replies; each may be given as
    /// soon as it is known. The transaction is gone with the last one.
    EndOfData(EndOfData),
    /// The transaction was given up (RSET, new greeting): forget it. Also comes where none was open.
    Reset,
    /// A login begins. *Asks*: [`challenge`](super::Session::challenge), or the verdict as answer (235 logs in).
    Auth {
        /// Upper case.
        mechanism: String,
        /// The initial response, where the client sent one.
        initial: Option<Secret>,
    },
    /// The answer to a challenge. *Asks* as `Auth`.
    AuthResponse(Secret),
    /// The client gave the login up (`*`, or nonsense); it was told so.
    AuthAborted,
    /// STARTTLS. *Asks*: after 220, write the output, do the handshake with whatever comes next on the
    /// socket and call [`tls_started`](super::Session::tls_started); or a refusal (454).
    StartTls,
    /// The session refused a command itself; for the log.
    Refused {
        /// The command line, shortened, without what may be a secret; control characters not yet escaped.
        command: String,
        /// What the client heard.
        reply: Reply,
    },
    /// Nothing more will be read: write the output, then close the connection. The last event.
    Closing(CloseReason),
}

/// The end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndOfData {
    /// What is wrong with it; the answers must then be refusals.
    pub fault: Option<BodyFault>,
    /// Octets of the message.
    pub size: u64,
    /// How many answers are due: 1, or with LMTP one for each accepted recipient, in their order.
    pub answers: usize,
}

/// Why a session ended from our side or by the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The caller refused the connection or shuts down.
    Refused,
    /// A record took too long.
    Timeout,
    /// Too many errors.
    TooManyErrors,
    /// Too many commands without use.
    TooManyJunkCommands,
    /// Too many failed logins.
    TooManyAuthFailures,
    /// Too many logins that nobody could judge; the words were 454.
    LoginsNotJudged,
    /// Too many BDAT commands in a message.
    TooManyChunks,
    /// A line that does not end.
    EndlessLine,
    /// Something else than SMTP: HTTP, TLS, or the text of a message.
    ForeignProtocol,
    /// Bytes behind STARTTLS in the clear (RFC 3207 6, CVE-2011-0411).
    InjectedPlaintext,
    /// A message so far above the limit that reading on to its end makes no sense.
    BodyFlood,
}
