//! The spool as sessions use it: writes off the async threads, free space, self-test of a suspect volume.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemon::{CancellationToken, blocking};
use mail_types::MailId;
use queue_api::client::HintClient;
use spool::{Envelope, Spool, WriteError, Writer};

/// A handle on the spool; clones share it.
#[derive(Debug, Clone)]
pub struct Spooler {
    spool: Spool,
    hints: Option<HintClient>,
    full: Arc<AtomicBool>,
    size_limit: u64,
}

impl Spooler {
    /// A handle; `size_limit` is that of messages, `hints` tells qmgr of new ones.
    pub fn new(spool: Spool, hints: Option<HintClient>, size_limit: u64) -> Self {
        Self {
            spool,
            hints,
            full: Arc::default(),
            size_limit,
        }
    }

    /// Whether a message that needs the spool may come (robustness.md section 3). Judged every second by
    /// [`Spooler::watch`].
    pub fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed) && !self.spool.is_suspect()
    }

    /// Begins a message with the first piece of its body.
    pub async fn begin(&self, id: MailId, first: Vec<u8>) -> Result<Box<Writer>, WriteError> {
        let spool = self.spool.clone();
        off_thread(move || {
            let mut writer = Box::new(spool.begin(id)?);
            writer.write(&first)?;
            Ok(writer)
        })
        .await
    }

    /// Writes a further piece.
    pub async fn write(&self, mut writer: Box<Writer>, piece: Vec<u8>) -> Result<Box<Writer>, WriteError> {
        off_thread(move || {
            writer.write(&piece)?;
            Ok(writer)
        })
        .await
    }

    /// Writes a whole message and makes it durable.
    pub async fn store(&self, id: MailId, body: Vec<u8>, envelope: Envelope) -> Result<(), WriteError> {
        let spool = self.spool.clone();
        off_thread(move || {
            let mut writer = spool.begin(id)?;
            writer.write(&body)?;
            writer.finish(&envelope)
        })
        .await?;
        self.hint(id);
        Ok(())
    }

    /// Completes a message that was begun, and makes it durable.
    pub async fn finish(
        &self,
        id: MailId,
        writer: Box<Writer>,
        envelope: Envelope,
    ) -> Result<(), WriteError> {
        off_thread(move || writer.finish(&envelope)).await?;
        self.hint(id);
        Ok(())
    }

    fn hint(&self, id: MailId) {
        if let Some(hints) = &self.hints {
            hints.arrived(id);
        }
    }

    /// Looks at the free space every second and tests a suspect volume every 30 seconds, until the stop.
    pub async fn watch(self, shutdown: CancellationToken) {
        let mut ticks: u32 = 0;
        while shutdown
            .run_until_cancelled(tokio::time::sleep(TICK))
            .await
            .is_some()
        {
            ticks = ticks.wrapping_add(1);
            let this = self.clone();
            let test = ticks.is_multiple_of(SELF_TEST);
            // A panic in there is logged; the next tick tries again.
            let _ = blocking(move || this.look(test)).await;
        }
    }

    /// Judges the free space now; `test`: and whether a suspect volume works again.
    pub fn look(&self, test: bool) {
        match self.spool.space() {
            Ok(space) => {
                let full = is_full(&space, self.size_limit, self.full.load(Ordering::Relaxed));
                if self.full.swap(full, Ordering::Relaxed) != full {
                    if full {
                        tracing::error!(
                            available = space.available,
                            "the spool is full: mail for it is refused"
                        );
                    } else {
                        tracing::info!(available = space.available, "the spool has room again");
                    }
                }
            }
            Err(error) => {
                tracing::error!(error = %daemon::describe(&error), "cannot see the spool's free space");
            }
        }
        if test && self.spool.is_suspect() {
            match self.spool.self_test() {
                Ok(()) => tracing::info!("the spool's volume works again"),
                Err(error) => {
                    tracing::error!(error = %daemon::describe(&error), "the spool's volume is suspect");
                }
            }
        }
    }
}

/// Below twice the size limit, 5 % or 1,000 inodes; once full, 10 % more than that is needed.
fn is_full(space: &durable::Space, size_limit: u64, was_full: bool) -> bool {
    let wanted = |least: u64| {
        if was_full {
            least.saturating_add(least / 10)
        } else {
            least
        }
    };
    space.available < wanted(size_limit.saturating_mul(2))
        || space.available < wanted(space.total / 20)
        || space.inodes.is_some_and(|inodes| inodes < wanted(1000))
}

/// Runs blocking work of the spool; work that was lost to a fault counts as a failed write.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    match blocking(work).await {
        Ok(result) => result,
        Err(fault) => Err(WriteError::Envelope(fault.to_string())),
    }
}

const TICK: Duration = Duration::from_secs(1);
/// Ticks between two self-tests of a suspect volume.
const SELF_TEST: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_with_hysteresis() {
        let space = |available, inodes| durable::Space {
            available,
            total: 10_000,
            inodes,
        };
        assert!(is_full(&space(1999, None), 1000, false));
        assert!(!is_full(&space(2000, None), 1000, false));
        assert!(is_full(&space(2199, None), 1000, true));
        assert!(!is_full(&space(2200, None), 1000, true));
        assert!(is_full(&space(499, None), 10, false), "5 %");
        assert!(is_full(&space(9000, Some(999)), 10, false));
    }
}
