//! The account file: subscriptions and the UIDVALIDITY counter (docs/formats/account.md).

use std::collections::BTreeSet;

use durable::{AppendFile, Dir};

use crate::error::{Doing, StoreError};
use crate::folder_name::FolderName;
use crate::recfile::{self, Fields, HEADER};
use crate::store::FILE_MODE;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AccountData {
    /// The last UIDVALIDITY that was given.
    pub(crate) uid_validity: u32,
    pub(crate) subscribed: BTreeSet<FolderName>,
    unknown: Vec<(u8, Vec<u8>)>,
}

/// A change of the file.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    UidValidity(u32),
    Subscribe(&'a FolderName),
    Unsubscribe(&'a FolderName),
}

/// Reads the file of the account at `root`. One that does not exist says nothing; one that cannot be read
/// is set aside, which costs the subscriptions.
pub(crate) fn read(root: &Dir) -> Result<AccountData, StoreError> {
    open(root).map(|(data, _)| data)
}

/// Applies a change that `decide` makes of the present content, and makes it durable. Under the account's
/// lock, which is taken here: these are rare, so the lock is held to the end.
pub(crate) fn change<R>(
    root: &Dir,
    decide: impl FnOnce(&AccountData) -> Result<(Vec<u8>, R), StoreError>,
) -> Result<R, StoreError> {
    let doing = "write the account file";
    let _lock = root.lock(FILE_LOCK, FILE_MODE).doing("lock the account file")?;
    let (mut data, file) = open(root)?;
    let (records, result) = decide(&data)?;
    if records.is_empty() {
        return Ok(result);
    }
    match file {
        Some(file) if file.len().doing(doing)? < REWRITE_FROM && !file.is_poisoned() => {
            file.append(&records)
                .and_then(durable::Pending::wait)
                .doing(doing)?;
        }
        _ => {
            data.apply(&recfile::parse(&records));
            let _ = root.discard(FILE_NEW);
            let mut staged = root.stage(FILE_NEW, FILE_MODE).doing(doing)?;
            staged.write_all(&data.encode()).doing(doing)?;
            staged.replace(root, FILE).wait().doing(doing)?;
        }
    }
    Ok(result)
}

/// Reads the file for the offline check, changing nothing. None: it cannot be read.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Option<AccountData>, StoreError> {
    if !recfile::check_header(bytes, MAGIC, VERSION)? {
        return Ok(None);
    }
    let parsed = recfile::parse(&bytes[HEADER as usize..]);
    let mut data = AccountData::default();
    data.apply(&parsed);
    Ok((!parsed.damaged).then_some(data))
}

fn open(root: &Dir) -> Result<(AccountData, Option<AppendFile>), StoreError> {
    match root.stat(FILE) {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok((AccountData::default(), None)),
        Err(error) => return Err(error).doing("open the account file"),
    }
    let file = root.open_append(FILE, FILE_MODE).doing("open the account file")?;
    let bytes = file.read_from(0).doing("read the account file")?;
    let mut data = AccountData::default();
    if !recfile::check_header(&bytes, MAGIC, VERSION)? {
        root.rename(FILE, root, DAMAGED, true)
            .doing("set the damaged account file aside")?
            .forget();
        return Ok((data, None));
    }
    let parsed = recfile::parse(&bytes[HEADER as usize..]);
    data.apply(&parsed);
    // A torn tail or damage: the next change writes the file anew.
    let sound = !parsed.damaged && HEADER as usize + parsed.valid == bytes.len();
    Ok((data, sound.then_some(file)))
}

impl AccountData {
    fn apply(&mut self, parsed: &recfile::Parsed<'_>) {
        for (kind, payload) in &parsed.records {
            let name = || {
                std::str::from_utf8(payload)
                    .ok()
                    .and_then(|text| FolderName::parse(text).ok())
            };
            match kind {
                1 => self.uid_validity = self.uid_validity.max(Fields(payload).u32().unwrap_or(0)),
                2 => self.subscribed.extend(name()),
                3 => {
                    if let Some(name) = name() {
                        self.subscribed.remove(&name);
                    }
                }
                _ => self.unknown.push((*kind, payload.to_vec())),
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = recfile::header(MAGIC, VERSION);
        Change::UidValidity(self.uid_validity).push(&mut out);
        for name in &self.subscribed {
            Change::Subscribe(name).push(&mut out);
        }
        for (kind, payload) in &self.unknown {
            recfile::push(&mut out, *kind, &[payload]);
        }
        out
    }
}

impl Change<'_> {
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::UidValidity(value) => recfile::push(out, 1, &[&value.to_le_bytes()]),
            Self::Subscribe(name) => recfile::push(out, 2, &[name.as_str().as_bytes()]),
            Self::Unsubscribe(name) => recfile::push(out, 3, &[name.as_str().as_bytes()]),
        }
    }

    /// The change as records for [`change`].
    pub(crate) fn record(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.push(&mut out);
        out
    }
}

/// The account's file.
pub(crate) const FILE: &str = "postrider-account";
const FILE_LOCK: &str = "postrider-account-lock";
const FILE_NEW: &str = "postrider-account.new";
const DAMAGED: &str = "postrider-account.damaged";
const MAGIC: [u8; 8] = *b"PR-ACCT\n";
const VERSION: u32 = 1;
/// From this size on a change rewrites the file.
const REWRITE_FROM: u64 = 16 << 10;
