//! The messages of a SCRAM client (RFC 5802 7), parsed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::mechanism::saslname;

/// Longest nonce taken from a client.
const MAX_NONCE: usize = 512;

/// What the client says about channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// `n`: it has none.
    None,
    /// `y`: it has, but believes that the server has none.
    Offerable,
    /// `p=`: it uses this one.
    Used(&'a str),
}

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The flag of the GS2 header.
    pub binding: Binding<'a>,
    /// Whom the client wants to act for.
    pub authzid: Option<String>,
    /// The header as it was sent, with both commas.
    pub gs2_header: &'a str,
    /// All behind it.
    pub bare: &'a str,
    /// Who it is.
    pub username: String,
    /// Its nonce.
    pub nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads the message.
    pub fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let message = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
        let (flag, rest) = message.split_once(',').ok_or("the GS2 header is cut off")?;
        let (authzid, bare) = rest.split_once(',').ok_or("the GS2 header is cut off")?;
        let binding = match flag {
            "n" => Binding::None,
            "y" => Binding::Offerable,
            _ => Binding::Used(flag.strip_prefix("p=").ok_or("the GS2 header has no such flag")?),
        };
        let authzid = match authzid {
            "" => None,
            text => Some(saslname(
                text.strip_prefix("a=").ok_or("the GS2 header is damaged")?,
            )?),
        };
        let mut attributes = bare.split(',');
        let username = match attributes.next().and_then(|first| first.split_once('=')) {
            Some(("n", name)) => saslname(name)?,
            Some(("m", _)) => return Err("the client demands an extension that is not known"),
            _ => return Err("the name is missing"),
        };
        let nonce = attributes
            .next()
            .and_then(|text| text.strip_prefix("r="))
            .filter(|nonce| is_nonce(nonce))
            .ok_or("the nonce is missing or no nonce")?;
        extensions(attributes)?;
        Ok(Self {
            binding,
            authzid,
            gs2_header: &message[..message.len() - bare.len()],
            bare,
            username,
            nonce,
        })
    }
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// GS2 header and channel binding.
    pub binding: Vec<u8>,
    /// Both nonces.
    pub nonce: &'a str,
    /// All before the proof.
    pub without_proof: &'a str,
    /// The proof.
    pub proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    /// Reads the message.
    pub fn parse(message: &'a [u8]) -> Result<Self, &'static str> {
        let message = std::str::from_utf8(message).map_err(|_| "the message is not UTF-8")?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or("the proof is missing")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|text| text.strip_prefix("c="));
        let nonce = attributes.next().and_then(|text| text.strip_prefix("r="));
        extensions(attributes)?;
        let decode = |text| BASE64_STANDARD.decode(text).map_err(|_| "this is not base64");
        Ok(Self {
            binding: decode(binding.ok_or("the channel binding is missing")?)?,
            nonce: nonce.ok_or("the nonce is missing")?,
            without_proof,
            proof: decode(proof)?,
        })
    }
}

/// Extensions are attributes, and ignored where they are not mandatory.
fn extensions<'a>(attributes: impl Iterator<Item = &'a str>) -> Result<(), &'static str> {
    for attribute in attributes {
        match attribute.split_once('=') {
            Some(("m", _)) => return Err("the client demands an extension that is not known"),
            Some((name, value)) if is_name(name) && !value.is_empty() => {}
            _ => return Err("an attribute is damaged"),
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_nonce(nonce: &str) -> bool {
    (1..=MAX_NONCE).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_messages() {
        let first = ClientFirst::parse(b"p=tls-exporter,a=x=2Cy,n=u,r=abc,x=1").unwrap();
        assert_eq!(first.binding, Binding::Used("tls-exporter"));
        assert_eq!(first.authzid.as_deref(), Some("x,y"));
        assert_eq!(
            (first.gs2_header, first.bare),
            ("p=tls-exporter,a=x=2Cy,", "n=u,r=abc,x=1")
        );
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=u",
            "n,,r=abc,n=u",
            "n,,n=u,r=",
            "n,,n=u,r=a b",
            "x,,n=u,r=abc",
            "n,u,n=u,r=abc",
            "n,a=,n=u,r=abc",
            "n,,m=x,n=u,r=abc",
            "n,,n=u,r=abc,m=x",
            "n,,n=,r=abc",
            "n,,n=u,r=abc,",
            "n,,n=u,r=abc,xy=1",
            "n,,n=u,r=abc,x=",
        ] {
            assert!(ClientFirst::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = format!("n,,n=u,r={}", "x".repeat(513));
        assert!(ClientFirst::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn final_messages() {
        let last = ClientFinal::parse(b"c=biws,r=abc,x=1,p=AAAA").unwrap();
        assert_eq!((last.binding.as_slice(), last.nonce), (&b"n,,"[..], "abc"));
        assert_eq!((last.without_proof, last.proof.len()), ("c=biws,r=abc,x=1", 3));
        for bad in [
            "",
            "c=biws,r=abc",
            "r=abc,p=AAAA",
            "c=biws,p=AAAA",
            "c=biws,r=abc,p=AAA",
            "c=bi s,r=abc,p=AAAA",
            "c=biws,r=abc,m=1,p=AAAA",
            "r=abc,c=biws,p=AAAA",
            "c=biws,r=abc,p=AAAA,x=1",
            "p=AAAA",
        ] {
            assert!(ClientFinal::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
