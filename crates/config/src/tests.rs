//! Tests of loading: faults with their lines, layers, services, and the generated pages.

use super::*;

/// The faults of a text, one per line, without the file's name.
fn faults(text: &str) -> Vec<String> {
    let errors = Config::from_toml(text).unwrap_err();
    errors
        .0
        .iter()
        .map(|error| error.to_string().replacen("<text>:", "", 1))
        .collect()
}

#[test]
fn an_empty_file_is_a_good_configuration() {
    let config = Config::from_toml("").unwrap();
    assert_eq!(config.general.message_size_limit.bytes(), 52_428_800);
    assert!(config.general.mynetworks.is_empty());
    assert_eq!(
        config.smtpd.services.keys().collect::<Vec<_>>(),
        ["mx", "submission", "submissions"]
    );
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}

#[test]
fn all_faults_of_a_file_are_found_at_once_each_with_its_line() {
    let text = r#"
[general]
mynetwork = ["10.0.0.0/8"]
message_size_limit = "50 Mega"
mynetworks = ["10.0.0.1/8"]
virtual_uid = 0

[smtpd]
smtpd_timeout = 300
smtpd_recipient_limit = 99
smtpd_tls_security_level = "maybe"

[impad]
listen = []

[qmgr]
maximal_backoff_time = "1s"
"#;
    let found = faults(text);
    let expected = [
        "3: general.mynetwork: there is no such option (did you mean mynetworks?)",
        "4: general.message_size_limit: \"Mega\" is not a unit; use K, M or G (powers of 1024)",
        "5: general.mynetworks: \"10.0.0.1/8\" has bits set behind the prefix; did you mean 10.0.0.0/8?",
        "6: general.virtual_uid: the value has to lie between 1 and 4294967294",
        "9: smtpd.smtpd_timeout: invalid type: integer `300`, expected a duration in quotes, like \"5m\" (ms, s, m, h, d, w)",
        "10: smtpd.smtpd_recipient_limit: the value has to lie between 100 and 50000",
        "11: smtpd.smtpd_tls_security_level: unknown variant `maybe`, expected one of `none`, `may`, `encrypt`",
        "13: impad: there is no such section (did you mean imapd?)",
        "17: qmgr.maximal_backoff_time: it is shorter than minimal_backoff_time (make it at least as long)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn options_outside_of_a_section_are_sent_there() {
    assert_eq!(
        faults("mynetworks = []\n"),
        ["1: mynetworks: this option stands in no section (put it below [general])"]
    );
    assert_eq!(faults("[general.mynetworks]\na = 1\n").len(), 1);
    assert_eq!(
        faults("general = 5\n"),
        [
            "1: general: this option stands in no section",
            "1: general: general is a section; write [general] on a line of its own"
        ][1..]
    );
}

#[test]
fn text_that_is_not_toml_names_its_line() {
    let found = faults("[general]\nmyhostname = mail.example.com\n[smtpd]\nlisten = [\n");
    assert!(found[0].starts_with("2: this is not TOML: "), "{found:?}");
    assert!(found.len() >= 2, "{found:?}");
}

#[test]
fn bounds_hold_for_durations_and_sizes_in_any_spelling() {
    for good in [
        "message_size_limit = 65536",
        "message_size_limit = \"64K\"",
        "shutdown_timeout = \"600s\"",
    ] {
        assert!(
            Config::from_toml(&format!("[general]\n{good}\n")).is_ok(),
            "{good}"
        );
    }
    for bad in [
        "message_size_limit = 65535",
        "message_size_limit = \"3G\"",
        "shutdown_timeout = \"601s\"",
    ] {
        assert!(
            faults(&format!("[general]\n{bad}\n"))[0].contains("has to lie between"),
            "{bad}"
        );
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    for value in ["-1", "4294967296", "1e3", "99999999999999999999", "\"5\""] {
        assert_eq!(
            faults(&format!("[smtpd]\nhopcount_limit = {value}\n")).len(),
            1,
            "{value}"
        );
    }
}

#[test]
fn a_later_file_wins_option_by_option() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    std::fs::write(
        &first,
        "[general]\nmyhostname = \"a.test\"\nvirtual_uid = 7000\nmynetworks = [\"10.0.0.0/8\"]\n",
    )
    .unwrap();
    std::fs::write(
        &second,
        "[general]\nmyhostname = \"b.test\"\nmynetworks = []\n[smtpd]\nsmtpd_timeout = \"1m\"\n",
    )
    .unwrap();
    let config = Config::load_layered(&[&first, &second]).unwrap();
    assert_eq!(config.general.myhostname.as_str(), "b.test");
    assert_eq!(config.general.virtual_uid, 7000);
    assert!(config.general.mynetworks.is_empty());

    std::fs::write(&second, "\n\n[general]\nvirtual_uid = 5\n").unwrap();
    let errors = Config::load_layered(&[&first, &second]).unwrap_err();
    let error = &errors.0[0];
    assert_eq!((error.file.as_path(), error.line), (second.as_path(), Some(4)));

    let missing = Config::load(&dir.path().join("none.toml")).unwrap_err();
    assert!(missing.to_string().contains("--config"), "{missing}");
}

#[test]
fn services_inherit_from_smtpd_and_their_own_table_wins() {
    let config = Config::from_toml(
        r#"
[smtpd]
smtpd_timeout = "77s"
smtpd_recipient_limit = 500
direct_delivery_recipient_limit = 3
[smtpd.service.submission]
smtpd_timeout = "88s"
smtpd_require_auth = false
[smtpd.service.submissions]
listen = []
[smtpd.service.inside]
listen = ["127.0.0.1:2525"]
"#,
    )
    .unwrap();
    let services = &config.smtpd.services;
    assert_eq!(services["mx"].smtpd_timeout.to_string(), "77s");
    assert_eq!(services["mx"].smtpd_recipient_limit, 500);
    // What a built-in service sets is its own, like -o in master.cf.
    assert_eq!(services["submission"].smtpd_recipient_limit, 200);
    assert_eq!(services["submission"].smtpd_timeout.to_string(), "88s");
    assert!(!services["submission"].smtpd_require_auth && services["submission"].smtpd_sasl_auth_enable);
    assert!(services["submissions"].listen.is_empty() && services["submissions"].smtpd_tls_wrappermode);
    assert_eq!(services["inside"].smtpd_recipient_limit, 500);
    assert_eq!(services["inside"].direct_delivery_recipient_limit, 3);
    assert_eq!(config.smtpd.options.direct_delivery_recipient_limit, 3);
}

#[test]
fn faults_of_services_name_their_line() {
    assert_eq!(
        faults("[smtpd]\nlisten = [\"0.0.0.0:25\"]\n"),
        [
            "2: smtpd.listen: each service listens for itself (set it in [smtpd.service.mx], [smtpd.service.submission]...)"
        ]
    );
    assert_eq!(
        faults("[smtpd.service.mx]\nbody_memory_limit = \"2M\"\n"),
        [
            "2: smtpd.service.mx.body_memory_limit: this option holds for the whole process (set it in [smtpd])"
        ]
    );
    assert_eq!(
        faults("[smtpd.service.mx]\nsmtpd_timout = \"2m\"\n"),
        ["2: smtpd.service.mx.smtpd_timout: there is no such option (did you mean smtpd_timeout?)"]
    );
    assert_eq!(
        faults("[smtpd.service.submission]\nsmtpd_sasl_auth_enable = false\n"),
        [
            "1: smtpd.service.submission.smtpd_require_auth: nobody can log in here, so nobody could send mail (set smtpd_sasl_auth_enable = true)"
        ]
    );
    assert_eq!(faults("[smtpd]\nservice = 5\n").len(), 1);
    assert_eq!(faults("[smtpd.service]\nmx = 5\n").len(), 1);
}

#[test]
fn a_key_that_others_can_read_refuses_the_start() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pem");
    std::fs::write(&key, "x").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "[tls]\ncertificate_file = \"/c\"\nkey_file = \"{}\"\n",
        key.display()
    );
    let found = faults(&text);
    assert!(
        found[0].starts_with("3: tls.key_file: ") && found[0].contains("chmod 0600"),
        "{found:?}"
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Config::from_toml(&text).is_ok());
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = "[smtpd]\nsmtpd_timeout = \"7m\"\n[smtpd.service.submission]\nlisten = []\n[authd.mysql]\nhosts = [\"db:3307\"]\n";
    let config = Config::from_toml(text).unwrap();
    let shown = config.to_toml();
    assert!(
        shown.contains("smtpd_timeout = \"7m\"") && shown.contains("[smtpd.service.mx]"),
        "{shown}"
    );
    let again = Config::from_toml(&shown).unwrap();
    assert_eq!(format!("{again:?}"), format!("{config:?}"));
}

#[test]
fn listeners_that_need_a_certificate_say_so() {
    let mut config = Config::default();
    let text = config.missing_certificate("smtpd").unwrap();
    assert!(
        text.contains("smtpd.service.submission, smtpd.service.submissions"),
        "{text}"
    );
    assert!(config.missing_certificate("imapd").is_some() && config.missing_certificate("pop3d").is_some());
    assert_eq!(config.missing_certificate("qmgr"), None);
    config.imapd.listen_tls.clear();
    assert_eq!(config.missing_certificate("imapd"), None);
    config.tls.certificate_file = Some("/c".parse().unwrap());
    assert_eq!(config.missing_certificate("smtpd"), None);
}

#[test]
fn the_names_of_the_host_follow_from_one_option() {
    let config = Config::from_toml("[general]\nmyhostname = \"MX1.Example.com\"\n").unwrap();
    assert_eq!(config.general.domain().as_str(), "example.com");
    assert_eq!(
        config.general.postmaster().unwrap().to_string(),
        "postmaster@example.com"
    );
    let single = Config::from_toml("[general]\nmyhostname = \"example.com\"\n").unwrap();
    assert_eq!(single.general.domain().as_str(), "example.com");
}

#[test]
fn every_option_is_documented_and_bounded_and_its_default_is_good() {
    for section in reference::sections() {
        assert!(
            !section.description.is_empty(),
            "[{}] has no doc comment",
            section.name
        );
        for option in &section.options {
            let name = format!("{}.{}", section.name, option.name);
            assert!(option.description.len() > 20, "{name} has no doc comment");
            assert!(!option.kind.is_empty(), "{name} has no type");
            if ["number", "duration", "size"].contains(&option.kind.as_str()) {
                assert!(
                    option.min.is_some() && option.max.is_some(),
                    "{name} has no bounds"
                );
            }
        }
    }
}

/// The sample with every option uncommented is the default configuration: so every default can be written,
/// lies within its bounds, and is what the code uses.
#[test]
fn the_sample_shows_the_defaults() {
    let text: String = reference::sample()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) && !rest.ends_with('=') => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .filter(|line| !line.starts_with("listen = []"))
        .collect();
    let config = Config::from_toml(&text).unwrap();
    let (mut written, mut default) = (format!("{config:?}"), format!("{:?}", Config::default()));
    // What [smtpd] says wins over nothing but itself, so the services are as they were.
    for text in [&mut written, &mut default] {
        assert!(text.contains("submissions"));
    }
    assert_eq!(written, default);
}

/// No option may exist that nothing reads: its field is named somewhere outside of this crate, or in a method
/// of its section that is called there.
#[test]
fn every_option_is_read() {
    fn sources(dir: &Path, out: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                out.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let here = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let mut elsewhere = String::new();
    for name in [
        "daemon", "authd", "smtpd", "qmgr", "deliver", "imapd", "pop3d", "mailctl",
    ] {
        sources(&here.join("..").join(name).join("src"), &mut elsewhere);
    }
    // Judged where the configuration is loaded, which every process does.
    let checked_at_load = ["virtual_minimum_uid"];
    let own: Vec<String> = reference::sections()
        .iter()
        .map(|section| {
            let mut text = String::new();
            let folder = here.join("src").join(section.name);
            if folder.is_dir() {
                sources(&folder, &mut text);
            } else {
                text = std::fs::read_to_string(folder.with_extension("rs")).unwrap();
            }
            text
        })
        .collect();
    // The methods that others call, and what these use in turn.
    let methods: Vec<(&str, &str)> = own
        .iter()
        .flat_map(|text| text.split("pub fn ").skip(1))
        .filter_map(|method| method.split_once('('))
        .collect();
    let mut read = elsewhere;
    for _ in 0..3 {
        for (name, body) in &methods {
            let body = body.split("\nimpl ").next().unwrap();
            if mentions(&read, &format!("{name}(")) && !read.contains(body) {
                read.push_str(body);
            }
        }
    }
    for section in reference::sections() {
        for option in &section.options {
            let field = option.name.rsplit('.').next().unwrap();
            let is_read = mentions(&read, field) || checked_at_load.contains(&field);
            assert!(is_read, "nothing reads {}.{}", section.name, option.name);
        }
    }
}

/// Whether `.name` stands in the text, as a whole word.
fn mentions(text: &str, name: &str) -> bool {
    let wanted = format!(".{name}");
    text.match_indices(&wanted).any(|(at, _)| {
        let next = text[at + wanted.len()..].chars().next().unwrap_or(' ');
        name.ends_with('(') || !(next.is_alphanumeric() || next == '_')
    })
}

/// `[authd]` with the needed questions, and this after them.
fn custom(more: &str) -> String {
    format!(
        "[authd]\nschema = \"custom\"\nbackend = \"mysql\"\n\
         [authd.custom.virtual_mailbox_domains]\nquery = \"SELECT 1 FROM d WHERE d = '%s'\"\n\
         [authd.custom.virtual_mailbox_maps]\ntable = \"m\"\nselect_field = \"maildir\"\nwhere_field = \"a\"\n\
         [authd.custom.password_query]\nquery = \"SELECT password FROM m WHERE a = '%s'\"\n{more}"
    )
}

#[test]
fn statements_of_a_site_are_read_in_order() {
    let more = "[[authd.custom.virtual_alias_maps]]\nquery = \"SELECT 1\"\n\
                [[authd.custom.virtual_alias_maps]]\nquery = \"SELECT 2\"\nexpansion_limit = 5\n";
    let config = Config::from_toml(&custom(more)).unwrap();
    let maps = config.authd.custom.of(Lookups::VirtualAliasMaps);
    assert_eq!(maps.len(), 2);
    assert_eq!(
        (maps[0].query.as_deref(), maps[1].expansion_limit),
        (Some("SELECT 1"), 5)
    );
    let legacy = &config.authd.custom.of(Lookups::VirtualMailboxMaps)[0];
    let template = legacy.template(SqlDialect::Mysql).unwrap();
    assert_eq!(template.parts().collect::<Vec<_>>(), [Part::Whole]);
    let again = Config::from_toml(&config.to_toml()).unwrap();
    assert_eq!(again.authd.custom, config.authd.custom);
}

#[test]
fn faults_of_statements_name_their_line() {
    let more = "[[authd.custom.virtual_alias_maps]]\nquery = \"SELECT 1\"\n\
                [[authd.custom.virtual_alias_maps]]\nquery = \"x = '%n'\"\n\
                [authd.custom.relocated_map]\nquery = \"SELECT 1\"\n\
                [authd.custom.relay_domains]\nquery = \"SELECT '%d'\"\nresult_fromat = \"%s\"\n\
                [authd.custom.alias_domain]\nquery = \"SELECT '%d'\"\n\
                [authd.custom.alias_maps]\ntable = \"t\"\n\
                [authd.custom.vacation]\nquery = \"SELECT 1\"\nresult_format = \"x%sx\"\n";
    let first = custom("").lines().count();
    let expected = [
        (
            4,
            "virtual_alias_maps.query: %n is an expansion of Dovecot (write %u for the part before the @, %d for the domain, %s for all)",
        ),
        (
            5,
            "relocated_map: there is no such question (did you mean relocated_maps?)",
        ),
        (
            9,
            "relay_domains.result_fromat: there is no such option (did you mean result_format?)",
        ),
        (
            11,
            "alias_domain.query: alias_domain is asked with a domain, which has no part behind an @ (write %s for the domain, and no option domain)",
        ),
        (
            12,
            "alias_maps.select_field: there is no query, and this part of one is missing (write query = \"SELECT ...\")",
        ),
        (
            12,
            "alias_maps.where_field: there is no query, and this part of one is missing (write query = \"SELECT ...\")",
        ),
        (
            16,
            "vacation.result_format: the columns are read by their names (shape them in the statement)",
        ),
    ];
    let expected: Vec<String> = expected
        .iter()
        .map(|(line, text)| format!("{}: authd.custom.{text}", first + line))
        .collect();
    assert_eq!(faults(&custom(more)), expected);
}

#[test]
fn statements_that_are_missing_or_not_used_are_told() {
    let found = faults("[authd]\nschema = \"custom\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("write [authd.custom.virtual_mailbox_domains] with a query"),
        "{found:?}"
    );
    let found = faults("[authd.custom.alias_maps]\nquery = \"SELECT 1\"\n");
    assert!(
        found[0].starts_with("1: authd.custom: these statements are used with"),
        "{found:?}"
    );
    let users = "[authd.custom.password_query]\nquery = \"SELECT password FROM m WHERE n = '%u'\"\n";
    let found = faults(&custom("").replace(
        "[authd.custom.password_query]\nquery = \"SELECT password FROM m WHERE a = '%s'\"\n",
        users,
    ));
    assert!(
        found[0].contains("users of the same name in all domains"),
        "{found:?}"
    );
}

#[test]
fn tables_with_other_names() {
    let text = "[authd.postfixadmin]\ndatabase_prefix = \"mail_\"\ndatabase_tables = [\"mailbox=users\"]\n";
    let config = Config::from_toml(text).unwrap();
    let names = &config.authd.postfixadmin;
    assert_eq!(names.database_prefix.as_str(), "mail_");
    assert_eq!(
        (names.database_tables[0].usual(), names.database_tables[0].own()),
        ("mailbox", "users")
    );
    for bad in ["mailbos=users", "mailbox", "mailbox=a`b", "mailbox="] {
        let found = faults(&format!("[authd.postfixadmin]\ndatabase_tables = [\"{bad}\"]\n"));
        assert_eq!(found.len(), 1, "{bad}");
    }
}
