//! Keeps an eye on the mail volume: after a failed sync it is suspect and the store refuses new mail, until a
//! test passes (robustness.md 4.2).

use std::sync::Arc;
use std::time::Duration;

use daemon::CancellationToken;
use durable::Alarm;
use tokio::time::Instant;

use crate::store::Maildirs;
use crate::warm::Warm;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(30);

/// Tests the volume again and again while it is suspect, and lets folders go that were kept for somebody to
/// come back, until the process is to stop.
pub(crate) async fn watch(maildirs: Maildirs, warm: Arc<Warm>, shutdown: CancellationToken) {
    while tokio::time::timeout(PAUSE, shutdown.cancelled()).await.is_err() {
        warm.cool(Instant::now());
        let volume = maildirs.clone();
        match daemon::blocking(move || volume.test_if_suspect()).await {
            // A recovery is told by `tell`.
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = daemon::describe(&error), "the mail volume is not trusted");
            }
            Err(error) => tracing::error!(%error, "the mail volume could not be tested"),
        }
    }
}

/// Logs what the disk says.
pub(crate) fn tell(alarm: &Alarm) {
    match alarm {
        Alarm::SyncFailed { name, reason, .. } => {
            tracing::error!(
                name,
                reason,
                "a sync failed; no mail is taken until the mail volume passes a test"
            );
        }
        Alarm::Recovered { .. } => tracing::warn!("the mail volume passed its test and is trusted again"),
    }
}

/// Keeps what was put off by a second (flags, removals), at the end of the process.
pub(crate) async fn settle(maildirs: Maildirs) {
    match daemon::blocking(move || maildirs.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(error = daemon::describe(&error), "the last changes are not safe"),
        Err(error) => tracing::error!(%error, "the last changes are not safe"),
    }
}
