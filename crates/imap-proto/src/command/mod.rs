//! Commands as values (RFC 3501 section 6 and 9, and the extensions that imapd offers).

mod arguments;
mod fetch;
mod lexical;
mod parser;
mod search;

use mail_types::Secret;

use crate::date::{Date, DateTime};
use crate::name::WireName;
use crate::sequence::SequenceSet;

pub use parser::{parse, tag};

/// Depth of nested search keys (robustness.md section 3).
pub const MAX_NESTING: usize = 32;
/// Octets of a tag.
pub const MAX_TAG: usize = 128;
/// Levels of a part number such as `1.2.3`; deeper parts do not exist (message::mime).
pub const MAX_PART_DEPTH: usize = 101;

/// A command with its tag.
#[derive(Debug, Clone, PartialEq)]
pub struct TaggedCommand {
    /// The tag to answer with.
    pub tag: String,
    /// The command.
    pub command: Command,
}

/// A command that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadCommand {
    /// The tag to answer with, `*` where there was none.
    pub tag: String,
    /// What is wrong.
    pub reason: Problem,
}

/// Why a command is refused by the parser. All are BAD, except [`Problem::Charset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No tag, or no command after it.
    #[error("Invalid tag or missing command")]
    Tag,
    /// A verb that nobody knows.
    #[error("Unknown command")]
    Unknown,
    /// Arguments missing, too many or of the wrong form.
    #[error("Invalid arguments")]
    Arguments,
    /// Search keys nested deeper than [`MAX_NESTING`].
    #[error("Nested too deeply")]
    TooDeep,
    /// NO \[BADCHARSET (US-ASCII UTF-8)\].
    #[error("Unknown charset")]
    Charset,
    /// A date that no calendar has.
    #[error("Invalid date")]
    Date,
    /// A flag beginning with a backslash that is none of the system flags.
    #[error("Unknown system flag")]
    Flag,
}

/// Every command that imapd answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// CAPABILITY.
    Capability,
    /// NOOP.
    Noop,
    /// LOGOUT.
    Logout,
    /// STARTTLS.
    StartTls,
    /// AUTHENTICATE, with the initial response of RFC 4959 decoded from base64.
    Authenticate {
        /// Upper case.
        mechanism: String,
        /// `None`: the client waits for a challenge. `=` is an empty response.
        initial: Option<Secret>,
    },
    /// LOGIN.
    Login {
        /// As sent.
        user: Vec<u8>,
        /// As sent.
        password: Secret,
    },
    /// ENABLE (RFC 5161): the names in upper case.
    Enable(Vec<String>),
    /// ID (RFC 2971): at most 30 pairs, `None` for NIL.
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// NAMESPACE (RFC 2342).
    Namespace,
    /// SELECT or EXAMINE.
    Select {
        /// The mailbox.
        mailbox: WireName,
        /// EXAMINE.
        read_only: bool,
    },
    /// CREATE.
    Create(WireName),
    /// DELETE.
    Delete(WireName),
    /// RENAME.
    Rename {
        /// Old name.
        from: WireName,
        /// New name.
        to: WireName,
    },
    /// SUBSCRIBE or UNSUBSCRIBE.
    Subscribe {
        /// The mailbox.
        mailbox: WireName,
        /// `false` for UNSUBSCRIBE.
        subscribe: bool,
    },
    /// LIST or LSUB.
    List {
        /// Reference name.
        reference: WireName,
        /// Pattern, still encoded.
        pattern: WireName,
        /// LSUB.
        subscribed: bool,
    },
    /// STATUS.
    Status {
        /// The mailbox.
        mailbox: WireName,
        /// What is asked, at least one.
        items: Vec<StatusItem>,
    },
    /// APPEND; the message comes apart (see [`crate::framing::Input::Append`]).
    Append {
        /// The mailbox.
        mailbox: WireName,
        /// Flags.
        flags: Flags,
        /// Internal date.
        date: Option<DateTime>,
    },
    /// CHECK.
    Check,
    /// CLOSE.
    Close,
    /// UNSELECT (RFC 3691).
    Unselect,
    /// EXPUNGE, or UID EXPUNGE (RFC 4315) with its set.
    Expunge(Option<SequenceSet>),
    /// SEARCH or UID SEARCH.
    Search {
        /// The keys, ANDed by [`SearchKey::And`] where there are several.
        key: SearchKey,
        /// UID SEARCH.
        uid: bool,
    },
    /// FETCH or UID FETCH (for which [`FetchItem::Uid`] is always in the items).
    Fetch {
        /// Which messages.
        set: SequenceSet,
        /// Which items, macros expanded, in order.
        items: Vec<FetchItem>,
        /// UID FETCH.
        uid: bool,
    },
    /// STORE or UID STORE.
    Store {
        /// Which messages.
        set: SequenceSet,
        /// What to do.
        operation: StoreOperation,
        /// `.SILENT`.
        silent: bool,
        /// The flags.
        flags: Flags,
        /// UID STORE.
        uid: bool,
    },
    /// COPY or UID COPY.
    Copy {
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: WireName,
        /// UID COPY.
        uid: bool,
    },
    /// MOVE or UID MOVE (RFC 6851).
    Move {
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: WireName,
        /// UID MOVE.
        uid: bool,
    },
    /// IDLE (RFC 2177).
    Idle,
}

/// System flags and keywords. `\Recent` cannot be set and is no member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `\Answered`.
    pub answered: bool,
    /// `\Flagged`.
    pub flagged: bool,
    /// `\Deleted`.
    pub deleted: bool,
    /// `\Seen`.
    pub seen: bool,
    /// `\Draft`.
    pub draft: bool,
    /// Keywords as written, each once (compared without case).
    pub keywords: Vec<String>,
}

/// How STORE combines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOperation {
    /// `FLAGS`.
    Replace,
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
}

/// STATUS items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// MESSAGES.
    Messages,
    /// RECENT.
    Recent,
    /// UIDNEXT.
    UidNext,
    /// UIDVALIDITY.
    UidValidity,
    /// UNSEEN.
    Unseen,
}

/// FETCH items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// ENVELOPE.
    Envelope,
    /// FLAGS.
    Flags,
    /// INTERNALDATE.
    InternalDate,
    /// RFC822: `BODY[]` under another name.
    Rfc822,
    /// RFC822.HEADER: `BODY.PEEK[HEADER]` under another name.
    Rfc822Header,
    /// RFC822.SIZE.
    Rfc822Size,
    /// RFC822.TEXT: `BODY[TEXT]` under another name.
    Rfc822Text,
    /// BODY without a section.
    Body,
    /// BODYSTRUCTURE.
    BodyStructure,
    /// UID.
    Uid,
    /// `BODY[section]<partial>`.
    Section {
        /// BODY.PEEK.
        peek: bool,
        /// What.
        section: Section,
        /// First octet and greatest count (not 0).
        partial: Option<(u32, u32)>,
    },
}

impl FetchItem {
    /// Whether fetching this sets `\Seen` (RFC 3501 6.4.5).
    pub fn sets_seen(&self) -> bool {
        matches!(
            self,
            Self::Rfc822 | Self::Rfc822Text | Self::Section { peek: false, .. }
        )
    }
}

/// The part of a message that `BODY[...]` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Part numbers, outermost first, at most [`MAX_PART_DEPTH`].
    pub path: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// The last word of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// Nothing: the whole part (or message).
    All,
    /// HEADER.
    Header,
    /// HEADER.FIELDS, HEADER.FIELDS.NOT.
    HeaderFields {
        /// `.NOT`.
        not: bool,
        /// The names as written.
        names: Vec<Vec<u8>>,
    },
    /// TEXT.
    Text,
    /// MIME, only after a part number.
    Mime,
}

/// Search keys. Strings are UTF-8 (RFC 3501 6.4.4; charsets US-ASCII and UTF-8).
#[derive(Debug, Clone, PartialEq)]
pub enum SearchKey {
    /// All of these; empty is ALL.
    And(Vec<SearchKey>),
    /// OR.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// NOT (and the UN.. keys).
    Not(Box<SearchKey>),
    /// A set of sequence numbers.
    Sequence(SequenceSet),
    /// UID.
    Uid(SequenceSet),
    /// A system flag.
    Answered,
    /// See above.
    Flagged,
    /// See above.
    Deleted,
    /// See above.
    Seen,
    /// See above.
    Draft,
    /// RECENT (NEW is RECENT and not SEEN, OLD is not RECENT).
    Recent,
    /// KEYWORD.
    Keyword(String),
    /// Internal date within the day before this one or earlier.
    Before(Date),
    /// Internal date within this day.
    On(Date),
    /// Internal date within this day or later.
    Since(Date),
    /// The same for the Date field.
    SentBefore(Date),
    /// See above.
    SentOn(Date),
    /// See above.
    SentSince(Date),
    /// More octets than this.
    Larger(u32),
    /// Fewer octets than this.
    Smaller(u32),
    /// HEADER (and BCC, CC, FROM, SUBJECT, TO): field name and text, which may be empty.
    Header(String, String),
    /// BODY.
    Body(String),
    /// TEXT.
    Text(String),
}
