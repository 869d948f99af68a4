//! An SMTP or LMTP server that keeps what it gets and answers what a test wants.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What the server says.
#[derive(Clone)]
pub struct Script {
    pub greeting: String,
    /// Extensions that are announced.
    pub extensions: Vec<String>,
    /// The reply to MAIL, if it is not 250.
    pub mail: Option<String>,
    /// The reply to a RCPT line.
    pub rcpt: fn(&str) -> String,
    /// The reply at the end: for SMTP with an empty text, for LMTP with each RCPT line. Empty: hang up.
    pub end: fn(&str) -> String,
    /// Hang up at this command.
    pub close_at: Option<&'static str>,
    /// Offer STARTTLS with this; a handshake that fails where it is `Some(None)`.
    pub tls: Option<Option<TlsAcceptor>>,
    /// Say nothing any more at this command, `.` for the end of the message.
    pub stall: Option<&'static str>,
    /// Say a line in the clear behind the answer to STARTTLS.
    pub inject: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: "220 sink.test ESMTP".to_owned(),
            extensions: [
                "PIPELINING",
                "SIZE 50000000",
                "8BITMIME",
                "DSN",
                "SMTPUTF8",
                "ENHANCEDSTATUSCODES",
            ]
            .map(str::to_owned)
            .to_vec(),
            mail: None,
            rcpt: |_| "250 2.1.5 Ok".to_owned(),
            end: |_| "250 2.0.0 Ok: taken".to_owned(),
            close_at: None,
            tls: None,
            stall: None,
            inject: false,
        }
    }
}

/// A transaction whose end was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub mail: String,
    pub rcpts: Vec<String>,
    /// Dots removed.
    pub body: Vec<u8>,
    pub tls: bool,
}

impl Received {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A running server.
pub struct Sink {
    pub port: u16,
    script: Arc<Mutex<Script>>,
    received: mpsc::UnboundedReceiver<Received>,
    /// Connections so far.
    pub connections: Arc<Mutex<u32>>,
    task: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// On a free port of 127.0.0.1.
    pub async fn smtp(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    /// On this listener.
    pub fn on(listener: TcpListener, script: Script) -> Self {
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(script));
        let (sent, received) = mpsc::unbounded_channel();
        let connections = Arc::new(Mutex::new(0));
        let (current, count) = (Arc::clone(&script), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let script = current.lock().unwrap().clone();
                tokio::spawn(serve(stream, script, sent.clone(), false));
            }
        });
        Self {
            port,
            script,
            received,
            connections,
            task,
        }
    }

    /// LMTP on a socket.
    pub fn lmtp(path: &Path, script: Script) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let script = Arc::new(Mutex::new(script));
        let (sent, received) = mpsc::unbounded_channel();
        let connections = Arc::new(Mutex::new(0));
        let (current, count) = (Arc::clone(&script), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *count.lock().unwrap() += 1;
                let script = current.lock().unwrap().clone();
                tokio::spawn(serve(stream, script, sent.clone(), true));
            }
        });
        Self {
            port: 0,
            script,
            received,
            connections,
            task,
        }
    }

    /// Says something else from the next connection on.
    pub fn say(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// The next message.
    pub async fn next(&mut self) -> Received {
        tokio::time::timeout(Duration::from_secs(10), self.received.recv())
            .await
            .expect("no message came")
            .unwrap()
    }

    /// Whether nothing more came.
    pub fn is_quiet(&mut self) -> bool {
        self.received.try_recv().is_err()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S>(stream: S, script: Script, sent: mpsc::UnboundedSender<Received>, lmtp: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut session = Session {
        script,
        sent,
        lmtp,
        tls: false,
    };
    let mut stream = BufReader::new(stream);
    let greeting = session.script.greeting.clone();
    if say(&mut stream, &greeting).await.is_none() {
        return;
    }
    if session.talk(&mut stream).await == Some(Next::Tls)
        && let Some(Some(acceptor)) = session.script.tls.clone()
        && let Ok(stream) = acceptor.accept(stream.into_inner()).await
    {
        session.tls = true;
        session.talk(&mut BufReader::new(stream)).await;
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Tls,
}

struct Session {
    script: Script,
    sent: mpsc::UnboundedSender<Received>,
    lmtp: bool,
    tls: bool,
}

impl Session {
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut BufReader<S>) -> Option<Next> {
        let (mut mail, mut rcpts) = (String::new(), Vec::new());
        loop {
            let line = String::from_utf8(line(stream).await?).unwrap();
            let line = line.trim_end().to_owned();
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            if self.script.close_at == Some(verb.as_str()) {
                return None;
            }
            if self.script.stall == Some(verb.as_str()) {
                std::future::pending::<()>().await;
            }
            match verb.as_str() {
                "EHLO" | "LHLO" => self.hello(stream).await?,
                "STARTTLS" => {
                    let injected = if self.script.inject {
                        "\r\n250-AUTH PLAIN\r\n250 X"
                    } else {
                        ""
                    };
                    say(stream, &format!("220 2.0.0 go on{injected}")).await?;
                    if let Some(None) = self.script.tls {
                        // Not before the client's hello, or it would be an injection.
                        stream.fill_buf().await.ok()?;
                        say(stream, "this is no handshake").await?;
                        return None;
                    }
                    return Some(Next::Tls);
                }
                "MAIL" => {
                    mail.clone_from(&line);
                    say(stream, self.script.mail.as_deref().unwrap_or("250 2.1.0 Ok")).await?;
                }
                "RCPT" => {
                    let reply = match self.script.mail {
                        Some(_) => "503 5.5.1 need MAIL".to_owned(),
                        None => (self.script.rcpt)(&line),
                    };
                    if reply.starts_with('2') {
                        rcpts.push(line);
                    }
                    say(stream, &reply).await?;
                    if reply.starts_with("421") {
                        return None;
                    }
                }
                "DATA" if rcpts.is_empty() => say(stream, "554 5.5.1 no valid recipients").await?,
                "DATA" => {
                    let (mail, rcpts) = (std::mem::take(&mut mail), std::mem::take(&mut rcpts));
                    self.data(stream, mail, rcpts).await?;
                }
                "QUIT" => {
                    say(stream, "221 2.0.0 Bye").await?;
                    return None;
                }
                _ => say(stream, "250 2.0.0 Ok").await?,
            }
        }
    }

    async fn hello<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> Option<()> {
        let mut lines = vec!["sink.test".to_owned()];
        lines.extend(self.script.extensions.clone());
        if self.script.tls.is_some() && !self.tls {
            lines.push("STARTTLS".to_owned());
        }
        let last = lines.len() - 1;
        for (n, text) in lines.iter().enumerate() {
            say(stream, &format!("250{}{text}", if n == last { ' ' } else { '-' })).await?;
        }
        Some(())
    }

    async fn data<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufReader<S>,
        mail: String,
        rcpts: Vec<String>,
    ) -> Option<()> {
        say(stream, "354 go on").await?;
        let body = body(stream).await?;
        let replies: Vec<String> = match self.lmtp {
            true => rcpts.iter().map(|rcpt| (self.script.end)(rcpt)).collect(),
            false => vec![(self.script.end)("")],
        };
        let _ = self.sent.send(Received {
            mail,
            rcpts,
            body,
            tls: self.tls,
        });
        if self.script.stall == Some(".") {
            std::future::pending::<()>().await;
        }
        for reply in replies {
            if reply.is_empty() {
                return None;
            }
            say(stream, &reply).await?;
        }
        Some(())
    }
}

async fn line<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let n = stream.read_until(b'\n', &mut line).await.ok()?;
    (n > 0).then_some(line)
}

async fn body<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = line(stream).await?;
        assert!(line.ends_with(b"\r\n"), "a line without CRLF");
        if line == b".\r\n" {
            return Some(body);
        }
        body.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) -> Option<()> {
    stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
