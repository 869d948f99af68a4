//! The example of the RFC, character sets, and what a client may get wrong.

use super::*;

const NONCE: &str = "OA6MG9tEQGm2hh";
const RESPONSE: &str = "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",\
    nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",\
    digest-uri=\"imap/elwood.innosoft.com\",response=d388dad90d4bbd760a152321f2143af7,qop=auth";

fn begin() -> DigestMd5 {
    let mut digest = DigestMd5::new(Parameters {
        hostname: "elwood.innosoft.com".to_owned(),
        ..Parameters::example()
    });
    NONCE.clone_into(&mut digest.nonce);
    let expected = "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",\
        algorithm=md5-sess,charset=utf-8";
    assert_eq!(digest.step(None), Step::Challenge(expected.as_bytes().to_vec()));
    digest
}

fn run(response: impl Into<Vec<u8>>, supply: Supply) -> Step {
    let mut digest = begin();
    match digest.step(Some(Secret::new(response))) {
        Step::Lookup { .. } => {}
        other => return other,
    }
    match digest.supply(supply) {
        Step::Challenge(proof) => assert!(proof.starts_with(b"rspauth=")),
        other => return other,
    }
    digest.step(Some(Secret::new("")))
}

fn secret() -> Supply {
    Supply::Cleartext(Secret::new("secret"))
}

/// RFC 2831 4.
#[test]
fn rfc_2831() {
    let mut digest = begin();
    let Step::Lookup { login, wants } = digest.step(Some(Secret::new(RESPONSE))) else {
        panic!()
    };
    assert_eq!((login.as_str(), wants), ("chris", Wants::Cleartext));
    let proof = b"rspauth=ea40f60335c427b5527b84dbabcdfffd".to_vec();
    assert_eq!(digest.supply(secret()), Step::Challenge(proof));
    let step = digest.step(Some(Secret::new("")));
    assert_eq!(
        step,
        Step::Authenticated {
            login: "chris".to_owned()
        }
    );
    assert!(matches!(digest.step(Some(Secret::new(""))), Step::Failed(_)));
}

#[test]
fn wrong_passwords() {
    for supply in [Supply::Cleartext(Secret::new("Secret")), Supply::Missing] {
        assert!(matches!(
            run(RESPONSE, supply),
            Step::Denied { login: Some(_), .. }
        ));
    }
    let mut digest = begin();
    assert!(matches!(digest.supply(secret()), Step::Failed(_)));
    let mut digest = DigestMd5::new(Parameters::example());
    assert_eq!(digest.step(Some(Secret::new(RESPONSE))), Step::ServerFirst);
}

/// One thing changed at a time; what is part of the digest is denied, the rest fails before the lookup.
#[test]
fn changed_responses() {
    for (from, to) in [
        ("nc=00000001", "nc=00000002"),
        ("nonce=\"OA6MG9tEQGm2hh\"", "nonce=\"OA6MG9tEQGm2hx\""),
        ("qop=auth", "qop=auth-int"),
        ("imap/", "smtp/"),
        ("imap/elwood.innosoft.com", "imap"),
        ("charset=utf-8", "charset=utf-7"),
        ("username=\"chris\"", "username=\"\""),
        ("username=\"chris\",", ""),
        ("cnonce=\"OA6MHXh6VqTrRk\"", "cnonce=\"\""),
        ("response=d3", "response=x3"),
        ("response=d3", "response="),
        ("qop=auth", "qop=auth,authzid=\"boss\""),
        ("qop=auth", "qop=auth,qop=auth"),
    ] {
        assert!(RESPONSE.contains(from));
        let step = run(RESPONSE.replacen(from, to, 1), secret());
        assert!(matches!(step, Step::Failed(_)), "{to}: {step:?}");
    }
    for (from, to) in [
        ("\"chris\"", "\"Chris\""),
        ("cnonce=\"O", "cnonce=\"P"),
        ("response=d3", "response=d4"),
        ("imap/elwood", "imap/other"),
        ("qop=auth", "qop=auth,authzid=\"chris\""),
    ] {
        let step = run(RESPONSE.replacen(from, to, 1), secret());
        assert!(matches!(step, Step::Denied { .. }), "{to}: {step:?}");
    }
    // qop may be left out, unknown directives are ignored.
    let step = run(RESPONSE.replace(",qop=auth", ",maxbuf=65536,x=y"), secret());
    assert!(matches!(step, Step::Authenticated { .. }));
}

/// A response with its digest computed by the book.
fn answer(username: &[u8], hashed: [&[u8]; 3], charset: &str) -> Vec<u8> {
    let secret: [u8; 16] = Md5::digest(hashed.join(&b':')).into();
    let a1 = hex(&[&secret[..], b":OA6MG9tEQGm2hh:xyz"].concat());
    let a2 = hex(b"AUTHENTICATE:imap/h");
    let digest = hex(format!("{a1}:{NONCE}:00000001:xyz:auth:{a2}").as_bytes());
    let rest = format!("realm=\"r.test\",nonce=\"{NONCE}\",nc=00000001,cnonce=\"xyz\",digest-uri=\"imap/h\"");
    [
        charset.as_bytes(),
        b"username=\"",
        username,
        b"\",",
        rest.as_bytes(),
        b",response=",
        digest.as_bytes(),
    ]
    .concat()
}

/// RFC 2831 2.1.2.1: converted to ISO 8859-1 where possible; and as clients do that convert nothing.
#[test]
fn character_sets() {
    let (utf8, latin1) = ("jürgen".as_bytes(), &b"j\xfcrgen"[..]);
    let (password, password_latin1) = ("päss", &b"p\xe4ss"[..]);
    let cases = [
        answer(utf8, [latin1, b"r.test", password_latin1], "charset=utf-8,"),
        answer(utf8, [utf8, b"r.test", password.as_bytes()], "charset=utf-8,"),
        answer(latin1, [latin1, b"r.test", password_latin1], ""),
    ];
    for response in cases {
        let step = run(response, Supply::Cleartext(Secret::new(password)));
        assert_eq!(
            step,
            Step::Authenticated {
                login: "jürgen@r.test".to_owned()
            }
        );
    }
    // Not in ISO 8859-1: stays.
    let response = answer(utf8, [latin1, b"r.test", "pä€".as_bytes()], "charset=utf-8,");
    let step = run(response, Supply::Cleartext(Secret::new("pä€")));
    assert!(matches!(step, Step::Authenticated { .. }));
    let response = answer(latin1, [latin1, b"r.test", b"x"], "charset=utf-8,");
    assert_eq!(
        run(response, secret()),
        Step::Failed("the login name is not UTF-8")
    );
}

#[test]
fn realms() {
    for (username, login) in [(&b"u@d.test"[..], "u@d.test"), (b"u", "u@r.test")] {
        let response = answer(username, [username, b"r.test", b"secret"], "");
        assert_eq!(
            run(response, secret()),
            Step::Authenticated {
                login: login.to_owned()
            }
        );
    }
}
