//! A deliver that does as told and keeps what it was given.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mail_types::Reply;
use smtp_proto::Protocol;
use smtp_proto::command::{Mail, ParamRules, RcptPath};
use smtp_proto::reply;
use smtp_proto::server::{Config, Event, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What deliver does with the end of a message.
#[derive(Clone)]
pub enum Does {
    /// Says these, one for each recipient; 250 where there are fewer.
    Says(Vec<Reply>),
    /// Says the first ones and closes.
    SaysThenCloses(Vec<Reply>),
    /// Takes the first message whole and closes without a word; then says 4xx to everybody.
    DiesThenRefuses,
    /// Says nothing, ever.
    Hangs,
    /// Refuses at MAIL.
    RefusesMail(Reply),
}

/// A message that it was given.
#[derive(Clone, Debug)]
pub struct Given {
    pub xid: String,
    pub sender: String,
    /// final, XIDX, XORIG
    pub recipients: Vec<(String, String, String)>,
    pub body: String,
    /// XREPEAT was said of a recipient.
    pub repeated: bool,
}

impl Given {
    fn new(mail: &Mail) -> Self {
        Self {
            xid: mail.params.private("XID").unwrap().to_owned(),
            sender: mail.path.to_string(),
            recipients: Vec::new(),
            body: String::new(),
            repeated: false,
        }
    }
}

#[derive(Clone)]
pub struct FakeDeliver {
    socket: PathBuf,
    pub given: Arc<Mutex<Vec<Given>>>,
    pub connections: Arc<Mutex<usize>>,
    does: Arc<Mutex<Does>>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl FakeDeliver {
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            given: Arc::default(),
            connections: Arc::default(),
            does: Arc::new(Mutex::new(Does::Says(Vec::new()))),
            tasks: Arc::default(),
        }
    }

    pub fn does(&self, what: Does) {
        *self.does.lock().unwrap() = what;
    }

    pub async fn start(&self) {
        std::fs::create_dir_all(self.socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(&self.socket).unwrap();
        let this = self.clone();
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *this.connections.lock().unwrap() += 1;
                let task = tokio::spawn(this.clone().serve(stream));
                this.tasks.lock().unwrap().push(task);
            }
        });
        self.tasks.lock().unwrap().push(accept);
    }

    /// As killed.
    pub fn kill(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
        let _ = std::fs::remove_file(&self.socket);
    }

    pub fn bodies(&self) -> Vec<String> {
        self.given
            .lock()
            .unwrap()
            .iter()
            .map(|given| given.body.clone())
            .collect()
    }

    /// Answers the end of a message; false where the connection is to close.
    async fn answer(&self, session: &mut Session, does: Does, answers: usize) -> bool {
        let (says, closes) = match does {
            Does::Says(replies) => (replies, false),
            Does::SaysThenCloses(replies) => (replies, true),
            Does::Hangs => std::future::pending().await,
            Does::DiesThenRefuses => {
                let later = reply::new(451, (4, 3, 0), "later");
                self.does(Does::Says(vec![later; answers]));
                (Vec::new(), true)
            }
            Does::RefusesMail(_) => panic!("MAIL was refused"),
        };
        let said = says.len();
        for reply in says {
            session.answer(&reply);
        }
        for _ in said..if closes { said } else { answers } {
            session.answer(&reply::ok());
        }
        !closes
    }

    async fn serve(self, mut stream: UnixStream) {
        let mut config = Config::new(Protocol::Lmtp, "mx.test");
        config.private_extensions = &["XPOSTRIDER"];
        config.params = ParamRules {
            private_mail: &["XID"],
            private_rcpt: &["XIDX", "XORIG", "XREPEAT"],
        };
        let mut session = Session::new(Arc::new(config), false, Instant::now());
        session.greet();
        let mut given = None;
        loop {
            while let Some(event) = session.next_event(Instant::now()) {
                let does = self.does.lock().unwrap().clone();
                match event {
                    Event::Hello(_) => session.accept_hello(),
                    Event::Mail(mail) => {
                        if let Does::RefusesMail(no) = &does {
                            session.answer(no);
                            continue;
                        }
                        given = Some(Given::new(&mail));
                        session.answer(&reply::mail_ok());
                    }
                    Event::Rcpt(rcpt) => {
                        let RcptPath::Address(address) = rcpt.path else {
                            panic!()
                        };
                        given.as_mut().unwrap().repeated |= rcpt.params.private("XREPEAT").is_some();
                        let private = |name| rcpt.params.private(name).unwrap().to_owned();
                        given.as_mut().unwrap().recipients.push((
                            address.to_string(),
                            private("XIDX"),
                            private("XORIG"),
                        ));
                        session.answer(&reply::rcpt_ok());
                    }
                    Event::Data => session.accept_data(),
                    Event::Body(text) => {
                        given
                            .as_mut()
                            .unwrap()
                            .body
                            .push_str(&String::from_utf8_lossy(text));
                    }
                    Event::EndOfData(end) => {
                        assert_eq!(end.fault, None);
                        self.given.lock().unwrap().extend(given.take());
                        if !self.answer(&mut session, does, end.answers).await {
                            let _ = stream.write_all(session.output()).await;
                            return;
                        }
                    }
                    Event::Closing(_) => return,
                    _ => {}
                }
            }
            if stream.write_all(session.output()).await.is_err() {
                return;
            }
            session.output_written();
            match stream.read_buf(session.input()).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
