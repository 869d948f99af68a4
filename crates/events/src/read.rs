//! The reading end: all files of the log as one, in the order of time.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

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

/// Everything about the messages that `matches` picks, in the order of time: their events, those of the
/// messages that they caused (bounces) or were caused by, and those of the sessions that they came in by.
pub fn life_of(dir: &Path, matches: impl Fn(&Event) -> bool) -> Result<Life, ReadError> {
    let mut ids = BTreeSet::new();
    let mut links = Vec::new();
    let mut skipped = scan_lines(dir, |_| true, &mut |event: Event| {
        if let (Some(id), Some(parent)) = (&event.id, &event.parent) {
            links.push((parent.clone(), id.clone()));
        }
        if let Some(id) = &event.id
            && !ids.contains(id)
            && matches(&event)
        {
            ids.insert(id.clone());
        }
    })?;
    let picked = ids.clone();
    // Up to what caused it and down to what it caused, until nothing is added.
    loop {
        let before = ids.len();
        for (parent, child) in &links {
            if ids.contains(parent) {
                ids.insert(child.clone());
            } else if ids.contains(child) {
                ids.insert(parent.clone());
            }
        }
        if ids.len() == before {
            break;
        }
    }
    let mut events = Vec::new();
    let mut sessions = HashSet::new();
    scan_lines(dir, |line| mentions(line, &ids), &mut |event: Event| {
        if event.id.as_ref().is_some_and(|id| ids.contains(id)) {
            sessions.extend(event.session.clone());
            events.push(event);
        }
    })?;
    skipped += scan_lines(
        dir,
        |line| sessions.iter().any(|id| contains(line, id.as_bytes())),
        &mut |event: Event| {
            if event.id.is_none() && event.session.as_ref().is_some_and(|id| sessions.contains(id)) {
                events.push(event);
            }
        },
    )
    .map(|_| 0)?;
    events.sort_by(|a, b| (a.time, &a.daemon, a.seq).cmp(&(b.time, &b.daemon, b.seq)));
    Ok(Life {
        picked: picked.into_iter().collect(),
        links: links
            .into_iter()
            .filter(|(parent, _)| ids.contains(parent))
            .collect(),
        events,
        skipped,
    })
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

fn mentions(line: &[u8], ids: &BTreeSet<String>) -> bool {
    ids.iter().any(|id| contains(line, id.as_bytes()))
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len()).any(|window| window == text)
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
