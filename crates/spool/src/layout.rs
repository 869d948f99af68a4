//! The spool directory: lock, sub-directories, names, scanning, quarantine and removal.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Dir, Disk, FileKind, Kind, wait_all};
use mail_types::MailId;

use crate::error::{Damage, OpenError, ReadError};
use crate::journal::Stripes;

/// Which daemon opens the spool; it decides the lock and the temporary directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// smtpd: writes new messages.
    Smtpd,
    /// qmgr: owns everything that is in the spool.
    Qmgr,
}

impl Owner {
    fn name(self) -> &'static str {
        match self {
            Self::Smtpd => "smtpd",
            Self::Qmgr => "qmgr",
        }
    }
}

/// An open spool. Clones share the lock, which lives as long as the last of them.
///
/// All methods block; daemons call them off the async threads.
#[derive(Debug, Clone)]
pub struct Spool {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    root: PathBuf,
    root_dir: Dir,
    pub(crate) temp: Dir,
    quarantine: Dir,
    incoming: Dir,
    shards: Vec<Dir>,
    /// Who may own files of the spool.
    owners: Vec<u32>,
    pub(crate) stripes: Stripes,
    /// None for the offline reader (`mailctl check spool`).
    _lock: Option<durable::Lock>,
}

/// What a scan of `incoming/` found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Message files, by id, oldest first.
    pub messages: Vec<MailId>,
    /// Journals whose message is gone.
    pub orphans: Vec<MailId>,
    /// What does not belong there.
    pub strangers: Vec<Stranger>,
}

/// A name in `incoming/` that is no message and no journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The sub-directory, unless it lies in `incoming/` itself.
    shard: Option<char>,
    name: OsString,
}

/// The path below the spool.
impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("incoming/")?;
        if let Some(shard) = self.shard {
            write!(f, "{shard}/")?;
        }
        write!(f, "{}", self.name.to_string_lossy().escape_debug())
    }
}

impl Spool {
    /// Opens the spool for one daemon: takes its lock, makes the directories that are missing (durably)
    /// and empties its temporary directory.
    pub fn open(disk: &Disk, root: &Path, owner: Owner) -> Result<Self, OpenError> {
        let root_dir = open_or_make(disk, root)?;
        let lock = take_lock(&root_dir, root, owner)?;
        let mut made = Vec::new();
        let mut ensure = |parent: &Dir, name: &str| -> Result<Dir, durable::Error> {
            let (dir, pending) = parent.ensure_dir(name, 0o770)?;
            made.push(pending);
            Ok(dir)
        };
        let incoming = ensure(&root_dir, "incoming")?;
        let tmp_smtpd = ensure(&root_dir, "tmp-smtpd")?;
        let tmp_qmgr = ensure(&root_dir, "tmp-qmgr")?;
        let quarantine = ensure(&root_dir, "quarantine")?;
        let shards = SHARDS
            .chars()
            .map(|c| ensure(&incoming, c.encode_utf8(&mut [0; 4])));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        if owner == Owner::Qmgr {
            // Journals and messages that a killed process left may have names that only memory knows.
            made.extend(shards.iter().map(Dir::settle));
        }
        wait_all(made)?;
        let owners = owners(&tmp_smtpd, &tmp_qmgr)?;
        let temp = match owner {
            Owner::Smtpd => tmp_smtpd,
            Owner::Qmgr => tmp_qmgr,
        };
        // Nothing in it was ever acknowledged.
        for entry in temp.list()? {
            temp.discard(&entry.name)?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                root_dir,
                temp,
                quarantine,
                incoming,
                shards,
                owners,
                stripes: Stripes::default(),
                _lock: Some(lock),
            }),
        })
    }

    /// Opens an existing spool for reading only, without a lock: for the offline check.
    pub fn open_offline(disk: &Disk, root: &Path) -> Result<Self, OpenError> {
        let root_dir = disk.open_root(root)?;
        let open = |name: &str| root_dir.open_dir(Path::new(name));
        let (incoming, quarantine) = (open("incoming")?, open("quarantine")?);
        let (tmp_smtpd, tmp_qmgr) = (open("tmp-smtpd")?, open("tmp-qmgr")?);
        let shards = SHARDS
            .chars()
            .map(|c| incoming.open_dir(Path::new(&c.to_string())));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            inner: Arc::new(Inner {
                root: root.to_owned(),
                owners: owners(&tmp_smtpd, &tmp_qmgr)?,
                root_dir: root_dir.clone(),
                temp: tmp_qmgr,
                quarantine,
                incoming,
                shards,
                stripes: Stripes::default(),
                _lock: None,
            }),
        })
    }

    /// The directory of the spool.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Free space of the volume now.
    pub fn space(&self) -> Result<durable::Space, durable::Error> {
        self.inner.root_dir.space()
    }

    /// Whether the volume refuses new messages after a failed sync.
    pub fn is_suspect(&self) -> bool {
        self.inner.temp.disk().is_suspect(&self.inner.temp)
    }

    /// Tests the volume; clears the suspicion if it passes. To be called at start, and every 30 s while
    /// [`Spool::is_suspect`].
    pub fn self_test(&self) -> Result<(), durable::Error> {
        self.inner.temp.disk().self_test(&self.inner.temp)
    }

    /// Lists `incoming/`.
    pub fn scan(&self) -> Result<Scan, durable::Error> {
        let mut scan = Scan::default();
        for entry in self.inner.incoming.list()? {
            let known = entry
                .name
                .to_str()
                .is_some_and(|n| n.len() == 1 && SHARDS.contains(n));
            if !known || entry.kind.is_some_and(|k| k != FileKind::Dir) {
                scan.strangers.push(Stranger {
                    shard: None,
                    name: entry.name,
                });
            }
        }
        let mut journals = Vec::new();
        for (shard, dir) in SHARDS.chars().zip(&self.inner.shards) {
            for entry in dir.list()? {
                let text = entry.name.to_str().unwrap_or_default();
                let (stem, is_journal) = match text.strip_suffix(".j") {
                    Some(stem) => (stem, true),
                    None => (text, false),
                };
                match stem.parse::<MailId>() {
                    Ok(id) if shard_of(id) == shard => {
                        if is_journal {
                            &mut journals
                        } else {
                            &mut scan.messages
                        }
                        .push(id);
                    }
                    _ => scan.strangers.push(Stranger {
                        shard: Some(shard),
                        name: entry.name,
                    }),
                }
            }
        }
        scan.messages.sort_unstable();
        scan.orphans = journals
            .into_iter()
            .filter(|id| scan.messages.binary_search(id).is_err())
            .collect();
        Ok(scan)
    }

    /// Moves a message and its journal to `quarantine/`.
    pub fn quarantine(&self, id: MailId) -> Result<(), durable::Error> {
        for name in [id.to_string(), journal_name(id)] {
            match self.banish(self.shard(id), OsStr::new(&name)) {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Moves a stranger to `quarantine/`.
    pub fn quarantine_stranger(&self, stranger: &Stranger) -> Result<(), durable::Error> {
        let dir = match stranger.shard.and_then(|c| SHARDS.find(c)) {
            Some(index) => &self.inner.shards[index],
            None => &self.inner.incoming,
        };
        self.banish(dir, &stranger.name)
    }

    fn banish(&self, dir: &Dir, name: &OsStr) -> Result<(), durable::Error> {
        let mut target = name.to_owned();
        for n in 1.. {
            match dir.rename(name, &self.inner.quarantine, &target, false) {
                Err(error) if error.is_exists() => {
                    target = name.to_owned();
                    target.push(format!(".{n}"));
                }
                other => return other?.later(),
            }
        }
        Ok(())
    }

    /// Unlinks a message file. Its journal stays until [`Spool::remove_journals`], because a power cut may
    /// bring the message back, and the journal then says that it is done. Needs no space; refused while the
    /// volume is suspect.
    pub fn remove_message(&self, id: MailId) -> Result<(), durable::Error> {
        match self.shard(id).remove(id.as_str()) {
            // The barrier comes with `remove_journals`, for many messages together. Without a journal, a
            // message that comes back is delivered again and recognised.
            Ok(removed) => {
                removed.forget();
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the removals of these messages durable and then unlinks their journals.
    pub fn remove_journals(&self, ids: &[MailId]) -> Result<(), durable::Error> {
        let mut shards: Vec<usize> = ids.iter().map(|id| shard_index(*id)).collect();
        shards.sort_unstable();
        shards.dedup();
        wait_all(shards.into_iter().map(|i| self.inner.shards[i].settle()))?;
        for id in ids {
            match self.shard(*id).discard(journal_name(*id)) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => self.inner.stripes.forget(*id),
            }
        }
        Ok(())
    }

    pub(crate) fn shard(&self, id: MailId) -> &Dir {
        &self.inner.shards[shard_index(id)]
    }

    /// Opens a file of the spool and refuses whatever is not a plain file of one of the two daemons.
    pub(crate) fn open_plain(&self, id: MailId, name: &str) -> Result<File, ReadError> {
        let dir = self.shard(id);
        let (file, stat) = match dir.open_file_stat(name) {
            Ok(opened) => opened,
            Err(error) => {
                let foreign = error.kind() == Kind::Denied
                    && dir
                        .stat(name)
                        .is_ok_and(|stat| !self.inner.owners.contains(&stat.uid));
                return Err(match error.kind() {
                    Kind::NotFound => ReadError::Missing(id),
                    Kind::Unsafe => Damage::new("not a plain file").into(),
                    Kind::Denied if foreign => Damage::new("owned by somebody else").into(),
                    _ => error.into(),
                });
            }
        };
        if !self.inner.owners.contains(&stat.uid) {
            return Err(Damage::new(format!("owned by uid {}", stat.uid)).into());
        }
        if stat.links != 1 {
            return Err(Damage::new("has more than one name").into());
        }
        Ok(file)
    }
}

/// The name of a message's journal.
pub(crate) fn journal_name(id: MailId) -> String {
    format!("{id}.j")
}

/// The sub-directory of `incoming/` of a message: the last character of its id, which is random.
fn shard_of(id: MailId) -> char {
    id.as_str().chars().last().unwrap_or('0')
}

pub(crate) fn shard_index(id: MailId) -> usize {
    SHARDS.find(shard_of(id)).unwrap_or(0)
}

pub(crate) const SHARDS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The reader itself, and the owners of the two temporary directories: smtpd and qmgr.
fn owners(tmp_smtpd: &Dir, tmp_qmgr: &Dir) -> Result<Vec<u32>, durable::Error> {
    let own = nix::unistd::geteuid().as_raw();
    Ok(vec![own, tmp_smtpd.stat_self()?.uid, tmp_qmgr.stat_self()?.uid])
}

/// Opens the spool's directory, making it and what is missing above it.
fn open_or_make(disk: &Disk, path: &Path) -> Result<Dir, durable::Error> {
    match (disk.open_root(path), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.is_not_found() => {
            let (dir, made) = open_or_make(disk, parent)?.ensure_dir(name, 0o770)?;
            made.wait()?;
            Ok(dir)
        }
        (opened, _, _) => opened,
    }
}

fn take_lock(dir: &Dir, root: &Path, owner: Owner) -> Result<durable::Lock, OpenError> {
    let name = format!("{}.lock", owner.name());
    // The process id in the file is for people; the lock is what counts.
    match dir.try_lock(&name, 0o640)? {
        Some(lock) => {
            let _ = fs::write(root.join(&name), format!("{}\n", std::process::id()));
            Ok(lock)
        }
        None => Err(OpenError::Locked {
            daemon: owner.name(),
            pid: fs::read_to_string(root.join(&name))
                .unwrap_or_default()
                .trim()
                .to_owned(),
        }),
    }
}
