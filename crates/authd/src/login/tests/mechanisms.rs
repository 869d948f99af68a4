//! Which mechanisms are offered, and what they rest on.

use auth_api::sasl::MechanismOffer;
use auth_api::server::Admin as _;
use mail_types::Address;
use sasl::password::CramContexts;

use super::*;
use crate::admin::AdminService;

async fn offered(bench: &Bench, context: LoginContext) -> Vec<String> {
    bench.logins.mechanisms(context).await.unwrap()
}

fn bound() -> LoginContext {
    let mut context = context();
    if let Some(tls) = &mut context.tls {
        tls.tls_exporter = vec![1; 32];
    }
    context
}

fn in_the_clear() -> LoginContext {
    LoginContext {
        tls: None,
        ..context()
    }
}

#[tokio::test]
async fn what_is_offered_depends_on_tls_and_on_what_is_stored() {
    let hashed = Bench::with("{PLAIN}x").await;
    assert_eq!(offered(&hashed, bound()).await, ["PLAIN", "LOGIN"]);
    assert_eq!(offered(&hashed, in_the_clear()).await, Vec::<String>::new());
    let trusted = LoginContext {
        trusted: true,
        ..in_the_clear()
    };
    assert_eq!(offered(&hashed, trusted).await, ["PLAIN", "LOGIN"]);

    let clear = Bench::configured("x", "[authd]\nunmarked_passwords = \"cleartext\"\n").await;
    let names = offered(&clear, bound()).await;
    for name in [
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-1",
        "CRAM-MD5",
        "DIGEST-MD5",
        "PLAIN",
    ] {
        assert!(names.contains(&name.to_owned()), "{name} {names:?}");
    }
    assert!(
        !names
            .iter()
            .any(|name| name == "EXTERNAL" || name.contains("OAUTH") || name == "ANONYMOUS")
    );
    let names = offered(&clear, in_the_clear()).await;
    assert!(names.contains(&"CRAM-MD5".to_owned()) && !names.contains(&"PLAIN".to_owned()));
    assert!(!names.iter().any(|name| name.ends_with("-PLUS")));

    let named = Bench::configured(
        "{PLAIN}x",
        "[authd]\nmechanisms = [\"PLAIN\", \"cram-md5\", \"EXTERNAL\"]\n",
    )
    .await;
    let mut with_certificate = context();
    if let Some(tls) = &mut with_certificate.tls {
        tls.client_names = vec!["u@d.test".into()];
    }
    assert_eq!(offered(&named, context()).await, ["PLAIN", "CRAM-MD5"]);
    let mut names = offered(&named, with_certificate).await;
    names.sort();
    assert_eq!(names, ["CRAM-MD5", "EXTERNAL", "PLAIN"]);
    let keys = Bench::configured("{PLAIN}x", "[authd]\nstore_scram_keys = true\n").await;
    assert!(
        offered(&keys, bound())
            .await
            .contains(&"SCRAM-SHA-256-PLUS".to_owned())
    );
}

/// compat.md 3.5: a column for passwords in clear is enough.
#[tokio::test]
async fn a_clear_column_brings_the_mechanisms_that_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.sqlite");
    let extra = format!(
        "[authd]\nbackend = \"sqlite\"\nschema = \"postfix-tables\"\nsqlite_file = {:?}\n",
        file.display().to_string()
    );
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch(
            "CREATE TABLE postfix_users(email, maildir, quota, uid, gid, postfix, crypt, clear);
             CREATE TABLE postfix_transport(domain, destination);",
        )
        .unwrap();
    let bench = Bench::open(dir, &extra);
    let names = offered(&bench, context()).await;
    for name in ["CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}

/// robustness.md A14: what nobody can tell is not "no such mechanism", which would be a permanent failure.
#[tokio::test]
async fn a_mechanism_that_nobody_can_judge_is_trouble() {
    let begin = async |bench: &Bench, name: &str| bench.logins.begin(context(), name).step(None).await;
    // The columns were never seen: whether passwords are in clear (PostfixAdmin 2.x) is not known.
    let bench = Bench::with("{PLAIN}secret").await;
    bench.sql("ALTER TABLE mailbox RENAME TO gone").await;
    let names = offered(&bench, context()).await;
    for name in ["CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"] {
        assert!(is_trouble(&begin(&bench, name).await), "{name}");
        assert!(names.contains(&name.to_owned()), "{name} {names:?}");
    }
    assert!(is_denied(&begin(&bench, "OAUTHBEARER").await));
    bench.sql("ALTER TABLE gone RENAME TO mailbox").await;
    assert!(is_denied(&begin(&bench, "CRAM-MD5").await));

    // Whether anybody has keys is not known, and PLAIN works without.
    bench.state.close();
    assert!(is_trouble(&begin(&bench, "SCRAM-SHA-256").await));
    assert_eq!(offered(&bench, context()).await, ["PLAIN", "LOGIN"]);
    assert!(is_granted(&bench.login("u@d.test", "secret").await));
}

async fn cram(bench: &Bench, login: &str, password: &str) -> LoginStep {
    let mut exchange = bench.logins.begin(context(), "CRAM-MD5");
    let LoginStep::Challenge(challenge) = exchange.step(None).await else {
        panic!()
    };
    let digest = CramContexts::of(password.as_bytes()).hmac(&challenge).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    exchange.step(Some(Secret::new(format!("{login} {hex}")))).await
}

#[tokio::test]
async fn an_initial_response_where_the_server_speaks_first_is_no_guess() {
    let bench = Bench::configured(
        "{PLAIN}secret",
        "[authd]\nmechanisms = [\"CRAM-MD5\", \"DIGEST-MD5\"]\n",
    )
    .await;
    for mechanism in ["CRAM-MD5", "DIGEST-MD5"] {
        let mut exchange = bench.logins.begin(context(), mechanism);
        let step = exchange.step(Some(Secret::new("u@d.test 00"))).await;
        let LoginStep::Denied {
            delay,
            no_mechanism: false,
            malformed: true,
            ..
        } = step
        else {
            panic!("{step:?}")
        };
        assert!(delay.is_zero());
    }
    assert_eq!(bench.logins.failures(10).await.unwrap(), []);
}

#[tokio::test]
async fn cram_md5_needs_a_password_in_clear() {
    let bench = Bench::configured("{PLAIN}secret", "[authd]\nmechanisms = [\"CRAM-MD5\"]\n").await;
    assert!(is_granted(&cram(&bench, "u@d.test", "secret").await));
    assert!(is_denied(&cram(&bench, "u@d.test", "wrong").await));
    assert!(is_denied(&cram(&bench, "nobody@d.test", "secret").await));
    // Counted like any failure.
    assert_eq!(bench.logins.failures(10).await.unwrap().len(), 4);
    bench.sql("UPDATE mailbox SET smtp_active = 0").await;
    assert!(is_denied(&cram(&bench, "u@d.test", "secret").await));
    bench
        .sql("UPDATE mailbox SET smtp_active = 1, password = '$1$ab$.ThsTrbyIbEahEdE8LNwj1'")
        .await;
    assert!(is_denied(&cram(&bench, "u@d.test", "correct horse").await));
    bench.sql("ALTER TABLE mailbox RENAME TO gone").await;
    assert!(is_trouble(&cram(&bench, "u@d.test", "secret").await));
    let usage = bench.logins.mechanism_usage().await.unwrap();
    assert_eq!(
        (usage.len(), usage[0].mechanism.as_str(), usage[0].count),
        (1, "CRAM-MD5", 1)
    );
}

#[tokio::test]
async fn a_certificate_names_the_mailbox() {
    let bench = Bench::with("{PLAIN}secret").await;
    let mut context = context();
    if let Some(tls) = &mut context.tls {
        tls.client_names = vec!["u@d.test".into()];
    }
    let login = async |authzid: &str| {
        let mut exchange = bench.logins.begin(context.clone(), "EXTERNAL");
        exchange.step(Some(Secret::new(authzid))).await
    };
    assert!(is_granted(&login("u@d.test").await));
    assert!(is_granted(&login("").await));
    assert!(is_denied(&login("v@d.test").await));
    bench.sql("UPDATE mailbox SET active = 0").await;
    assert!(is_denied(&login("u@d.test").await));
}

/// A refused token is counted and told at once: the client need not answer the challenge that says why.
#[tokio::test]
async fn a_refused_token_leaves_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("set.json");
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    std::fs::write(&keys, set).unwrap();
    let extra = format!(
        "[authd.oauth]\nkeys = [{:?}]\nissuer = \"https://id.test\"\naudience = \"mail\"\n",
        keys.display().to_string()
    );
    let bench = Bench::open(dir, &extra);
    let mut exchange = bench.logins.begin(context(), "XOAUTH2");
    let message = "user=U@d.test\x01auth=Bearer a.b.c\x01\x01";
    let step = exchange.step(Some(Secret::new(message))).await;
    assert!(matches!(step, LoginStep::Challenge(_)), "{step:?}");
    let count = async || {
        let failures = bench.logins.failures(10).await.unwrap();
        assert!(failures.iter().all(|one| one.count == 1), "{failures:?}");
        let denied = bench.log().matches("LoginDenied").count();
        let accounts: Vec<String> = failures.into_iter().filter_map(|one| one.account).collect();
        (accounts, denied)
    };
    let once = (vec!["u@d.test".to_owned(); 2], 1);
    assert_eq!(count().await, once);
    assert!(is_denied(&exchange.step(Some(Secret::new("\x01"))).await));
    assert_eq!(count().await, once);
    // A login that is no address may be a secret in the wrong field.
    let mut exchange = bench.logins.begin(context(), "XOAUTH2");
    exchange
        .step(Some(Secret::new("user=my-secret\x01auth=Bearer a.b.c\x01\x01")))
        .await;
    assert!(!bench.log().contains("my-secret"));
}

/// Waits until an event of this kind was told.
async fn told(bench: &Bench, kind: &str) {
    while !bench.log().contains(kind) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_for_scram_are_kept_at_a_login_and_void_with_the_next_password() {
    let bench = Bench::configured(
        "$1$ab$.ThsTrbyIbEahEdE8LNwj1",
        "[authd]\nstore_scram_keys = true\n",
    )
    .await;
    let verdict = async |name: &str| {
        let query = LoginQuery {
            context: bound(),
            login: "u@d.test".into(),
            mechanism: name.into(),
            password: None,
        };
        let explanation = bench.logins.explain(query).await.unwrap();
        (explanation.possible, explanation.verdict)
    };
    assert!(!verdict("SCRAM-SHA-256").await.0);
    assert!(is_denied(&bench.login("u@d.test", "wrong").await));
    assert!(is_granted(&bench.login("u@d.test", "correct horse").await));
    told(&bench, "ScramKeysStored").await;
    for name in ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"] {
        let (possible, text) = verdict(name).await;
        assert!(possible && text.contains("kept at an earlier login"), "{text}");
    }
    assert!(bench.logins.mechanism_usage().await.unwrap()[0].scram_keys);
    bench
        .sql("UPDATE mailbox SET password = '$1$ab$ThsTrbyIbEahEdE8LNwj1.'")
        .await;
    assert!(!verdict("SCRAM-SHA-256").await.0);
}

/// Who logs in by SCRAM alone is not shut out by a change of his password.
#[tokio::test]
async fn a_new_password_comes_with_keys_for_scram() {
    let bench = Bench::configured(
        "$1$ab$.ThsTrbyIbEahEdE8LNwj1",
        "[authd]\nstore_scram_keys = true\n",
    )
    .await;
    let hashing = bench.logins.shared.hashing.clone();
    let (log, _) = Log::memory("authd");
    let admin = AdminService::new(bench.sites.clone(), hashing, log).with_logins(bench.logins.clone());
    let address = Address::parse("U@d.test").unwrap();
    admin
        .set_password(address, Secret::new("new-secret-42"))
        .await
        .unwrap();
    assert!(bench.log().contains("ScramKeysStored"));
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let query = LoginQuery {
            context: context(),
            login: "u@d.test".into(),
            mechanism: mechanism.into(),
            password: None,
        };
        let explanation = bench.logins.explain(query).await.unwrap();
        assert!(explanation.possible, "{explanation:?}");
    }
}

/// Who has keys and who has none is not told by a wait for the processors.
#[tokio::test]
async fn the_first_message_of_scram_waits_for_nobody() {
    let bench = Bench::configured(
        "$1$ab$.ThsTrbyIbEahEdE8LNwj1",
        "[authd]\nstore_scram_keys = true\n",
    )
    .await;
    assert!(is_granted(&bench.login("u@d.test", "correct horse").await));
    told(&bench, "ScramKeysStored").await;
    let begin = async |login: &str| {
        let mut exchange = bench.logins.begin(context(), "SCRAM-SHA-256");
        let first = Secret::new(format!("n,,n={login},r=nonce"));
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange.step(Some(first))).await;
        answer.expect("it waits for a processor")
    };
    // Once it is known how keys look here; then all processors are taken, for ever.
    assert!(matches!(begin("u@d.test").await, LoginStep::Challenge(_)));
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(std::sync::Mutex::new(blocked));
    for _ in 0..std::thread::available_parallelism().unwrap().get() {
        let (hashing, blocked) = (bench.logins.shared.hashing.clone(), blocked.clone());
        tokio::spawn(async move { hashing.run(move || blocked.lock().unwrap().recv().is_ok()).await });
    }
    tokio::task::yield_now().await;
    for login in ["u@d.test", "nobody@d.test"] {
        assert!(matches!(begin(login).await, LoginStep::Challenge(_)), "{login}");
    }
    // And with the state unreadable it is trouble for both.
    bench.state.close();
    for login in ["u@d.test", "nobody@d.test"] {
        assert!(is_trouble(&begin(login).await), "{login}");
    }
    drop(release);
}

#[tokio::test]
async fn a_weaker_hash_is_replaced_at_a_login_and_no_session_ends_for_it() {
    let bench = Bench::configured("$1$ab$.ThsTrbyIbEahEdE8LNwj1", "[authd]\nrehash = \"bcrypt\"\n").await;
    let LoginStep::Success(before) = bench.login("u@d.test", "correct horse").await else {
        panic!()
    };
    told(&bench, "PasswordRehashed").await;
    let log = bench.log();
    assert!(
        log.contains("before: \"MD5-CRYPT\"") && log.contains("after: \"BLF-CRYPT\""),
        "{log}"
    );
    let LoginStep::Success(after) = bench.login("u@d.test", "correct horse").await else {
        panic!()
    };
    assert_ne!(before.revision, after.revision);
    let sessions = vec![
        (before.address.clone(), before.revision),
        (after.address, after.revision),
    ];
    let validities = bench
        .logins
        .still_valid(Role::Imapd, sessions.clone())
        .await
        .unwrap();
    assert_eq!(validities, [Validity::Valid, Validity::Valid]);
    // A change in the panel ends both.
    bench.sql("UPDATE mailbox SET password = '{PLAIN}new'").await;
    let validities = bench.logins.still_valid(Role::Imapd, sessions).await.unwrap();
    assert!(validities.iter().all(|validity| *validity != Validity::Valid));
}

/// The site may call its tables otherwise; and a change in the panel wins over ours.
#[tokio::test]
async fn the_hash_is_replaced_in_the_tables_of_the_site() {
    let extra = "[authd]\nrehash = \"bcrypt\"\n[authd.postfixadmin]\ndatabase_prefix = \"pa_\"\n";
    let bench = Bench::open(tempfile::tempdir().unwrap(), extra);
    for sql in [
        "INSERT INTO pa_domain(domain, description, transport) VALUES ('d.test', '', 'virtual')",
        "INSERT INTO pa_mailbox(username, password, name, maildir, local_part, domain) \
         VALUES ('u@d.test', '$1$ab$.ThsTrbyIbEahEdE8LNwj1', 'U', 'd.test/u/', 'u', 'd.test')",
    ] {
        bench.sql(sql).await;
    }
    assert!(is_granted(&bench.login("u@d.test", "correct horse").await));
    told(&bench, "PasswordRehashed").await;
    assert!(is_granted(&bench.login("u@d.test", "correct horse").await));
    assert!(bench.log().contains("BLF-CRYPT"));
}

#[tokio::test]
async fn the_explanation_names_each_row_and_never_a_hash() {
    let bench = Bench::with("$1$ab$.ThsTrbyIbEahEdE8LNwj1").await;
    bench.login("u@d.test", "wrong").await;
    let ask = async |login: &str, mechanism: &str, password: Option<&str>| {
        let query = LoginQuery {
            context: context(),
            login: login.into(),
            mechanism: mechanism.into(),
            password: password.map(Secret::new),
        };
        bench.logins.explain(query).await.unwrap()
    };
    let good = ask("U@d.test", "PLAIN", Some("correct horse")).await;
    assert!(good.possible, "{good:?}");
    assert_eq!(good.tried.as_deref(), Some("granted: u@d.test"));
    let text = format!("{good:?}");
    for words in [
        "MD5-CRYPT",
        "throttling",
        "database",
        "mailbox.username = u@d.test",
        "known networks",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        !text.contains("$1$") && !text.contains("ThsTrb") && !text.contains("correct horse"),
        "{text}"
    );
    let failures = bench.logins.failures(10).await.unwrap().len();
    let wrong = ask("u@d.test", "PLAIN", Some("x")).await;
    assert_eq!(wrong.tried.as_deref(), Some("denied: wrong password"));
    assert_eq!(
        bench.logins.failures(10).await.unwrap().len(),
        failures,
        "an operator's try is no failure"
    );
    for (login, mechanism, words) in [
        ("x@d.test", "PLAIN", "no such mailbox"),
        ("u", "PLAIN", "default_realm"),
        ("u@d.test", "CRAM-MD5", "not stored in clear"),
        ("u@d.test", "NTLM", "no such mechanism"),
    ] {
        let answer = ask(login, mechanism, None).await;
        assert!(!answer.possible && answer.verdict.contains(words), "{answer:?}");
    }
    let offer = |name: &str| -> MechanismOffer {
        good.mechanisms
            .iter()
            .find(|offer| offer.name == name)
            .cloned()
            .unwrap()
    };
    assert!(offer("PLAIN").offered && !offer("SCRAM-SHA-256-PLUS").offered);
    bench.sql("UPDATE mailbox SET active = 0").await;
    assert!(
        ask("u@d.test", "PLAIN", None)
            .await
            .verdict
            .contains("not active")
    );
}
