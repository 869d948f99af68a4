//! What the service manager wants to hear (sd_notify(3)); silent where there is none.

use std::time::Duration;

use sd_notify::NotifyState;

/// All sockets are open, or a reload is over.
pub(crate) fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// A reload begins.
pub(crate) fn reloading() {
    let mut state = vec![NotifyState::Reloading];
    state.extend(NotifyState::monotonic_usec_now());
    let _ = sd_notify::notify(&state);
}

/// The process was told to stop.
pub(crate) fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Tells the watchdog that the async threads still turn, twice per its period. Ends only with the process.
pub(crate) async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut tick = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        tick.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
