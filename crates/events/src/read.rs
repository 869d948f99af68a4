//! The reading end: all files of the log as one, in the order of time.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::event::Event;

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct ReadError {
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    pub source: std::io::Error,
}

/// Hands every event of the directory to `visit`, file by file; files are `DAEMON.jsonl` and what rotation
/// made of them (`DAEMON.jsonl.1`, not compressed). Lines that are cut or no event are passed over; their
/// number is the result.
pub fn scan(dir: &Path, mut visit: impl FnMut(Event)) -> Result<u64, ReadError> {
    scan_lines(dir, |_| true, &mut visit)
}

/// Everything about the newest `most` messages that `matches` picks, in the order of time: their events, those
/// of the messages that they caused (bounces) or were caused by, and those of the sessions that they came in by.
pub fn life_of(dir: &Path, most: usize, matches: impl Fn(&Event) -> bool) -> Result<Life, ReadError> {
    let mut picked = BTreeSet::new();
    let mut links = BTreeSet::new();
    let skipped = scan_lines(dir, |_| true, &mut |event: Event| {
        let Some(id) = &event.id else { return };
        if let Some(parent) = &event.parent {
            links.insert((parent.clone(), id.clone()));
        }
        if !picked.contains(id) && matches(&event) {
            picked.insert(id.clone());
            if picked.len() > most {
                // Ids sort by time.
                picked.pop_first();
            }
        }
    })?;
    let ids = with_relatives(&picked, &links);
    let mut events = Vec::new();
    let mut sessions = BTreeSet::new();
    scan_lines(dir, |line| names_one_of(line, ID, &ids), &mut |event: Event| {
        if event.id.as_ref().is_some_and(|id| ids.contains(id)) {
            sessions.extend(event.session.clone());
            events.push(event);
        }
    })?;
    scan_lines(
        dir,
        |line| names_one_of(line, SESSION, &sessions),
        &mut |event: Event| {
            if event.id.is_none() && event.session.as_ref().is_some_and(|id| sessions.contains(id)) {
                events.push(event);
            }
        },
    )?;
    events.sort_by(|a, b| (a.time, &a.daemon, a.seq).cmp(&(b.time, &b.daemon, b.seq)));
    links.retain(|(parent, child)| ids.contains(parent) && ids.contains(child));
    Ok(Life {
        picked: picked.into_iter().collect(),
        links,
        events,
        skipped,
    })
}

/// Up to what caused them and down to what they caused, until nothing is added.
fn with_relatives(picked: &BTreeSet<String>, links: &BTreeSet<(String, String)>) -> BTreeSet<String> {
    let mut ids = picked.clone();
    loop {
        let before = ids.len();
        for (parent, child) in links {
            if ids.contains(parent) {
                ids.insert(child.clone());
            } else if ids.contains(child) {
                ids.insert(parent.clone());
            }
        }
        if ids.len() == before {
            return ids;
        }
    }
}

/// What [`life_of`] found.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// The messages that matched.
    pub picked: Vec<String>,
    /// (cause, consequence) pairs among the messages.
    pub links: BTreeSet<(String, String)>,
    /// The events in the order of time.
    pub events: Vec<Event>,
    /// Lines that could not be read.
    pub skipped: u64,
}

/// How the writer begins the two fields by which lines are picked before they are parsed. Inside of a text
/// the quotes would be escaped, so these are never found in one.
const ID: &[u8] = b"\"id\":\"";
const SESSION: &[u8] = b"\"session\":\"";

/// Whether the field's value is one of `ids`.
fn names_one_of(line: &[u8], field: &[u8], ids: &BTreeSet<String>) -> bool {
    let value = memmem::find(line, field).and_then(|at| line.get(at + field.len()..));
    let text = value.and_then(|rest| rest.split(|byte| *byte == b'"').next());
    text.and_then(|text| std::str::from_utf8(text).ok())
        .is_some_and(|text| ids.contains(text))
}

fn scan_lines(
    dir: &Path,
    wanted: impl Fn(&[u8]) -> bool,
    visit: &mut dyn FnMut(Event),
) -> Result<u64, ReadError> {
    let mut skipped = 0;
    for path in files(dir)? {
        let failed = |source| ReadError {
            path: path.clone(),
            source,
        };
        let mut file = match File::open(&path) {
            Ok(file) => BufReader::with_capacity(1 << 18, file),
            // Rotated away since the directory was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            let text = line.trim_ascii();
            if !text.is_empty() && wanted(text) {
                match Event::parse(text) {
                    Ok(event) => visit(event),
                    Err(_) => skipped += 1,
                }
            }
            line.clear();
        }
    }
    Ok(skipped)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |source| ReadError {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let rest = name.split_once(".jsonl").map(|(_, rest)| rest);
        if rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(['.', '-']) && !rest.ends_with("gz")))
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
