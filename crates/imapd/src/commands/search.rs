//! SEARCH and UID SEARCH (RFC 3501 6.4.4): in slices, so that other sessions get their turn and a client that
//! went away ends it.

mod key;

use std::sync::Arc;
use std::time::{Duration, Instant};

use imap_proto::command::SearchKey;
use imap_proto::response::{Code, Response};
use maildir_store::{Folder, StoreError};

use super::fetch::source::Trouble;
use super::folders::selected;
use crate::error::{Stop, Tagged};
use crate::mailbox::Numbers;
use crate::session::Session;
use crate::store;
use key::{Candidate, Key};

/// The rest of a search.
struct Job {
    folder: Arc<Folder>,
    numbers: Numbers,
    key: Key,
    uid: bool,
    at: usize,
    found: Vec<u32>,
    unreadable: bool,
}

/// Answers with numbers or UIDs.
pub(super) async fn run(session: &mut Session, key: SearchKey, uid: bool) -> Result<Tagged, Stop> {
    let selected = selected(session)?;
    let key = Key::compile(key, &selected.numbers);
    let mut job = Job {
        folder: Arc::clone(&selected.folder),
        numbers: selected.numbers.clone(),
        key,
        uid,
        at: 0,
        found: Vec::new(),
        unreadable: false,
    };
    let reads_texts = job.key.reads_texts();
    loop {
        let permit = if reads_texts {
            session.shared.search_slice().await
        } else {
            None
        };
        let (back, done) = store::blocking(move || {
            let done = job.slice();
            Ok((job, done))
        })
        .await?;
        drop(permit);
        job = back;
        if done {
            break;
        }
        session.wire.check().await?;
        tokio::task::yield_now().await;
    }
    Response::Search(&job.found).encode(&mut session.wire.out);
    if job.unreadable {
        return Ok(Tagged::no_code(Code::Unavailable, "Some messages cannot be read"));
    }
    Ok(Tagged::ok("SEARCH completed"))
}

impl Job {
    /// Looks at messages for a while; `true` when that was all.
    fn slice(&mut self) -> bool {
        let start = Instant::now();
        while let Some(message) = self.numbers.view.messages.get(self.at) {
            self.at += 1;
            let mut candidate = Candidate::new(&self.folder, &self.numbers, message);
            match self.key.matches(&mut candidate) {
                Ok(true) => {
                    let number = if self.uid {
                        Some(message.uid)
                    } else {
                        self.numbers.number(message.uid)
                    };
                    self.found.extend(number);
                }
                Ok(false) | Err(Trouble::Large | Trouble::Store(StoreError::Expunged | StoreError::Gone)) => {
                }
                Err(Trouble::Store(error)) => {
                    tracing::warn!(uid = message.uid, error = %daemon::describe(&error), "message cannot be read");
                    self.unreadable = true;
                }
            }
            if start.elapsed() >= SLICE {
                return false;
            }
        }
        true
    }
}

/// Length of a slice.
const SLICE: Duration = Duration::from_millis(40);
