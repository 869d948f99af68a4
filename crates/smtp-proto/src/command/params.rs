//! The parameters of MAIL and RCPT (RFC 5321 4.1.2 `esmtp-param` and the extensions that we announce).

use mail_types::{Notify, OriginalRecipient, Ret, xtext_decode};
use nom::bytes::complete::{take_till, take_while1};
use nom::character::complete::{char, space1};
use nom::combinator::opt;
use nom::multi::many0;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::CommandError;

/// One `keyword[=value]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Upper case.
    pub keyword: String,
    /// As written.
    pub value: Option<String>,
}

/// Which parameters this session knows besides those of the standard extensions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamRules {
    /// Keywords of private extensions at MAIL, upper case, e.g. `XID`.
    pub private_mail: &'static [&'static str],
    /// Keywords of private extensions at RCPT, upper case, e.g. `XIDX`.
    pub private_rcpt: &'static [&'static str],
}

/// The parameters of MAIL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=` in octets (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152). False for 7BIT and where nothing was said.
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `AUTH=`, decoded; `<>` is the empty text (RFC 4954 5).
    pub auth: Option<String>,
    /// `RET=` (RFC 3461).
    pub ret: Option<Ret>,
    /// `ENVID=`, decoded.
    pub envid: Option<String>,
    /// Parameters of private extensions, as [`ParamRules`] allows them.
    pub private: Vec<Param>,
}

/// The parameters of RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParams {
    /// `NOTIFY=` (RFC 3461).
    pub notify: Option<Notify>,
    /// `ORCPT=`.
    pub orcpt: Option<OriginalRecipient>,
    /// Parameters of private extensions.
    pub private: Vec<Param>,
}

impl MailParams {
    /// The value of a private parameter; an empty text for one without a value.
    pub fn private(&self, keyword: &str) -> Option<&str> {
        find(&self.private, keyword)
    }
}

impl RcptParams {
    /// The value of a private parameter; an empty text for one without a value.
    pub fn private(&self, keyword: &str) -> Option<&str> {
        find(&self.private, keyword)
    }
}

fn find<'a>(list: &'a [Param], keyword: &str) -> Option<&'a str> {
    list.iter()
        .find(|param| param.keyword == keyword)
        .map(|param| param.value.as_deref().unwrap_or_default())
}

/// Splits what follows a path into parameters; anything left over is a syntax error.
pub(super) fn list(input: &str) -> Result<Vec<Param>, CommandError> {
    match many0(preceded(space1, param)).parse(input) {
        Ok(("", params)) => {
            // A keyword given twice: two programs would disagree about which one counts.
            for (i, param) in params.iter().enumerate() {
                if params[..i].iter().any(|earlier| earlier.keyword == param.keyword) {
                    return Err(CommandError::BadParameter(param.keyword.clone()));
                }
            }
            Ok(params)
        }
        _ => Err(CommandError::Syntax("command:<address> [parameter[=value]]...")),
    }
}

fn param(input: &str) -> IResult<&str, Param> {
    let keyword = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let value = opt(preceded(char('='), take_till(|c| c == ' ')));
    let (rest, (keyword, value)) = (keyword, value).parse(input)?;
    let param = Param {
        keyword: keyword.to_ascii_uppercase(),
        value: value.map(str::to_owned),
    };
    Ok((rest, param))
}

/// Sorts the parameters of MAIL into their types.
pub(super) fn mail(list: Vec<Param>, rules: &ParamRules) -> Result<MailParams, CommandError> {
    let mut params = MailParams::default();
    for param in list {
        match (param.keyword.as_str(), param.value.as_deref()) {
            ("SIZE", Some(value)) => params.size = Some(size(value)?),
            ("SIZE", None) => return Err(CommandError::BadSize),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => params.eight_bit = true,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {}
            ("SMTPUTF8", None) => params.smtputf8 = true,
            ("AUTH", Some("<>")) => params.auth = Some(String::new()),
            ("AUTH", Some(value)) => params.auth = Some(clean_xtext(value, "AUTH")?),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => params.ret = Some(Ret::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => params.ret = Some(Ret::Headers),
            // RFC 3461 4.4: at most 100 characters.
            ("ENVID", Some(value)) if value.len() <= 100 => {
                params.envid = Some(clean_xtext(value, "ENVID")?);
            }
            ("BODY" | "SMTPUTF8" | "AUTH" | "RET" | "ENVID", _) => {
                return Err(CommandError::BadParameter(param.keyword));
            }
            (keyword, _) if rules.private_mail.contains(&keyword) => params.private.push(param),
            _ => return Err(CommandError::UnsupportedOption(param.keyword)),
        }
    }
    Ok(params)
}

/// Sorts the parameters of RCPT into their types.
pub(super) fn rcpt(list: Vec<Param>, rules: &ParamRules) -> Result<RcptParams, CommandError> {
    let mut params = RcptParams::default();
    for param in list {
        match (param.keyword.as_str(), param.value.as_deref()) {
            ("NOTIFY", Some(value)) => {
                let notify = Notify::parse(value);
                params.notify = Some(notify.ok_or(CommandError::BadParameter(param.keyword))?);
            }
            // RFC 3461 4.2: at most 500 characters.
            ("ORCPT", Some(value)) if value.len() <= 500 => {
                let orcpt = OriginalRecipient::parse(value);
                params.orcpt = Some(orcpt.ok_or(CommandError::BadParameter(param.keyword))?);
            }
            ("NOTIFY" | "ORCPT", _) => return Err(CommandError::BadParameter(param.keyword)),
            (keyword, _) if rules.private_rcpt.contains(&keyword) => params.private.push(param),
            _ => return Err(CommandError::UnsupportedOption(param.keyword)),
        }
    }
    Ok(params)
}

/// `SIZE=` is 1 to 20 digits (RFC 1870 3); what is above 64 bits is above every limit too.
fn size(value: &str) -> Result<u64, CommandError> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CommandError::BadSize);
    }
    value.parse().map_err(|_| CommandError::SizeTooBig)
}

/// Decodes xtext that will stand in reports and headers: no control characters, not empty.
fn clean_xtext(value: &str, keyword: &str) -> Result<String, CommandError> {
    xtext_decode(value)
        .filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
        .ok_or_else(|| CommandError::BadParameter(keyword.to_owned()))
}
