//! Tests of the checked values.

use std::time::Duration;

use super::*;

#[test]
fn durations() {
    for (text, millis, shown) in [
        ("90s", 90_000, "90s"),
        ("300s", 300_000, "5m"),
        ("250ms", 250, "250ms"),
        ("4h", 14_400_000, "4h"),
        ("5d", 432_000_000, "5d"),
        ("2w", 1_209_600_000, "2w"),
        ("0s", 0, "0s"),
        ("1 m", 60_000, "1m"),
    ] {
        let duration: DurationText = text.parse().unwrap();
        assert_eq!(duration.get(), Duration::from_millis(millis), "{text}");
        assert_eq!(duration.to_string(), shown);
        assert_eq!(shown.parse::<DurationText>().unwrap(), duration);
    }
    for bad in [
        "",
        "m",
        "-5m",
        "5",
        "5 minutes",
        "5.5m",
        "99999999999999999999s",
        "18446744073709551615w",
    ] {
        assert!(bad.parse::<DurationText>().is_err(), "{bad}");
    }
}

#[test]
fn sizes() {
    for (text, bytes, shown) in [
        ("50M", 52_428_800, "50M"),
        ("52428800", 52_428_800, "50M"),
        ("1500", 1500, "1500"),
        ("4K", 4096, "4K"),
        ("2G", 2 << 30, "2G"),
        ("0", 0, "0"),
    ] {
        let size: Size = text.parse().unwrap();
        assert_eq!(size.bytes(), bytes, "{text}");
        assert_eq!(size.to_string(), shown);
    }
    for bad in ["", "M", "5T", "-1", "1.5M", "18446744073709551615K"] {
        assert!(bad.parse::<Size>().is_err(), "{bad}");
    }
}

#[test]
fn networks_hold_their_addresses() {
    let networks = Networks::new(
        [
            "192.0.2.0/24",
            "[2001:db8::]/32",
            "::ffff:127.0.0.0/104",
            "198.51.100.7",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect(),
    );
    for inside in [
        "192.0.2.255",
        "::ffff:192.0.2.1",
        "2001:db8:ffff::1",
        "127.0.0.1",
        "198.51.100.7",
    ] {
        assert!(networks.contains(inside.parse().unwrap()), "{inside}");
    }
    for outside in [
        "192.0.3.0",
        "2001:db9::1",
        "::1",
        "128.0.0.1",
        "198.51.100.8",
        "::192.0.2.1",
    ] {
        assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
    }
    let everything: Network = "0.0.0.0/0".parse().unwrap();
    assert!(everything.contains("203.0.113.9".parse().unwrap()));
    assert!(!everything.contains("2001:db8::1".parse().unwrap()));
    let everything: Network = "::/0".parse().unwrap();
    assert!(everything.contains("2001:db8::1".parse().unwrap()));
}

#[test]
fn what_is_no_network() {
    for bad in [
        "",
        "192.0.2.0/33",
        "192.0.2/24",
        "2001:db8::/129",
        "[2001:db8::/32",
        "localhost",
        "10.0.0.0/-1",
    ] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
    let error = "192.0.2.1/24".parse::<Network>().unwrap_err();
    assert!(error.contains("did you mean 192.0.2.0/24?"), "{error}");
}

#[test]
fn listen_addresses() {
    for good in ["0.0.0.0:25", "[::]:25", "127.0.0.1:0", "unix:/run/x/sock"] {
        assert_eq!(good.parse::<ListenAddr>().unwrap().to_string(), good);
    }
    for bad in [
        "25",
        ":25",
        "localhost:25",
        "::25",
        "unix:sock",
        "192.0.2.1",
        "192.0.2.1:65536",
    ] {
        assert!(bad.parse::<ListenAddr>().is_err(), "{bad}");
    }
}

#[test]
fn delimiters_are_one_harmless_character() {
    assert_eq!("+".parse::<Delimiter>().unwrap().get(), Some('+'));
    assert_eq!("".parse::<Delimiter>().unwrap().get(), None);
    for bad in ["++", "a", "@", "\"", " ", "\\"] {
        assert!(bad.parse::<Delimiter>().is_err(), "{bad:?}");
    }
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    std::fs::write(&path, "hunter2\r\nsecond line\n").unwrap();
    let file: SecretFile = path.to_str().unwrap().parse().unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, SecretFileError::Readable { .. }), "{mode:o}");
        assert!(error.to_string().contains("chmod 0600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(file.read_line().unwrap().expose_str(), Some("hunter2"));
    }
    let missing: SecretFile = dir.path().join("none").to_str().unwrap().parse().unwrap();
    assert!(matches!(missing.read(), Err(SecretFileError::Io { .. })));
}

#[test]
fn credentials_lie_below_the_directory_of_the_unit() {
    let key: FileName = "credential:tls-key.pem".parse().unwrap();
    assert_eq!(key.to_string(), "credential:tls-key.pem");
    let path = key
        .path_below(Some("/run/credentials/x.service".as_ref()))
        .unwrap();
    assert_eq!(
        path,
        std::path::Path::new("/run/credentials/x.service/tls-key.pem")
    );
    assert!(
        key.path_below(None)
            .unwrap_err()
            .to_string()
            .contains("LoadCredential")
    );
    for bad in [
        "credential:",
        "credential:../x",
        "credential:a/b",
        "credential:.x",
        "relative",
    ] {
        assert!(bad.parse::<FileName>().is_err(), "{bad}");
    }
    let secret: SecretFile = "credential:tls-key.pem".parse().unwrap();
    assert!(matches!(secret.read(), Err(SecretFileError::Io { .. })));
}
