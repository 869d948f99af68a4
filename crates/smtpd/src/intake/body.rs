//! The message while it arrives: header collected and rewritten, body in memory or in a spool file.

use std::sync::Arc;

use mail_types::{Address, Reply};
use message::header::{HeaderLimits, HeaderReader, Progress};
use spool::{WriteError, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::header::{HeaderPolicy, rewrite};
use crate::error;
use crate::spooler::Spooler;

/// Memory for bodies, shared by all sessions; counted in blocks of [`BLOCK`] octets.
#[derive(Debug, Clone)]
pub struct Budget {
    blocks: Arc<Semaphore>,
    /// Most octets of one body.
    each: usize,
}

impl Budget {
    /// `total` octets for all bodies, `each` for one.
    pub fn new(total: usize, each: usize) -> Self {
        Self {
            blocks: Arc::new(Semaphore::new((total / BLOCK).min(Semaphore::MAX_PERMITS))),
            each,
        }
    }
}

/// Where a complete message lies.
#[derive(Debug)]
pub enum Stored {
    /// In memory; the permit is its part of the budget.
    Memory(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// In the spool's temporary directory, not yet published.
    File(Box<Writer>),
}

/// A complete message, accepted as to its content.
#[derive(Debug)]
pub struct Message {
    /// Header and body.
    pub stored: Stored,
    /// Whether it holds octets above 127.
    pub eight_bit: bool,
    /// The Message-ID, for the log.
    pub message_id: Option<String>,
    /// The addresses of the From field, where they have to be judged.
    pub from: Option<Option<Vec<Address>>>,
}

/// A message that is arriving.
#[derive(Debug)]
pub struct Body {
    policy: HeaderPolicy,
    /// Until the header is complete.
    reader: Option<HeaderReader>,
    /// What is not yet in a file.
    buffer: Vec<u8>,
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    file: Option<Box<Writer>>,
    wants_file: bool,
    eight_bit: bool,
    message_id: Option<String>,
    from: Option<Option<Vec<Address>>>,
    /// Why the message will be refused; the rest is dropped as it comes.
    fault: Option<Reply>,
}

impl Body {
    /// Begins a message.
    pub fn new(policy: HeaderPolicy, limits: HeaderLimits, budget: Budget) -> Self {
        Self {
            policy,
            reader: Some(HeaderReader::new(limits)),
            buffer: Vec::new(),
            budget,
            permit: None,
            file: None,
            wants_file: false,
            eight_bit: false,
            message_id: None,
            from: None,
            fault: None,
        }
    }

    /// Takes a piece of the message.
    pub fn push(&mut self, text: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        self.eight_bit = self.eight_bit || !text.is_ascii();
        let Some(reader) = &mut self.reader else {
            self.append(text);
            return;
        };
        match reader.push(text) {
            Ok(Progress::More) => {}
            Ok(Progress::Complete(taken)) => {
                self.finish_header();
                self.append(&text[taken..]);
            }
            Err(limit) => self.refuse(error::header_too_big(&limit.to_string())),
        }
    }

    /// Whether [`Body::flush`] has something to do.
    pub fn needs_flush(&self) -> bool {
        self.fault.is_none() && (self.wants_file || (self.file.is_some() && self.buffer.len() >= FILE_WRITE))
    }

    /// Moves what is buffered into the file, where the message has outgrown its memory.
    pub async fn flush(&mut self, spooler: &Spooler) {
        if !self.needs_flush() {
            return;
        }
        self.wants_file = false;
        let written = match self.file.take() {
            Some(writer) => spooler.write(writer, std::mem::take(&mut self.buffer)).await,
            None => {
                spooler
                    .begin(self.policy.id, std::mem::take(&mut self.buffer))
                    .await
            }
        };
        self.permit = None;
        match written {
            Ok(writer) => self.file = Some(writer),
            Err(write) => self.refuse_write(&write),
        }
    }

    /// The message is complete.
    pub async fn finish(mut self, spooler: &Spooler) -> Result<Message, Reply> {
        if self.reader.is_some() && self.fault.is_none() {
            self.finish_header();
        }
        self.flush(spooler).await;
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let stored = match self.file {
            None => Stored::Memory(self.buffer, self.permit),
            Some(writer) if self.buffer.is_empty() => Stored::File(writer),
            Some(writer) => match spooler.write(writer, self.buffer).await {
                Ok(writer) => Stored::File(writer),
                Err(write) => return Err(error::queue_write(&write)),
            },
        };
        Ok(Message {
            stored,
            eight_bit: self.eight_bit,
            message_id: self.message_id,
            from: self.from,
        })
    }

    fn finish_header(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let collected = match reader.finish() {
            Ok(collected) => collected,
            Err(limit) => {
                self.refuse(error::header_too_big(&limit.to_string()));
                return;
            }
        };
        match rewrite(&collected, &self.policy) {
            Ok(rewritten) => {
                self.message_id = rewritten.message_id;
                self.from = rewritten.from;
                self.append(&rewritten.bytes);
            }
            Err(reply) => self.refuse(reply),
        }
    }

    fn append(&mut self, text: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        self.buffer.extend_from_slice(text);
        if self.file.is_some() || self.wants_file {
            return;
        }
        self.wants_file = self.buffer.len() > self.budget.each || !self.reserve();
    }

    /// Takes as much of the budget as the buffer needs; false where there is not enough.
    fn reserve(&mut self) -> bool {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = self.buffer.len().div_ceil(BLOCK);
        if needed <= held {
            return true;
        }
        let Ok(more) = u32::try_from(needed - held) else {
            return false;
        };
        match Arc::clone(&self.budget.blocks).try_acquire_many_owned(more) {
            Ok(permit) => {
                match &mut self.permit {
                    Some(held) => held.merge(permit),
                    None => self.permit = Some(permit),
                }
                true
            }
            Err(_) => false,
        }
    }

    fn refuse_write(&mut self, write: &WriteError) {
        tracing::warn!(id = %self.policy.id, error = %daemon::describe(write), "message body not stored");
        self.refuse(error::queue_write(write));
    }

    fn refuse(&mut self, reply: Reply) {
        self.fault = Some(reply);
        self.buffer = Vec::new();
        self.permit = None;
        self.file = None;
        self.reader = None;
    }
}

/// The unit of the memory budget.
const BLOCK: usize = 64 * 1024;
/// How much is collected before it is written to the file.
const FILE_WRITE: usize = 256 * 1024;
