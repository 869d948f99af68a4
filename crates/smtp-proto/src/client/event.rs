//! What a client session is told and tells: times, stages, outcomes, events.

use std::time::Duration;

use mail_types::Reply;

use super::ReplyError;

/// How long the peer may take (RFC 5321 4.5.3.2). Each time covers the whole reply, not each read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connection; the caller's business.
    pub connect: Duration,
    /// The banner.
    pub greeting: Duration,
    /// EHLO, HELO, LHLO, STARTTLS.
    pub hello: Duration,
    /// MAIL.
    pub mail: Duration,
    /// RCPT.
    pub rcpt: Duration,
    /// DATA.
    pub data: Duration,
    /// Writing one block of the body; the caller's business.
    pub block: Duration,
    /// The final dot.
    pub end_of_data: Duration,
    /// RSET and QUIT, whose replies matter to nobody.
    pub farewell: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            hello: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end_of_data: minutes(10),
            farewell: Duration::from_secs(10),
        }
    }
}

impl Timeouts {
    /// The same time for everything: a peer on this host.
    pub fn uniform(time: Duration) -> Self {
        Self {
            connect: time,
            greeting: time,
            hello: time,
            mail: time,
            rcpt: time,
            data: time,
            block: time,
            end_of_data: time,
            farewell: time,
        }
    }
}

/// Which command a reply answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The banner.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The end of the message.
    EndOfData,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No reply, and the end of the message was not sent: it was not delivered.
    NotSent,
    /// The end of the message was sent and no reply came: it may have been delivered.
    Unknown,
    /// The reply that decided, and what it answered. Delivered where it is positive at `EndOfData`.
    Replied {
        /// What was answered.
        stage: Stage,
        /// The answer.
        reply: Reply,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server can be used: [`Session::extensions`](super::Session::extensions), then [`starttls`](super::Session::starttls), [`begin`](super::Session::begin) or
    /// [`quit`](super::Session::quit).
    Ready,
    /// The server refused us at the banner or at both greetings; there is nothing more to do than QUIT.
    Refused {
        /// Where.
        stage: Stage,
        /// The answer.
        reply: Reply,
    },
    /// 220 after STARTTLS: do the handshake, then [`tls_started`](super::Session::tls_started).
    StartTls,
    /// STARTTLS was refused; the session goes on in the clear if the caller wants it.
    TlsRefused(Reply),
    /// The answer to MAIL.
    Mail(Reply),
    /// The answer to the RCPT of this index.
    Rcpt(usize, Reply),
    /// 354 and at least one recipient: [`body`](super::Session::body), [`end_body`](super::Session::end_body).
    SendBody,
    /// The final answer for the recipient of this index (accepted ones only; with SMTP all get the same).
    Verdict(usize, Reply),
    /// The transaction is over: [`outcomes`](super::Session::outcomes).
    Done,
    /// QUIT was answered: close.
    Closed,
    /// The session cannot go on: close and look at [`outcomes`](super::Session::outcomes).
    Failed(Failure),
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What came is no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply nobody waits for.
    #[error("reply without a command: {0}")]
    Unsolicited(Reply),
    /// The server closes the channel (421).
    #[error("server closes: {0}")]
    Closing(Reply),
    /// Bytes behind the answer to STARTTLS in the clear (CVE-2021-38371).
    #[error("plaintext injected behind STARTTLS")]
    InjectedPlaintext,
}
