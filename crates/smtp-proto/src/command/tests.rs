//! Tables of command lines and what they mean.

use mail_types::{Notify, Ret};
use proptest::prelude::*;

use super::*;

const PRIVATE: ParamRules = ParamRules {
    private_mail: &["XID"],
    private_rcpt: &["XIDX", "XREPEAT"],
};

fn code(line: &[u8]) -> String {
    match parse(line, &ParamRules::default()) {
        Ok(command) => format!("{command:?}"),
        Err(error) => error.reply().to_string(),
    }
}

#[test]
fn plain_commands() {
    assert_eq!(
        parse(b"quit ", &ParamRules::default()),
        Ok(Command::Quit),
        "case and trailing blanks do not matter"
    );
    assert_eq!(code(b"DATA x"), "501 5.5.4 Syntax: DATA");
    assert_eq!(code(b"STARTTLS x"), "501 5.5.4 Syntax: STARTTLS");
    assert_eq!(code(b"FOO"), "500 5.5.2 Error: command not recognized");
    assert_eq!(code(b"EXPN x"), "502 5.5.1 Error: command not implemented");
    assert_eq!(code(b""), "500 5.5.2 Error: command not recognized");
}

#[test]
fn bad_paths_are_501() {
    for bad in [
        &b"RCPT TO:<>"[..],
        b"RCPT TO:<@>",
        b"RCPT TO:<a@>",
        b"RCPT TO:<@b.test:c@d.test>",
        b"RCPT TO:u@local.test",
        b"RCPT TO:<a@b",
        b"RCPT TO:<a@b>x",
        b"RCPT TO:<u@.>",
        b"RCPT TO:<v@a.test@local.test>",
        b"RCPT TO:<u@xn--a>",
        b"RCPT TO:<u@xn--\x80>",
        "RCPT TO:<u\u{ff20}local.test>".as_bytes(),
        "RCPT TO:<u@local\u{3002}test>".as_bytes(),
        b"RCPT TO:<v@[127.0.0.1]>",
        b"RCPT TO:<v@127.0.0.1>",
        b"RCPT TO:<v@a.test:25>",
        b"RCPT TO:<\"a\r\nb\"@local.test>",
        b"RCPT TO:<\"a\nb\"@local.test>",
        b"RCPT TO:<\xc3>",
        b"MAIL FROM:<a\0b@a.test>",
        b"MAIL FROM:<\xff\xfe@a.test>",
        b"MAIL FROM:a@a.test",
        b"MAIL FROM:<;id;>",
        b"MAIL TO:<a@a.test>",
        b"MA\0IL FROM:<a@a.test>",
    ] {
        let got = code(bad);
        assert!(
            got.starts_with("501 5."),
            "{:?}: {got}",
            String::from_utf8_lossy(bad)
        );
    }
    assert_eq!(
        code(b"RCPT TO:<\"\"@local.test>"),
        "553 5.1.3 Bad recipient address syntax"
    );
}

#[test]
fn quotes_hide_brackets_and_blanks() {
    let Ok(Command::Rcpt(rcpt)) = parse(br#"RCPT TO:<"a> b"@local.test> NOTIFY=NEVER"#, &PRIVATE) else {
        panic!("refused");
    };
    let RcptPath::Address(address) = rcpt.path else {
        panic!("not an address");
    };
    assert_eq!(address.local(), "a> b");
    assert_eq!(rcpt.params.notify, Some(Notify::NEVER));
    assert_eq!(rcpt.typed, r#""a> b"@local.test"#);
}

#[test]
fn postmaster_needs_no_domain() {
    let Ok(Command::Rcpt(rcpt)) = parse(b"rcpt to:<PostMaster>", &PRIVATE) else {
        panic!("refused");
    };
    assert_eq!(rcpt.path, RcptPath::Postmaster);
}

#[test]
fn addresses_outside_ascii_need_smtputf8() {
    let utf8 = "MAIL FROM:<jörg@a.test>";
    assert_eq!(code(utf8.as_bytes()), "553 5.6.7 Error: address needs SMTPUTF8");
    let line = format!("{utf8} SMTPUTF8");
    assert!(matches!(parse(line.as_bytes(), &PRIVATE), Ok(Command::Mail(_))));
}

#[test]
fn mail_parameters() {
    let line = b"MAIL FROM:<> size=12 BODY=8BITMIME RET=HDRS ENVID=a+2Bb AUTH=<> XID=abc";
    let Ok(Command::Mail(mail)) = parse(line, &PRIVATE) else {
        panic!("refused");
    };
    assert!(mail.path.is_null() && mail.params.eight_bit);
    assert_eq!(mail.params.size, Some(12));
    assert_eq!(mail.params.ret, Some(Ret::Headers));
    assert_eq!(mail.params.envid.as_deref(), Some("a+b"));
    assert_eq!(mail.params.auth.as_deref(), Some(""));
    assert_eq!(mail.params.private("XID"), Some("abc"));
}

#[test]
fn bad_parameters() {
    for (params, reply) in [
        ("SIZE=1 SIZE=2", "501 5.5.4 Bad parameter: SIZE"),
        ("SIZE=-1", "501 5.5.4 Bad message size syntax"),
        (
            "SIZE=99999999999999999999",
            "552 5.3.4 Message size exceeds fixed limit",
        ),
        ("BODY=FOO", "501 5.5.4 Bad parameter: BODY"),
        ("FOO=bar", "555 5.5.4 Unsupported option: FOO"),
        ("XID=a", "555 5.5.4 Unsupported option: XID"),
        ("AUTH=x+0D+0AY:1", "501 5.5.4 Bad parameter: AUTH"),
    ] {
        assert_eq!(
            code(format!("MAIL FROM:<a@a.test> {params}").as_bytes()),
            reply,
            "{params}"
        );
    }
    assert_eq!(
        code(b"RCPT TO:<a@a.test> NOTIFY=NEVER,SUCCESS"),
        "501 5.5.4 Bad parameter: NOTIFY"
    );
}

#[test]
fn greetings_stay_fit_for_a_header() {
    for bad in [
        &b"EHLO"[..],
        b"EHLO a)\t(x",
        b"EHLO a)(x",
        b"EHLO \x1b[2J",
        b"EHLO a b",
    ] {
        assert!(code(bad).starts_with("501 "), "{bad:?}");
    }
    let long = [b"EHLO ".as_slice(), &[b'A'; 1000]].concat();
    assert_eq!(code(&long), "501 5.5.4 Syntax: EHLO hostname");
    for good in [&b"EHLO mx.a.test"[..], b"HELO [127.0.0.1]", b"LHLO [IPv6:::1]"] {
        assert!(matches!(parse(good, &PRIVATE), Ok(Command::Hello(_))), "{good:?}");
    }
}

#[test]
fn auth_lines() {
    assert_eq!(
        parse(b"AUTH plain AHUAcA==", &PRIVATE),
        Ok(Command::Auth(Auth {
            mechanism: "PLAIN".into(),
            initial: Some(Secret::new("\0u\0p")),
        }))
    );
    assert_eq!(
        parse(b"AUTH X =", &PRIVATE),
        Ok(Command::Auth(Auth {
            mechanism: "X".into(),
            initial: Some(Secret::new("")),
        }))
    );
    assert_eq!(code(b"AUTH PLAIN !"), "501 5.5.2 Error: cannot decode base64");
    assert_eq!(code(b"AUTH"), "501 5.5.4 Syntax: AUTH mechanism");
    assert_eq!(parse_auth_response(b"*"), Ok(None));
    assert_eq!(parse_auth_response(b""), Ok(Some(Secret::new(""))));
}

#[test]
fn bdat_lines() {
    assert_eq!(
        parse(b"BDAT 0 last", &PRIVATE),
        Ok(Command::Bdat(Bdat { size: 0, last: true }))
    );
    for bad in [
        &b"BDAT"[..],
        b"BDAT x",
        b"BDAT -1",
        b"BDAT 1 FIRST",
        b"BDAT 99999999999999999999999",
    ] {
        assert_eq!(code(bad), "501 5.5.4 Syntax: BDAT count [LAST]", "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line, &PRIVATE);
    }

    #[test]
    fn no_rcpt_panics(rest in "\\PC{0,80}") {
        let _ = parse(format!("RCPT TO:<{rest}").as_bytes(), &PRIVATE);
    }
}
