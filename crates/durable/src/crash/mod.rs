//! What a power cut could leave: a recorder for tests, and every state that the recorded operations allow.
//!
//! Not a simulated file system: the code under test runs on a real directory, the [`Recorder`] watches it
//! through the [`Probe`] seam, and afterwards a [`Recording`] computes disk images, writes each into a fresh
//! directory, and hands it to the test's checker, which runs the real recovery on it.
//!
//! The model is meaner than any file system we run on, in the ways that count (robustness.md 4.1):
//!
//! * Data that was not synced may be there, be missing, or be torn in the middle, whatever the names say: a
//!   name with an empty file is what a missing file sync looks like.
//! * A change of names is durable when a directory that it touches was synced after it. Until then any
//!   prefix of the changes may have happened; a rename happens wholly or not at all, as in every journalling
//!   file system.
//! * The sync of a file says nothing about its name, that of a directory nothing about its subdirectories.
//!
//! [`Recording::without`] takes one barrier out: the checker must then find a state that breaks the promise,
//! or the barrier (or the checker) is worth nothing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use std::os::unix::fs::MetadataExt;

use self::image::{Image, temporary_dir};
use crate::probe::{FileId, Op, Probe};

mod image;

/// Watches a [`crate::Disk`] and writes down what it does. Use it with one thread at work.
#[derive(Debug)]
pub struct Recorder {
    start: Image,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Inode to our own number for it, since inode numbers are used again.
    known: HashMap<FileId, u64>,
    next: u64,
    events: Vec<Event>,
}

#[derive(Debug, Clone)]
enum Event {
    Create {
        dir: u64,
        name: OsString,
        file: u64,
    },
    MakeDir {
        dir: u64,
        name: OsString,
        made: u64,
    },
    Write {
        file: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: u64,
        len: u64,
    },
    Rename {
        from: u64,
        from_name: OsString,
        to: u64,
        to_name: OsString,
    },
    Link {
        from: u64,
        from_name: OsString,
        to: u64,
        to_name: OsString,
    },
    Unlink {
        dir: u64,
        name: OsString,
    },
    SyncFile {
        file: u64,
    },
    SyncDir {
        dir: u64,
    },
    Promise(String),
}

/// The recorded operations with the image they began on.
#[derive(Debug, Clone)]
pub struct Recording {
    start: Image,
    events: Vec<Event>,
}

/// A barrier of a recording, for [`Recording::without`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierId(usize);

/// One state after a power cut, as the checker gets it.
#[derive(Debug)]
pub struct Crash<'a> {
    /// The root directory of the state.
    pub root: &'a Path,
    /// The promises made before the cut, in order: these must hold.
    pub promises: &'a [String],
    /// What this state is, for the message of a failing test.
    pub what: String,
}

impl Recorder {
    /// Starts at the tree below `root`, all of which counts as durable.
    pub fn new(root: &Path) -> io::Result<Self> {
        let mut state = State {
            known: HashMap::new(),
            next: 1,
            events: Vec::new(),
        };
        let mut start = Image::default();
        load(root, ROOT, &mut start, &mut state)?;
        Ok(Self {
            start,
            state: Mutex::new(state),
        })
    }

    /// Notes that `what` was promised to somebody now: it must hold after any later power cut.
    pub fn promise(&self, what: impl Into<String>) {
        self.lock().events.push(Event::Promise(what.into()));
    }

    /// What was recorded so far.
    pub fn recording(&self) -> Recording {
        Recording {
            start: self.start.clone(),
            events: self.lock().events.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Recorder {
    fn after(&self, op: &Op<'_>) {
        let mut state = self.lock();
        let event = match *op {
            Op::Create { dir, name, file } => {
                let dir = state.number(dir);
                Event::Create {
                    dir,
                    name: name.to_owned(),
                    file: state.renumber(file),
                }
            }
            Op::MakeDir { dir, name, made } => {
                let dir = state.number(dir);
                Event::MakeDir {
                    dir,
                    name: name.to_owned(),
                    made: state.renumber(made),
                }
            }
            Op::Write { file, offset, bytes } => Event::Write {
                file: state.number(file),
                offset,
                bytes: bytes.to_vec(),
            },
            Op::Truncate { file, len } => Event::Truncate {
                file: state.number(file),
                len,
            },
            Op::Rename {
                from,
                from_name,
                to,
                to_name,
            } => Event::Rename {
                from: state.number(from),
                from_name: from_name.to_owned(),
                to: state.number(to),
                to_name: to_name.to_owned(),
            },
            Op::Link {
                from,
                from_name,
                to,
                to_name,
            } => Event::Link {
                from: state.number(from),
                from_name: from_name.to_owned(),
                to: state.number(to),
                to_name: to_name.to_owned(),
            },
            Op::Unlink { dir, name } | Op::RemoveDir { dir, name } => Event::Unlink {
                dir: state.number(dir),
                name: name.to_owned(),
            },
            Op::SyncFile { file } => Event::SyncFile {
                file: state.number(file),
            },
            Op::SyncDir { dir } => Event::SyncDir {
                dir: state.number(dir),
            },
        };
        state.events.push(event);
    }
}

impl State {
    fn number(&mut self, id: FileId) -> u64 {
        if let Some(number) = self.known.get(&id) {
            return *number;
        }
        self.renumber(Some(id))
    }

    fn renumber(&mut self, id: Option<FileId>) -> u64 {
        let number = self.next;
        self.next += 1;
        if let Some(id) = id {
            self.known.insert(id, number);
        }
        number
    }
}

impl Recording {
    /// Every barrier in it, with a description.
    pub fn barriers(&self) -> Vec<(BarrierId, String)> {
        let barrier = |(index, event): (usize, &Event)| match event {
            Event::SyncFile { file } => Some((
                BarrierId(index),
                format!("sync of file {} (event {index})", self.name_of(*file)),
            )),
            Event::SyncDir { dir } => Some((
                BarrierId(index),
                format!("sync of directory {} (event {index})", self.name_of(*dir)),
            )),
            _ => None,
        };
        self.events.iter().enumerate().filter_map(barrier).collect()
    }

    /// The same operations with one barrier doing nothing.
    pub fn without(&self, barrier: BarrierId) -> Self {
        let mut mutant = self.clone();
        // An empty promise keeps the other events' numbers.
        mutant.events[barrier.0] = Event::Write {
            file: u64::MAX,
            offset: 0,
            bytes: Vec::new(),
        };
        mutant
    }

    /// Runs `check` on every state that a power cut at any moment could leave; the first error is returned
    /// with its state. The number of states is returned otherwise.
    pub fn check(&self, mut check: impl FnMut(&Crash<'_>) -> Result<(), String>) -> Result<usize, String> {
        let mut count = 0;
        for cut in 0..=self.events.len() {
            let (events, promises) = self.until(cut);
            for (what, image) in self.states(events) {
                let what = format!("cut after event {cut} of {}, {what}", self.events.len());
                let place = temporary_dir(count).map_err(|e| e.to_string())?;
                let written = image.write(ROOT, &place);
                let result = written.map_err(|e| e.to_string()).and_then(|()| {
                    check(&Crash {
                        root: &place,
                        promises: &promises,
                        what: what.clone(),
                    })
                });
                let _ = fs::remove_dir_all(&place);
                result.map_err(|e| format!("{what}: {e}"))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Runs `check` on all states of the recording, which must hold, then with each barrier left out, where
    /// it must break; `spare` names barriers (by their description) that may be missing without harm.
    /// Returns the number of mutants that were caught.
    pub fn check_barriers(
        &self,
        mut check: impl FnMut(&Crash<'_>) -> Result<(), String>,
        spare: impl Fn(&str) -> bool,
    ) -> Result<usize, String> {
        self.check(&mut check)?;
        let mut caught = 0;
        for (barrier, what) in self.barriers() {
            match self.without(barrier).check(&mut check) {
                Err(_) => caught += 1,
                Ok(_) if spare(&what) => {}
                Ok(_) => return Err(format!("without the {what} nothing turns red")),
            }
        }
        Ok(caught)
    }

    fn until(&self, cut: usize) -> (&[Event], Vec<String>) {
        let events = &self.events[..cut];
        let promise = |event: &Event| match event {
            Event::Promise(what) => Some(what.clone()),
            _ => None,
        };
        (events, events.iter().filter_map(promise).collect())
    }

    /// Names: durable ones only, every prefix beyond, all but one. Data: nothing unsynced, everything, torn.
    fn states(&self, events: &[Event]) -> Vec<(String, Image)> {
        let durable = durable_changes(events);
        let open: Vec<usize> = (0..events.len())
            .filter(|i| is_name_change(&events[*i]) && !durable[*i])
            .collect();
        let mut choices: Vec<(String, Vec<bool>)> = Vec::new();
        for taken in 0..=open.len() {
            let mut chosen = durable.clone();
            open[..taken].iter().for_each(|i| chosen[*i] = true);
            choices.push((format!("{taken} of {} open names", open.len()), chosen));
        }
        for left_out in 0..open.len().saturating_sub(1) {
            let mut chosen = durable.clone();
            open.iter().for_each(|i| chosen[*i] = true);
            chosen[open[left_out]] = false;
            choices.push((format!("all open names but {left_out}"), chosen));
        }
        let mut states = Vec::new();
        for (names, chosen) in choices {
            for data in [Data::Synced, Data::All, Data::Torn] {
                let mut image = self.start.clone();
                replay(&mut image, events, &chosen, data);
                states.push((format!("{names}, data {data:?}"), image));
            }
        }
        states
    }

    /// The last name that an inode got, for messages.
    fn name_of(&self, wanted: u64) -> String {
        if wanted == ROOT {
            return "/".to_owned();
        }
        let mut found = None;
        for entries in self.start.dirs.values() {
            found = entries
                .iter()
                .find(|(_, n)| **n == wanted)
                .map(|(name, _)| name.clone())
                .or(found);
        }
        for event in &self.events {
            match event {
                Event::Create { name, file: n, .. } | Event::MakeDir { name, made: n, .. }
                    if *n == wanted =>
                {
                    found = Some(name.clone());
                }
                _ => {}
            }
        }
        found.map_or_else(|| wanted.to_string(), |name| name.to_string_lossy().into_owned())
    }
}

/// How much of the data that was not synced is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Synced,
    All,
    Torn,
}

fn is_name_change(event: &Event) -> bool {
    matches!(
        event,
        Event::Create { .. }
            | Event::MakeDir { .. }
            | Event::Rename { .. }
            | Event::Link { .. }
            | Event::Unlink { .. }
    )
}

/// Which changes of names a later directory sync made durable.
fn durable_changes(events: &[Event]) -> Vec<bool> {
    let touches = |event: &Event, wanted: u64| match event {
        Event::Create { dir, .. } | Event::MakeDir { dir, .. } | Event::Unlink { dir, .. } => *dir == wanted,
        Event::Rename { from, to, .. } => *from == wanted || *to == wanted,
        Event::Link { to, .. } => *to == wanted,
        _ => false,
    };
    let mut durable = vec![false; events.len()];
    for (at, event) in events.iter().enumerate() {
        if let Event::SyncDir { dir } = event {
            for earlier in 0..at {
                if touches(&events[earlier], *dir) {
                    durable[earlier] = true;
                }
            }
        }
    }
    // A file that was renamed durably existed: its creation counts with it.
    for at in (0..events.len()).rev() {
        if let (true, Event::Rename { from, from_name, .. } | Event::Link { from, from_name, .. }) =
            (durable[at], &events[at])
        {
            let made = |event: &Event| match event {
                Event::Create { dir, name, .. } | Event::MakeDir { dir, name, .. } => {
                    dir == from && name == from_name
                }
                Event::Rename { to, to_name, .. } | Event::Link { to, to_name, .. } => {
                    to == from && to_name == from_name
                }
                _ => false,
            };
            if let Some(source) = (0..at).rev().find(|i| made(&events[*i])) {
                durable[source] = true;
            }
        }
    }
    durable
}

fn replay(image: &mut Image, events: &[Event], chosen: &[bool], data: Data) {
    let synced_until = |file: u64| {
        events
            .iter()
            .rposition(|e| matches!(e, Event::SyncFile { file: f } if *f == file))
    };
    let last_write = |file: u64| {
        events
            .iter()
            .rposition(|e| matches!(e, Event::Write { file: f, .. } if *f == file))
    };
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Write { file, .. } | Event::Truncate { file, .. } => {
                let synced = synced_until(*file).is_some_and(|sync| sync > at);
                let torn = data == Data::Torn && last_write(*file) == Some(at);
                match (synced, data) {
                    (true, _) | (_, Data::All) => image.change(event, false),
                    (_, Data::Torn) => image.change(event, torn),
                    (_, Data::Synced) => {}
                }
            }
            event if is_name_change(event) && chosen[at] => image.change(event, false),
            _ => {}
        }
    }
}

/// Reads the tree below `path` into `image`.
fn load(path: &Path, number: u64, image: &mut Image, state: &mut State) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    state.known.insert(
        FileId {
            dev: meta.dev(),
            ino: meta.ino(),
        },
        number,
    );
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let id = FileId {
            dev: meta.dev(),
            ino: meta.ino(),
        };
        let known = state.known.get(&id).copied();
        let child = known.unwrap_or_else(|| state.renumber(Some(id)));
        if meta.is_dir() {
            load(&entry.path(), child, image, state)?;
        } else if known.is_none() {
            image.files.insert(child, fs::read(entry.path())?);
        }
        entries.insert(entry.file_name(), child);
    }
    image.dirs.insert(number, entries);
    Ok(())
}

/// Our number for the root directory.
const ROOT: u64 = 0;
