//! Servers that are not there; those that are, are in `tests/tests/replica.rs`.

use std::net::TcpListener;
use std::sync::Mutex;

use super::*;

fn settings(hosts: &[String]) -> Settings {
    Settings {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        retry_interval: Duration::from_secs(60),
        user: "u".into(),
        password: None,
        database: "d".into(),
        tls: None,
        pool_size: 2,
        queue_limit: 2,
        connect_timeout: Duration::from_secs(2),
        query_timeout: Duration::from_secs(3),
        total_timeout: Duration::from_secs(4),
    }
}

/// A server at which nothing listens.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn each_server_is_tried_and_named() {
    let (first, second) = (refusing(), refusing());
    let lost = Arc::new(Mutex::new(Vec::new()));
    let heard = lost.clone();
    let changed: Changed = Arc::new(move |host, change| {
        assert!(matches!(change, Change::Lost(_)));
        heard.lock().unwrap().push(host.to_owned());
    });
    let mysql = Mysql::new(
        &settings(&[first.clone(), second.clone(), "unix:/nowhere/sock".into()]),
        &changed,
    );
    let DbError::Away(text) = mysql.select("SELECT 1", vec![]).await.unwrap_err() else {
        panic!("not away");
    };
    let socket = text.find("unix:/nowhere/sock: ").unwrap();
    assert!(socket < text.find(&format!("{first}: ")).unwrap(), "{text}");
    assert!(text.find(&first).unwrap() < text.find(&second).unwrap(), "{text}");
    assert_eq!(
        *lost.lock().unwrap(),
        ["unix:/nowhere/sock".to_owned(), first, second]
    );
    assert!(
        mysql
            .hosts()
            .iter()
            .all(|host| host.away_for.is_some() && host.error.is_some())
    );
}

#[tokio::test]
async fn a_change_at_dead_servers_is_away_not_read_only() {
    let changed: Changed = Arc::new(|_, _| ());
    let mysql = Mysql::new(&settings(&[refusing(), refusing()]), &changed);
    let statement = Statement::new("DELETE FROM x", vec![]);
    assert!(matches!(
        mysql.transaction(vec![statement]).await,
        Err(DbError::Away(_))
    ));
}

/// A server that takes connections and says nothing.
#[tokio::test(start_paused = true)]
async fn who_gives_up_soon_says_nothing_about_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let changed: Changed = Arc::new(|_, _| ());
    let mysql = Mysql::new(&settings(&[host]), &changed);
    let gives_up = async |after| {
        let question = mysql.select("SELECT 1", vec![]);
        timeout(Duration::from_millis(after), question).await.unwrap_err();
        mysql.hosts()[0].away_for.is_some()
    };
    for _ in 0..8 {
        assert!(!gives_up(50).await);
    }
    // Nothing was heard of it for a second, by one question or by several.
    assert!(!gives_up(300).await);
    assert!(gives_up(300).await);
    let other = Mysql::new(&settings(&[listener.local_addr().unwrap().to_string()]), &changed);
    let question = other.select("SELECT 1", vec![]);
    timeout(Duration::from_millis(1000), question).await.unwrap_err();
    assert!(other.hosts()[0].away_for.is_some());
}
