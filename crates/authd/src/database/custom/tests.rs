//! What statements of a site answer, over a SQLite file with a table of keys and values.

use std::sync::Arc;

use config::{Backend as Kind, Config};

use super::{Custom, Statements};
use crate::database::Statement;
use crate::database::sqlite::Sqlite;
use crate::directory::backend::{Backend as _, BackendError};

/// With these questions beside the needed ones.
fn custom(more: &str) -> (Custom, tempfile::TempDir) {
    let text = format!(
        "[authd]\nschema = \"custom\"\n\
         [authd.custom.virtual_mailbox_domains]\nquery = \"SELECT v FROM t WHERE k = '%s'\"\n\
         [authd.custom.virtual_mailbox_maps]\nquery = \"SELECT v FROM t WHERE k = '%s'\"\n\
         [authd.custom.password_query]\nquery = \"SELECT v AS password, k AS username FROM t WHERE k LIKE '%s'\"\n{more}"
    );
    let config = Config::from_toml(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let database = Sqlite::open(&dir.path().join("d"), Some("CREATE TABLE t (k, v)")).unwrap();
    let statements = Statements::new(&config.authd.custom, Kind::Sqlite).unwrap();
    (Custom::new(Arc::new(database), statements), dir)
}

async fn insert(custom: &Custom, rows: &[(&str, Option<&str>)]) {
    let statement = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => Statement::new(
            "INSERT INTO t VALUES (?, ?)",
            vec![(*key).into(), (*value).into()],
        ),
        None => Statement::new("INSERT INTO t VALUES (?, NULL)", vec![(*key).into()]),
    };
    let statements = rows.iter().map(statement).collect();
    custom.database.transaction(statements).await.unwrap();
}

#[tokio::test]
async fn empty_results_are_none_and_several_are_a_list() {
    let more = "[authd.custom.virtual_alias_maps]\nquery = \"SELECT v FROM t WHERE k = '%s' ORDER BY rowid\"\n\
                result_format = \"%s@%D\"\nexpansion_limit = 2\n";
    let (custom, _dir) = custom(more);
    let rows = [
        ("d.test", Some("")),
        ("a@d.test", Some("x")),
        ("a@d.test", None),
        ("a@d.test", Some("y")),
    ];
    insert(&custom, &rows).await;
    // A domain map that selects an empty column makes the domain unknown (TRAP-10).
    assert_eq!(custom.domain("d.test").await.unwrap().row, None);
    let goto = custom.alias("a@d.test").await.unwrap().row.unwrap().goto;
    assert_eq!(goto, "x@d.test,y@d.test");
    insert(&custom, &[("a@d.test", Some("z"))]).await;
    assert!(
        custom.alias("a@d.test").await.is_err(),
        "more than expansion_limit"
    );
    // Where one value is meant, several are trouble and not the first of them.
    assert!(custom.mailbox("a@d.test").await.is_err());
}

#[tokio::test]
async fn only_addresses_of_the_domains_are_asked() {
    let more = "[authd.custom.virtual_alias_maps]\nquery = \"SELECT '%u'\"\ndomain = [\"d.test\"]\n";
    let (custom, _dir) = custom(more);
    assert!(custom.alias("a@d.test").await.unwrap().row.is_some());
    for key in ["a@e.test", "@d.test", "d.test"] {
        assert_eq!(custom.alias(key).await.unwrap().row, None, "{key}");
    }
}

#[tokio::test]
async fn rows_of_other_users_are_not_his() {
    let (custom, _dir) = custom("");
    insert(&custom, &[("d.test", Some("1")), ("ab@d.test", Some("p1"))]).await;
    // LIKE takes the underscore for any character.
    assert!(custom.login("a_@d.test").await.unwrap().row.is_none());
    let row = custom.login("ab@d.test").await.unwrap().row.unwrap();
    assert!(row.domain_active && row.mailbox.active);
    insert(&custom, &[("ab@d.test", Some("p2"))]).await;
    assert!(custom.login("ab@d.test").await.is_err(), "two rows of one user");
}

#[tokio::test]
async fn statements_that_fail_are_trouble() {
    let (custom, _dir) =
        custom("[authd.custom.relocated_maps]\nquery = \"SELECT v FROM nothing WHERE k = '%s'\"\n");
    assert!(custom.relocated("a@d.test").await.is_err());
    // Nobody is a user whose mailbox the mail does not find.
    insert(&custom, &[("d.test", Some("1")), ("A@d.test", Some("p"))]).await;
    let row = custom.login("a@d.test").await.unwrap().row.unwrap();
    assert!(!row.mailbox.active);
}

/// compat.md 3.5: where passwords are in clear, CRAM-MD5 has to be offered.
#[tokio::test]
async fn a_statement_names_its_column_for_cleartext() {
    for (sql, clear) in [
        ("SELECT v AS password FROM t WHERE k = '%s'", false),
        (
            "SELECT v AS unclear, 'clearing' AS password FROM t WHERE k = '%s'",
            false,
        ),
        ("SELECT crypt, Clear FROM t WHERE k = '%s'", true),
        ("SELECT v AS `cleartext` FROM t WHERE k = '%s'", true),
    ] {
        let text = format!(
            "[authd]\nschema = \"custom\"\n\
             [authd.custom.virtual_mailbox_domains]\nquery = \"SELECT 1\"\n\
             [authd.custom.virtual_mailbox_maps]\nquery = \"SELECT 1\"\n\
             [authd.custom.password_query]\nquery = \"{sql}\"\n"
        );
        let config = Config::from_toml(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let database = Sqlite::open(&dir.path().join("d"), None).unwrap();
        let statements = Statements::new(&config.authd.custom, Kind::Sqlite).unwrap();
        let custom = Custom::new(Arc::new(database), statements);
        assert_eq!(custom.questions().await.unwrap().clear_column, clear, "{sql}");
    }
}

#[tokio::test]
async fn owners_and_limits_of_all_mailboxes_of_a_domain() {
    let mut more = String::new();
    for map in ["uid", "gid", "mailbox_limit"] {
        let column = map.trim_start_matches("mailbox_");
        more += &format!(
            "[authd.custom.virtual_{map}_maps]\nquery = \"SELECT v FROM t WHERE k = '{column} %s'\"\n"
        );
    }
    let (custom, _dir) = custom(&more);
    let rows = [
        ("a@d.test", "d/a/"),
        ("b@d.test", "d/b/"),
        ("uid @d.test", "5000"),
        ("gid @d.test", "5001"),
        ("uid b@d.test", "6000"),
        ("limit @d.test", "1000"),
    ];
    insert(&custom, &rows.map(|(key, value)| (key, Some(value)))).await;
    let of = async |key| {
        let row = custom.mailbox(key).await.unwrap().row.unwrap();
        (row.uid, row.gid, row.quota)
    };
    assert_eq!(of("a@d.test").await, (Some(5000), Some(5001), 1000));
    assert_eq!(of("b@d.test").await, (Some(6000), Some(5001), 1000));
}

#[tokio::test]
async fn names_below_a_relay_domain() {
    let more = "[authd.custom.relay_domains]\nquery = \"SELECT v FROM t WHERE k = '%s'\"\n";
    let (custom, _dir) = custom(more);
    insert(&custom, &[("r.test", Some("1"))]).await;
    for (name, relays) in [
        ("r.test", true),
        ("a.b.c.d.e.f.r.test", true),
        ("other.test", false),
    ] {
        assert_eq!(custom.domain(name).await.unwrap().row.is_some(), relays, "{name}");
    }
    let long = format!("{}r.test", "a.".repeat(120));
    assert!(custom.domain(&long).await.unwrap().row.is_some());
}

#[tokio::test]
async fn logins_of_several() {
    let (custom, _dir) = custom("");
    let rows = [
        ("d.test", "1"),
        ("a@d.test", "p"),
        ("b@e.test", "p"),
        ("two@d.test", "p"),
        ("two@d.test", "q"),
    ];
    insert(&custom, &rows.map(|(key, value)| (key, Some(value)))).await;
    let names = ["a@d.test", "no@d.test", "two@d.test", "b@e.test"].map(str::to_owned);
    let rows = custom.logins(&names).await.unwrap();
    assert!(rows[0].as_ref().unwrap().row.as_ref().unwrap().domain_active);
    assert!(rows[1].as_ref().unwrap().row.is_none());
    assert!(matches!(rows[2], Err(BackendError::Odd(_))));
    assert!(!rows[3].as_ref().unwrap().row.as_ref().unwrap().domain_active);
}
