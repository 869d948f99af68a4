//! A name server that knows one zone.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

/// What is answered for a name.
#[derive(Default, Clone)]
pub struct Records {
    pub mx: Vec<(u16, &'static str)>,
    pub a: Vec<&'static str>,
    /// Answer SERVFAIL to everything.
    pub fails: bool,
}

/// Starts it; names that are not in the zone do not exist.
pub async fn server(zone: HashMap<&'static str, Records>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..n], &zone) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

/// The answer to a query with one question (RFC 1035 4.1).
fn answer(query: &[u8], zone: &HashMap<&'static str, Records>) -> Option<Vec<u8>> {
    let (name, end) = name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let records = zone.get(name.as_str());
    let rdata: Vec<Vec<u8>> = match (records, kind) {
        (Some(r), 15) => {
            r.mx.iter()
                .map(|(p, n)| [&p.to_be_bytes()[..], &encode(n)].concat())
                .collect()
        }
        (Some(r), 1) => {
            r.a.iter()
                .map(|a| match a.parse::<IpAddr>().unwrap() {
                    IpAddr::V4(a) => a.octets().to_vec(),
                    IpAddr::V6(_) => panic!("A records only"),
                })
                .collect()
        }
        _ => vec![],
    };
    let code = match records {
        None => 3,
        Some(r) if r.fails => 2,
        Some(_) => 0,
    };
    let mut out = query[..2].to_vec();
    out.extend([0x84, code, 0, 1]);
    out.extend((rdata.len() as u16).to_be_bytes());
    out.extend([0, 0, 0, 0]);
    out.extend(&query[12..end + 4]);
    for data in rdata {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
