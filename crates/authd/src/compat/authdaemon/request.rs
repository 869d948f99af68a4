//! What a client of authdaemond asks: environment lines, then one command.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_types::Secret;
use sasl::password::CramHash;

/// Longest request in octets, with its environment; PASSWD carries two passwords of up to 4 KB.
pub const MAX_REQUEST: usize = 16_384;
/// The payload of AUTH has to be shorter.
const MAX_AUTH: usize = 8_192;
/// Most environment lines.
const MAX_ENVIRONMENT: usize = 64;

/// A request is none. The connection is closed without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A whole request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// TCPREMOTEIP, where it came and is an address.
    pub remote: Option<IpAddr>,
    /// The command.
    pub command: Command,
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// AUTH login.
    Login {
        /// For which service.
        service: Vec<u8>,
        /// The login.
        login: Vec<u8>,
        /// The password.
        password: Secret,
    },
    /// AUTH cram-md5, cram-sha1, cram-sha256.
    Cram {
        /// For which service.
        service: Vec<u8>,
        /// The hash function of the HMAC.
        hash: CramHash,
        /// The login.
        login: Vec<u8>,
        /// What the client was given to sign.
        challenge: Vec<u8>,
        /// Its answer: hex digits.
        digest: String,
    },
    /// AUTH cram-md5 and its like whose answer is none: no base64, or no digest behind a blank. It comes as the
    /// remote user wrote it, so it is his failure and not that of the client.
    BadAnswer {
        /// For which service.
        service: Vec<u8>,
    },
    /// AUTH of a kind that we do not know: not for us, says the protocol.
    UnknownKind,
    /// PRE: what is known of an account.
    Lookup {
        /// The login.
        login: Vec<u8>,
    },
    /// PASSWD.
    ChangePassword {
        /// The login.
        login: Vec<u8>,
        /// The password that is to be right.
        old: Secret,
        /// The password that is to be.
        new: Secret,
    },
    /// PASSWD with control characters or without all of its fields.
    BadChange,
    /// ENUMERATE.
    Enumerate,
}

/// The request in these octets; `None`: it is not complete.
pub fn parse(octets: &[u8]) -> Result<Option<Request>, Malformed> {
    let mut rest = octets;
    let mut remote = None;
    for _ in 0..=MAX_ENVIRONMENT {
        let Some(line) = line(&mut rest) else {
            return Ok(None);
        };
        if let Some((name, value)) = environment(line) {
            if name == b"TCPREMOTEIP" {
                remote = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            }
            continue;
        }
        let command = command(line, rest)?;
        return Ok(command.map(|command| Request { remote, command }));
    }
    Err(Malformed)
}

/// Takes a line off.
fn line<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = octets.iter().position(|byte| *byte == b'\n')?;
    let line = &octets[..end];
    *octets = &octets[end + 1..];
    Some(line)
}

/// `NAME=value`.
fn environment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&line[..equals], &line[equals + 1..]);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (!name.is_empty() && name.iter().all(is_name)).then_some((name, value))
}

fn command(line: &[u8], rest: &[u8]) -> Result<Option<Command>, Malformed> {
    if line == b"ENUMERATE" {
        return Ok(Some(Command::Enumerate));
    }
    if let Some(arguments) = line.strip_prefix(b"PRE ") {
        // The module, the service, and the login, which is all of the rest.
        let login = arguments
            .splitn(3, |byte| *byte == b' ')
            .nth(2)
            .ok_or(Malformed)?;
        return Ok(Some(Command::Lookup {
            login: login.to_vec(),
        }));
    }
    if let Some(arguments) = line.strip_prefix(b"PASSWD ") {
        return Ok(Some(change(arguments)));
    }
    let length = line.strip_prefix(b"AUTH ").ok_or(Malformed)?;
    let digits = !length.is_empty() && length.len() <= 4 && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok());
    let length: usize = length.filter(|length| *length < MAX_AUTH).ok_or(Malformed)?;
    match rest.get(..length) {
        Some(payload) => auth(payload).map(Some),
        None => Ok(None),
    }
}

fn change(arguments: &[u8]) -> Command {
    let fields: Vec<&[u8]> = arguments.split(|byte| *byte == b'\t').collect();
    let [_service, login, old, new] = fields[..] else {
        return Command::BadChange;
    };
    if fields.concat().iter().any(u8::is_ascii_control) {
        return Command::BadChange;
    }
    Command::ChangePassword {
        login: login.to_vec(),
        old: Secret::new(old),
        new: Secret::new(new),
    }
}

/// Service, kind and data of AUTH.
fn auth(payload: &[u8]) -> Result<Command, Malformed> {
    let mut rest = payload;
    let service = line(&mut rest).ok_or(Malformed)?.to_vec();
    let kind = line(&mut rest).ok_or(Malformed)?;
    let hash = match kind {
        b"login" => {
            let mut fields = rest.split(|byte| *byte == b'\n');
            let (Some(login), Some(password)) = (fields.next(), fields.next()) else {
                return Err(Malformed);
            };
            return Ok(Command::Login {
                service,
                login: login.to_vec(),
                password: Secret::new(password),
            });
        }
        b"cram-md5" => CramHash::Md5,
        b"cram-sha1" => CramHash::Sha1,
        b"cram-sha256" => CramHash::Sha256,
        _ => return Ok(Command::UnknownKind),
    };
    let mut fields = rest.split(|byte| *byte == b'\n');
    let (Some(challenge), Some(response)) = (fields.next(), fields.next()) else {
        return Err(Malformed);
    };
    let challenge = STANDARD.decode(challenge).map_err(|_| Malformed)?;
    Ok(match answer(response) {
        Some((login, digest)) => Command::Cram {
            service,
            hash,
            login,
            challenge,
            digest,
        },
        None => Command::BadAnswer { service },
    })
}

/// The login and the digest in an answer to a challenge.
fn answer(response: &[u8]) -> Option<(Vec<u8>, String)> {
    let response = STANDARD.decode(response).ok()?;
    // The login may hold blanks, the digest none.
    let blank = response.iter().rposition(|byte| *byte == b' ')?;
    let digest = std::str::from_utf8(&response[blank + 1..]).ok()?;
    Some((response[..blank].to_vec(), digest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(octets: &[u8]) -> Command {
        parse(octets).unwrap().unwrap().command
    }

    #[test]
    fn the_example_of_the_protocol() {
        let octets = b"TCPREMOTEIP=::1\nAUTH 35\nimap\nlogin\nroot@example.com\nsecret\n";
        let request = parse(octets).unwrap().unwrap();
        assert_eq!(request.remote, "::1".parse().ok());
        assert_eq!(
            request.command,
            Command::Login {
                service: b"imap".to_vec(),
                login: b"root@example.com".to_vec(),
                password: Secret::new("secret"),
            }
        );
        for cut in 0..octets.len() {
            assert_eq!(parse(&octets[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn challenge_and_response() {
        // RFC 2195's example.
        let challenge = STANDARD.encode("<1896.697170952@postoffice.reston.mci.net>");
        let response = STANDARD.encode("tim b913a602c7eda7a495b4e6e7334d3890");
        let payload = format!("imap\ncram-md5\n{challenge}\n{response}\n");
        let octets = format!("AUTH {}\n{payload}", payload.len());
        assert_eq!(
            command_of(octets.as_bytes()),
            Command::Cram {
                service: b"imap".to_vec(),
                hash: CramHash::Md5,
                login: b"tim".to_vec(),
                challenge: b"<1896.697170952@postoffice.reston.mci.net>".to_vec(),
                digest: "b913a602c7eda7a495b4e6e7334d3890".to_owned(),
            }
        );
        for bad in ["!!", "dGlt", "dGltIP8=", ""] {
            let payload = format!("imap\ncram-md5\n{challenge}\n{bad}\n");
            let octets = format!("AUTH {}\n{payload}", payload.len());
            let service = b"imap".to_vec();
            assert_eq!(
                command_of(octets.as_bytes()),
                Command::BadAnswer { service },
                "{bad:?}"
            );
        }
        assert_eq!(command_of(b"AUTH 12\nimap\ncram-x\n"), Command::UnknownKind);
    }

    #[test]
    fn the_other_commands() {
        assert_eq!(
            command_of(b"PRE . imap u v@d.test\n"),
            Command::Lookup {
                login: b"u v@d.test".to_vec()
            }
        );
        assert_eq!(command_of(b"ENUMERATE\n"), Command::Enumerate);
        let changed = Command::ChangePassword {
            login: b"u@d.test".to_vec(),
            old: Secret::new("old one"),
            new: Secret::new("n=w"),
        };
        assert_eq!(command_of(b"PASSWD imap\tu@d.test\told one\tn=w\n"), changed);
        for bad in [
            &b"PASSWD imap\tu@d.test\told\n"[..],
            b"PASSWD imap\tu@d.test\told\tnew\tmore\n",
            b"PASSWD imap\tu@d.test\told\tne\x1bw\n",
            b"PASSWD imap\tu@d.test\told\tne\rw\n",
        ] {
            assert_eq!(command_of(bad), Command::BadChange, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_request() {
        let flood = "A=b\n".repeat(65) + "ENUMERATE\n";
        for bad in [
            &b"HELLO\n"[..],
            b"\n",
            b"AUTH \n",
            b"AUTH 9999\n",
            b"AUTH 8192\n",
            b"AUTH +5\nabcde",
            b"AUTH 99999999999999999999\n",
            b"AUTH 5\nabcde",
            b"AUTH 13\nimap\nlogin\nuu",
            b"AUTH 20\nimap\ncram-md5\n!!\n!!\n",
            b"PRE .\n",
            b"PRE . imap\n",
            flood.as_bytes(),
        ] {
            assert_eq!(parse(bad), Err(Malformed), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
