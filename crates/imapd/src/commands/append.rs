//! APPEND (RFC 3501 6.3.11): the message goes from the socket to its file, piece by piece.

use std::io::Write as _;

use events::access;
use imap_proto::command::{self, Command, TaggedCommand};
use imap_proto::date::DateTime;
use imap_proto::framing::Input;
use imap_proto::name::WireName;
use imap_proto::response::{Code, Response};
use maildir_store::{Flags, NewMessage, StoreError};
use tokio::time::Instant;

use super::folders::{target, user};
use super::{Tell, needs, telling};
use crate::error::{End, Stop, Tagged};
use crate::mailbox::store_flags;
use crate::session::Session;
use crate::store;

/// A message that is being written.
struct Incoming {
    message: NewMessage,
    lines: LineEnds,
    flags: Flags,
    keywords: Vec<String>,
    date: Option<DateTime>,
    folder: String,
    size: u64,
}

/// Runs APPEND from the announcement of its message on.
pub(crate) async fn run(session: &mut Session, head: &[u8], size: u64, sync: bool) -> Result<(), End> {
    let (tag, begun) = match command::parse(head) {
        Ok(TaggedCommand { tag, command }) => {
            let begun = begin(session, command, size).await;
            (tag, begun)
        }
        Err(bad) => (bad.tag.clone(), Err(Tagged::bad(bad.reason.to_string()).into())),
    };
    let tell = Some(Tell {
        expunge: true,
        uid: false,
        always: false,
    });
    let incoming = match begun {
        Ok(incoming) => incoming,
        Err(stop) => {
            // Answered at once: a client that waits for the continuation does not send the message.
            if !session.wire.framer().refuse() {
                return Err(End::Framing(imap_proto::framing::Refusal::MessageTooBig));
            }
            return session.finish(&tag, Err(stop), tell).await;
        }
    };
    session.wire.framer().accept();
    if sync {
        Response::Continue("OK").encode(&mut session.wire.out);
    }
    let result = receive(session, incoming).await;
    session.finish(&tag, result, tell).await
}

async fn begin(session: &mut Session, command: Command, size: u64) -> Result<Incoming, Stop> {
    debug_assert_eq!(
        (needs(&command), telling(&command).is_some()),
        (super::Needs::Login, true)
    );
    let Command::Append { mailbox, flags, date } = command else {
        return Err(Tagged::bad("Invalid arguments").into());
    };
    let (flags, keywords) = store_flags(&flags)?;
    let folder = destination(session, &mailbox).await?;
    if size == 0 {
        return Err(Tagged::no_code(Code::Cannot, "A message cannot be empty").into());
    }
    let name = folder.name().to_string();
    let message = store::blocking(move || folder.stage()).await?;
    Ok(Incoming {
        message,
        lines: LineEnds::default(),
        flags,
        keywords,
        date,
        folder: name,
        size,
    })
}

async fn destination(
    session: &mut Session,
    mailbox: &WireName,
) -> Result<std::sync::Arc<maildir_store::Folder>, Stop> {
    user(session)?;
    target(session, mailbox).await
}

/// Reads the message to its end, whatever becomes of it: the client sends it all.
async fn receive(session: &mut Session, incoming: Incoming) -> Result<Tagged, Stop> {
    let mut state: Result<Incoming, Stop> = Ok(incoming);
    let mut pending: Vec<u8> = Vec::new();
    loop {
        let deadline = Instant::now() + session.settings.idle_timeout;
        match session.wire.next(deadline).await? {
            Input::AppendData(data) => {
                if let Ok(incoming) = &mut state {
                    if data.contains(&0) {
                        state = Err(Tagged::no_code(Code::Cannot, "A message cannot hold NUL").into());
                        continue;
                    }
                    incoming.lines.push(&data, &mut pending);
                }
                if pending.len() >= WRITE_PIECE {
                    state = write(state, std::mem::take(&mut pending)).await;
                }
            }
            Input::AppendEnd(true) => {
                if let Ok(incoming) = &mut state {
                    incoming.lines.finish(&mut pending);
                }
                let incoming = write(state, pending).await?;
                return commit(session, incoming).await;
            }
            Input::AppendEnd(false) => return Ok(Tagged::bad("Only one message at a time")),
            Input::Fatal(reason) => return Err(End::Framing(reason).into()),
            // Nothing else comes while a message is on its way.
            _ => {}
        }
    }
}

async fn write(state: Result<Incoming, Stop>, bytes: Vec<u8>) -> Result<Incoming, Stop> {
    let mut incoming = state?;
    if bytes.is_empty() {
        return Ok(incoming);
    }
    Ok(store::blocking(move || {
        incoming
            .message
            .write_all(&bytes)
            .map_err(|error| StoreError::Disk {
                doing: "write the message",
                source: durable::Error::io("write", "", error),
            })?;
        Ok(incoming)
    })
    .await?)
}

async fn commit(session: &mut Session, incoming: Incoming) -> Result<Tagged, Stop> {
    let Incoming {
        message,
        flags,
        keywords,
        date,
        folder,
        size,
        ..
    } = incoming;
    let (validity, uid) = store::blocking(move || {
        let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
        message.commit(flags, &keywords, date.map(|date| date.unix))
    })
    .await?;
    let login = user(session)?.login.clone();
    session.emit(access::Kind::Appended { login, folder, size });
    Ok(Tagged::ok_code(
        Code::AppendUid(validity, uid),
        "APPEND completed",
    ))
}

/// CRLF becomes LF, as Maildirs have it, also where it comes in two pieces.
#[derive(Debug, Default)]
struct LineEnds {
    held_cr: bool,
}

impl LineEnds {
    fn push(&mut self, data: &[u8], out: &mut Vec<u8>) {
        for byte in data {
            if std::mem::take(&mut self.held_cr) && *byte != b'\n' {
                out.push(b'\r');
            }
            if *byte == b'\r' {
                self.held_cr = true;
            } else {
                out.push(*byte);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

/// How much of a message is collected for one trip to the disk.
const WRITE_PIECE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_across_pieces() {
        for pieces in [
            &[&b"a\r\nb\r\r\nc\r"[..]][..],
            &[b"a\r", b"\nb\r", b"\r", b"\nc\r"],
        ] {
            let (mut lines, mut out) = (LineEnds::default(), Vec::new());
            for piece in pieces {
                lines.push(piece, &mut out);
            }
            lines.finish(&mut out);
            assert_eq!(out, b"a\nb\r\nc\r");
        }
    }
}
