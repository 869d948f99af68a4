//! Work that blocks (files, hashing), away from the async threads.

/// The work did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BlockingError {
    /// It panicked: a fault of the program, logged with its message.
    #[error("internal fault: {0}")]
    Panicked(String),
    /// The process is ending.
    #[error("the process is ending")]
    Ended,
}

/// Runs `work` on the pool for blocking work. It is not cancelled when the caller goes away: a write that
/// has begun comes to its end.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                let message = panic_message(panic.as_ref());
                tracing::error!(message, "blocking work panicked");
                Err(BlockingError::Panicked(message))
            }
            Err(_) => Err(BlockingError::Ended),
        },
    }
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned())
}
