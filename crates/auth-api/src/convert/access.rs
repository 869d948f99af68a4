//! `postrider.directory.v1`: access(5).

use mail_types::ReversePath;

use super::directory::source;
use super::{Malformed, address};
use crate::access::{Answer, Client, Hit, Question, Table};
use crate::pb::directory as pb;

impl From<Question> for pb::CheckAccessRequest {
    fn from(question: Question) -> Self {
        Self {
            client: question.client.map(|client| pb::AccessClient {
                name: client.name,
                address: client.address.map(|ip| ip.to_string()).unwrap_or_default(),
            }),
            helo: question.helo,
            sender: question.sender.map(|sender| sender.to_string()),
            recipient: question.recipient.map(|recipient| recipient.to_string()),
        }
    }
}

impl TryFrom<pb::CheckAccessRequest> for Question {
    type Error = Malformed;
    fn try_from(request: pb::CheckAccessRequest) -> Result<Self, Malformed> {
        let client = |client: pb::AccessClient| -> Result<Client, Malformed> {
            let ip = Some(client.address.as_str()).filter(|text| !text.is_empty());
            Ok(Client {
                name: client.name,
                address: ip
                    .map(str::parse)
                    .transpose()
                    .map_err(|_| Malformed("client address"))?,
            })
        };
        Ok(Self {
            client: request.client.map(client).transpose()?,
            helo: request.helo,
            sender: request
                .sender
                .map(|text| text.parse::<ReversePath>().map_err(|_| Malformed("sender")))
                .transpose()?,
            recipient: request.recipient.map(|text| address(&text)).transpose()?,
        })
    }
}

impl From<Table> for pb::AccessTable {
    fn from(table: Table) -> Self {
        match table {
            Table::Client => Self::Client,
            Table::Helo => Self::Helo,
            Table::Sender => Self::Sender,
            Table::Recipient => Self::Recipient,
        }
    }
}

fn table(number: i32) -> Result<Table, Malformed> {
    match pb::AccessTable::try_from(number) {
        Ok(pb::AccessTable::Client) => Ok(Table::Client),
        Ok(pb::AccessTable::Helo) => Ok(Table::Helo),
        Ok(pb::AccessTable::Sender) => Ok(Table::Sender),
        Ok(pb::AccessTable::Recipient) => Ok(Table::Recipient),
        Ok(pb::AccessTable::Unspecified) | Err(_) => Err(Malformed("access table")),
    }
}

impl From<Answer> for pb::CheckAccessResponse {
    fn from(answer: Answer) -> Self {
        let number = |table: Table| i32::from(pb::AccessTable::from(table));
        let hit = |hit: Hit| pb::AccessHit {
            table: number(hit.table),
            key: hit.key,
            action: hit.action,
            source: pb::Source::from(hit.source).into(),
        };
        Self {
            tables: answer.tables.into_iter().map(number).collect(),
            hits: answer.hits.into_iter().map(hit).collect(),
        }
    }
}

impl TryFrom<pb::CheckAccessResponse> for Answer {
    type Error = Malformed;
    fn try_from(response: pb::CheckAccessResponse) -> Result<Self, Malformed> {
        let hit = |hit: pb::AccessHit| -> Result<Hit, Malformed> {
            Ok(Hit {
                table: table(hit.table)?,
                key: hit.key,
                action: hit.action,
                source: source(hit.source)?,
            })
        };
        Ok(Self {
            tables: response.tables.into_iter().map(table).collect::<Result<_, _>>()?,
            hits: response.hits.into_iter().map(hit).collect::<Result<_, _>>()?,
        })
    }
}
