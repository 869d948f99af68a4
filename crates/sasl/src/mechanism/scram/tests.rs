//! The examples of the RFCs, what a client may get wrong, and what a stranger may learn.

use proptest::prelude::*;

use super::*;
use crate::mechanism::{self, Parameters, ScramShape};

/// A client, written for the tests only: the real ones are in tests/tests/mechanisms.rs.
struct Client {
    kind: ScramKind,
    gs2: &'static str,
    data: Vec<u8>,
    login: &'static str,
    password: &'static str,
}

impl Client {
    fn new(login: &'static str, password: &'static str) -> Self {
        Self {
            kind: ScramKind::Sha256,
            gs2: "n,,",
            data: Vec::new(),
            login,
            password,
        }
    }

    fn first(&self) -> Option<Secret> {
        Some(Secret::new(format!("{}n={},r=client", self.gs2, self.login)))
    }

    /// The final message and the server's proof that it expects.
    fn last(&self, server_first: &str) -> (String, String) {
        let part = |name: &str| {
            let part = server_first.split(',').find_map(|part| part.strip_prefix(name));
            part.unwrap().to_owned()
        };
        let salt = BASE64_STANDARD.decode(part("s=")).unwrap();
        let keys = client_keys(self.kind, self.password, part("i=").parse().unwrap(), &salt);
        let binding = BASE64_STANDARD.encode([self.gs2.as_bytes(), &self.data].concat());
        let without_proof = format!("c={binding},r={}", part("r="));
        let signed = format!("n={},r=client,{server_first},{without_proof}", self.login);
        let signature = self.kind.hmac(&self.kind.hash(&keys.0), signed.as_bytes());
        let proof: Vec<u8> = keys.0.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server = BASE64_STANDARD.encode(self.kind.hmac(&keys.1, signed.as_bytes()));
        (
            format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            format!("v={server}"),
        )
    }
}

/// ClientKey and ServerKey, by the book: Hi is PBKDF2.
fn client_keys(kind: ScramKind, password: &str, iterations: u32, salt: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut block = kind.hmac(password.as_bytes(), &[salt, &[0, 0, 0, 1]].concat());
    let mut salted = block.clone();
    for _ in 1..iterations {
        block = kind.hmac(password.as_bytes(), &block);
        salted.iter_mut().zip(&block).for_each(|(a, b)| *a ^= b);
    }
    (
        kind.hmac(&salted, b"Client Key"),
        kind.hmac(&salted, b"Server Key"),
    )
}

fn parameters() -> Parameters {
    Parameters {
        scram: ScramShape {
            iterations: 2,
            derived: true,
        },
        tls_exporter: b"exporter".to_vec(),
        tls_server_end_point: b"end point".to_vec(),
        ..Parameters::example()
    }
}

fn text(step: Step) -> String {
    match step {
        Step::Challenge(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Runs a client through; the verdict.
fn run(name: &str, client: &Client, parameters: Parameters, supply: Supply) -> Step {
    let mut scram = mechanism::find(name).unwrap().start(parameters);
    match scram.step(client.first()) {
        Step::Lookup { login, .. } => assert_eq!(login, client.login),
        other => return other,
    }
    let server_first = text(scram.supply(supply));
    let (last, expected) = client.last(&server_first);
    match scram.step(Some(Secret::new(last))) {
        Step::Challenge(bytes) => assert_eq!(String::from_utf8(bytes).unwrap(), expected),
        other => return other,
    }
    scram.step(Some(Secret::new("")))
}

fn cleartext(password: &str) -> Supply {
    Supply::Cleartext(Secret::new(password))
}

/// A whole exchange of an RFC.
fn example(kind: ScramKind, server_nonce: &str, salt: &str, messages: [&str; 4]) {
    let mut scram = Scram::new(kind, false, Parameters::example());
    server_nonce.clone_into(&mut scram.server_nonce);
    let [first, server_first, last, server_last] = messages;
    let Step::Lookup { login, wants } = scram.step(Some(Secret::new(first))) else {
        panic!()
    };
    assert_eq!((login.as_str(), wants), ("user", Wants::Scram(kind)));
    let salt = BASE64_STANDARD.decode(salt).unwrap();
    let keys = ScramKeys::derive(kind, &Secret::new("pencil"), 4096, salt);
    assert_eq!(text(scram.supply(Supply::Scram(keys))), server_first);
    assert_eq!(text(scram.step(Some(Secret::new(last)))), server_last);
    let verdict = scram.step(Some(Secret::new("")));
    assert_eq!(
        verdict,
        Step::Authenticated {
            login: "user".to_owned()
        }
    );
    assert!(matches!(scram.step(Some(Secret::new(""))), Step::Failed(_)));
}

/// RFC 5802 5.
#[test]
fn rfc_5802() {
    example(
        ScramKind::Sha1,
        "3rfcNHYJY1ZVvWVs7j",
        "QSXCR+Q6sek8bf92",
        [
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ],
    );
}

/// RFC 7677 3.
#[test]
fn rfc_7677() {
    example(
        ScramKind::Sha256,
        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        "W22ZaJ0SNY7soEsUEjb6gQ==",
        [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    );
}

#[test]
fn right_and_wrong() {
    let right = Step::Authenticated {
        login: "u@d.test".to_owned(),
    };
    let client = Client::new("u@d.test", "secret");
    assert_eq!(
        run("SCRAM-SHA-256", &client, parameters(), cleartext("secret")),
        right
    );
    let sha1 = Client {
        kind: ScramKind::Sha1,
        ..Client::new("u@d.test", "secret")
    };
    assert_eq!(
        run("SCRAM-SHA-1", &sha1, parameters(), cleartext("secret")),
        right
    );
    for supply in [cleartext("Secret"), Supply::Missing] {
        let Step::Denied { login, .. } = run("SCRAM-SHA-256", &client, parameters(), supply) else {
            panic!()
        };
        assert_eq!(login.as_deref(), Some("u@d.test"));
    }
    // Keys of the other kind are as good as none.
    let keys = ScramKeys::derive(ScramKind::Sha1, &Secret::new("secret"), 2, vec![1; 16]);
    let step = run("SCRAM-SHA-256", &client, parameters(), Supply::Scram(keys));
    assert!(matches!(step, Step::Denied { .. }));
}

/// robustness.md A22: the flag of the GS2 header against what was offered.
#[test]
fn channel_binding() {
    let with = |gs2: &'static str, data: &[u8]| Client {
        gs2,
        data: data.to_vec(),
        ..Client::new("u@d.test", "secret")
    };
    let mut plus = parameters();
    plus.plus_offered = true;
    let verdict = |name, gs2, data: &[u8], parameters: &Parameters| {
        run(name, &with(gs2, data), parameters.clone(), cleartext("secret"))
    };
    for (name, gs2, data) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", &b"exporter"[..]),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,a=u@d.test,", b"exporter"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", b"end point"),
        ("SCRAM-SHA-256", "n,,", b""),
    ] {
        let step = verdict(name, gs2, data, &plus);
        assert!(
            matches!(step, Step::Authenticated { .. }),
            "{name} {gs2}: {step:?}"
        );
    }
    for (name, gs2, data) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", &b"end point"[..]),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", b""),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,", b"exporter"),
        ("SCRAM-SHA-256-PLUS", "n,,", b""),
        ("SCRAM-SHA-256-PLUS", "y,,", b""),
        ("SCRAM-SHA-256", "p=tls-exporter,,", b"exporter"),
        ("SCRAM-SHA-256", "y,,", b""),
        ("SCRAM-SHA-256", "n,a=boss@d.test,", b""),
        // Nothing but the header is bound without -PLUS.
        ("SCRAM-SHA-256", "n,,", b"exporter"),
    ] {
        let step = verdict(name, gs2, data, &plus);
        assert!(matches!(step, Step::Failed(_)), "{name} {gs2}: {step:?}");
    }
    // A client that has channel binding where we have none.
    let mut without = parameters();
    let step = verdict("SCRAM-SHA-256", "y,,", b"", &without);
    assert!(matches!(step, Step::Authenticated { .. }));
    without.tls_exporter.clear();
    let step = verdict("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", b"", &without);
    assert!(matches!(step, Step::Failed(_)));
}

/// robustness.md A22: nonces and messages of another exchange, and changed ones.
#[test]
fn replays_and_changes() {
    let client = Client::new("u@d.test", "secret");
    let open = |random| {
        let mut scram = Scram::new(
            ScramKind::Sha256,
            false,
            Parameters {
                random,
                ..parameters()
            },
        );
        scram.step(client.first());
        let first = text(scram.supply(cleartext("secret")));
        (scram, first)
    };
    let (_, old) = open([1; 32]);
    let (mut scram, first) = open([2; 32]);
    assert_ne!(old, first);
    let step = scram.step(Some(Secret::new(client.last(&old).0)));
    assert_eq!(step, Step::Failed("the nonce is not ours"));
    let (mut scram, first) = open([2; 32]);
    let longer = client.last(&first).0.replace(",p=", "x,p=");
    assert!(matches!(scram.step(Some(Secret::new(longer))), Step::Failed(_)));
    // Another iteration count (the client's own idea of it) gives another proof.
    let (mut scram, first) = open([2; 32]);
    let cheaper = client.last(&first.replace("i=2", "i=1")).0;
    assert!(matches!(
        scram.step(Some(Secret::new(cheaper))),
        Step::Denied { .. }
    ));
    // The proof is not enough: something follows.
    let (mut scram, first) = open([2; 32]);
    text(scram.step(Some(Secret::new(client.last(&first).0))));
    assert!(matches!(scram.step(Some(Secret::new("x"))), Step::Failed(_)));
}

/// Whether somebody exists does not show: same salt each time, same count, another one for another name.
#[test]
fn decoys_look_real() {
    let first = |login: &'static str, supply, derived| {
        let mut parameters = parameters();
        parameters.scram.derived = derived;
        let mut scram = Scram::new(ScramKind::Sha256, false, parameters);
        scram.step(Client::new(login, "x").first());
        text(scram.supply(supply))
    };
    let nobody = first("nobody@d.test", Supply::Missing, true);
    assert_eq!(nobody, first("nobody@d.test", Supply::Missing, true));
    assert_eq!(nobody, first("Nobody@D.test", Supply::Missing, false));
    assert_ne!(nobody, first("none@d.test", Supply::Missing, true));
    // The same account without and with a password in clear: nothing changes.
    assert_eq!(nobody, first("nobody@d.test", cleartext("secret"), true));
}

#[test]
fn names_are_prepared() {
    let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
    let step = scram.step(Some(Secret::new("n,,n=u\u{ad}ser@d.test,r=client")));
    assert!(matches!(step, Step::Lookup { login, .. } if login == "user@d.test"));
    for bad in ["n,,n=u\u{7}@d.test,r=client", "n,,n=\u{e000}@d.test,r=client"] {
        let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
        assert!(
            matches!(scram.step(Some(Secret::new(bad))), Step::Failed(_)),
            "{bad:?}"
        );
    }
}

#[test]
fn order() {
    let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
    assert_eq!(scram.step(None), Step::Challenge(Vec::new()));
    assert!(matches!(scram.supply(Supply::Missing), Step::Failed(_)));
    let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
    scram.step(Client::new("u", "x").first());
    // The keys were asked for, nobody gave them.
    assert!(matches!(scram.step(Some(Secret::new(""))), Step::Failed(_)));
    let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
    assert!(matches!(
        scram.step(Some(Secret::new(vec![b'x'; 12_289]))),
        Step::Failed(_)
    ));
}

proptest! {
    #[test]
    fn no_response_lets_anybody_in(first in "[ny],,n=[a-z=,]{0,9},r=.{0,9}", last in any::<Vec<u8>>()) {
        let mut scram = Scram::new(ScramKind::Sha256, false, parameters());
        if let Step::Lookup { .. } = scram.step(Some(Secret::new(first))) {
            text(scram.supply(cleartext("secret")));
            let step = scram.step(Some(Secret::new(last)));
            prop_assert!(matches!(step, Step::Failed(_)), "{:?}", step);
        }
    }
}
