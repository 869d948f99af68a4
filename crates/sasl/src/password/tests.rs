//! Values that other programs made, and values nobody should have made.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Column, password, and the program that made it.
const MADE_BY_OTHERS: &[(&str, &str)] = &[
    // openssl passwd -1|-5|-6 -salt saltsalt (OpenSSL 3.0.17)
    ("$1$saltsalt$TgSjy78ElG..7yBJossD0.", "pässwörd 1"),
    (
        "$5$saltsalt$rARHfYKSfObNJRBWTCmWH2bEp.QggOIos1xa/t0m3x5",
        "pässwörd 1",
    ),
    (
        "$6$saltsalt$tHqym4gItwkbdcpfdysumMifrTtlK9Rlws0Pz3k/BDRvNK6AdL.hhYQat8X7nkPmPs29vcRqcTe3Nom5Hd1Ge/",
        "pässwörd 1",
    ),
    (
        "$6$rounds=10000$saltsaltsaltsalt$ROo2pkNizO7rDWkVUqjBzVLz9Fu6GGIvEPLcQ281RF9oWKtO5WrPxxjVWuxSqd/V7NM949xILfQhpTVMux5aU1",
        "x",
    ),
    // crypt.crypt() of Python 3 on libxcrypt (Debian 12)
    ("$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80", "correct horse"),
    ("$1$ab$.ThsTrbyIbEahEdE8LNwj1", "correct horse"),
    (
        "$5$rounds=1000$saltstring$95Bg/RfV2QriLpMdLPHK9el0Ighm6E3CBqMKzZKgCa2",
        "correct horse",
    ),
    (
        "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
        "correct horse",
    ),
    (
        "$6$rounds=77777$short$h4tqkaUlcWCunnvllrGpL7hkTxsWZiKztL0XbSn/w651ixfFCaQ8NMn1m9Oi0PUNIjJoHxbm8UH32IjU3/CHV/",
        "correct horse",
    ),
    (
        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "correct horse",
    ),
    (
        "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "correct horse",
    ),
    (
        "$2a$06$abcdefghijklmnopqrstuud/5IuQmqhVO0kfNEbHJM.fJkPiliBzC",
        "correct horse",
    ),
    // argon2 somesaltsalt -id -t 2 -m 12; -i -t 3 -k 4096 -p 2; -id -v 10 -t 1 -m 10 -p 4 (reference tool, Debian)
    (
        "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHRzYWx0$/gUu3Ap/+OPAMBggMZpShIt21I8MvYwoq6hcOYcFyUI",
        "correct horse",
    ),
    (
        "$argon2i$v=19$m=4096,t=3,p=2$c29tZXNhbHRzYWx0$74L6K+lfvXUQ2mmq54E58seiVIcxjGWU2CBnhLoo7ek",
        "correct horse",
    ),
    (
        "$argon2id$v=16$m=1024,t=1,p=4$c29tZXNhbHRzYWx0$IWHPeXt5KM8NYwZHPufNcp0XWQkvxehCL6wQH8ui4UU",
        "correct horse",
    ),
];

/// What programs of others made: the tool, our name of the scheme, the form that unmarked values are to be taken for,
/// the value, and its password. `tests/tests/passwords.rs` makes it.
const TABLE: &str = include_str!("made_by_others.tsv");

#[test]
fn the_table_of_values_of_other_programs() {
    let mut rows = 0;
    for row in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = row.split('\t').collect();
        let [_tool, scheme, form, column, password] = fields[..] else {
            panic!("{row}");
        };
        let unmarked = match form {
            "-" => Unmarked::REFUSED,
            "cleartext" => Unmarked::CLEARTEXT,
            "des" => Unmarked::REFUSED.with(Reading::Des),
            "md5" => Unmarked::REFUSED.with(Reading::Md5),
            "sha1" => Unmarked::REFUSED.with(Reading::Sha1),
            "sha256" => Unmarked::REFUSED.with(Reading::Sha256),
            "sha512" => Unmarked::REFUSED.with(Reading::Sha512),
            "ssha" => Unmarked::REFUSED.with(Reading::Ssha),
            "mysql-old" => Unmarked::REFUSED.with(Reading::MysqlOld),
            other => panic!("{other}"),
        };
        let stored = Stored::parse(column, unmarked).expect(row);
        assert_eq!(stored.scheme(), scheme, "{row}");
        assert_eq!(stored.verify(&Secret::new(password)), Ok(true), "{row}");
        assert_eq!(stored.verify(&Secret::new(&password[1..])), Ok(false), "{row}");
        assert_eq!(stored.decoy().verify(&Secret::new(password)), Ok(false), "{row}");
        // Cut values are damaged or unknown, never a wrong password; only cleartext has no end to miss.
        let whole = column.trim_end_matches('=');
        let cut = &whole[..whole.len() - 1];
        if scheme != "PLAIN" {
            let wrong = Stored::parse(cut, unmarked).and_then(|stored| stored.verify(&Secret::new(password)));
            // Base64 of a salted digest loses some of its salt.
            assert!(
                wrong.is_err() || (scheme.starts_with('S') && wrong == Ok(false)),
                "{row}"
            );
        }
        rows += 1;
    }
    assert!(rows > 90);
}

#[test]
fn several_forms_of_unmarked_columns_at_once() {
    let forms: Unmarked = [Reading::Cleartext, Reading::Md5, Reading::Des]
        .into_iter()
        .collect();
    let scheme = |column: &str| Stored::parse(column, forms).unwrap().scheme();
    assert_eq!(scheme("5f4dcc3b5aa765d61d8327deb882cf99"), "PLAIN-MD5");
    assert_eq!(scheme("abJnggxhB/yWI"), "DES-CRYPT");
    assert_eq!(scheme("abJnggxhB/yW"), "PLAIN");
    assert_eq!(scheme("_J9..abcdabcdefghijk"), "BSDI-CRYPT");
    assert_eq!(scheme("5f4dcc3b5aa765d61d8327deb882cf9g"), "PLAIN");
    assert_eq!(scheme("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"), "MYSQL");
    // One that is too expensive is not taken for cleartext.
    assert_eq!(
        Stored::parse("_zzzzabcdabcdefghijk", forms).unwrap_err(),
        FormatError::TooExpensive
    );
}

/// What challenge-response mechanisms can use.
#[test]
fn credentials_beyond_the_password() {
    let stored = |column: &str| Stored::parse(column, Unmarked::REFUSED).unwrap();
    // RFC 2195's example.
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let answer = encoding::hex("b913a602c7eda7a495b4e6e7334d3890").unwrap();
    let cleartext = stored("{PLAIN}tanstaaftanstaaf");
    let contexts = cleartext.cram_md5().unwrap();
    assert_eq!(contexts.hmac(challenge).unwrap().as_slice(), answer);
    let digits = "B913a602c7eda7a495b4e6e7334d3890";
    assert!(contexts.fits(challenge, digits) && CramHash::Md5.fits(b"tanstaaftanstaaf", challenge, digits));
    assert!(
        !contexts.fits(b"<1@x>", digits) && !contexts.fits(challenge, "") && !contexts.fits(challenge, "b9")
    );
    // RFC 2202, test 2 of SHA-1; RFC 4231, test 2 of SHA-256.
    let (key, message) = (b"Jefe", b"what do ya want for nothing?");
    assert!(CramHash::Sha1.fits(key, message, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
    let digits = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert!(CramHash::Sha256.fits(key, message, digits) && !CramHash::Sha256.fits(b"jefe", message, digits));
    assert_eq!(cleartext.cleartext().unwrap().expose(), b"tanstaaftanstaaf");
    assert!(cleartext.decoy().cleartext().is_none() && cleartext.decoy().cram_md5().is_none());
    assert!(stored("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").cram_md5().is_none());
    let long = CramContexts::of(&[b'x'; 100]);
    assert!(long.verify(&[b'x'; 100]) && !long.verify(&[b'x'; 99]));
    // doveadm pw -s SCRAM-SHA-1 -p secret
    let scram = stored(
        "{SCRAM-SHA-1}4096,c0b5eKyMyZkFrK7Ybhv0Iw==,OUVfntDo4BUFdvji92uNE3/zXy0=,tFWpN1p5Pujmpwp55Bu7qZTGRFo=",
    );
    assert_eq!(scram.scram().unwrap().iterations, 4096);
    assert!(scram.decoy().scram().is_none() && scram.cleartext().is_none());
}

#[test]
fn only_weaker_ones_are_stored_anew() {
    use NewScheme::{Argon2id, Bcrypt, Cleartext, Md5Crypt, Sha512Crypt};
    let cases: [(&str, &[NewScheme]); 10] = [
        ("{PLAIN}x", &[Argon2id, Bcrypt, Sha512Crypt, Md5Crypt]),
        (
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
            &[Argon2id, Bcrypt, Sha512Crypt, Md5Crypt],
        ),
        ("$1$ab$.ThsTrbyIbEahEdE8LNwj1", &[Argon2id, Bcrypt, Sha512Crypt]),
        (
            "$5$rounds=1000$saltstring$95Bg/RfV2QriLpMdLPHK9el0Ighm6E3CBqMKzZKgCa2",
            &[Argon2id, Bcrypt, Sha512Crypt],
        ),
        (
            "$5$saltsalt$myjXcpMpE2Ofk7fj9hqyNYSn6lmWG4Mqnjx.KIRRr4/",
            &[Argon2id, Bcrypt],
        ),
        (
            "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            &[Argon2id, Bcrypt],
        ),
        (
            "$2y$10$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
            &[Argon2id],
        ),
        (
            "$argon2id$v=19$m=4096,t=2,p=1$c29tZXNhbHRzYWx0$/gUu3Ap/+OPAMBggMZpShIt21I8MvYwoq6hcOYcFyUI",
            &[Argon2id],
        ),
        (
            "$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHRzYWx0$/gUu3Ap/+OPAMBggMZpShIt21I8MvYwoq6hcOYcFyUI",
            &[],
        ),
        ("", &[]),
    ];
    for (column, wanted) in cases {
        let stored = Stored::parse(column, Unmarked::REFUSED).unwrap();
        for target in [Argon2id, Bcrypt, Sha512Crypt, Md5Crypt, Cleartext] {
            assert_eq!(
                stored.needs_rehash(target),
                wanted.contains(&target),
                "{column} {target:?}"
            );
        }
    }
}

fn refused(column: &str) -> FormatError {
    Stored::parse(column, Unmarked::REFUSED).unwrap_err()
}

fn fits(column: &str, password: &str) -> bool {
    let stored = Stored::parse(column, Unmarked::REFUSED).unwrap();
    stored.verify(&Secret::new(password)).unwrap()
}

#[test]
fn values_of_other_programs() {
    for (column, password) in MADE_BY_OTHERS {
        assert!(fits(column, password), "{column}");
        assert!(!fits(column, "wrong"), "{column}");
        assert!(!fits(column, ""), "{column}");
    }
}

#[test]
fn the_same_with_a_scheme_in_front() {
    for (column, password) in MADE_BY_OTHERS {
        let scheme = match column.split('$').nth(1).unwrap() {
            "1" => "md5-Crypt",
            "5" => "SHA256-CRYPT",
            "6" => "sha512-crypt",
            "argon2i" => "ARGON2I",
            "argon2id" => "Argon2ID",
            _ => "BLF-CRYPT",
        };
        assert!(
            fits(&format!("{{{scheme}}}{column}"), password),
            "{scheme} {column}"
        );
        let encoded = STANDARD.encode(column);
        assert!(
            fits(&format!("{{{scheme}.B64}}{encoded}"), password),
            "{scheme} {column}"
        );
        assert!(fits(&format!("{{CRYPT}}{column}"), password), "{column}");
    }
    // A scheme that says one thing and a value that says another.
    assert_eq!(
        refused("{SHA256-CRYPT}$1$ab$.ThsTrbyIbEahEdE8LNwj1"),
        FormatError::Malformed
    );
}

#[test]
fn cleartext_only_where_it_is_meant() {
    assert!(fits("{PLAIN}secret", "secret") && fits("{cleartext}secret", "secret"));
    assert!(!fits("{PLAIN}secret", "secre") && !fits("{PLAIN}secret", "secrets"));
    assert!(!fits("{PLAIN}", ""));
    assert_eq!(refused("secret"), FormatError::Unsupported);
    let stored = Stored::parse("secret", Unmarked::CLEARTEXT).unwrap();
    assert!(stored.verify(&Secret::new("secret")).unwrap());
    // A password that begins with a dollar sign, but not one that looks like a hash we know.
    let stored = Stored::parse("$ecret", Unmarked::CLEARTEXT).unwrap();
    assert!(stored.verify(&Secret::new("$ecret")).unwrap());
    assert!(Stored::parse("$6$cut", Unmarked::CLEARTEXT).is_err());
    assert!(Stored::parse("{FOO}x", Unmarked::CLEARTEXT).is_err());
}

#[test]
fn an_empty_column_is_a_locked_account() {
    for unmarked in [Unmarked::CLEARTEXT, Unmarked::REFUSED] {
        let stored = Stored::parse("", unmarked).unwrap();
        assert!(!stored.verify(&Secret::new("")).unwrap() && !stored.verify(&Secret::new("x")).unwrap());
    }
}

/// robustness.md A10: over the cap, broken, unknown. All of it before anything is hashed.
#[test]
fn hash_bombs_and_damage() {
    use FormatError::{Malformed, TooExpensive, Unsupported};
    let hash86 = "a".repeat(86);
    let cases = [
        ("{FOO}x".to_owned(), Unsupported),
        ("$8$x".to_owned(), Unsupported),
        (
            "$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            Unsupported,
        ),
        (
            "$argon2id$v=19$m=4194304,t=99,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            TooExpensive,
        ),
        (
            "$argon2id$v=19$m=99999999999,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            TooExpensive,
        ),
        (
            "$argon2id$v=19$m=4096,t=999,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            TooExpensive,
        ),
        ("$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQ".to_owned(), Malformed),
        (
            "$argon2id$v=19$m=4096,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            Malformed,
        ),
        (
            "$argon2id$v=19$m=+4096,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            Malformed,
        ),
        (
            "$2y$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e".to_owned(),
            TooExpensive,
        ),
        (
            "$2y$15$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e".to_owned(),
            TooExpensive,
        ),
        ("$2y$10$abcdefghijklmnop".to_owned(), Malformed),
        (format!("$6$rounds=999999999$salt${hash86}"), TooExpensive),
        (
            format!("$6$rounds=99999999999999999999$salt${hash86}"),
            TooExpensive,
        ),
        (format!("$6$rounds=-1$salt${hash86}"), Malformed),
        (format!("$6$rounds=5000$salt${}", &hash86[1..]), Malformed),
        ("$1$saltsalt$short".to_owned(), Malformed),
        ("$1$saltsalt$TgSjy78ElG..7yBJossD0.$x".to_owned(), Malformed),
        ("{SHA512-CRYPT.B64}!!!".to_owned(), Malformed),
        ("abJnggxhB/yWI".to_owned(), Unsupported),
        ("5f4dcc3b5aa765d61d8327deb882cf99".to_owned(), Unsupported),
        ("{unclosed".to_owned(), Unsupported),
    ];
    for (column, error) in cases {
        assert_eq!(refused(&column), error, "{column}");
    }
}

/// The same for the formats of the table.
#[test]
fn hash_bombs_and_damage_of_rarer_formats() {
    use FormatError::{Malformed, TooExpensive, Unsupported};
    let (hash40, hash43) = ("a".repeat(40), "a".repeat(43));
    let keys = "OUVfntDo4BUFdvji92uNE3/zXy0=,tFWpN1p5Pujmpwp55Bu7qZTGRFo=";
    let cases = [
        ("$7$x".to_owned(), Malformed),
        (
            "$gy$j9T$xPHsOMwlqdPE7x2L7QmA/.$Md5mp2AlygK6xFs5E7d50SC8tRlZ.vzR0FTMSrRLXc0".to_owned(),
            Unsupported,
        ),
        (format!("$7$UU..../....salt${hash43}"), TooExpensive),
        (format!("$7$CzzzzzU..../salt${hash43}"), TooExpensive),
        (format!("$7$.U..../....salt${hash43}"), Malformed),
        (format!("$y$jzT$salt${hash43}"), Malformed),
        (format!("$y$jFT$salt${hash43}"), TooExpensive),
        (format!("$y$j9T$salts${hash43}"), Malformed),
        (format!("$y$j9T${hash43}"), Malformed),
        (format!("$y$/9T$salt${hash43}"), Unsupported),
        ("_zzzzabcdabcdefghijk".to_owned(), Unsupported),
        ("{CRYPT}_zzzzabcdabcdefghijk".to_owned(), TooExpensive),
        ("{CRYPT}_....abcdabcdefghijk".to_owned(), Malformed),
        ("{CRYPT}".to_owned(), Malformed),
        ("{CRYPT}!".to_owned(), Malformed),
        ("{DES-CRYPT}abJnggxhB/yW".to_owned(), Malformed),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/".to_owned(), Malformed),
        ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".to_owned(), Malformed),
        (format!("{{SSHA}}{}", "A".repeat(128)), Malformed),
        ("{CRAM-MD5}abcd".to_owned(), Malformed),
        ("{MD5}xyz".to_owned(), Malformed),
        ("{PLAIN.HEX}abc".to_owned(), Malformed),
        (format!("{{PBKDF2}}$1$salt$9999999${hash40}"), TooExpensive),
        (format!("{{PBKDF2}}$1$salt$99999999999${hash40}"), TooExpensive),
        (format!("{{PBKDF2}}$1$salt$0${hash40}"), Malformed),
        (format!("{{PBKDF2}}$1$salt$-1${hash40}"), Malformed),
        (format!("{{SCRAM-SHA-1}}9999999,c2FsdA==,{keys}"), TooExpensive),
        (
            "{SCRAM-SHA-1}4096,c2FsdA==,OUVfntDo4BUFdvji92uNE3/zXy0=".to_owned(),
            Malformed,
        ),
        (format!("{{SCRAM-SHA-256}}4096,c2FsdA==,{keys}"), Malformed),
        (format!("{{PLAIN}}{}", "x".repeat(9000)), Malformed),
    ];
    for (column, error) in cases {
        assert_eq!(refused(&column), error, "{column}");
    }
}

#[test]
fn a_long_password_cannot_multiply_the_cost() {
    let column = format!("$6$rounds=500000$salt${}", "a".repeat(86));
    let stored = Stored::parse(&column, Unmarked::REFUSED).unwrap();
    assert_eq!(
        stored.verify(&Secret::new("x".repeat(4096))),
        Err(FormatError::TooExpensive)
    );
    // Over 4 KiB nothing is hashed at all.
    assert_eq!(stored.verify(&Secret::new("x".repeat(4097))), Ok(false));
}

#[test]
fn decoys_fit_nothing() {
    for (column, password) in MADE_BY_OTHERS {
        let decoy = Stored::parse(column, Unmarked::REFUSED).unwrap().decoy();
        assert_eq!(decoy.verify(&Secret::new(*password)), Ok(false), "{column}");
    }
}

#[test]
fn what_we_store_we_verify() {
    let password = Secret::new("Ünïcode pass");
    let schemes = [
        (NewScheme::Argon2id, "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"),
        (NewScheme::Sha512Crypt, "$6$"),
        (NewScheme::Bcrypt, "$2y$10$"),
        (NewScheme::MarkedSha512Crypt, "{SHA512-CRYPT}$6$"),
        (NewScheme::MarkedBcrypt, "{BLF-CRYPT}$2y$10$"),
        (NewScheme::Md5Crypt, "$1$"),
        (NewScheme::Cleartext, "Ünïcode pass"),
    ];
    for (scheme, start) in schemes {
        let column = store(scheme, &password, [7; 16]).unwrap();
        assert!(column.starts_with(start) && column.len() <= 255, "{column}");
        let stored = Stored::parse(&column, Unmarked::CLEARTEXT).unwrap();
        assert_eq!(stored.verify(&password), Ok(true), "{column}");
        assert_eq!(stored.verify(&Secret::new("other")), Ok(false), "{column}");
    }
}

#[test]
fn new_passwords_that_are_refused() {
    let refusal = |scheme, password: &[u8]| store(scheme, &Secret::new(password), [0; 16]).unwrap_err();
    assert_eq!(refusal(NewScheme::Argon2id, b""), NewPasswordError::Empty);
    assert_eq!(
        refusal(NewScheme::Argon2id, &[b'x'; 4097]),
        NewPasswordError::TooLong
    );
    assert_eq!(
        refusal(NewScheme::Argon2id, b"a\0b"),
        NewPasswordError::Characters
    );
    assert_eq!(
        refusal(NewScheme::Argon2id, b"\xff"),
        NewPasswordError::Characters
    );
    assert_eq!(
        refusal(NewScheme::Bcrypt, &[b'x'; 73]),
        NewPasswordError::TooLongForScheme
    );
    assert_eq!(
        refusal(NewScheme::Cleartext, b"{PLAIN}x"),
        NewPasswordError::LooksHashed
    );
}

proptest::proptest! {
    #[test]
    fn no_column_panics(column in "\\PC{0,120}", id in "[$]?(1|5|6|2y|argon2id)?[$]?") {
        let _ = Stored::parse(&format!("{id}{column}"), Unmarked::REFUSED);
    }

    /// Every form with some of it changed is read, refused or does not fit, within the caps; nothing panics.
    #[test]
    fn no_changed_value_panics(row in 0_usize..90, at in 0_usize..120, with in "[ -~é]{0,3}") {
        let fields: Vec<&str> = TABLE.lines().nth(row + 1).unwrap().split('\t').collect();
        let column = fields[3];
        let start: String = column.chars().take(at).collect();
        let rest: String = column.chars().skip(at + 1).collect();
        let changed = format!("{start}{with}{rest}");
        let forms = Unmarked::CLEARTEXT.with(Reading::Des).with(Reading::MysqlOld).with(Reading::Ssha);
        if let Ok(stored) = Stored::parse(&changed, forms) {
            let _ = stored.verify(&Secret::new("x"));
        }
    }
}

/// A column for cleartext has no marks: what looks like one is the password.
#[test]
fn clear_columns_are_not_parsed() {
    for password in ["{x}y", "$1$ab$.ThsTrbyIbEahEdE8LNwj1", "{PLAIN}pw", "*"] {
        let stored = Stored::clear(&Secret::new(password));
        assert!(stored.verify(&Secret::new(password)).unwrap(), "{password}");
        assert_eq!(stored.cleartext(), Some(&Secret::new(password)));
    }
    assert!(Stored::clear(&Secret::new("")).is_locked());
}
