//! Search keys, prepared once and asked of every message: the cheap ones first, files read only when needed.

use std::ops::RangeInclusive;

use imap_proto::command::SearchKey;
use imap_proto::date::Date;
use maildir_store::{Flags, Folder, Message};
use message::header;
use message::mime::decode;

use super::super::fetch::source::{Source, Trouble};
use crate::mailbox::{FORWARDED, Numbers};

/// A prepared key; texts are in lower case.
#[derive(Debug)]
pub(super) enum Key {
    And(Vec<Key>),
    Or(Box<Key>, Box<Key>),
    Not(Box<Key>),
    /// UIDs, ascending ranges.
    Uids(Vec<RangeInclusive<u32>>),
    /// UIDs one by one, ascending: what a set of numbers came to.
    Listed(Vec<u32>),
    Flag(Flags),
    Recent,
    /// A bit of the keywords; none where the mailbox does not know the keyword.
    Keyword(u64),
    /// Days since 1970 of the internal date.
    Arrived(RangeInclusive<i64>),
    /// The same of the Date field.
    Sent(RangeInclusive<i64>),
    Size(RangeInclusive<u64>),
    Header(String, String),
    Body(String),
    Text(String),
}

impl Key {
    /// Prepares a key. The depth is what the parser allows.
    pub(super) fn compile(key: SearchKey, numbers: &Numbers) -> Self {
        use SearchKey as K;
        let before = |date: Date| i64::MIN..=date.days() - 1;
        let on = |date: Date| date.days()..=date.days();
        let since = |date: Date| date.days()..=i64::MAX;
        match key {
            K::And(keys) => {
                let mut keys: Vec<Self> = keys.into_iter().map(|key| Self::compile(key, numbers)).collect();
                keys.sort_by_key(Self::cost);
                Self::And(keys)
            }
            K::Or(left, right) => {
                let mut pair = [Self::compile(*left, numbers), Self::compile(*right, numbers)];
                pair.sort_by_key(Self::cost);
                let [left, right] = pair;
                Self::Or(Box::new(left), Box::new(right))
            }
            K::Not(key) => Self::Not(Box::new(Self::compile(*key, numbers))),
            K::Sequence(set) => Self::Listed(numbers.find(&set)),
            K::Uid(set) => Self::Uids(set.resolve(numbers.view.messages.last().map_or(0, |m| m.uid))),
            K::Answered => Self::Flag(Flags::ANSWERED),
            K::Flagged => Self::Flag(Flags::FLAGGED),
            K::Deleted => Self::Flag(Flags::DELETED),
            K::Seen => Self::Flag(Flags::SEEN),
            K::Draft => Self::Flag(Flags::DRAFT),
            K::Recent => Self::Recent,
            K::Keyword(name) => keyword(&name, numbers),
            K::Before(date) => Self::Arrived(before(date)),
            K::On(date) => Self::Arrived(on(date)),
            K::Since(date) => Self::Arrived(since(date)),
            K::SentBefore(date) => Self::Sent(before(date)),
            K::SentOn(date) => Self::Sent(on(date)),
            K::SentSince(date) => Self::Sent(since(date)),
            K::Larger(size) => Self::Size(u64::from(size) + 1..=u64::MAX),
            K::Smaller(0) => Self::Listed(Vec::new()),
            K::Smaller(size) => Self::Size(0..=u64::from(size) - 1),
            K::Header(field, text) => Self::Header(field, text.to_lowercase()),
            K::Body(text) => Self::Body(text.to_lowercase()),
            K::Text(text) => Self::Text(text.to_lowercase()),
        }
    }

    /// 0: the view alone, 1: a look at the file, 2: its header, 3: all of it.
    fn cost(&self) -> u8 {
        match self {
            Self::And(keys) => keys.iter().map(Self::cost).max().unwrap_or(0),
            Self::Or(left, right) => left.cost().max(right.cost()),
            Self::Not(key) => key.cost(),
            Self::Uids(_) | Self::Listed(_) | Self::Flag(_) | Self::Recent | Self::Keyword(_) => 0,
            Self::Arrived(_) | Self::Size(_) => 1,
            Self::Sent(_) | Self::Header(..) => 2,
            Self::Body(_) | Self::Text(_) => 3,
        }
    }

    /// Whether whole messages may have to be read.
    pub(super) fn reads_texts(&self) -> bool {
        self.cost() >= 3
    }

    /// Whether a message is one of those that are looked for.
    pub(super) fn matches(&self, candidate: &mut Candidate<'_>) -> Result<bool, Trouble> {
        let message = candidate.message;
        Ok(match self {
            Self::And(keys) => {
                for key in keys {
                    if !key.matches(candidate)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Or(left, right) => left.matches(candidate)? || right.matches(candidate)?,
            Self::Not(key) => !key.matches(candidate)?,
            Self::Uids(ranges) => ranges.iter().any(|range| range.contains(&message.uid)),
            Self::Listed(uids) => uids.binary_search(&message.uid).is_ok(),
            Self::Flag(flag) => message.flags.contains(*flag),
            Self::Recent => candidate.numbers.is_recent(message.uid),
            Self::Keyword(bit) => message.keywords & bit != 0,
            Self::Arrived(days) => {
                days.contains(&candidate.folder.internal_date(message.uid)?.div_euclid(86_400))
            }
            Self::Size(sizes) => sizes.contains(&candidate.folder.size(message.uid)?),
            Self::Sent(days) => candidate.sent()?.is_some_and(|day| days.contains(&day)),
            Self::Header(field, text) => candidate.header_has(field, text)?,
            Self::Body(text) => candidate.body_has(text)?,
            Self::Text(text) => candidate.header_line_has(text)? || candidate.body_has(text)?,
        })
    }
}

fn keyword(name: &str, numbers: &Numbers) -> Key {
    if name.eq_ignore_ascii_case(FORWARDED) {
        return Key::Flag(Flags::PASSED);
    }
    let bit = numbers
        .view
        .keywords
        .iter()
        .take(64)
        .position(|k| k.eq_ignore_ascii_case(name));
    Key::Keyword(bit.map_or(0, |bit| 1 << bit))
}

/// A message that is asked about.
pub(super) struct Candidate<'a> {
    folder: &'a Folder,
    numbers: &'a Numbers,
    message: &'a Message,
    source: Option<Source>,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(folder: &'a Folder, numbers: &'a Numbers, message: &'a Message) -> Self {
        Self {
            folder,
            numbers,
            message,
            source: None,
        }
    }

    fn header(&mut self) -> Result<&[u8], Trouble> {
        let source = match self.source.take() {
            Some(source) => source,
            None => Source::header(self.folder, self.message.uid)?,
        };
        let source = self.source.insert(source);
        Ok(&source.raw[..source.structure.root().body.offset])
    }

    fn whole(&mut self) -> Result<&Source, Trouble> {
        let source = match self.source.take() {
            Some(source) if source.complete => source,
            // Large ones too: the slice has a permit.
            _ => Source::whole(self.folder, self.message.uid, true)?,
        };
        Ok(self.source.insert(source))
    }

    /// The day of the Date field.
    fn sent(&mut self) -> Result<Option<i64>, Trouble> {
        let date = header::find(self.header()?, "Date").and_then(|field| decode::date_of(field.raw_value()));
        Ok(date
            .and_then(|(year, month, day)| Date::new(year, month, day))
            .map(Date::days))
    }

    fn header_has(&mut self, field: &str, text: &str) -> Result<bool, Trouble> {
        let header = self.header()?;
        let mut fields = header::fields(header).filter(|f| f.is(field));
        Ok(fields
            .any(|f| text.is_empty() || decode::header_text(f.raw_value()).to_lowercase().contains(text)))
    }

    /// In any field, its name included.
    fn header_line_has(&mut self, text: &str) -> Result<bool, Trouble> {
        let header = self.header()?;
        Ok(header::fields(header).any(|field| {
            let name = String::from_utf8_lossy(field.name());
            let line = format!("{name}: {}", decode::header_text(field.raw_value()));
            line.to_lowercase().contains(text)
        }))
    }

    fn body_has(&mut self, text: &str) -> Result<bool, Trouble> {
        if text.is_empty() {
            return Ok(true);
        }
        let source = self.whole()?;
        Ok(decode::any_body_text(&source.raw, &source.structure, |body| {
            body.to_lowercase().contains(text)
        }))
    }
}
