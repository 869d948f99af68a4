//! A dialogue file becomes a row.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::pattern::Pattern;
use super::step::{Control, Kind, Needle, SinkStep, Step};

/// One dialogue.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id, e.g. `S01`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub file: PathBuf,
    /// What it connects to.
    pub service: String,
    /// Settings that the daemons run with.
    pub settings: Vec<(String, String)>,
    /// Whether its input is cut at every byte.
    pub splits: bool,
    /// Whether the connection is dropped at every byte of its input.
    pub drops: bool,
    /// How much the memory of a daemon may grow, in bytes.
    pub memory: u64,
    /// What is done.
    pub steps: Vec<Step>,
}

impl Row {
    /// Reads a file; `replace` pairs are applied to its text first (another server has other accounts).
    ///
    /// # Errors
    /// What cannot be understood, with its line.
    pub fn read(file: &Path, replace: &[(String, String)]) -> Result<Self> {
        let text = load(file, replace)?;
        let (id, title) = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .and_then(|line| line.split_once("  "))
            .with_context(|| format!("{}: the first line is not `# ID  title`", file.display()))?;
        let mut row = Self {
            id: id.to_owned(),
            title: title.trim().to_owned(),
            file: file.to_path_buf(),
            service: "mx".to_owned(),
            settings: Vec::new(),
            splits: true,
            drops: true,
            memory: 16 << 20,
            steps: Vec::new(),
        };
        let mut parser = Parser {
            lines: Vec::new(),
            at: 0,
            replace,
            folder: file.parent().unwrap_or(Path::new(".")),
            imap: HashMap::new(),
        };
        parser.lines = parser.numbered(&text)?;
        while let Some((number, line)) = parser.peek() {
            if !row
                .header(&line)
                .with_context(|| format!("{}:{number}", file.display()))?
            {
                break;
            }
            parser.at += 1;
        }
        let imap = row.service.starts_with("imap");
        row.steps = parser
            .steps(imap, false)
            .with_context(|| file.display().to_string())?;
        Ok(row)
    }

    /// Takes a header line; `false` when the steps begin.
    fn header(&mut self, line: &str) -> Result<bool> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "service" => rest.clone_into(&mut self.service),
            "set" => {
                let (option, value) = rest.split_once(' ').context("set OPTION VALUE")?;
                self.settings.push((option.to_owned(), value.trim().to_owned()));
            }
            "splits" => self.splits = yes(rest)?,
            "drops" => self.drops = yes(rest)?,
            "needs" => ensure!(matches!(rest, "sink" | "control"), "needs {rest}"),
            "memory" => {
                let mebibytes: u64 = rest.trim_end_matches('M').parse().context("memory in M")?;
                self.memory = mebibytes << 20;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn load(file: &Path, replace: &[(String, String)]) -> Result<String> {
    let mut text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    for (from, to) in replace {
        text = text.replace(from, to);
    }
    Ok(text)
}

struct Parser<'a> {
    lines: Vec<(usize, String)>,
    at: usize,
    replace: &'a [(String, String)],
    folder: &'a Path,
    /// Connections that were opened to a service of their own, and whether that is IMAP.
    imap: HashMap<String, bool>,
}

impl Parser<'_> {
    /// The lines that say something, with the files that are included in their place.
    fn numbered(&self, text: &str) -> Result<Vec<(usize, String)>> {
        let mut out = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("include ") {
                let inner = load(&self.folder.join(name.trim()), self.replace)?;
                out.extend(
                    self.numbered(&inner)?
                        .into_iter()
                        .map(|(_, line)| (index + 1, line)),
                );
            } else {
                out.push((index + 1, line.to_owned()));
            }
        }
        Ok(out)
    }

    fn peek(&self) -> Option<(usize, String)> {
        self.lines.get(self.at).cloned()
    }

    /// Steps up to the end of the file, or of the block.
    fn steps(&mut self, imap: bool, in_block: bool) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        while let Some((number, line)) = self.peek() {
            self.at += 1;
            if line == "end" {
                ensure!(in_block, "line {number}: an end without a beginning");
                return Ok(steps);
            }
            let (connection, rest) = match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
                Some((name, rest)) => (name.to_owned(), rest.to_owned()),
                None => (String::new(), line.clone()),
            };
            let kind = if rest == "input" {
                Kind::Input(self.steps(imap, true)?)
            } else if let Some(times) = rest.strip_prefix("repeat ") {
                Kind::Repeat(times.trim().parse()?, self.steps(imap, true)?)
            } else {
                let imap = self.imap.get(&connection).copied().unwrap_or(imap);
                parse_step(&rest, imap).with_context(|| format!("line {number}: {line}"))?
            };
            if let Kind::Connect(Some(service)) = &kind {
                self.imap.insert(connection.clone(), service.starts_with("imap"));
            }
            steps.push(Step {
                line: number,
                connection,
                kind,
            });
        }
        ensure!(!in_block, "a block without its end");
        Ok(steps)
    }
}

fn parse_step(line: &str, imap: bool) -> Result<Kind> {
    if let Some(kind) = parse_traffic(line, imap)? {
        return Ok(kind);
    }
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    Ok(match word {
        "quit" => Kind::Quit,
        "flood" => {
            let (times, text) = rest.split_once(' ').context("flood N TEXT")?;
            Kind::Flood {
                times: times.parse()?,
                text: text.to_owned(),
            }
        }
        "drip" => {
            let (milliseconds, text) = rest.split_once(' ').context("drip MS TEXT")?;
            Kind::Drip {
                milliseconds: milliseconds.parse()?,
                text: text.to_owned(),
            }
        }
        "pause" => Kind::Pause(if rest.is_empty() { 50 } else { rest.parse()? }),
        "starttls" => Kind::StartTls,
        "close_notify" => Kind::CloseNotify,
        "drop" => Kind::Drop,
        "reset" => Kind::Reset,
        "halfclose" => Kind::HalfClose,
        "connect" => Kind::Connect((!rest.is_empty()).then(|| rest.to_owned())),
        "deadline" => Kind::Deadline(rest.parse()?),
        "daemon" => {
            let (name, action) = rest.split_once(' ').context("daemon NAME ACTION")?;
            Kind::Daemon {
                name: name.to_owned(),
                action: parse_control(action)?,
            }
        }
        "settle" => Kind::Settle,
        "mailbox" => parse_mailbox(rest)?,
        "put" => two(rest).map(|(address, text)| Kind::Put { address, text })?,
        "remove" => two(rest).map(|(address, file)| Kind::Remove { address, file })?,
        "sink" => Kind::Sink(parse_sink(rest)?),
        "queue" => match rest.strip_prefix("bounces ") {
            Some(count) => Kind::QueueBounces(count.parse()?),
            None => Kind::Queue(rest.parse()?),
        },
        "save" => {
            let (name, regex) = two(rest)?;
            Kind::Save {
                name,
                regex: regex.trim_matches('/').to_owned(),
            }
        }
        _ => bail!("no step is called {word}"),
    })
}

/// Steps that begin with `<` or `>`.
fn parse_traffic(line: &str, imap: bool) -> Result<Option<Kind>> {
    let after = |sign: &str| {
        line.strip_prefix(sign)
            .map(|rest| rest.strip_prefix(' ').unwrap_or(rest).to_owned())
    };
    Ok(if line == "<eof" {
        Some(Kind::ExpectEnd)
    } else if line == "<any" {
        Some(Kind::ExpectAny)
    } else if let Some(text) = after(">>") {
        Some(Kind::Send {
            text,
            line_end: false,
        })
    } else if let Some(text) = after(">") {
        Some(Kind::Send { text, line_end: true })
    } else if let Some(pattern) = after("<.") {
        Some(Kind::ExpectLines(Pattern::parse(&pattern, imap)?))
    } else if let Some(pattern) = after("<") {
        Some(Kind::Expect(Pattern::parse(&pattern, imap)?))
    } else {
        None
    })
}

fn parse_control(action: &str) -> Result<Control> {
    Ok(match action {
        "kill" => Control::Kill,
        "restart" => Control::Restart,
        "term" => Control::Terminate,
        "stop" => Control::Stop,
        "cont" => Control::Continue,
        "reload" => Control::Reload,
        _ => bail!("nothing can be done to a daemon that is called {action}"),
    })
}

fn parse_mailbox(rest: &str) -> Result<Kind> {
    let (address, rest) = two(rest)?;
    if let Some(text) = rest.strip_prefix("body ") {
        return Ok(Kind::MailboxBody {
            address,
            text: text.to_owned(),
        });
    }
    let (count, needle) = rest
        .split_once(' ')
        .map_or((rest.as_str(), None), |(count, needle)| (count, Some(needle)));
    let needle = needle.map(parse_needle).transpose()?;
    Ok(Kind::Mailbox {
        address,
        count: count.parse().context("a number of messages")?,
        needle,
    })
}

fn parse_needle(text: &str) -> Result<Needle> {
    let (word, text) = two(text)?;
    match word.as_str() {
        "contains" => Ok(Needle { present: true, text }),
        "lacks" => Ok(Needle { present: false, text }),
        _ => bail!("{word} is neither contains nor lacks"),
    }
}

fn parse_sink(rest: &str) -> Result<SinkStep> {
    let (word, more) = rest.split_once(' ').unwrap_or((rest, ""));
    Ok(match word {
        "behave" => SinkStep::Behave,
        "reply" => two(more).map(|(stage, text)| SinkStep::Reply { stage, text })?,
        "close" => SinkStep::Close {
            stage: more.to_owned(),
        },
        "hang" => SinkStep::Hang {
            stage: more.to_owned(),
        },
        "messages" => SinkStep::Messages(more.parse()?),
        "contains" | "lacks" => SinkStep::Data(parse_needle(rest)?),
        "clean" => SinkStep::Clean,
        _ => bail!("the sink cannot {word}"),
    })
}

fn two(text: &str) -> Result<(String, String)> {
    let (first, second) = text
        .split_once(' ')
        .with_context(|| format!("two words in {text}"))?;
    Ok((first.to_owned(), second.to_owned()))
}

fn yes(text: &str) -> Result<bool> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => bail!("{text} is neither yes nor no"),
    }
}
