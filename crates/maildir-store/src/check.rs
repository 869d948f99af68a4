//! The offline consistency check of a Maildir: reads everything, changes nothing, takes no lock.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let disk = durable::Disk::new();
//! for maildir in maildir_store::check::maildirs_below("/var/vmail".as_ref())? {
//!     let report = maildir_store::check::run(&disk, &maildir)?;
//!     for problem in report.problems { println!("{problem}"); }
//! }
//! # Ok(()) }
//! ```
//!
//! It may run beside the daemons, but what changes while it reads can look like a problem; stop them for a
//! verdict. Two readers look at each directory: ours, and the `maildir` crate as the eyes of other programs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use durable::{Dir, Disk, FileKind};
use mail_types::DeliveryKey;

use crate::accountfile;
use crate::error::{Doing, StoreError};
use crate::folder_name::FolderName;
use crate::name;
use crate::uidlog::{self, LOG};
use crate::view::View;

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Expected after a crash or a change by another program; the daemons set it right by themselves.
    Note,
    /// Something is broken or lost.
    Error,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong, and what it means.
    pub text: String,
}

/// What the check of one Maildir found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Folders, with INBOX.
    pub folders: usize,
    /// Message files in `new/` and `cur/`.
    pub messages: usize,
    /// In the order found.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether there is no problem worse than a note.
    pub fn is_sound(&self) -> bool {
        self.problems.iter().all(|p| p.severity == Severity::Note)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Note => "note",
            Severity::Error => "error",
        };
        write!(f, "{word}: {}: {}", self.path.display(), self.text)
    }
}

/// The Maildirs below a directory, at most four levels deep: every directory with a `cur`, not their folders.
pub fn maildirs_below(base: &Path) -> io::Result<Vec<PathBuf>> {
    fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
        // A link named `cur` makes a Maildir too: one that the check has to complain about.
        if dir.join("cur").symlink_metadata().is_ok() {
            found.push(dir.to_owned());
            return Ok(());
        }
        let mut below: Vec<_> = std::fs::read_dir(dir)?.collect::<io::Result<_>>()?;
        below.sort_by_key(std::fs::DirEntry::file_name);
        for entry in below {
            if depth > 0 && entry.file_type()?.is_dir() {
                walk(&entry.path(), depth - 1, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(base, 4, &mut found)?;
    Ok(found)
}

/// Checks the Maildir at `path` with all its folders. An error means that it could not be read at all.
pub fn run(disk: &Disk, path: &Path) -> Result<Report, StoreError> {
    let root = disk.open_root(path).doing("open the Maildir")?;
    let owner = root.stat_self().doing("look at the Maildir")?.uid;
    let mut check = Check {
        report: Report::default(),
        owner,
        keys: HashMap::new(),
        validities: BTreeMap::new(),
    };
    check.folder(&root, path);
    let mut names = HashSet::new();
    for entry in root.list().doing("list the folders")? {
        let at = path.join(&entry.name);
        let Some(folder) = FolderName::of_directory(&entry.name) else {
            if entry.name.as_bytes().starts_with(b"postrider-making-")
                || entry.name.as_bytes().starts_with(b"postrider-deleted-")
            {
                check.note(
                    &at,
                    "a folder that a crash left on its way in or out; removed when folders are listed next",
                );
            }
            continue;
        };
        match root.open_dir(&entry.name) {
            Ok(dir) => {
                if !names.insert(folder.clone()) {
                    check.error(
                        &at,
                        format!("a second directory for the folder {folder}; it cannot be opened"),
                    );
                }
                check.folder(&dir, &at);
                if dir.stat("maildirfolder").is_err() {
                    check.note(
                        &at,
                        "no file maildirfolder: other programs may take this for an account",
                    );
                }
            }
            Err(_) if entry.kind == Some(FileKind::File) => {}
            Err(error) => check.error(&at, format!("cannot be opened: {error}")),
        }
    }
    check.account(&root, path);
    Ok(check.report)
}

/// A check that is going on.
struct Check {
    report: Report,
    owner: u32,
    /// Delivery keys and where they were seen.
    keys: HashMap<DeliveryKey, PathBuf>,
    /// UIDVALIDITY of each folder.
    validities: BTreeMap<u32, PathBuf>,
}

/// A message file.
struct File {
    base: OsString,
    path: PathBuf,
}

impl Check {
    fn folder(&mut self, dir: &Dir, path: &Path) {
        self.report.folders += 1;
        let mut files = Vec::new();
        for place in ["new", "cur"] {
            let at = path.join(place);
            match dir.open_dir(place) {
                Ok(sub) => {
                    self.messages(&sub, &at, &mut files);
                    self.second_reader(path, place, &sub);
                }
                Err(error) => self.closed(&at, &error),
            }
        }
        match dir.open_dir("tmp") {
            Ok(tmp) => self.garbage(&tmp, &path.join("tmp")),
            Err(error) => self.closed(&path.join("tmp"), &error),
        }
        self.report.messages += files.len();
        let mut bases: HashMap<&OsStr, &Path> = HashMap::new();
        let mut doubles = Vec::new();
        for file in &files {
            if let Some(other) = bases.insert(&file.base, &file.path) {
                doubles.push((
                    file.path.clone(),
                    format!(
                        "has the same base name as {}; one of them gets a new UID",
                        other.display()
                    ),
                ));
            }
        }
        for (path, text) in doubles {
            self.note(&path, &text);
        }
        self.uid_log(dir, path, &files);
    }

    /// A directory that cannot be opened. A missing one is what a crash in the middle of the making leaves.
    fn closed(&mut self, path: &Path, error: &durable::Error) {
        if error.is_not_found() {
            self.note(path, "is missing; it is made when it is needed");
        } else {
            self.error(path, format!("cannot be opened: {error}"));
        }
    }

    /// Looks at every file of `new/` or `cur/`.
    fn messages(&mut self, dir: &Dir, path: &Path, files: &mut Vec<File>) {
        let entries = match dir.list() {
            Ok(entries) => entries,
            Err(error) => return self.error(path, format!("cannot be listed: {error}")),
        };
        for entry in entries {
            let at = path.join(&entry.name);
            if entry.name.as_bytes().starts_with(b".") {
                continue;
            }
            let stat = match dir.stat(&entry.name) {
                Ok(stat) => stat,
                Err(error) if error.is_not_found() => continue,
                Err(error) => {
                    self.error(&at, format!("cannot be looked at: {error}"));
                    continue;
                }
            };
            if stat.kind != FileKind::File {
                self.error(
                    &at,
                    "is no regular file; it is never shown as a message".to_owned(),
                );
                continue;
            }
            if stat.uid != self.owner {
                self.error(
                    &at,
                    format!(
                        "belongs to uid {}, the Maildir to uid {}; it cannot be read",
                        stat.uid, self.owner
                    ),
                );
            }
            let base = name::parse(&entry.name).base.to_owned();
            if stat.size == 0 {
                self.error(
                    &at,
                    "is empty: what a write that was lost in a power cut looks like".to_owned(),
                );
            } else if size_in(&base).is_some_and(|size| size != stat.size) {
                self.error(
                    &at,
                    format!("has {} octets, not as many as its name says", stat.size),
                );
            }
            if let Some(key) = name::key_of(&base) {
                // A hard link is a copy that the user made; two files are two deliveries of one key.
                let other = self.keys.insert(key, at.clone());
                if let Some(other) = other.filter(|_| stat.links == 1) {
                    self.error(&at, format!("was delivered before, as {}", other.display()));
                }
            }
            files.push(File { base, path: at });
        }
    }

    /// Compares what another program's reader sees.
    fn second_reader(&mut self, folder: &Path, place: &str, dir: &Dir) {
        let other = maildir::Maildir::from(folder.to_owned());
        let entries = if place == "new" {
            other.list_new()
        } else {
            other.list_cur()
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(_) => {
                    self.note(&folder.join(place), "holds a file name without flags, which some programs do not show; it gets flags when it is read");
                    continue;
                }
            };
            let Some(file_name) = entry.path().file_name() else {
                continue;
            };
            let ours = name::parse(file_name);
            // This reader knows only names that are text.
            let same =
                ours.base.to_string_lossy() == entry.id() || place == "new" || dir.stat(file_name).is_err();
            if !same {
                self.note(
                    entry.path(),
                    "other programs take another part of this name for the message's identity",
                );
            }
        }
    }

    fn garbage(&mut self, tmp: &Dir, path: &Path) {
        let old = SystemTime::now().checked_sub(Duration::from_secs(36 * 3600));
        for entry in tmp.list().unwrap_or_default() {
            let stat = tmp.stat(&entry.name);
            if let (Ok(stat), Some(old)) = (stat, old)
                && stat.modified < old
            {
                self.note(
                    &path.join(&entry.name),
                    "a temporary file that nobody completes any more",
                );
            }
        }
    }

    fn uid_log(&mut self, dir: &Dir, folder: &Path, files: &[File]) {
        let path = folder.join(LOG);
        let bytes = match dir.read(LOG, u64::MAX) {
            Ok(bytes) => bytes,
            // A mailbox that nobody has read yet.
            Err(error) if error.is_not_found() => return,
            Err(error) => return self.error(&path, format!("cannot be read: {error}")),
        };
        let log = match uidlog::inspect(&bytes) {
            Ok(Some(log)) => log,
            Ok(None) => {
                return self.error(&path, "is no UID log of ours; a new one with another UIDVALIDITY will take its place, and clients load all mail again".to_owned());
            }
            Err(error) => return self.error(&path, error.to_string()),
        };
        if log.damaged {
            self.error(
                &path,
                "is damaged in the middle; messages whose record is lost get new UIDs".to_owned(),
            );
        }
        if log.torn > 0 {
            self.note(
                &path,
                &format!(
                    "ends in {} octets of a record that was not completed; they will be cut off",
                    log.torn
                ),
            );
        }
        if !log.ascending {
            self.error(&path, "gave UIDs out of order".to_owned());
        }
        if let Some(other) = self.validities.insert(log.view.uid_validity, folder.to_owned()) {
            self.error(&path, format!("has the same UIDVALIDITY as {}", other.display()));
        }
        self.compare(&path, &log.view, files);
    }

    fn compare(&mut self, path: &Path, view: &View, files: &[File]) {
        let present: HashSet<&OsStr> = files.iter().map(|f| f.base.as_os_str()).collect();
        let mut known = HashSet::new();
        for message in &view.messages {
            if !known.insert(message.base_name()) {
                self.error(path, format!("names the file of UID {} twice", message.uid));
            }
            if !present.contains(message.base_name()) {
                self.note(
                    path,
                    &format!("UID {} has no file; it will be expunged", message.uid),
                );
            }
        }
    }

    fn account(&mut self, root: &Dir, path: &Path) {
        let at = path.join(accountfile::FILE);
        let last = match root.read(accountfile::FILE, u64::MAX) {
            Err(error) if error.is_not_found() => 0,
            Err(error) => return self.error(&at, format!("cannot be read: {error}")),
            Ok(bytes) => match accountfile::inspect(&bytes) {
                Ok(Some(data)) => data.uid_validity,
                Ok(None) => return self.error(&at, "is damaged; subscriptions may be lost".to_owned()),
                Err(error) => return self.error(&at, error.to_string()),
            },
        };
        if let Some((highest, folder)) = self.validities.last_key_value()
            && *highest > last
        {
            let text = format!(
                "does not know the UIDVALIDITY {highest} of {}; it could be given again",
                folder.display()
            );
            self.error(&at, text);
        }
    }

    fn error(&mut self, path: &Path, text: String) {
        self.report.problems.push(Problem {
            severity: Severity::Error,
            path: path.to_owned(),
            text,
        });
    }

    fn note(&mut self, path: &Path, text: &str) {
        self.report.problems.push(Problem {
            severity: Severity::Note,
            path: path.to_owned(),
            text: text.to_owned(),
        });
    }
}

/// What `,S=` in a base name says.
fn size_in(base: &OsStr) -> Option<u64> {
    let text = base.to_str()?;
    let (_, rest) = text.split_once(",S=")?;
    rest.split(',').next()?.parse().ok()
}
