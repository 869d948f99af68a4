//! The commands that send more than a line: LIST and UIDL over all messages, RETR, TOP; and the end, QUIT.

use std::io;
use std::sync::Arc;

use maildir_store::StoreError;
use message::header::{HeaderEnd, HeaderLimits, HeaderReader, Progress, surrogate};
use pop3_proto::server::{Maildrop, Scan, Transaction, Update};
use pop3_proto::{DotEncoder, Extent, Reply, ResponseCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::error::End;
use crate::maildrop::{Locked, MaildropError, Snapshot, blocking};
use crate::wire::{PIECE, Wire};

/// Sends a listing piece by piece, so that its length costs no memory.
pub(crate) async fn scan<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    state: &Transaction<Snapshot>,
    mut scan: Scan,
) -> Result<(), End> {
    while !state.scan(&mut scan, PIECE, &mut wire.out) {
        wire.flush_full().await?;
    }
    Ok(())
}

/// Sends a message or its top.
pub(crate) async fn retrieve<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    state: &Transaction<Snapshot>,
    maildrop: &Arc<Locked>,
    index: usize,
    extent: Extent,
) -> Result<(), End> {
    let uid = state.maildrop().uid(index);
    let locked = Arc::clone(maildrop);
    let file = match blocking(move || locked.message(uid)).await {
        Ok(file) => tokio::fs::File::from_std(file),
        Err(error) => {
            unreadable(&error, uid).write(&mut wire.out);
            return Ok(());
        }
    };
    match extent {
        Extent::Whole => Reply::ok(format!("{} octets follow.", state.maildrop().size(index))),
        Extent::Top(_) => Reply::ok("Top follows."),
    }
    .write(&mut wire.out);
    send(wire, file, extent, state.utf8()).await
}

/// Sends what is wanted of a message. When the file fails in the middle the connection has to end: the
/// client would take the lone dot for a complete message.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    mut file: impl AsyncRead + Unpin,
    extent: Extent,
    utf8: bool,
) -> Result<(), End> {
    let mut encoder = DotEncoder::new(extent);
    let mut piece = Vec::with_capacity(PIECE);
    if !utf8 {
        if let Some(ascii) = ascii_head(&mut file, &mut piece).await.map_err(End::Message)? {
            piece = ascii;
        }
        encode(wire, &mut encoder, &piece).await?;
    }
    while !encoder.satisfied() {
        piece.clear();
        if (&mut file)
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .await
            .map_err(End::Message)?
            == 0
        {
            break;
        }
        encode(wire, &mut encoder, &piece).await?;
    }
    encoder.finish(&mut wire.out);
    wire.flush_full().await
}

/// Encodes in pieces, so that not even a header of the largest size is held twice.
async fn encode<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    encoder: &mut DotEncoder,
    bytes: &[u8],
) -> Result<(), End> {
    for piece in bytes.chunks(PIECE) {
        encoder.encode(piece, &mut wire.out);
        wire.flush_full().await?;
    }
    Ok(())
}

/// Reads on until the header is complete; `head` is everything that was read. Where the header is in UTF-8
/// the answer is what to send in place of `head` (RFC 6856 2.1).
async fn ascii_head(file: &mut (impl AsyncRead + Unpin), head: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut reader = HeaderReader::new(HeaderLimits::default());
    let rest = loop {
        let known = head.len();
        if file.take(PIECE as u64).read_to_end(head).await? == 0 {
            break known;
        }
        match reader.push(&head[known..]) {
            Ok(Progress::More) => {}
            Ok(Progress::Complete(taken)) => break known + taken,
            // Not a header that anybody could read; it goes out as it is.
            Err(_) => return Ok(None),
        }
    };
    let Ok(header) = reader.finish() else {
        return Ok(None);
    };
    let Some(mut ascii) = surrogate(&header.header) else {
        return Ok(None);
    };
    if header.end == HeaderEnd::Separator {
        ascii.extend_from_slice(b"\r\n");
    }
    ascii.extend_from_slice(&header.body_start);
    ascii.extend_from_slice(&head[rest..]);
    Ok(Some(ascii))
}

/// The reply for a message that cannot be opened.
fn unreadable(error: &MaildropError, uid: u32) -> Reply {
    if matches!(error, MaildropError::Store(StoreError::Expunged)) {
        return Reply::err("The message has been removed meanwhile.");
    }
    tracing::warn!(uid, error = %daemon::describe(error), "message cannot be opened");
    let code = if error.is_temporary() {
        ResponseCode::SysTemp
    } else {
        ResponseCode::SysPerm
    };
    Reply::err_code(code, "The message cannot be read.")
}

/// UPDATE (RFC 1939 6): removes what was marked. The reply, and how many messages were to go.
pub(crate) async fn update(update: &Update<Snapshot>, maildrop: Arc<Locked>) -> (Reply, usize) {
    let uids: Vec<u32> = update
        .deleted()
        .map(|index| update.maildrop().uid(index))
        .collect();
    let count = uids.len();
    if count == 0 {
        return (Update::<Snapshot>::reply(true), 0);
    }
    let complete = match blocking(move || maildrop.remove(&uids)).await {
        Ok(complete) => complete,
        Err(error) => {
            tracing::warn!(error = %daemon::describe(&error), "deleted messages were not removed");
            false
        }
    };
    (Update::<Snapshot>::reply(complete), count)
}
