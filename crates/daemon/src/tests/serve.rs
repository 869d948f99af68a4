//! The accept loop: limits, refusals, panics, drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Networks};
use events::{Kind, Memory, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::{Connection, Context, Drained, Limits, Peer, Refused, Service, serve};

/// Says hello, then: `p` panics, `h` hangs whatever happens, anything else is echoed; ends at a stop.
struct Echo {
    limits: Limits,
    ctx: Context<()>,
}

impl Service for Echo {
    fn limits(&self) -> Limits {
        self.limits.clone()
    }

    fn refusal(&self, why: Refused, _: &Peer) -> Vec<u8> {
        format!("421 {}\r\n", why.as_str()).into_bytes()
    }

    async fn handle(self: Arc<Self>, mut connection: Connection) {
        let greeting = if connection.load.stressed() {
            "stress"
        } else {
            "hello"
        };
        connection.stream.write_all(greeting.as_bytes()).await.unwrap();
        let mut byte = [0];
        loop {
            tokio::select! {
                () = self.ctx.shutdown.cancelled() => {
                    let _ = connection.stream.write_all(b"bye").await;
                    return;
                }
                read = connection.stream.read(&mut byte) => match (read, byte[0]) {
                    (Ok(0) | Err(_), _) => return,
                    (_, b'p') => panic!("asked to"),
                    (_, b'h') => std::future::pending::<()>().await,
                    _ => connection.stream.write_all(&byte).await.unwrap(),
                },
            }
        }
    }
}

struct Running {
    ctx: Context<()>,
    events: Memory,
    address: SocketAddr,
    task: JoinHandle<Drained>,
}

fn start(limits: Limits, shutdown_timeout: &str) -> Running {
    let text = format!("[general]\nshutdown_timeout = \"{shutdown_timeout}\"\n");
    let (ctx, events) = Context::for_test(Config::from_toml(&text).unwrap(), ());
    let listeners = ctx.listen("echo", &["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let service = Arc::new(Echo {
        limits,
        ctx: ctx.clone(),
    });
    let task = tokio::spawn({
        let ctx = ctx.clone();
        async move { serve(&ctx, listeners, service).await }
    });
    Running {
        ctx,
        events,
        address,
        task,
    }
}

fn limits() -> Limits {
    Limits {
        connections: 100,
        per_client: 100,
        rate: 100,
        exceptions: Networks::default(),
    }
}

impl Running {
    async fn connect(&self) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut greeting = vec![0; 64];
        let length = stream.read(&mut greeting).await.unwrap();
        greeting.truncate(length);
        (stream, String::from_utf8(greeting).unwrap())
    }

    async fn stop(self) -> Drained {
        self.ctx.shutdown.cancel();
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn one_client_has_its_share_and_hears_why_it_has_no_more() {
    let running = start(
        Limits {
            per_client: 2,
            ..limits()
        },
        "5s",
    );
    let (first, _) = running.connect().await;
    let (_second, _) = running.connect().await;
    let (mut third, words) = running.connect().await;
    assert_eq!(words, "421 too many connections of this client\r\n");
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0);
    let refused = |event: &events::Event| matches!(&event.kind, Kind::Process(process::Kind::ConnectionRefused { service, .. }) if service == "echo");
    assert!(running.events.all().iter().any(refused));
    drop(first);
    // The slot comes back when the session has noticed that its client is gone.
    let served = async {
        loop {
            if let (_, words) = running.connect().await
                && words == "hello"
            {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .unwrap();
    assert_eq!(running.stop().await, Drained::default());
}

#[tokio::test]
async fn where_tls_comes_first_nobody_hears_why() {
    let (ctx, _) = Context::for_test(Config::default(), ());
    let listeners = ctx.listen("echos", &["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let listeners = listeners.into_iter().map(crate::Listener::tls_first).collect();
    let service = Arc::new(Echo {
        limits: Limits {
            connections: 0,
            ..limits()
        },
        ctx: ctx.clone(),
    });
    let serving = tokio::spawn({
        let ctx = ctx.clone();
        async move { serve(&ctx, listeners, service).await }
    });
    let mut words = Vec::new();
    TcpStream::connect(address)
        .await
        .unwrap()
        .read_to_end(&mut words)
        .await
        .unwrap();
    assert!(words.is_empty());
    ctx.shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_rate_refuses_and_an_exception_is_exempt() {
    let running = start(Limits { rate: 3, ..limits() }, "5s");
    for expected in [
        "hello",
        "hello",
        "hello",
        "421 too many new connections of this client\r\n",
    ] {
        assert_eq!(running.connect().await.1, expected);
    }
    running.stop().await;

    let exceptions = Networks::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let running = start(
        Limits {
            rate: 3,
            per_client: 1,
            exceptions,
            ..limits()
        },
        "5s",
    );
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(running.connect().await);
    }
    assert!(held.iter().all(|(_, words)| words == "hello"));
    running.stop().await;
}

#[tokio::test]
async fn a_full_service_slows_down_refuses_and_recovers() {
    let running = start(
        Limits {
            connections: 4,
            ..limits()
        },
        "5s",
    );
    let mut held = Vec::new();
    for expected in ["hello", "hello", "stress", "stress"] {
        let (stream, words) = running.connect().await;
        assert_eq!(words, expected);
        held.push(stream);
    }
    assert_eq!(
        running.connect().await.1,
        "421 all connections of the service are in use\r\n"
    );
    held.clear();
    let served = async { while running.connect().await.1 != "hello" {} };
    tokio::time::timeout(Duration::from_secs(10), served)
        .await
        .unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_panic_ends_one_session_and_is_counted() {
    let running = start(limits(), "5s");
    let (mut other, _) = running.connect().await;
    let (mut victim, _) = running.connect().await;
    victim.write_all(b"p").await.unwrap();
    assert_eq!(victim.read(&mut [0]).await.unwrap_or(0), 0);
    other.write_all(b"x").await.unwrap();
    let mut byte = [0];
    other.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"x");
    assert_eq!(running.connect().await.1, "hello");
    let panicked =
        |event: &events::Event| matches!(event.kind, Kind::Process(process::Kind::SessionPanicked { .. }));
    assert!(running.events.all().iter().any(panicked));
    assert_eq!(running.stop().await.panicked, 1);
}

#[tokio::test]
async fn a_stop_closes_the_listener_and_lets_sessions_end() {
    let running = start(limits(), "30s");
    let (mut session, _) = running.connect().await;
    let address = running.address;
    assert_eq!(running.stop().await, Drained::default());
    let mut words = String::new();
    session.read_to_string(&mut words).await.unwrap();
    assert_eq!(words, "bye");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_session_that_does_not_end_is_cut_off_at_the_deadline() {
    let running = start(limits(), "10ms");
    let (mut session, _) = running.connect().await;
    session.write_all(b"h").await.unwrap();
    // Its echo of another byte would come first: so the hang has begun.
    let (mut other, _) = running.connect().await;
    other.write_all(b"x").await.unwrap();
    other.read_exact(&mut [0]).await.unwrap();
    let drained = running.stop().await;
    assert_eq!(drained.aborted, 1);
    assert_eq!(session.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_service_without_listeners_waits_for_the_stop() {
    let (ctx, _) = Context::for_test(Config::default(), ());
    let service = Arc::new(Echo {
        limits: limits(),
        ctx: ctx.clone(),
    });
    let mut serving = Box::pin(serve(&ctx, Vec::new(), service));
    assert!(futures_util::FutureExt::now_or_never(&mut serving).is_none());
    ctx.shutdown.cancel();
    assert_eq!(serving.await, Drained::default());
}
