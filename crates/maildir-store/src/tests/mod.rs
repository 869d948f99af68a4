//! The store on real directories, against other programs, refused operations and power cuts.

mod account;
mod check;
mod crash;
mod deliver;
mod folder;
mod sharing;

use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use durable::{Disk, Op, Probe};
use mail_types::DeliveryKey;

use crate::{Account, Flags, Folder, FolderName, Mailbox, Owner, Store};

/// A mail root with one account, as one process sees it.
struct Host {
    place: Arc<tempfile::TempDir>,
    store: Store,
    /// Seconds that are added to the system's clock.
    ahead: Arc<Mutex<u64>>,
}

const MAILDIR: &str = "example.com/alice/";

impl Host {
    fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), Disk::new())
    }

    fn on(place: Arc<tempfile::TempDir>, disk: Disk) -> Self {
        let ahead = Arc::new(Mutex::new(0));
        let clock = ahead.clone();
        let now = move || SystemTime::now() + Duration::from_secs(*clock.lock().unwrap());
        Self {
            place,
            store: Store::with_clock(disk, "mx.test", now),
            ahead,
        }
    }

    /// Another process on the same files.
    fn other_process(&self) -> Self {
        Self::on(self.place.clone(), Disk::new())
    }

    fn path(&self) -> PathBuf {
        self.place.path().join(MAILDIR)
    }

    fn mailbox(&self) -> Mailbox {
        let base = self.store.disk().open_root(self.place.path()).unwrap();
        self.store.mailbox(&base, MAILDIR, owner()).unwrap()
    }

    fn account(&self) -> Account {
        let base = self.store.disk().open_root(self.place.path()).unwrap();
        self.store.open(&base, MAILDIR, owner()).unwrap()
    }

    fn inbox(&self) -> Arc<Folder> {
        self.account().folder(&FolderName::inbox()).unwrap()
    }

    fn folder(&self, name: &str) -> Arc<Folder> {
        self.account().folder(&folder_name(name)).unwrap()
    }

    /// Delivers a message and returns its key.
    fn deliver(&self, number: u32, body: &str) -> DeliveryKey {
        let key = key(number);
        self.mailbox().deliver(key, &[body.as_bytes()]).unwrap();
        key
    }

    /// Lets so much time pass that directory times are no longer young.
    fn wait(&self) {
        *self.ahead.lock().unwrap() += 10;
    }

    /// Names in a directory below the account.
    fn names(&self, dir: &str) -> Vec<String> {
        names(&self.path().join(dir))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn owner() -> Owner {
    Owner {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

fn key(number: u32) -> DeliveryKey {
    DeliveryKey {
        id: format!("{number:020}").parse().unwrap(),
        recipient: 0,
    }
}

fn folder_name(text: &str) -> FolderName {
    FolderName::parse(text).unwrap()
}

fn append(folder: &Arc<Folder>, body: &str, flags: Flags) -> (u32, u32) {
    let mut message = folder.stage().unwrap();
    message.write_all(body.as_bytes()).unwrap();
    message.commit(flags, &[], None).unwrap()
}

/// UID and content of every message.
fn contents(folder: &Folder) -> Vec<(u32, String)> {
    let view = folder.refresh().unwrap();
    view.messages
        .iter()
        .map(|m| (m.uid, String::from_utf8(folder.read(m.uid).unwrap()).unwrap()))
        .collect()
}

/// Refuses the n-th operation that `wanted` accepts.
#[derive(Debug)]
struct Refuse {
    wanted: fn(&Op<'_>) -> bool,
    errno: i32,
    left: Mutex<usize>,
    hits: Mutex<usize>,
}

impl Refuse {
    fn nth(wanted: fn(&Op<'_>) -> bool, errno: i32, n: usize) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            errno,
            left: Mutex::new(n),
            hits: Mutex::new(0),
        })
    }
}

impl Probe for Refuse {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        if !(self.wanted)(op) {
            return Ok(());
        }
        let mut left = self.left.lock().unwrap();
        let refused = *left == 0;
        *left = left.wrapping_sub(1);
        if refused {
            *self.hits.lock().unwrap() += 1;
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        Ok(())
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
