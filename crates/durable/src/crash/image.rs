//! A tree of files as a power cut leaves it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Event;

/// A tree of files: what is on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) dirs: BTreeMap<u64, BTreeMap<OsString, u64>>,
    pub(super) files: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    /// Applies one change where its premises hold.
    pub(super) fn change(&mut self, event: &Event, torn: bool) {
        match event {
            Event::Create { dir, name, file } => {
                self.files.entry(*file).or_default();
                self.enter(*dir, name, *file);
            }
            Event::MakeDir { dir, name, made } => {
                self.dirs.entry(*made).or_default();
                self.enter(*dir, name, *made);
            }
            Event::Write { file, offset, bytes } => {
                let bytes = if torn {
                    &bytes[..bytes.len() / 2]
                } else {
                    &bytes[..]
                };
                let content = self.files.entry(*file).or_default();
                let end = *offset as usize + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset as usize..end].copy_from_slice(bytes);
            }
            Event::Truncate { file, len } => self.files.entry(*file).or_default().resize(*len as usize, 0),
            Event::Rename {
                from,
                from_name,
                to,
                to_name,
            } => {
                if let Some(node) = self.dirs.get_mut(from).and_then(|d| d.remove(from_name)) {
                    self.enter(*to, to_name, node);
                }
            }
            Event::Link {
                from,
                from_name,
                to,
                to_name,
            } => {
                if let Some(node) = self.dirs.get(from).and_then(|d| d.get(from_name)).copied() {
                    self.enter(*to, to_name, node);
                }
            }
            Event::Unlink { dir, name } => {
                self.dirs.entry(*dir).or_default().remove(name);
            }
            Event::SyncFile { .. } | Event::SyncDir { .. } | Event::Promise(_) => {}
        }
    }

    fn enter(&mut self, dir: u64, name: &OsStr, node: u64) {
        self.dirs.entry(dir).or_default().insert(name.to_owned(), node);
    }

    pub(super) fn write(&self, dir: u64, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)?;
        for (name, node) in self.dirs.get(&dir).into_iter().flatten() {
            let path = path.join(name);
            if self.dirs.contains_key(node) {
                self.write(*node, &path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            } else if let Some(bytes) = self.files.get(node) {
                fs::write(&path, bytes)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            }
        }
        Ok(())
    }
}

/// A fresh place for one state, in memory where the system has that: nothing here needs to last.
pub(super) fn temporary_dir(count: usize) -> io::Result<std::path::PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let base = if Path::new("/dev/shm").is_dir() {
        Path::new("/dev/shm").to_owned()
    } else {
        std::env::temp_dir()
    };
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    let place = base.join(format!("postrider-crash.{}.{unique}.{count}", std::process::id()));
    fs::create_dir_all(&place)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o700))?;
    Ok(place)
}
