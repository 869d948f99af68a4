//! What a server announced in its EHLO or LHLO reply.

use mail_types::Reply;

/// The extensions of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    lines: Vec<(String, String)>,
}

impl Extensions {
    /// Reads the lines after the first of an EHLO reply.
    pub(super) fn parse(reply: &Reply) -> Self {
        let lines = reply
            .text
            .split('\n')
            .skip(1)
            .map(|line| {
                let (keyword, params) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
                (keyword.to_ascii_uppercase(), params.trim().to_owned())
            })
            .collect();
        Self { lines }
    }

    /// Whether `keyword` (upper case) was announced.
    pub fn has(&self, keyword: &str) -> bool {
        self.params(keyword).is_some()
    }

    /// The parameters of `keyword` (upper case), where it was announced.
    pub fn params(&self, keyword: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(word, _)| word == keyword)
            .map(|(_, params)| params.as_str())
    }

    /// The size limit in octets: `None` where there is none or none is known (RFC 1870 4).
    pub fn size(&self) -> Option<u64> {
        self.params("SIZE")?.parse().ok().filter(|size| *size > 0)
    }

    /// All keywords with their parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .map(|(word, params)| (word.as_str(), params.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_parameters() {
        let reply = Reply::plain(
            250,
            "mx.a.test hello\nPIPELINING\nsize 1000\nAUTH PLAIN LOGIN\nSIZE",
        );
        let extensions = Extensions::parse(&reply);
        assert!(extensions.has("PIPELINING") && !extensions.has("MX.A.TEST"));
        assert_eq!(extensions.size(), Some(1000));
        assert_eq!(extensions.params("AUTH"), Some("PLAIN LOGIN"));
    }
}
