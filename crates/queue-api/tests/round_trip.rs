//! Client and server over real sockets.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail_types::{MailId, ReversePath};
use queue_api::client::{HintClient, QueueClient};
use queue_api::server::{Hints, Queue, serve_hints, serve_queue};
use queue_api::{
    FinishedRecipient, Flush, QueueError, QueuedMessage, QueuedRecipient, Selection, ShownMessage, Status,
};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

fn id(n: u64) -> MailId {
    MailId::new(n, u128::from(n))
}

fn message(n: u64) -> QueuedMessage {
    QueuedMessage {
        id: id(n),
        status: [Status::Incoming, Status::Active, Status::Deferred, Status::Held][n as usize % 4],
        arrival_ms: n,
        size: 317,
        sender: if n == 0 {
            ReversePath::Null
        } else {
            "a@b.test".parse().unwrap()
        },
        recipients: vec![QueuedRecipient {
            index: 3,
            address: "u@there.test".to_owned(),
            original: "list@here.test".to_owned(),
            reason: "451 4.3.0 later".to_owned(),
            attempts: 2,
            next_attempt: (n > 0).then_some(Duration::from_millis(1500)),
            active: n == 0,
        }],
        parent: (n > 0).then(|| id(99)),
    }
}

/// Answers with what it was asked.
#[derive(Default)]
struct Fake {
    calls: Mutex<Vec<String>>,
    arrived: Option<mpsc::UnboundedSender<MailId>>,
}

impl Fake {
    fn note(&self, what: String) -> Result<Vec<MailId>, QueueError> {
        self.calls.lock().unwrap().push(what);
        Ok(vec![id(1), id(2)])
    }
}

impl Hints for Fake {
    fn arrived(&self, id: MailId) {
        let _ = self.arrived.as_ref().unwrap().send(id);
    }
}

impl Queue for Fake {
    async fn list(&self, out: mpsc::Sender<QueuedMessage>) {
        for n in 0..200 {
            if out.send(message(n)).await.is_err() {
                return;
            }
        }
    }
    async fn show(&self, wanted: MailId) -> Result<ShownMessage, QueueError> {
        if wanted != id(7) {
            return Err(QueueError::NotFound(wanted));
        }
        Ok(ShownMessage {
            message: message(7),
            header: b"Subject: \xff\r\n".to_vec(),
            finished: vec![FinishedRecipient {
                index: 1,
                address: "x@y.test".to_owned(),
                outcome: "failed".to_owned(),
                reply: "550 no".to_owned(),
            }],
        })
    }
    async fn flush(&self, flush: Flush) -> Result<Vec<MailId>, QueueError> {
        self.note(format!("{flush:?}"))
    }
    async fn hold(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.note(format!("hold {which:?}"))
    }
    async fn release(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.note(format!("release {which:?}"))
    }
    async fn requeue(&self, which: Selection) -> Result<Vec<MailId>, QueueError> {
        self.note(format!("requeue {which:?}"))
    }
    async fn delete(&self, _: Selection) -> Result<Vec<MailId>, QueueError> {
        Err(QueueError::Unavailable("the spool is read-only".to_owned()))
    }
}

fn socket(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("sock")
}

#[tokio::test]
async fn administration() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Arc::new(Fake::default());
    let listener = UnixListener::bind(socket(&dir)).unwrap();
    tokio::spawn(serve_queue(listener, Arc::clone(&fake), std::future::pending()));
    let client = QueueClient::connect(socket(&dir));

    let mut list = client.list().await.unwrap();
    let mut n = 0;
    while let Some(got) = list.next().await.unwrap() {
        assert_eq!(got, message(n));
        n += 1;
    }
    assert_eq!(n, 200);
    assert_eq!(client.show(id(7)).await.unwrap().header, b"Subject: \xff\r\n");
    assert_eq!(client.show(id(8)).await, Err(QueueError::NotFound(id(8))));
    assert_eq!(client.flush(&Flush::All).await.unwrap(), [id(1), id(2)]);
    client.flush(&Flush::Message(id(3))).await.unwrap();
    client
        .flush(&Flush::Domain("dead.test".parse().unwrap()))
        .await
        .unwrap();
    client.hold(&Selection::All).await.unwrap();
    client.release(&Selection::Ids(vec![id(1)])).await.unwrap();
    client.requeue(&Selection::Ids(vec![])).await.unwrap();
    let failed = client.delete(&Selection::All).await.unwrap_err();
    assert!(failed.to_string().contains("read-only"), "{failed}");
    let expected = [
        "All".to_owned(),
        format!("Message({})", id(3)),
        "Domain(\"dead.test\")".to_owned(),
        "hold All".to_owned(),
        format!("release Ids([{}])", id(1)),
        "requeue Ids([])".to_owned(),
    ];
    assert_eq!(*fake.calls.lock().unwrap(), expected);
}

#[tokio::test]
async fn nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let error = QueueClient::connect(socket(&dir))
        .hold(&Selection::All)
        .await
        .unwrap_err();
    assert!(matches!(error, QueueError::Unavailable(_)));
}

#[tokio::test]
async fn hints_arrive_and_come_through_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let hints = HintClient::start(socket(&dir));
    // Nobody is there: lost, and nobody waits.
    hints.arrived(id(0));
    for round in 1..=2 {
        let _ = std::fs::remove_file(socket(&dir));
        let listener = UnixListener::bind(socket(&dir)).unwrap();
        let (arrived, mut seen) = mpsc::unbounded_channel();
        let fake = Arc::new(Fake {
            arrived: Some(arrived),
            ..Fake::default()
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(serve_hints(listener, fake, async {
            let _ = stopped.await;
        }));
        // The first ones may meet the old connection.
        let got = loop {
            hints.arrived(id(round));
            match tokio::time::timeout(Duration::from_millis(100), seen.recv()).await {
                // An earlier hint that waited while nobody listened.
                Ok(Some(got)) if got != id(round) => {}
                Ok(got) => break got,
                Err(_) => {}
            }
        };
        assert_eq!(got, Some(id(round)));
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
