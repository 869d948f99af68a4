//! Whole LMTP sessions in memory, on a real directory and with a directory of addresses that the test makes.

mod dialogue;
mod trouble;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use auth_api::directory::{Mailbox, MailboxAnswer, Refusal};
use auth_api::{Trace, Unavailable};
use daemon::Context;
use durable::{Disk, Op, Probe};
use mail_types::{Address, EnhancedStatus};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

use crate::directory::Directory;
use crate::{Server, Settings, session};

/// What the fake authd says of each address; anything else is unknown.
#[derive(Debug, Default, Clone)]
struct Rows(HashMap<String, Answer>);

#[derive(Debug, Clone)]
enum Answer {
    Maildir(String),
    OtherOwner(String),
    Misconfigured,
    Away,
}

impl Directory for Rows {
    async fn lookup_mailbox(&self, address: &Address, _: Trace) -> Result<MailboxAnswer, Unavailable> {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let found = |maildir: &str, uid| {
            let (address, maildir) = (address.clone(), maildir.to_owned());
            MailboxAnswer::Found(Mailbox {
                address,
                maildir,
                uid,
                gid,
                quota: 0,
            })
        };
        // Extensions are authd's business; here they are cut off.
        let key = address.split_extension('+').map_or_else(
            || address.lookup_key(),
            |(user, _)| address.with_local(user).unwrap().lookup_key(),
        );
        match self.0.get(&key) {
            Some(Answer::Maildir(path)) => Ok(found(path, uid)),
            Some(Answer::OtherOwner(path)) => Ok(found(path, uid + 1)),
            Some(Answer::Misconfigured) => Ok(MailboxAnswer::Misconfigured("uid 0".to_owned())),
            Some(Answer::Away) => Err(Unavailable::new("database away")),
            None => Ok(MailboxAnswer::Unknown(Refusal {
                code: 550,
                status: EnhancedStatus::new(5, 1, 1),
                text: "User unknown in virtual mailbox table".to_owned(),
            })),
        }
    }
}

/// deliver with its mail root.
struct Host {
    place: tempfile::TempDir,
    server: Arc<Server<Rows>>,
    events: events::Memory,
}

impl Host {
    fn new() -> Self {
        Self::on(Disk::new())
    }

    fn on(disk: Disk) -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut config = config::Config::default();
        config.general.virtual_mailbox_base = place.path().to_str().unwrap().parse().unwrap();
        config.general.message_size_limit = config::Size::new(4 << 20);
        let settings = Settings::new(&config);
        let (ctx, events) = Context::for_test(config, settings);
        let rows = [
            ("a@x.test", Answer::Maildir("x.test/a/".to_owned())),
            ("b@x.test", Answer::Maildir("x.test/b/".to_owned())),
            ("c@x.test", Answer::Maildir("x.test/c/".to_owned())),
            ("other@x.test", Answer::OtherOwner("x.test/other/".to_owned())),
            ("outside@x.test", Answer::Maildir("../outside/".to_owned())),
            ("broken@x.test", Answer::Misconfigured),
            ("away@x.test", Answer::Away),
        ];
        let rows = rows
            .into_iter()
            .map(|(address, answer)| (address.to_owned(), answer))
            .collect();
        let server = Arc::new(Server::new(ctx, disk, Rows(rows)));
        Self {
            place,
            server,
            events,
        }
    }

    fn path(&self, user: &str) -> PathBuf {
        self.place.path().join("x.test").join(user)
    }

    /// The messages in a mailbox's `new/`, by name.
    fn mail(&self, user: &str) -> Vec<String> {
        let new = self.path(user).join("new");
        names(&new)
            .iter()
            .map(|name| std::fs::read_to_string(new.join(name)).unwrap())
            .collect()
    }

    fn connect(&self) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        tokio::spawn(session::run(Arc::clone(&self.server), theirs));
        let (read, write) = tokio::io::split(ours);
        Client {
            read: BufReader::new(read),
            write,
        }
    }

    /// A client past LHLO.
    async fn client(&self) -> Client {
        let mut client = self.connect();
        client.expect("220 ").await;
        client.say("LHLO test").await;
        loop {
            let line = client.line().await;
            assert!(line.starts_with("250"), "{line}");
            if line.as_bytes()[3] == b' ' {
                return client;
            }
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

struct Client {
    read: BufReader<ReadHalf<DuplexStream>>,
    write: WriteHalf<DuplexStream>,
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.write.write_all(text.as_bytes()).await.unwrap();
    }

    async fn say(&mut self, line: &str) {
        self.send(&format!("{line}\r\n")).await;
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.read.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// The next line begins with `start`; the whole of it is returned.
    async fn expect(&mut self, start: &str) -> String {
        let line = self.line().await;
        assert!(line.starts_with(start), "wanted {start:?}, got {line:?}");
        line
    }

    /// A command and the beginning of its one-line reply.
    async fn ask(&mut self, command: &str, start: &str) -> String {
        self.say(command).await;
        self.expect(start).await
    }

    /// MAIL, RCPT and DATA up to the final dot; the replies after it are the caller's.
    async fn message(&mut self, id: &str, recipients: &[&str], text: &str) {
        self.ask(&format!("MAIL FROM:<s@y.test> XID={id}"), "250 2.1.0")
            .await;
        for recipient in recipients {
            self.ask(&format!("RCPT TO:{recipient}"), "250 2.1.5").await;
        }
        self.ask("DATA", "354").await;
        self.send(&format!("{text}\r\n.\r\n")).await;
    }
}

/// An id for tests.
fn id(number: u32) -> String {
    format!("{number:020}")
}

/// Which operations are refused, and with what.
type Refusing = (fn(&Op<'_>) -> bool, i32);

/// Refuses operations as the test says at that moment.
#[derive(Debug, Default)]
struct Switch {
    refuse: Mutex<Option<Refusing>>,
    hits: Mutex<usize>,
}

impl Switch {
    fn set(&self, refuse: Option<Refusing>) {
        *self.refuse.lock().unwrap() = refuse;
    }
}

impl Probe for Switch {
    fn before(&self, op: &Op<'_>) -> io::Result<()> {
        match *self.refuse.lock().unwrap() {
            Some((wanted, errno)) if wanted(op) => {
                *self.hits.lock().unwrap() += 1;
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }
}
