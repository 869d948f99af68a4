//! The reference state machine of SMTP sessions, and random sequences for it (robustness.md S32).
//!
//! The model knows nothing of lines, buffers and phases: it says what a whole command is answered with, from
//! five facts about the session.

/// Everything that decides about the next reply.
#[derive(Default, Clone)]
pub struct Model {
    hello: bool,
    pub tls: bool,
    login: bool,
    mail: Option<Envelope>,
    pub errors: u32,
    pub closed: bool,
}

#[derive(Default, Clone)]
pub struct Envelope {
    tried: bool,
    accepted: bool,
    chunks: bool,
    spoiled: bool,
}

/// The commands, good and bad. `u@local.test` exists and its password is `secret`; `nobody@` does not exist.
pub const STEPS: [&str; 30] = [
    "HELO c",
    "HELO",
    "EHLO c",
    "EHLO (",
    "STARTTLS",
    "STARTTLS x",
    "AUTH PLAIN AHVAbG9jYWwudGVzdABzZWNyZXQ=",
    "AUTH PLAIN YmFk",
    "AUTH PLAIN !",
    "AUTH",
    "MAIL FROM:<a@a.test>",
    "MAIL FROM:<>",
    "MAIL FROM:<a@a.test> FOO=1",
    "MAIL FROM:a",
    "MAIL FROM:<a@a.test> SIZE=99999999999",
    "RCPT TO:<u@local.test>",
    "RCPT TO:<nobody@local.test>",
    "RCPT TO:<>",
    "RCPT",
    "DATA",
    "DATA x",
    "BDAT 3",
    "BDAT 3 LAST",
    "BDAT x",
    "RSET",
    "RSET x",
    "NOOP",
    "VRFY x",
    "VRFY",
    "QUIT",
];

/// What follows a command on the wire in any case.
pub fn octets_behind(step: &str) -> &'static str {
    if step.starts_with("BDAT 3") { "abc" } else { "" }
}

impl Model {
    /// The codes that the step is answered with; a body that is asked for is sent as part of the step.
    pub fn expect(&mut self, step: &str) -> Vec<u16> {
        let mut codes = self.judge(step);
        for (n, code) in codes.clone().into_iter().enumerate() {
            self.errors += u32::from((500..600).contains(&code));
            if self.errors == 20 {
                codes.truncate(n + 1);
                codes.push(421);
                self.closed = true;
                break;
            }
        }
        codes
    }

    fn judge(&mut self, step: &str) -> Vec<u16> {
        let one = |code| vec![code];
        match step {
            "HELO c" | "EHLO c" => {
                self.hello = true;
                self.mail = None;
                one(250)
            }
            "NOOP" => one(250),
            "RSET" => {
                self.mail = None;
                one(250)
            }
            "QUIT" => {
                self.closed = true;
                one(221)
            }
            "MAIL FROM:<a@a.test> FOO=1" => one(555),
            "BDAT x" => {
                if let Some(mail) = &mut self.mail {
                    (mail.chunks, mail.spoiled) = (true, true);
                }
                one(501)
            }
            "HELO" | "EHLO (" | "STARTTLS x" | "AUTH PLAIN !" | "AUTH" | "MAIL FROM:a" | "RCPT TO:<>"
            | "RCPT" | "DATA x" | "RSET x" | "VRFY" => one(501),
            "STARTTLS" if self.tls => one(554),
            "STARTTLS" if self.mail.is_some() => one(503),
            "STARTTLS" => {
                (self.tls, self.hello, self.login) = (true, false, false);
                one(220)
            }
            _ if !self.hello => one(503),
            "VRFY x" => one(252),
            "AUTH PLAIN AHVAbG9jYWwudGVzdABzZWNyZXQ=" | "AUTH PLAIN YmFk" => one(self.auth(step)),
            "MAIL FROM:<a@a.test> SIZE=99999999999" if self.mail.is_none() => one(552),
            _ if step.starts_with("MAIL") && self.mail.is_some() => one(503),
            _ if step.starts_with("MAIL") => {
                self.mail = Some(Envelope::default());
                one(250)
            }
            _ => self.in_transaction(step),
        }
    }

    fn auth(&mut self, step: &str) -> u16 {
        if !self.tls {
            504
        } else if self.login || self.mail.is_some() {
            503
        } else if step.ends_with("YmFk") {
            535
        } else {
            self.login = true;
            235
        }
    }

    fn in_transaction(&mut self, step: &str) -> Vec<u16> {
        let Some(mail) = &mut self.mail else {
            return vec![503];
        };
        match step {
            "RCPT TO:<u@local.test>" | "RCPT TO:<nobody@local.test>" if mail.chunks => vec![503],
            "RCPT TO:<u@local.test>" => {
                (mail.tried, mail.accepted) = (true, true);
                vec![250]
            }
            "RCPT TO:<nobody@local.test>" => {
                mail.tried = true;
                vec![550]
            }
            "DATA" if mail.chunks => vec![503],
            _ if mail.spoiled => vec![503],
            _ if !mail.accepted => {
                if step.starts_with("BDAT") {
                    (mail.chunks, mail.spoiled) = (true, true);
                }
                vec![if mail.tried { 554 } else { 503 }]
            }
            "DATA" => {
                self.mail = None;
                vec![354, 250]
            }
            "BDAT 3" => {
                mail.chunks = true;
                vec![250]
            }
            "BDAT 3 LAST" => {
                self.mail = None;
                vec![250]
            }
            other => panic!("no rule for {other}"),
        }
    }
}

impl Model {
    /// What was heard for a whole step; a message that was taken makes the errors before it forgotten.
    pub fn settle(&mut self, step: &str, errors_before: u32, expected: &[u16]) {
        let taken = step == "DATA" && expected == [354, 250]
            || step == "BDAT 3 LAST" && expected == [250] && errors_before == self.errors;
        if taken {
            self.errors = 0;
        }
    }
}

/// The codes of the replies in an output.
pub fn codes(output: &[u8]) -> Vec<u16> {
    String::from_utf8_lossy(output)
        .lines()
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line[..3].parse().unwrap())
        .collect()
}

/// xorshift64*: the same sequences every time.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}
