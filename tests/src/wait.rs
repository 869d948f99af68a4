//! Waiting for a condition with a deadline, the only kind of waiting that tests do.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long things may take that normally take milliseconds; generous, because machines that run tests are busy.
pub const LONG: Duration = Duration::from_secs(30);

/// Calls `probe` until it gives a value, and fails with `what` when `limit` has passed.
///
/// # Errors
/// When the limit has passed (with the last error of `probe`, if it had one).
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        let trouble = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            match trouble {
                Some(error) => return Err(error.context(format!("waited {limit:?} for {what}"))),
                None => bail!("waited {limit:?} for {what}"),
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

/// Like [`until`], for a plain condition.
///
/// # Errors
/// When the limit has passed.
pub fn for_true(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, limit, || Ok(probe()?.then_some(())))
}
