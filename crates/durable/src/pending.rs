//! Promises: what will be durable, and how a caller waits for it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;

use crate::append::AppendFile;
use crate::dir::Dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::probe::FileId;
use crate::staged::Staged;

/// Something that is to become durable. Nothing positive may be said to anybody before
/// [`Pending::wait`] returned `Ok`.
#[derive(Debug)]
#[must_use = "nothing is durable before wait() or later()"]
pub struct Pending {
    steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) enum Step {
    /// Data, then name, then the name's directory.
    Publish {
        staged: Box<Staged>,
        dir: Dir,
        name: OsString,
        replace: bool,
    },
    /// A journal's records.
    Append(AppendFile),
    /// A file's data.
    File {
        disk: Disk,
        fd: OwnedFd,
        id: FileId,
        name: OsString,
    },
    /// A directory's names.
    Entries(Dir),
}

impl Pending {
    /// A promise that is kept already.
    pub fn kept() -> Self {
        Self { steps: Vec::new() }
    }

    /// Both promises as one, this one first.
    pub fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    /// Blocks until it is durable. An error of kind [`crate::Kind::Sync`] is final: what was to be
    /// published is gone again, and the volume is suspect.
    pub fn wait(self) -> Result<(), Error> {
        self.steps.into_iter().try_for_each(Step::run)
    }

    /// Makes it visible now and durable within a second: for what may be lost in a power cut, namely a
    /// flag or the removal of a message (architecture.md section 5). A failing sync raises
    /// [`crate::Alarm::SyncFailed`].
    pub fn later(self) -> Result<(), Error> {
        for step in self.steps {
            match step {
                // A new file has no name before its data is safe, so this cannot be put off.
                step @ Step::Publish { .. } => step.run()?,
                Step::Append(journal) => {
                    let disk = journal.shared.dir.disk().clone();
                    disk.put_off(journal.id(), Step::Append(journal));
                }
                Step::File { disk, fd, id, name } => {
                    let step = Step::File {
                        disk: disk.clone(),
                        fd,
                        id,
                        name,
                    };
                    disk.put_off(id, step);
                }
                Step::Entries(dir) => {
                    let disk = dir.disk().clone();
                    disk.put_off(dir.id(), Step::Entries(dir));
                }
            }
        }
        Ok(())
    }

    /// Drops the promise: for caches and for garbage.
    pub fn forget(self) {}

    pub(crate) fn publish(staged: Staged, dir: Dir, name: OsString, replace: bool) -> Self {
        Self {
            steps: vec![Step::Publish {
                staged: Box::new(staged),
                dir,
                name,
                replace,
            }],
        }
    }

    pub(crate) fn append(journal: AppendFile) -> Self {
        Self {
            steps: vec![Step::Append(journal)],
        }
    }

    pub(crate) fn entries(dir: &Dir) -> Self {
        Self {
            steps: vec![Step::Entries(dir.clone())],
        }
    }

    pub(crate) fn file(disk: &Disk, file: File, id: FileId, name: &OsStr) -> Self {
        let step = Step::File {
            disk: disk.clone(),
            fd: file.into(),
            id,
            name: name.to_owned(),
        };
        Self { steps: vec![step] }
    }
}

impl Step {
    pub(crate) fn run(self) -> Result<(), Error> {
        match self {
            Self::Publish {
                staged,
                dir,
                name,
                replace,
            } => {
                staged.rename_into(&dir, &name, replace)?;
                let synced = dir.disk().sync_dir(&dir);
                if synced.is_err() && !replace {
                    // It was not promised, so nobody may find it. (A replaced file cannot be brought back;
                    // its content is as good as the old one's.)
                    let _ = dir.unlink_now(&name);
                }
                synced
            }
            Self::Append(journal) => journal.sync_now(),
            Self::File { disk, fd, id, name } => disk.sync_file(&fd, id, &name, false),
            Self::Entries(dir) => dir.disk().sync_dir(&dir),
        }
    }
}

/// Waits for many promises with their syncs in flight together. The first error is returned after all have
/// ended.
pub fn wait_all(promises: impl IntoIterator<Item = Pending>) -> Result<(), Error> {
    wait_each(promises.into_iter().collect()).into_iter().collect()
}

/// As [`wait_all`], with the result of each, in order.
pub fn wait_each(mut promises: Vec<Pending>) -> Vec<Result<(), Error>> {
    if promises.len() <= 1 || promises.iter().filter(|p| !p.steps.is_empty()).count() <= 1 {
        return promises.into_iter().map(Pending::wait).collect();
    }
    let share = promises.len().div_ceil(MAX_IN_FLIGHT);
    std::thread::scope(|scope| {
        let mut shares = Vec::new();
        while !promises.is_empty() {
            let rest = promises.split_off(share.min(promises.len()));
            let mine = std::mem::replace(&mut promises, rest);
            let count = mine.len();
            let run = move || mine.into_iter().map(Pending::wait).collect::<Vec<_>>();
            shares.push((count, scope.spawn(run)));
        }
        shares
            .into_iter()
            .flat_map(|(count, share)| share.join().unwrap_or_else(|_| lost(count)))
            .collect()
    })
}

/// What a share is worth whose thread died: nothing was promised.
fn lost(count: usize) -> Vec<Result<(), Error>> {
    let dead = || std::io::Error::other("the thread that waited for it died");
    (0..count)
        .map(|_| {
            Err(Error::Sync {
                name: String::new(),
                source: dead(),
            })
        })
        .collect()
}

/// More threads than this bring no more syncs per second (performance.md).
const MAX_IN_FLIGHT: usize = 16;
