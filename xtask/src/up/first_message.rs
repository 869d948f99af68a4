//! The first message: submitted with STARTTLS and a password, read back over IMAPS and POP3S.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::Site;
use tests::client::Imap;
use tests::wait;

use super::accounts::Account;
use super::say::Say;

/// Sends it and reads it; every certificate is verified.
pub fn send_and_read(site: &Site, say: &Say, from: &Account, to: &Account) -> Result<()> {
    let mark = format!(
        "first-{}",
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()
    );
    let id = say.step(
        &format!("submitting a message from {} to {}", from.address, to.address),
        || {
            let mut smtp = site.endpoints().submit_as(&from.address, &from.password)?;
            let reply = smtp.send(
                &from.address,
                &[&to.address],
                &message(&from.address, &to.address, &mark),
            )?;
            let id = reply.queued_as()?.to_owned();
            smtp.quit()?;
            Ok(id)
        },
    )?;
    say.step(&format!("reading it ({id}) over IMAPS as {}", to.address), || {
        let mut imap = site.imap_as(&to.address, &to.password)?;
        wait::for_true("the message in the inbox", wait::LONG, || {
            newest_has(&mut imap, &mark)
        })?;
        imap.logout()
    })?;
    say.step(&format!("reading it over POP3S as {}", to.address), || {
        let mut pop3 = site.pop3_as(&to.address, &to.password)?;
        let (count, _) = pop3.stat()?;
        let text = pop3
            .lines(&format!("RETR {count}"))
            .context("the newest message")?;
        ensure!(
            contains(&text, mark.as_bytes()),
            "the newest message is another one"
        );
        pop3.quit()
    })
}

fn message(from: &str, to: &str, mark: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: Hello from Postrider\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\n\
         This message was submitted with STARTTLS and a password.\r\n\r\n{mark}\r\n"
    )
}

fn newest_has(imap: &mut Imap, mark: &str) -> Result<bool> {
    let count = imap.select("INBOX")?;
    Ok(count > 0 && contains(&imap.fetch_body(count)?, mark.as_bytes()))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
