//! The ring of recent delivery keys of a mailbox (docs/formats/account.md).

use std::sync::PoisonError;

use durable::Dir;
use mail_types::DeliveryKey;

use crate::error::{Doing, StoreError};
use crate::store::{FILE_MODE, Store};

/// Notes a key. Called only when the message is durable.
pub(crate) fn remember(store: &Store, root: &Dir, key: DeliveryKey) -> Result<(), StoreError> {
    let ring = root.open_append(RING, FILE_MODE).doing("open the key ring")?;
    // One lock for all mailboxes: it covers one small write, never a sync.
    let _alone = store.inner.rings.lock().unwrap_or_else(PoisonError::into_inner);
    let len = ring.len().doing("look at the key ring")?;
    let torn = len % SLOT as u64;
    if torn != 0 {
        ring.truncate(len - torn).doing("repair the key ring")?;
    }
    if len < MOST * SLOT as u64 {
        ring.append(&encode(key)).doing("write the key ring")?.forget();
        return Ok(());
    }
    let mut slots = ring
        .read_from(len - torn - KEPT * SLOT as u64)
        .doing("read the key ring")?;
    slots.extend_from_slice(&encode(key));
    let mut staged = root
        .stage(format!("{RING}.new.{}", std::process::id()), FILE_MODE)
        .doing("write the key ring")?;
    staged.write_all(&slots).doing("write the key ring")?;
    staged.publish_volatile(root, RING).doing("write the key ring")
}

/// Whether a key is in the ring.
pub(crate) fn contains(root: &Dir, key: DeliveryKey) -> Result<bool, StoreError> {
    match root.read(RING, (MOST + 1) * SLOT as u64) {
        Ok(slots) => {
            let wanted = encode(key);
            // The slot holds its checksum, so equality checks it too.
            Ok(slots.chunks_exact(SLOT).any(|slot| slot == wanted))
        }
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error).doing("read the key ring"),
    }
}

fn encode(key: DeliveryKey) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..20].copy_from_slice(key.id.as_str().as_bytes());
    slot[20..24].copy_from_slice(&key.recipient.to_le_bytes());
    let crc = crc32c::crc32c(&slot[..28]);
    slot[28..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// The ring's file in the root directory.
pub(crate) const RING: &str = "postrider-keys";
const SLOT: usize = 32;
const MOST: u64 = 2_048;
const KEPT: u64 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(recipient: u32) -> DeliveryKey {
        DeliveryKey {
            id: "0Rz4567890abcdefghiR".parse().unwrap(),
            recipient,
        }
    }

    #[test]
    fn keeps_the_newest_through_tears_and_rewriting() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::new(durable::Disk::new(), "h");
        let root = store.disk().open_root(place.path()).unwrap();
        assert!(!contains(&root, key(0)).unwrap());
        for n in 0..3_000 {
            remember(&store, &root, key(n)).unwrap();
            if n == 10 {
                let file = std::fs::OpenOptions::new()
                    .append(true)
                    .open(place.path().join(RING))
                    .unwrap();
                std::io::Write::write_all(&mut &file, b"torn").unwrap();
            }
        }
        assert!(contains(&root, key(2_999)).unwrap() && contains(&root, key(2_000)).unwrap());
        assert!(!contains(&root, key(5)).unwrap());
        let len = std::fs::metadata(place.path().join(RING)).unwrap().len();
        assert!(len <= MOST * 32 && len.is_multiple_of(32), "{len}");
    }
}
