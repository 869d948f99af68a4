//! The events of a life as a tree: a block per message, what it caused indented below it.

use std::collections::{BTreeMap, BTreeSet};

use events::read::Life;
use events::{Event, Kind, qmgr, smtpd};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::describe::{describe, is_trouble};
use crate::output::{Output, clean};

/// The lines to print.
pub(super) fn lines(life: &Life, output: &Output) -> Vec<String> {
    let tree = Tree::new(life);
    let mut lines = Vec::new();
    for root in tree.roots() {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        tree.print(root, "", output, &mut lines, &mut BTreeSet::new());
    }
    if life.skipped > 0 {
        lines.push(format!(
            "({} lines of the decision log could not be read)",
            life.skipped
        ));
    }
    lines
}

struct Tree<'l> {
    messages: BTreeMap<&'l str, Vec<&'l Event>>,
    children: BTreeMap<&'l str, BTreeSet<&'l str>>,
}

impl<'l> Tree<'l> {
    fn new(life: &'l Life) -> Self {
        let mut messages: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        // What a session did outside of its messages is told with the first of them.
        let mut first_of_session: BTreeMap<&str, &str> = BTreeMap::new();
        for event in &life.events {
            if let Some(id) = event.id.as_deref() {
                messages.entry(id).or_default();
                if let Some(session) = event.session.as_deref().filter(|_| event.daemon == "smtpd") {
                    first_of_session.entry(session).or_insert(id);
                }
            }
        }
        for event in &life.events {
            let of_session = || {
                event
                    .session
                    .as_deref()
                    .and_then(|session| first_of_session.get(session).copied())
            };
            if let Some(id) = event.id.as_deref().or_else(of_session) {
                messages.entry(id).or_default().push(event);
            }
        }
        let mut children: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (parent, child) in &life.links {
            if messages.contains_key(child.as_str()) {
                children.entry(parent).or_default().insert(child);
            }
        }
        Self { messages, children }
    }

    /// Messages that nothing else of this life caused.
    fn roots(&self) -> Vec<&'l str> {
        let is_child = |id: &str| {
            self.children
                .iter()
                .any(|(parent, children)| self.messages.contains_key(parent) && children.contains(id))
        };
        self.messages.keys().copied().filter(|id| !is_child(id)).collect()
    }

    fn print(
        &self,
        id: &'l str,
        indent: &str,
        output: &Output,
        lines: &mut Vec<String>,
        seen: &mut BTreeSet<&'l str>,
    ) {
        if !seen.insert(id) {
            return;
        }
        let events = self.messages.get(id).map(Vec::as_slice).unwrap_or_default();
        let start = events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.time);
        let title = title(id, events);
        let date = start
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S%.3f %Z")
            .to_string();
        lines.push(format!("{indent}{}  {}", output.bold(&title), output.dim(&date)));
        for event in events {
            lines.push(format!("{indent}  {}", line(event, start, output)));
        }
        for child in self.children.get(id).into_iter().flatten() {
            lines.push(format!("{indent}  caused:"));
            self.print(child, &format!("{indent}    "), output, lines, seen);
        }
    }
}

/// `message ID from <sender>`, or what kind of report it is.
fn title(id: &str, events: &[&Event]) -> String {
    let told = events.iter().find_map(|event| match &event.kind {
        Kind::Qmgr(qmgr::Kind::ReportMade { report, to, .. }) => {
            Some(format!("report ({report}) to <{}>", clean(to)))
        }
        Kind::Smtpd(smtpd::Kind::MailAccepted { sender, .. } | smtpd::Kind::MailRefused { sender, .. })
        | Kind::Qmgr(qmgr::Kind::PickedUp { sender, .. }) => Some(format!("from <{}>", clean(sender))),
        _ => None,
    });
    format!("message {id} {}", told.unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// `+0.012s  smtpd    [1] text`.
fn line(event: &Event, start: Timestamp, output: &Output) -> String {
    let after = event.time.duration_since(start).as_secs_f64();
    let time = format!("{:>10}", format!("+{after:.3}s"));
    let recipient = event
        .recipient
        .map(|index| format!("[{index}] "))
        .unwrap_or_default();
    let text = clean(&describe(event));
    let text = if is_trouble(event) {
        output.red(&text)
    } else {
        text
    };
    format!("{}  {:<8} {recipient}{text}", output.dim(&time), event.daemon)
}
