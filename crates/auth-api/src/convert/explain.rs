//! `postrider.directory.v1`: explanations, absence notices, usage.

use super::directory::steps;
use super::{Malformed, address};
use crate::directory::{Answer, Explanation, Question, SenderLogin, Usage, Vacation};
use crate::pb::directory as pb;

impl From<SenderLogin> for pb::CheckSenderLoginResponse {
    fn from(answer: SenderLogin) -> Self {
        Self {
            owned: answer == SenderLogin::Owned,
        }
    }
}

impl From<pb::CheckSenderLoginResponse> for SenderLogin {
    fn from(response: pb::CheckSenderLoginResponse) -> Self {
        if response.owned {
            Self::Owned
        } else {
            Self::NotOwned
        }
    }
}

impl From<&Question> for pb::ExplainRequest {
    fn from(question: &Question) -> Self {
        use pb::explain_request::Question as Q;
        Self {
            question: Some(match question {
                Question::Recipient(recipient) => Q::Recipient(recipient.into()),
                Question::Route(address) => Q::Route(pb::RouteRequest {
                    final_address: address.to_string(),
                }),
                Question::Mailbox(address) => Q::Mailbox(pb::LookupMailboxRequest {
                    final_address: address.to_string(),
                }),
                Question::SenderLogin { login, sender } => Q::SenderLogin(pb::CheckSenderLoginRequest {
                    login: login.to_string(),
                    sender: sender.to_string(),
                }),
            }),
        }
    }
}

impl TryFrom<pb::ExplainRequest> for Question {
    type Error = Malformed;
    fn try_from(request: pb::ExplainRequest) -> Result<Self, Malformed> {
        use pb::explain_request::Question as Q;
        Ok(match request.question.ok_or(Malformed("question"))? {
            Q::Recipient(request) => Self::Recipient(request.try_into()?),
            Q::Route(request) => Self::Route(address(&request.final_address)?),
            Q::Mailbox(request) => Self::Mailbox(address(&request.final_address)?),
            Q::SenderLogin(request) => Self::SenderLogin {
                login: address(&request.login)?,
                sender: address(&request.sender)?,
            },
        })
    }
}

impl From<Explanation> for pb::ExplainResponse {
    fn from(explanation: Explanation) -> Self {
        use pb::explain_response::Answer as A;
        Self {
            answer: Some(match explanation.answer {
                Ok(Answer::Recipient(resolution)) => A::Recipient(resolution.into()),
                Ok(Answer::Route(route)) => A::Route(route.into()),
                Ok(Answer::Mailbox(answer)) => A::Mailbox(answer.into()),
                Ok(Answer::SenderLogin(answer)) => A::SenderLogin(answer.into()),
                Err(reason) => A::Unavailable(reason),
            }),
            steps: explanation.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::ExplainResponse> for Explanation {
    type Error = Malformed;
    fn try_from(response: pb::ExplainResponse) -> Result<Self, Malformed> {
        use pb::explain_response::Answer as A;
        Ok(Self {
            answer: match response.answer.ok_or(Malformed("answer"))? {
                A::Recipient(response) => Ok(Answer::Recipient(response.try_into()?)),
                A::Route(response) => Ok(Answer::Route(response.try_into()?)),
                A::Mailbox(response) => Ok(Answer::Mailbox(response.try_into()?)),
                A::SenderLogin(response) => Ok(Answer::SenderLogin(response.into())),
                A::Unavailable(reason) => Err(reason),
            },
            steps: steps(response.steps)?,
        })
    }
}

impl From<Option<Vacation>> for pb::VacationResponse {
    fn from(notice: Option<Vacation>) -> Self {
        Self {
            notice: notice.map(|notice| pb::VacationNotice {
                address: notice.address.to_string(),
                subject: notice.subject,
                body: notice.body,
                active_from: notice.active_from,
                active_until: notice.active_until,
                interval_seconds: notice.interval_seconds,
            }),
        }
    }
}

impl TryFrom<pb::VacationResponse> for Option<Vacation> {
    type Error = Malformed;
    fn try_from(response: pb::VacationResponse) -> Result<Self, Malformed> {
        let notice = |notice: pb::VacationNotice| {
            Ok(Vacation {
                address: address(&notice.address)?,
                subject: notice.subject,
                body: notice.body,
                active_from: notice.active_from,
                active_until: notice.active_until,
                interval_seconds: notice.interval_seconds,
            })
        };
        response.notice.map(notice).transpose()
    }
}

impl From<Usage> for pb::UsageResponse {
    fn from(usage: Usage) -> Self {
        use pb::usage_response::Answer as A;
        Self {
            answer: Some(match usage {
                Usage::Found { bytes, messages } => A::Found(pb::UsageRow { bytes, messages }),
                Usage::Unknown(refusal) => A::Unknown(refusal.into()),
                Usage::NotCounted => A::None(pb::NoUsage {}),
            }),
        }
    }
}

impl TryFrom<pb::UsageResponse> for Usage {
    type Error = Malformed;
    fn try_from(response: pb::UsageResponse) -> Result<Self, Malformed> {
        use pb::usage_response::Answer as A;
        Ok(match response.answer.ok_or(Malformed("usage"))? {
            A::Found(row) => Self::Found {
                bytes: row.bytes,
                messages: row.messages,
            },
            A::Unknown(refusal) => Self::Unknown(refusal.try_into()?),
            A::None(pb::NoUsage {}) => Self::NotCounted,
        })
    }
}
