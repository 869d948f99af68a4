//! IDLE (RFC 2177): changes are told as they come, until DONE.

use std::sync::Arc;
use std::time::Duration;

use imap_proto::framing::Input;
use imap_proto::response::Response;
use tokio::time::{Instant, sleep_until};

use crate::commands::Tell;
use crate::error::{End, Stop, Tagged};
use crate::notify::Watch;
use crate::session::Session;

/// What made IDLE look up.
enum Woken {
    Input(Input),
    Look,
}

/// Runs IDLE to its end.
pub(crate) async fn run(session: &mut Session) -> Result<Tagged, Stop> {
    Response::Continue("idling").encode(&mut session.wire.out);
    let deadline = Instant::now() + session.settings.idle_timeout;
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    let folder = selected.map(|selected| Arc::clone(&selected.folder));
    let watch = folder
        .as_ref()
        .map(|folder| session.shared.notifier.watch(&folder.watch_paths()));
    let _registration = folder.as_ref().zip(watch.as_ref()).map(|(folder, watch)| {
        let bell = watch.bell();
        folder.on_change(Box::new(move || bell.notify_one()))
    });
    // What happened before the watch stood is found by looking once behind it.
    let mut look_at = Instant::now();
    loop {
        session.wire.flush().await?;
        let woken = wait(session, watch.as_ref(), look_at, deadline).await?;
        let interval = watch.as_ref().map_or(NOTHING_TO_SEE, Watch::look_interval);
        match woken {
            Woken::Input(Input::Command(line)) if line.eq_ignore_ascii_case(b"DONE") => {
                return Ok(Tagged::ok("Idle completed"));
            }
            Woken::Input(Input::Fatal(reason)) => return Err(End::Framing(reason).into()),
            Woken::Input(_) => {
                session.wire.framer().refuse_literal_of_line();
                return Ok(Tagged::bad("Expected DONE"));
            }
            Woken::Look => {
                let before = session.wire.out.len();
                session
                    .look(
                        Tell {
                            expunge: true,
                            uid: false,
                            always: true,
                        },
                        &[],
                    )
                    .await?;
                // A directory that has just changed may change again within the resolution of its time.
                let again = if session.wire.out.len() > before {
                    AGAIN
                } else {
                    interval
                };
                look_at = Instant::now() + again.min(interval);
            }
        }
    }
}

async fn wait(
    session: &mut Session,
    watch: Option<&Watch>,
    look_at: Instant,
    deadline: Instant,
) -> Result<Woken, End> {
    let hint = async {
        match watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        input = session.wire.next(deadline) => Ok(Woken::Input(input?)),
        () = hint => Ok(Woken::Look),
        () = sleep_until(look_at) => Ok(Woken::Look),
    }
}

/// Without a selected mailbox there is nothing to tell.
const NOTHING_TO_SEE: Duration = Duration::from_secs(3600);
/// After a change the folder is looked at once more.
const AGAIN: Duration = Duration::from_millis(2100);
