//! `cargo xtask bench mail`: messages per second through smtpd into Maildirs, barriers per message, resident memory.
//!
//! Release builds, on the file system of the temporary directory (`--below` chooses another; tmpfs is refused). The load
//! runs on the same machine. Only figures of one run can be compared with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;
use tests::Site;
use tests::site::{DAEMONS, Endpoints};
use tests::trace::Trace;

use super::Place;

/// How much.
#[derive(Args)]
pub struct Options {
    /// Messages for each row of the table.
    #[arg(long, default_value_t = 5000)]
    messages: usize,
}

const MAILBOXES: usize = 100;
const MESSAGE_SIZE: usize = 4096;
const CONNECTIONS: [usize; 3] = [1, 10, 50];

/// Figures of performance.md for the same work (many messages on each connection), in the order of [`CONNECTIONS`].
const COMPARED: [(&str, [u32; 3]); 3] = [
    ("Postfix 3.7 + virtual", [464, 830, 666]),
    ("model A (2 barriers)", [785, 2920, 3845]),
    ("model B (journal)", [1500, 5170, 6330]),
];

/// Measures.
pub fn run(options: &Options, place: &Place) -> Result<()> {
    let mut builder = Site::builder()
        .with_binaries(place.binaries.clone())
        .below(&place.below)
        .domain("bench.test");
    for number in 0..MAILBOXES {
        builder = builder.account(&address(number));
    }
    builder.run(|site| {
        println!("resident memory of the idle daemons: {}", memory(site)?);
        // Every mailbox exists before anything is measured.
        send_all(site.endpoints(), 10, MAILBOXES * 2)?;
        println!(
            "| connections | messages/s | {} |",
            COMPARED.map(|(name, _)| name).join(" | ")
        );
        println!("|---|---|---|---|---|");
        for (row, connections) in CONNECTIONS.into_iter().enumerate() {
            let rate = measure(site, connections, options.messages)?;
            let others = COMPARED.map(|(_, figures)| figures[row].to_string()).join(" | ");
            println!("| {connections}, many each | {rate:.0} | {others} |");
        }
        for connections in [1, 10] {
            let (barriers, messages) = barriers(site, connections)?;
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let each = barriers as f64 / messages as f64;
            println!(
                "barriers with {connections} connections: {barriers} for {messages} messages, {each:.2} each"
            );
        }
        println!("resident memory after the load: {}", memory(site)?);
        Ok(())
    })
}

fn address(number: usize) -> String {
    format!("user{number}@bench.test")
}

/// Messages per second from the first connection until the last file is there.
fn measure(site: &Site, connections: usize, messages: usize) -> Result<f64> {
    let before = count(site)?;
    let begin = Instant::now();
    send_all(site.endpoints(), connections, messages)?;
    let took = begin.elapsed();
    let arrived = count(site)? - before;
    ensure!(
        arrived == messages,
        "{arrived} files for {messages} acknowledged messages"
    );
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    Ok(messages as f64 / took.as_secs_f64())
}

/// Files in all Maildirs.
fn count(site: &Site) -> Result<usize> {
    let mut count = 0;
    for number in 0..MAILBOXES {
        count += site.mailbox(&address(number)).count()?;
    }
    Ok(count)
}

/// Sends messages over so many connections, each of which takes the next one as soon as it has its 250.
fn send_all(endpoints: &Endpoints, connections: usize, messages: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let text = Arc::new(message());
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (endpoints, next, text) = (endpoints.clone(), Arc::clone(&next), Arc::clone(&text));
            thread::spawn(move || -> Result<()> {
                let mut smtp = endpoints.smtp("mx")?;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return smtp.quit();
                    }
                    smtp.expect("MAIL FROM:<bench@a.test>", 250)?;
                    smtp.expect(&format!("RCPT TO:<{}>", address(number % MAILBOXES)), 250)?;
                    smtp.expect("DATA", 354)?;
                    smtp.line.send(text.as_bytes())?;
                    let reply = smtp.reply()?;
                    ensure!(reply.code == 250, "{}", reply.text());
                }
            })
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread of the load panicked"))??;
    }
    Ok(())
}

fn message() -> String {
    let line = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n";
    let header = "From: <bench@a.test>\r\nSubject: bench\r\n\r\n";
    format!(
        "{header}{}.\r\n",
        line.repeat((MESSAGE_SIZE - header.len()) / line.len())
    )
}

/// Counts the syncs of deliver and smtpd while some messages are delivered; needs root, as strace does here.
fn barriers(site: &mut Site, connections: usize) -> Result<(usize, usize)> {
    const MESSAGES: usize = 500;
    let mut traces = Vec::new();
    for daemon in ["deliver", "smtpd"] {
        let file = site.directory().join(format!("{daemon}-{connections}.trace"));
        let calls = ["fsync", "fdatasync", "syncfs", "sync_file_range"];
        traces.push(Trace::attach(site.daemon(daemon)?, &file, &calls, &[])?);
    }
    send_all(site.endpoints(), connections, MESSAGES)?;
    let mut count = 0;
    for mut trace in traces {
        trace.detach()?;
        count += trace.calls()?.iter().filter(|call| call.is_sync()).count();
    }
    ensure!(count > 0, "strace saw no sync at all");
    Ok((count, MESSAGES))
}

/// Resident memory of each daemon and of all, in MiB.
fn memory(site: &mut Site) -> Result<String> {
    let mut parts = Vec::new();
    let mut all = 0;
    for daemon in DAEMONS {
        let bytes = site.daemon(daemon)?.resident_memory()?;
        all += bytes;
        parts.push(format!("{daemon} {:.1}", mebibytes(bytes)));
    }
    Ok(format!("{:.1} MiB ({})", mebibytes(all), parts.join(", ")))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
