//! A name server with the zones of a test: UDP and TCP on one port, no recursion, no compression, no surprises.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// What a name has, beside which everything is NXDOMAIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// IPv4 address.
    A(Ipv4Addr),
    /// Mail exchanger: preference and host; `.` as host is a null MX (RFC 7505).
    Mx(u16, String),
    /// Alias for another name.
    Cname(String),
    /// The name server fails (SERVFAIL) whenever the name is asked for.
    Failure,
    /// The name server says nothing.
    Silence,
}

#[derive(Debug, Default)]
struct Zone {
    records: Mutex<HashMap<String, Vec<Record>>>,
    questions: Mutex<Vec<String>>,
    over: AtomicBool,
}

/// The running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    zone: Arc<Zone>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Starts an empty server on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> Result<Self> {
        let (udp, tcp) = bind()?;
        let address = udp.local_addr()?;
        let tick = Some(Duration::from_millis(50));
        udp.set_read_timeout(tick)?;
        tcp.set_nonblocking(true)?;
        let zone = Arc::new(Zone::default());
        let (for_udp, for_tcp) = (Arc::clone(&zone), Arc::clone(&zone));
        let threads = vec![
            thread::spawn(move || serve_udp(&udp, &for_udp)),
            thread::spawn(move || serve_tcp(&tcp, &for_tcp)),
        ];
        Ok(Self {
            address,
            zone,
            threads,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a record to a name.
    pub fn add(&self, name: &str, record: Record) {
        let mut records = self.zone.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.entry(name.to_ascii_lowercase()).or_default().push(record);
    }

    /// Gives a domain one mail exchanger, `mx.DOMAIN`, with this address.
    pub fn mail_domain(&self, domain: &str, address: Ipv4Addr) {
        let host = format!("mx.{domain}");
        self.add(domain, Record::Mx(10, host.clone()));
        self.add(&host, Record::A(address));
    }

    /// Forgets a name.
    pub fn remove(&self, name: &str) {
        self.zone
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&name.to_ascii_lowercase());
    }

    /// The names that were asked for, with the type, as `a.test MX`.
    #[must_use]
    pub fn questions(&self) -> Vec<String> {
        self.zone
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.zone.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One port for both transports.
fn bind() -> Result<(UdpSocket, TcpListener)> {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        if let Ok(tcp) = TcpListener::bind(udp.local_addr()?) {
            return Ok((udp, tcp));
        }
    }
    anyhow::bail!("no port is free for both UDP and TCP")
}

fn serve_udp(socket: &UdpSocket, zone: &Zone) {
    let mut question = [0; 1500];
    while !zone.over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut question) else {
            continue;
        };
        if let Some(answer) = answer(&question[..length], zone) {
            // A client that went away is no concern of a name server.
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Zone) {
    while !zone.over.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut exchange = || -> Result<()> {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(Duration::from_millis(500)))?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question)?;
            if let Some(answer) = answer(&question, zone) {
                stream.write_all(&u16::try_from(answer.len())?.to_be_bytes())?;
                stream.write_all(&answer)?;
            }
            Ok(())
        };
        let _ = exchange();
    }
}

const CODE_OK: u8 = 0;
const CODE_SERVFAIL: u8 = 2;
const CODE_NXDOMAIN: u8 = 3;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_MX: u16 = 15;

/// The answer to one question (RFC 1035 section 4); `None` for silence.
fn answer(message: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, after) = read_name(message, 12)?;
    let kind = u16::from_be_bytes(message.get(after..after + 2)?.try_into().ok()?);
    let question = message.get(12..after + 4)?;
    let shown = match kind {
        TYPE_A => "A",
        TYPE_MX => "MX",
        TYPE_CNAME => "CNAME",
        28 => "AAAA",
        _ => "other",
    };
    zone.questions
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(format!("{name} {shown}"));
    let records = zone.records.lock().unwrap_or_else(PoisonError::into_inner);
    let here = records.get(&name);
    let (code, answers) = match here {
        None => (CODE_NXDOMAIN, Vec::new()),
        Some(list) if list.contains(&Record::Silence) => return None,
        Some(list) if list.contains(&Record::Failure) => (CODE_SERVFAIL, Vec::new()),
        Some(list) => (CODE_OK, collect(&name, list, kind, &records)),
    };
    let mut out = Vec::new();
    out.extend_from_slice(message.get(..2)?);
    out.extend_from_slice(&[0x84 | (message.get(2)? & 1), code, 0, 1]);
    out.extend_from_slice(&u16::try_from(answers.len()).ok()?.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(question);
    answers.iter().for_each(|bytes| out.extend_from_slice(bytes));
    Some(out)
}

/// The records of the asked type, behind an alias too.
fn collect(name: &str, list: &[Record], kind: u16, all: &HashMap<String, Vec<Record>>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for record in list {
        match record {
            Record::A(address) if kind == TYPE_A => out.push(resource(name, TYPE_A, &address.octets())),
            Record::Mx(preference, host) if kind == TYPE_MX => {
                let mut data = preference.to_be_bytes().to_vec();
                data.extend(encode_name(host));
                out.push(resource(name, TYPE_MX, &data));
            }
            Record::Cname(target) => {
                out.push(resource(name, TYPE_CNAME, &encode_name(target)));
                let behind = all.get(target).filter(|_| target != name && kind != TYPE_CNAME);
                if let Some(behind) = behind {
                    out.extend(collect(target, behind, kind, &HashMap::new()));
                }
            }
            _ => {}
        }
    }
    out
}

fn resource(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = encode_name(name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
    out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(data);
    out
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn read_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = message.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

/// An address of 127/8 that no other running test has, with the socket that claims it; keep the socket.
///
/// # Errors
/// When the kernel gives no random bytes or none of many addresses is free.
pub fn claim_address() -> Result<(Ipv4Addr, TcpListener)> {
    for _ in 0..200 {
        let mut random = [0; 2];
        getrandom::fill(&mut random).context("random bytes")?;
        let address = Ipv4Addr::new(127, random[0] % 253 + 1, random[1], 1);
        if let Ok(claim) = TcpListener::bind((address, CLAIM_PORT)) {
            return Ok((address, claim));
        }
    }
    anyhow::bail!("none of 200 random addresses of 127/8 is free")
}

/// Whoever holds this port of an address has the address.
const CLAIM_PORT: u16 = 2500;
