//! What the start does with the spool: everything is read once, reports that were begun are held back until
//! their message finishes them, strangers and damaged files are put aside. Doing it twice changes nothing.

use std::collections::HashSet;

use mail_types::MailId;
use spool::{Envelope, MessageState, ReadError, Spool};

/// A message of the spool.
#[derive(Debug)]
pub struct Loaded {
    /// Its id.
    pub id: MailId,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its journal applied to it.
    pub state: MessageState,
    /// Octets, lines on top included.
    pub size: u64,
    /// Whether it has a journal.
    pub journaled: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The messages that can be worked on.
    pub messages: Vec<Loaded>,
    /// Reports whose *reported* record is missing: not to be touched before it is written.
    pub embargo: HashSet<MailId>,
    /// What went to quarantine, and why. Strangers have no id.
    pub quarantined: Vec<(Option<MailId>, String)>,
}

/// Reads one message with its journal.
pub fn load(spool: &Spool, id: MailId) -> Result<Loaded, ReadError> {
    let message = spool.open_message(id)?;
    let records = spool.read_journal(id)?;
    Ok(Loaded {
        id,
        state: MessageState::new(message.envelope(), &records),
        envelope: message.envelope().clone(),
        size: message.size(),
        journaled: !records.is_empty(),
    })
}

/// Reads the whole spool. Blocks. An error means that the spool cannot be read at all.
pub fn recover(spool: &Spool) -> Result<Recovered, ReadError> {
    let mut recovered = Recovered::default();
    let scan = spool.scan()?;
    for stranger in &scan.strangers {
        spool.quarantine_stranger(stranger)?;
        recovered
            .quarantined
            .push((None, format!("{stranger} does not belong into the spool")));
    }
    spool.remove_journals(&scan.orphans)?;
    for id in scan.messages {
        match load(spool, id) {
            Ok(loaded) => {
                recovered
                    .embargo
                    .extend(loaded.state.unfinished_reports().map(|report| report.id));
                recovered.messages.push(loaded);
            }
            Err(ReadError::Damaged(damage)) => {
                spool.quarantine(id)?;
                recovered.quarantined.push((Some(id), damage.0));
            }
            Err(ReadError::Missing(_)) => {}
            // The next scan tries again.
            Err(error) => {
                tracing::warn!(%id, error = %daemon::describe(&error), "a message cannot be read now");
            }
        }
    }
    let embargo = &recovered.embargo;
    recovered.messages.retain(|loaded| !embargo.contains(&loaded.id));
    Ok(recovered)
}
