//! CLOSE and UNSELECT (RFC 3501 6.4.2, RFC 3691).

use super::expunge;
use super::folders::user;
use crate::error::{Stop, Tagged};
use crate::session::Session;

/// Leaves the mailbox; CLOSE (`expunge`) removes what is marked, without telling.
pub(super) async fn run(session: &mut Session, expunge: bool) -> Result<Tagged, Stop> {
    let selected = user(session)?.selected.as_ref();
    if expunge && selected.is_some_and(|selected| !selected.read_only) {
        expunge::remove(session, None).await?;
    }
    user(session)?.selected = None;
    Ok(Tagged::ok(if expunge {
        "CLOSE completed"
    } else {
        "UNSELECT completed"
    }))
}
