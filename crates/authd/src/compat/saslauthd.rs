//! The protocol of saslauthd's `mux`: login, password, service, realm and perhaps the client's address, each
//! with its length in two octets; the answer is `OK` or `NO` in the same form. Trouble is no answer: the
//! client's libsasl makes a temporary failure of that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::daemon::{Connection, Limits, Peer, Refused, Service, Stream};
use auth_api::sasl::LoginStep;
use mail_types::Secret;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::{Asked, PATIENCE, Shared, answer};

/// The socket's name in the audit.
const SOCKET: &str = "saslauthd";
/// Longest string.
const MAX_STRING: usize = 256;
/// Five strings with their lengths.
const MAX_REQUEST: usize = 5 * (2 + MAX_STRING);
/// How long we wait for the rest of a fifth string that has begun.
const REST_OF_FIFTH: Duration = Duration::from_millis(200);

/// The service.
pub struct Saslauthd(pub Arc<Shared>);

impl Service for Saslauthd {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn refusal(&self, _: Refused, _: &Peer) -> Vec<u8> {
        Vec::new()
    }

    async fn handle(self: Arc<Self>, connection: Connection) {
        let mut stream = connection.stream;
        let stop = self.0.ctx.shutdown.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = session(&self.0, &mut stream) => {}
        }
    }
}

async fn session(shared: &Shared, stream: &mut Stream) {
    let mut buffer = Zeroizing::new([0; MAX_REQUEST]);
    let request = match tokio::time::timeout(PATIENCE, read(stream, &mut buffer)).await {
        Ok(Some(Parsed::Complete(request))) => request,
        Ok(Some(Parsed::TooLong)) => {
            let asked = Asked {
                socket: SOCKET,
                login: b"",
                realm: b"",
                service: b"",
                peer: None,
            };
            shared.refuse(&asked, "a string of the request is too long").await;
            return answer(stream, &reply("NO a string is too long")).await;
        }
        // Gone, or too slow.
        Ok(None | Some(Parsed::Incomplete)) | Err(_) => return answer(stream, b"").await,
    };
    let no = match request.login.is_empty() || request.password.is_empty() {
        true => "NO login and password are needed",
        false => "NO authentication failed",
    };
    let asked = Asked {
        socket: SOCKET,
        login: request.login,
        realm: request.realm,
        service: request.service,
        peer: request.peer,
    };
    match shared.check(asked, Secret::new(request.password)).await {
        LoginStep::Success(_) => answer(stream, &reply("OK")).await,
        LoginStep::Denied { .. } => answer(stream, &reply(no)).await,
        LoginStep::Challenge(_) | LoginStep::TemporaryFailure { .. } => answer(stream, b"").await,
    }
}

fn reply(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(0);
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// The strings of a request.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    login: &'a [u8],
    password: &'a [u8],
    service: &'a [u8],
    realm: &'a [u8],
    /// The fifth string, where it came and is an address.
    peer: Option<SocketAddr>,
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    Incomplete,
    TooLong,
    Complete(Request<'a>),
}

/// Reads a request, however it is cut into writes. The fifth string is not waited for: old clients send four.
async fn read<'b>(stream: &mut Stream, buffer: &'b mut [u8; MAX_REQUEST]) -> Option<Parsed<'b>> {
    let mut length = 0;
    while matches!(parse(&buffer[..length]), (Parsed::Incomplete, _)) {
        length += more(stream, &mut buffer[length..]).await?;
    }
    // A fifth string that has begun is waited for, a moment only: the answer does not depend on it.
    let rest = async {
        while matches!(parse(&buffer[..length]), (Parsed::Complete(_), true)) {
            match more(stream, &mut buffer[length..]).await {
                Some(count) => length += count,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(REST_OF_FIFTH, rest).await;
    Some(parse(&buffer[..length]).0)
}

/// What came; `None` at the end, or where there is no room.
async fn more(stream: &mut Stream, room: &mut [u8]) -> Option<usize> {
    stream.read(room).await.ok().filter(|count| *count > 0)
}

/// The request in these octets, and whether a fifth string has begun that is not complete.
fn parse(octets: &[u8]) -> (Parsed<'_>, bool) {
    let mut rest = octets;
    let mut strings = [&[][..]; 4];
    for string in &mut strings {
        match take(&mut rest) {
            Taken::Whole(octets) => *string = octets,
            Taken::Begun => return (Parsed::Incomplete, false),
            Taken::TooLong => return (Parsed::TooLong, false),
        }
    }
    let begun = !rest.is_empty();
    let (peer, begun) = match take(&mut rest) {
        Taken::Whole(octets) => (address(octets), false),
        Taken::Begun => (None, begun),
        Taken::TooLong => return (Parsed::TooLong, false),
    };
    let [login, password, service, realm] = strings;
    let request = Request {
        login,
        password,
        service,
        realm,
        peer,
    };
    (Parsed::Complete(request), begun)
}

enum Taken<'a> {
    Whole(&'a [u8]),
    Begun,
    TooLong,
}

/// Takes the next string off.
fn take<'a>(octets: &mut &'a [u8]) -> Taken<'a> {
    let Some((length, rest)) = octets.split_first_chunk::<2>() else {
        return Taken::Begun;
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_STRING {
        return Taken::TooLong;
    }
    match rest.split_at_checked(length) {
        Some((string, rest)) => {
            *octets = rest;
            Taken::Whole(string)
        }
        None => Taken::Begun,
    }
}

/// `ip;port`, as libsasl writes addresses.
fn address(octets: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(octets).ok()?;
    let (ip, port) = text.split_once(';').unwrap_or((text, "0"));
    let ip: IpAddr = ip.parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(strings: &[&str]) -> Vec<u8> {
        strings.iter().flat_map(|text| reply(text)).collect()
    }

    #[test]
    fn four_and_five_strings() {
        let four = request(&["u@d.test", "pw", "smtp", ""]);
        let expected = |peer| Request {
            login: b"u@d.test",
            password: b"pw",
            service: b"smtp",
            realm: b"",
            peer,
        };
        assert_eq!(parse(&four), (Parsed::Complete(expected(None)), false));
        let five = [four.clone(), reply("192.0.2.1;4711")].concat();
        let peer = "192.0.2.1:4711".parse().ok();
        assert_eq!(parse(&five), (Parsed::Complete(expected(peer)), false));
        // Whatever is cut off is waited for; the fifth string only once it has begun.
        for cut in 0..four.len() {
            assert_eq!(parse(&four[..cut]), (Parsed::Incomplete, false), "{cut}");
        }
        for cut in four.len() + 1..five.len() {
            assert_eq!(
                parse(&five[..cut]),
                (Parsed::Complete(expected(None)), true),
                "{cut}"
            );
        }
        let empty = [four, reply("")].concat();
        assert_eq!(parse(&empty), (Parsed::Complete(expected(None)), false));
    }

    #[test]
    fn long_strings_are_refused_before_they_come() {
        let most = "x".repeat(256);
        assert!(matches!(
            parse(&request(&[&most, &most, &most, &most])).0,
            Parsed::Complete(_)
        ));
        assert_eq!(parse(&257_u16.to_be_bytes()).0, Parsed::TooLong);
        assert_eq!(
            parse(&[request(&["u", "p", "s"]), vec![0xff, 0xff]].concat()).0,
            Parsed::TooLong
        );
        assert_eq!(
            parse(&[request(&["u", "p", "s", ""]), vec![1, 1]].concat()).0,
            Parsed::TooLong
        );
    }

    #[test]
    fn addresses_of_libsasl() {
        assert_eq!(address(b"::ffff:192.0.2.1;25"), "192.0.2.1:25".parse().ok());
        assert_eq!(address(b"2001:db8::1;25"), "[2001:db8::1]:25".parse().ok());
        assert_eq!(address(b"192.0.2.1"), "192.0.2.1:0".parse().ok());
        for bad in ["", ";", "localhost;25", "192.0.2.1;70000", "\u{ff}"] {
            assert_eq!(address(bad.as_bytes()), None, "{bad}");
        }
    }
}
