//! MAIL and RCPT as bytes; parameters only where the server announced their extension.

use mail_types::{Ret, xtext_encode};

use super::Extensions;
use crate::command::{Mail, Param, Rcpt, RcptPath};

/// Appends the MAIL command. SMTPUTF8 is written where set: whoever sends such a message has checked that the
/// server takes it (RFC 6531 3.1).
pub(super) fn mail(mail: &Mail, extensions: &Extensions, out: &mut Vec<u8>) {
    let mut line = format!("MAIL FROM:<{}>", mail.path);
    let params = &mail.params;
    if let Some(size) = params.size.filter(|_| extensions.has("SIZE")) {
        line.push_str(&format!(" SIZE={size}"));
    }
    if params.eight_bit && extensions.has("8BITMIME") {
        line.push_str(" BODY=8BITMIME");
    }
    if params.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if extensions.has("DSN") {
        match params.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &params.envid {
            line.push_str(&format!(" ENVID={}", xtext_encode(envid)));
        }
    }
    finish(line, &params.private, out);
}

/// Appends the RCPT command.
pub(super) fn rcpt(rcpt: &Rcpt, extensions: &Extensions, out: &mut Vec<u8>) {
    let mut line = match &rcpt.path {
        RcptPath::Address(address) => format!("RCPT TO:<{address}>"),
        RcptPath::Postmaster => "RCPT TO:<postmaster>".to_owned(),
    };
    if extensions.has("DSN") {
        if let Some(notify) = rcpt.params.notify {
            line.push_str(&format!(" NOTIFY={notify}"));
        }
        if let Some(orcpt) = &rcpt.params.orcpt {
            line.push_str(&format!(" ORCPT={orcpt}"));
        }
    }
    finish(line, &rcpt.params.private, out);
}

fn finish(mut line: String, private: &[Param], out: &mut Vec<u8>) {
    for param in private {
        line.push(' ');
        line.push_str(&param.keyword);
        if let Some(value) = &param.value {
            line.push('=');
            line.push_str(value);
        }
    }
    // Addresses and decoded texts hold no control character by type; a private value might.
    out.extend(line.bytes().map(|b| if b.is_ascii_control() { b'?' } else { b }));
    out.extend_from_slice(b"\r\n");
}
