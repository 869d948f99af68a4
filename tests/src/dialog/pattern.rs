//! What a reply has to be: statuses, a regular expression, a time.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use regex::bytes::Regex;

/// A pattern after `<`.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// IMAP only: `a` or `*`, the tag before the status.
    pub tag: Option<String>,
    /// Statuses that are accepted; `eof` for a closed connection. Empty accepts all.
    pub statuses: Vec<String>,
    /// A regular expression on the whole reply, and whether it has to match.
    pub regex: Option<(Regex, bool)>,
    /// The regular expression as written, where it has a `{NAME}` that `save` gives a value.
    unfilled: Option<String>,
    /// The reply may not take longer, in seconds.
    pub within: Option<f64>,
    /// The reply may not come earlier, in seconds.
    pub after: Option<f64>,
}

impl Pattern {
    /// Reads `STATUSES [!][/REGEX/] [within SECONDS] [after SECONDS]`; `imap` begins with a tag.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(text: &str, imap: bool) -> Result<Self> {
        let mut rest = text.trim();
        let mut pattern = Self {
            tag: None,
            statuses: Vec::new(),
            regex: None,
            unfilled: None,
            within: None,
            after: None,
        };
        if imap && !rest.starts_with(['+', '/', '!']) {
            let (tag, more) = rest
                .split_once(' ')
                .context("an IMAP pattern begins with a tag")?;
            pattern.tag = Some(tag.to_owned());
            rest = more.trim_start();
        }
        if !rest.is_empty() && !rest.starts_with(['/', '!']) {
            let (statuses, more) = rest.split_once(' ').unwrap_or((rest, ""));
            pattern.statuses = statuses.split('|').map(str::to_owned).collect();
            rest = more.trim_start();
        }
        while !rest.is_empty() {
            rest = pattern.parse_part(rest)?.trim_start();
        }
        Ok(pattern)
    }

    fn parse_part<'a>(&mut self, rest: &'a str) -> Result<&'a str> {
        let (wanted, body) = match rest.strip_prefix('!') {
            Some(body) => (false, body),
            None => (true, rest),
        };
        if let Some(body) = body.strip_prefix('/') {
            let end = end_of_regex(body).context("a regular expression without its closing /")?;
            let source = body[..end].replace("\\/", "/");
            let name = Regex::new(NAME)?;
            if name.is_match(source.as_bytes()) {
                let anything = name.replace_all(source.as_bytes(), &b"x"[..]);
                Regex::new(&String::from_utf8_lossy(&anything))?;
                self.unfilled = Some(source);
                self.regex = Some((Regex::new("")?, wanted));
            } else {
                self.regex = Some((Regex::new(&source)?, wanted));
            }
            return Ok(&body[end + 1..]);
        }
        let mut words = rest.splitn(3, ' ');
        let (word, seconds) = (
            words.next().unwrap_or_default(),
            words.next().context("a number of seconds")?,
        );
        let seconds: f64 = seconds.parse().with_context(|| format!("{seconds} seconds"))?;
        match word {
            "within" => self.within = Some(seconds),
            "after" => self.after = Some(seconds),
            _ => bail!("{word} means nothing in a pattern"),
        }
        Ok(words.next().unwrap_or_default())
    }

    /// The pattern with the saved values in its regular expression, each meaning itself.
    ///
    /// # Errors
    /// A name that nothing was saved under.
    pub fn filled(&self, values: &HashMap<String, String>) -> Result<Self> {
        let mut filled = self.clone();
        let (Some(mut source), Some((_, wanted))) = (filled.unfilled.take(), &self.regex) else {
            return Ok(filled);
        };
        for (name, value) in values {
            source = source.replace(&format!("{{{name}}}"), &regex::escape(value));
        }
        ensure!(
            !Regex::new(NAME)?.is_match(source.as_bytes()),
            "nothing was saved for a name in {source}"
        );
        filled.regex = Some((Regex::new(&source)?, *wanted));
        Ok(filled)
    }

    /// Whether a closed connection is an answer too.
    #[must_use]
    pub fn allows_end(&self) -> bool {
        self.statuses.iter().any(|status| status == "eof")
    }

    /// Compares a reply: its status (code, `+OK`, `OK`...), its text, the seconds that it took.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, status: &str, text: &[u8], seconds: f64) -> Result<()> {
        let fits = self.statuses.iter().any(|wanted| {
            wanted == status
                || wanted
                    .strip_suffix("xx")
                    .is_some_and(|digit| !digit.is_empty() && status.starts_with(digit))
        });
        ensure!(
            self.statuses.is_empty() || fits,
            "wanted {}",
            self.statuses.join("|")
        );
        if let Some((regex, wanted)) = &self.regex {
            ensure!(
                regex.is_match(text) == *wanted,
                "{} {regex}",
                if *wanted {
                    "does not match"
                } else {
                    "must not match"
                }
            );
        }
        if let Some(limit) = self.within {
            ensure!(
                seconds <= limit,
                "came after {seconds:.2} s, later than {limit} s"
            );
        }
        if let Some(limit) = self.after {
            ensure!(
                seconds >= limit,
                "came after {seconds:.2} s, earlier than {limit} s"
            );
        }
        Ok(())
    }
}

/// A saved value in a regular expression: capitals in braces, which are no repetition.
const NAME: &str = r"\{[A-Z][A-Z0-9_]*\}";

/// The position of the slash that ends a regular expression; `\/` does not.
fn end_of_regex(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'/' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    //! Patterns that fit and that do not.

    use super::*;

    #[test]
    fn statuses_expressions_and_times_are_compared() {
        let fits = |pattern: &str, status: &str, text: &str, seconds: f64| {
            Pattern::parse(pattern, false)
                .unwrap()
                .check(status, text.as_bytes(), seconds)
                .is_ok()
        };
        assert!(fits("250", "250", "250 ok", 0.0) && !fits("250", "251", "251 ok", 0.0));
        assert!(fits("2xx", "251", "", 0.0) && !fits("2xx", "550", "", 0.0));
        assert!(fits("550|501", "501", "", 0.0) && !fits("550|501", "250", "", 0.0));
        assert!(
            fits("250 /SIZE \\d+/", "250", "250-SIZE 100", 0.0) && !fits("250 /SIZE/", "250", "250 ok", 0.0)
        );
        assert!(
            fits("250 !/AUTH/", "250", "250 ok", 0.0) && !fits("250 !/AUTH/", "250", "250-AUTH PLAIN", 0.0)
        );
        assert!(fits("421 within 3 after 1", "421", "", 2.0) && !fits("421 within 3", "421", "", 4.0));
        assert!(!fits("421 after 1", "421", "", 0.5));
        assert!(Pattern::parse("421|eof", false).unwrap().allows_end());
        assert!(fits("/a\\/b/", "", "a/b", 0.0));
    }

    #[test]
    fn saved_values_mean_themselves() {
        let pattern = Pattern::parse("+OK /^\\+OK {A} [0-9]{2}$/", false).unwrap();
        assert!(pattern.filled(&HashMap::new()).is_err());
        let filled = pattern
            .filled(&HashMap::from([("A".into(), "x.y".into())]))
            .unwrap();
        assert!(filled.check("+OK", b"+OK x.y 10", 0.0).is_ok());
        assert!(filled.check("+OK", b"+OK xzy 10", 0.0).is_err());
    }

    #[test]
    fn imap_patterns_begin_with_a_tag() {
        let pattern = Pattern::parse("a NO|BAD /TOOBIG/", true).unwrap();
        assert_eq!(pattern.tag.as_deref(), Some("a"));
        assert!(pattern.check("NO", b"a NO [TOOBIG] no", 0.0).is_ok());
        assert!(Pattern::parse("+", true).unwrap().tag.is_none());
    }
}
