//! What is asked of a database, and how often, while its columns are looked for.

use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::watch;

use super::super::{Rows, Statement};
use super::*;

const NEEDED: Needed = Needed {
    of: "the test",
    tables: &[("t", &["k"])],
};

/// Tells its columns when it is let, or that it is away. Takes no key that is not ASCII.
struct Columns {
    asked: AtomicUsize,
    held: watch::Sender<bool>,
    away: AtomicBool,
}

impl Database for Columns {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }
    fn query<'a>(&'a self, _sql: &'a str, args: Vec<Arg>) -> BoxFuture<'a, Result<Rows, DbError>> {
        Box::pin(async move {
            if args
                .iter()
                .any(|arg| matches!(arg, Arg::Text(text) if !text.is_ascii()))
            {
                return Err(DbError::Charset("latin2".into()));
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            // The sender lives as long as we do.
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            if self.away.load(Ordering::SeqCst) {
                return Err(DbError::Away("gone".into()));
            }
            Ok(Rows {
                columns: None,
                rows: vec![vec![
                    Value::Bytes(b"t".to_vec()),
                    Value::Bytes(b"k".to_vec()),
                    Value::Null,
                ]],
            })
        })
    }
    fn transaction(&self, _statements: Vec<Statement>) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async { Ok(()) })
    }
}

fn keyed(held: bool) -> (Arc<Columns>, Keyed) {
    let database = Arc::new(Columns {
        asked: AtomicUsize::new(0),
        held: watch::Sender::new(held),
        away: AtomicBool::new(false),
    });
    let names = TableNames::default();
    let keyed = Keyed::new(database.clone(), names, &NEEDED, Box::new(|_| ()));
    (database, keyed)
}

#[tokio::test]
async fn a_question_that_was_given_up_leaves_the_next_one_to_look_again() {
    let (database, keyed) = keyed(false);
    keyed.schema().await.unwrap();
    keyed.grow_old();
    database.held.send_replace(true);
    assert!(
        keyed.schema().now_or_never().is_none(),
        "it looks again, and waits"
    );
    database.held.send_replace(false);
    keyed.schema().await.unwrap();
    assert_eq!(database.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_key_that_the_column_cannot_hold_is_not_there() {
    const QUESTION: Question = Question::new("t", "k", &[]);
    let (_, keyed) = keyed(false);
    let found = keyed.ask(&QUESTION, "\u{1f600}@d.test", |_| Some(())).await;
    assert_eq!(found, Ok(Found::fresh(None)));
    // Among several nobody can tell which of them it was.
    assert!(keyed.each(&QUESTION, ["a", "\u{1f600}"]).await.is_err());
}

#[tokio::test]
async fn the_first_questions_look_once_together() {
    let (database, keyed) = keyed(true);
    let both = async |away| {
        database.away.store(away, Ordering::SeqCst);
        let release = async { database.held.send_replace(false) };
        let (answers, _) = tokio::join!(join_all((0..9).map(|_| keyed.schema())), release);
        answers.iter().filter(|answer| answer.is_ok()).count()
    };
    assert_eq!(both(true).await, 0);
    assert_eq!(database.asked.load(Ordering::SeqCst), 1);
    database.held.send_replace(true);
    assert_eq!(both(false).await, 9);
    assert_eq!(database.asked.load(Ordering::SeqCst), 2);
}
