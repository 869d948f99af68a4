//! The selected mailbox as this client knows it: sequence numbers to UIDs.

use std::ops::RangeInclusive;
use std::sync::Arc;

use imap_proto::command::Flags as WireFlags;
use imap_proto::response::{Code, flag_names};
use imap_proto::sequence::SequenceSet;
use maildir_store::{Flags, Folder, Message, View};
use tokio::time::Instant;

use crate::error::Tagged;
use crate::warm::Warm;

/// The keyword that Maildirs keep as the flag P.
pub(crate) const FORWARDED: &str = "$Forwarded";

/// A selected mailbox.
pub(crate) struct Selected {
    pub(crate) folder: Arc<Folder>,
    pub(crate) read_only: bool,
    /// When the directories were last looked at.
    pub(crate) looked: Instant,
    pub(crate) numbers: Numbers,
    pub(crate) warm: Arc<Warm>,
}

impl Drop for Selected {
    fn drop(&mut self) {
        self.warm.keep(Arc::clone(&self.folder), Instant::now());
    }
}

/// What the client was told: the messages of a view, and those that are gone since but still have their
/// numbers, because no EXPUNGE could be sent yet.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    pub(crate) view: Arc<View>,
    /// UIDs in ascending order, none of them in `view`.
    pub(crate) ghosts: Vec<u32>,
    /// Ranges of UIDs that are recent in this session, ascending.
    pub(crate) recent: Vec<RangeInclusive<u32>>,
}

/// Messages that a command names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Picked {
    /// Those that exist, ascending.
    pub(crate) uids: Vec<u32>,
    /// Whether some have a number but no longer exist.
    pub(crate) some_gone: bool,
}

impl Numbers {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self {
            view,
            ghosts: Vec::new(),
            recent: Vec::new(),
        }
    }

    /// How many messages the client knows (EXISTS).
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.view.messages.len() + self.ghosts.len()).unwrap_or(u32::MAX)
    }

    /// The number of a message that exists.
    pub(crate) fn number(&self, uid: u32) -> Option<u32> {
        let index = self.view.index(uid)?;
        let ghosts = self.ghosts.partition_point(|ghost| *ghost < uid);
        u32::try_from(index + ghosts + 1).ok()
    }

    /// The UID with a number, and whether it still exists.
    fn uid(&self, number: u32) -> Option<(u32, bool)> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        if self.ghosts.is_empty() {
            return self.view.messages.get(index).map(|m| (m.uid, true));
        }
        // How many ghosts come before number: the first count for which both halves agree.
        let before = self.ghosts.iter().enumerate().take_while(|(count, ghost)| {
            let living = self.view.messages.partition_point(|m| m.uid < **ghost);
            living + count < index
        });
        let before = before.count();
        if let Some(ghost) = self.ghosts.get(before) {
            let living = self.view.messages.partition_point(|m| m.uid < *ghost);
            if living + before == index {
                return Some((*ghost, false));
            }
        }
        self.view.messages.get(index - before).map(|m| (m.uid, true))
    }

    /// Resolves the set of a command. A number beyond the last one is the client's error; an empty mailbox
    /// has no messages whatever is asked for, as clients ask for `1:*` without looking.
    pub(crate) fn pick(&self, set: &SequenceSet, by_uid: bool) -> Result<Picked, Tagged> {
        let mut picked = Picked::default();
        if by_uid {
            let last = self.view.messages.last().map_or(0, |m| m.uid);
            for range in set.resolve(last) {
                let from = self.view.messages.partition_point(|m| m.uid < *range.start());
                let to = self.view.messages.partition_point(|m| m.uid <= *range.end());
                picked
                    .uids
                    .extend(self.view.messages[from..to].iter().map(|m| m.uid));
            }
            return Ok(picked);
        }
        let last = self.count();
        if last == 0 {
            return Ok(picked);
        }
        if set.greatest_number().is_some_and(|number| number > last) {
            return Err(Tagged::bad("No message has this number"));
        }
        self.collect(set, last, &mut picked);
        Ok(picked)
    }

    /// As [`Numbers::pick`] for numbers that only describe what is looked for (SEARCH): those that no message
    /// has find nothing.
    pub(crate) fn find(&self, set: &SequenceSet) -> Vec<u32> {
        let mut picked = Picked::default();
        if self.count() > 0 {
            self.collect(set, self.count(), &mut picked);
        }
        picked.uids
    }

    fn collect(&self, set: &SequenceSet, last: u32, picked: &mut Picked) {
        for range in set.resolve(last) {
            let (start, end) = (*range.start(), last.min(*range.end()));
            if self.ghosts.is_empty() {
                let slice = (start as usize - 1)..(end as usize).max(start as usize - 1);
                let messages = self.view.messages.get(slice).unwrap_or_default();
                picked.uids.extend(messages.iter().map(|m| m.uid));
                continue;
            }
            for number in start..=end {
                match self.uid(number) {
                    Some((uid, true)) => picked.uids.push(uid),
                    _ => picked.some_gone = true,
                }
            }
        }
    }

    /// Whether a message is recent in this session.
    pub(crate) fn is_recent(&self, uid: u32) -> bool {
        self.recent.iter().any(|range| range.contains(&uid))
    }

    /// How many are (RECENT).
    pub(crate) fn recent_count(&self) -> u32 {
        let counts = self.recent.iter().map(|range| {
            let from = self.view.messages.partition_point(|m| m.uid < *range.start());
            let to = self.view.messages.partition_point(|m| m.uid <= *range.end());
            to.saturating_sub(from)
        });
        u32::try_from(counts.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Takes the messages from `first` up to the newest one as recent.
    pub(crate) fn add_recent(&mut self, first: u32) {
        let Some(last) = self.view.messages.last().map(|m| m.uid) else {
            return;
        };
        // A session that only reads is told of the same messages again and again.
        let known = self.recent.last().map_or(0, |range| *range.end());
        let first = first.max(known.saturating_add(1));
        if first <= last {
            self.recent.push(first..=last);
        }
    }

    /// The flags of a message as they are written.
    pub(crate) fn flag_names(&self, message: &Message) -> Vec<String> {
        flag_names(&wire_flags(&self.view, message), self.is_recent(message.uid))
    }

    /// What FLAGS lists: the system flags and the keywords of this mailbox.
    pub(crate) fn applicable_flags(&self) -> Vec<String> {
        let system = [
            "\\Answered",
            "\\Flagged",
            "\\Deleted",
            "\\Seen",
            "\\Draft",
            FORWARDED,
        ];
        let keywords = self
            .view
            .keywords
            .iter()
            .filter(|k| !k.eq_ignore_ascii_case(FORWARDED))
            .cloned();
        system
            .iter()
            .map(|flag| (*flag).to_owned())
            .chain(keywords)
            .collect()
    }
}

/// The flags of a message in the protocol's terms.
pub(crate) fn wire_flags(view: &View, message: &Message) -> WireFlags {
    let has = |flag| message.flags.contains(flag);
    let mut keywords: Vec<String> = view.keyword_names(message).map(str::to_owned).collect();
    if has(Flags::PASSED) && !keywords.iter().any(|k| k.eq_ignore_ascii_case(FORWARDED)) {
        keywords.push(FORWARDED.to_owned());
    }
    WireFlags {
        answered: has(Flags::ANSWERED),
        flagged: has(Flags::FLAGGED),
        deleted: has(Flags::DELETED),
        seen: has(Flags::SEEN),
        draft: has(Flags::DRAFT),
        keywords,
    }
}

/// The flags of a command in the store's terms; `$Forwarded` stays a keyword, the store knows it.
pub(crate) fn store_flags(flags: &WireFlags) -> Result<(Flags, Vec<String>), Tagged> {
    if flags.keywords.iter().any(|keyword| keyword.len() > MAX_KEYWORD) {
        return Err(Tagged::no_code(Code::Limit, "Keyword too long"));
    }
    let system = [
        (flags.answered, Flags::ANSWERED),
        (flags.flagged, Flags::FLAGGED),
        (flags.deleted, Flags::DELETED),
        (flags.seen, Flags::SEEN),
        (flags.draft, Flags::DRAFT),
    ];
    let mut set = Flags::NONE;
    for (_, flag) in system.iter().filter(|(on, _)| *on) {
        set.insert(*flag);
    }
    Ok((set, flags.keywords.clone()))
}

/// Octets of a keyword.
const MAX_KEYWORD: usize = 255;
