//! The steps of a dialogue, as the parser makes them and the runner takes them.

use super::pattern::Pattern;

/// One step on one connection (the empty name is the first one).
#[derive(Debug, Clone)]
pub struct Step {
    /// Where it stands, for messages.
    pub line: usize,
    /// The connection that it is for.
    pub connection: String,
    /// What to do.
    pub kind: Kind,
}

/// What to do. Texts are expanded when the step is taken.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Send a text, with CRLF or without.
    Send { text: String, line_end: bool },
    /// Read a whole reply.
    Expect(Pattern),
    /// Read a POP3 status and the lines after it.
    ExpectLines(Pattern),
    /// The server closes now.
    ExpectEnd,
    /// Read until the server is silent or closes.
    ExpectAny,
    /// Say good-bye and see the connection closed.
    Quit,
    /// Bytes that are cut and dropped in further runs.
    Input(Vec<Step>),
    /// Steps that are repeated.
    Repeat(u32, Vec<Step>),
    /// A text many times, while replies are read.
    Flood { times: u32, text: String },
    /// A text, byte after byte.
    Drip { milliseconds: u64, text: String },
    /// A new segment.
    Pause(u64),
    /// TLS handshake.
    StartTls,
    /// End TLS, keep TCP.
    CloseNotify,
    /// Close.
    Drop,
    /// Close with RST.
    Reset,
    /// Shut down our side.
    HalfClose,
    /// Open a connection.
    Connect(Option<String>),
    /// How long replies may take, in seconds.
    Deadline(f64),
    /// Something is done to a daemon.
    Daemon { name: String, action: Control },
    /// Wait until nothing is under way.
    Settle,
    /// What an inbox holds.
    Mailbox {
        address: String,
        count: usize,
        needle: Option<Needle>,
    },
    /// The newest message's body.
    MailboxBody { address: String, text: String },
    /// A file put into `new`.
    Put { address: String, text: String },
    /// Files removed from the Maildir.
    Remove { address: String, file: String },
    /// What the sink does or holds.
    Sink(SinkStep),
    /// How many messages wait.
    Queue(usize),
    /// How many of them are bounces.
    QueueBounces(usize),
    /// Keep a part of the last reply.
    Save { name: String, regex: String },
}

/// What can be done to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// SIGKILL.
    Kill,
    /// SIGKILL and start again, or start if it does not run.
    Restart,
    /// SIGTERM and wait for the end.
    Terminate,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGHUP.
    Reload,
}

/// Bytes that some message has, or that none has.
#[derive(Debug, Clone)]
pub struct Needle {
    /// `contains` or `lacks`.
    pub present: bool,
    /// The bytes.
    pub text: String,
}

/// A step that concerns the sink.
#[derive(Debug, Clone)]
pub enum SinkStep {
    /// Behave well.
    Behave,
    /// Give a reply at a stage.
    Reply { stage: String, text: String },
    /// Close at a stage.
    Close { stage: String },
    /// Say nothing at a stage.
    Hang { stage: String },
    /// It has taken so many messages.
    Messages(usize),
    /// What it read as message data.
    Data(Needle),
    /// No bare CR, LF, NUL, no lone dot inside a message.
    Clean,
}
