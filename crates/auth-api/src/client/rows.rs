//! The rows of a list, as they arrive.

use std::fmt;

use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use tokio::time::timeout;
use tonic::Streaming;

use super::link::unavailable;
use crate::admin::AdminError;
use crate::convert::Malformed;
use crate::convert::admin::list_error;
use crate::{ADMIN_TIMEOUT, Unavailable};

/// The rows of a list. Nothing is asked before the first is; who drops it before its end gives up the rest.
/// No more of it is in memory than the connection holds in flight.
pub struct Rows<T>(BoxStream<'static, Result<T, AdminError>>);

impl<T: Send + 'static> Rows<T> {
    /// The rows of the stream that `open` opens.
    pub(super) fn new<P>(
        open: impl Future<Output = Result<Streaming<P>, Unavailable>> + Send + 'static,
    ) -> Self
    where
        P: TryInto<T, Error: Into<Malformed>> + Send + 'static,
    {
        let rows = open
            .map_ok(|stream| {
                try_unfold(stream, async |mut stream: Streaming<P>| {
                    let late = |_| Unavailable::new(format!("no answer within {ADMIN_TIMEOUT:?}"));
                    let message = timeout(ADMIN_TIMEOUT, stream.message()).await.map_err(late)?;
                    let row = message.map_err(|status| list_error(&status, unavailable(&status)))?;
                    let read = |row: P| row.try_into().map_err(|error| Unavailable::from(error.into()));
                    Ok(row.map(read).transpose()?.map(|row| (row, stream)))
                })
            })
            .map_err(AdminError::from);
        Self(rows.try_flatten_stream().boxed())
    }

    /// The next row; `None`: that was all. Each waits at most [`ADMIN_TIMEOUT`].
    pub async fn next(&mut self) -> Result<Option<T>, AdminError> {
        self.0.try_next().await
    }

    /// All rows at once, for a list that is known to be short.
    pub async fn all(self) -> Result<Vec<T>, AdminError> {
        self.0.try_collect().await
    }
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}
