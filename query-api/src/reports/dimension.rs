//! What a report's rows stand for.

use catalog::Catalog;
use schemas::hex;
use schemas::id::WorkspaceNumber;
use schemas::time::Timestamp;
use serde_json::{Value, json};

use crate::error::Error;
use crate::filter::Field;
use crate::range::{Interval, Offsets, Zone};
use crate::reference::Referent;
use crate::sql::{Table, Values};

/// A dimension of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Time, by the report's own clock.
    Time(Interval),
    /// A field of the rows.
    Field(Field),
}

/// Words of the contract that the tables do not carry yet.
const NOT_YET: [&str; 3] = ["source", "original_currency", "model"];

/// How the values of a dimension or a sort key travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// 0 or 1.
    Flag,
    /// A whole number, in an integer type of the engine.
    Integer(&'static str),
    /// A date.
    Date,
    /// Sixteen bytes, as hexadecimal digits.
    Id,
    /// Text.
    Text,
}

impl Dimension {
    /// The dimension with this word; `field` is named if there is none.
    pub(crate) fn parse(field: &str, word: &str) -> Result<Self, Error> {
        if let Some(interval) = Interval::from_word(word) {
            return Ok(Self::Time(interval));
        }
        match Field::from_name(word) {
            Some(found) if is_dimension(found) && word != "event" => Ok(Self::Field(found)),
            Some(_) | None if NOT_YET.contains(&word) => {
                Err(Error::invalid(field, format!("{word:?} is not available yet")))
            }
            Some(_) | None => Err(Error::invalid(field, format!("{word:?} is not a dimension"))),
        }
    }

    /// The word in the contract.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Time(interval) => interval.as_str().to_owned(),
            Self::Field(field) => field.name(),
        }
    }

    /// How its values travel.
    pub(crate) const fn form(self) -> Form {
        match self {
            Self::Time(Interval::Quarter | Interval::Hour) => Form::Integer("Int64"),
            Self::Time(Interval::Day | Interval::Week | Interval::Month) => Form::Date,
            Self::Field(Field::Id(_)) => Form::Id,
            Self::Field(_) => Form::Text,
        }
    }

    /// The expression over a row of this table. What its rows do not have is not known of them.
    pub(crate) fn over(self, table: Table, offsets: &Offsets) -> String {
        match self {
            Self::Time(interval) => interval.bucket(offsets),
            Self::Field(field) if !has(table, field) => field.nothing().to_owned(),
            Self::Field(field) => plain(field),
        }
    }

    /// The value that means "none", as SQL; time always has one.
    pub(crate) const fn nothing(self) -> Option<&'static str> {
        match self {
            Self::Time(_) => None,
            Self::Field(field) => Some(field.nothing()),
        }
    }

    /// The value in an answer.
    pub(crate) fn show(
        self,
        text: &str,
        zone: &Zone,
        catalog: &Catalog,
        workspace: WorkspaceNumber,
    ) -> Result<Value, Error> {
        let odd = || Error::Internal(format!("a report's {}: {text:?}", self.name()));
        match self {
            Self::Time(Interval::Day | Interval::Week | Interval::Month) => Ok(json!(text)),
            Self::Time(Interval::Quarter | Interval::Hour) => {
                let seconds: i64 = text.parse().map_err(|_| odd())?;
                Ok(json!(zone.show(Timestamp::from_micros(seconds.saturating_mul(1_000_000)))))
            }
            Self::Field(Field::Id(referent)) => {
                let bytes = hex::decode(text).ok_or_else(odd)?;
                Ok(json!(referent.show(catalog, workspace, bytes)))
            }
            Self::Field(_) if text.is_empty() => Ok(json!("unknown")),
            Self::Field(_) => Ok(json!(text)),
        }
    }
}

fn plain(field: Field) -> String {
    match field {
        Field::Id(_) | Field::Client(_) | Field::Variant => field.column(),
        // One row for each label, and one for having none.
        Field::Label => "toString(arrayJoin(if(empty(labels), [''], arrayDistinct(labels))))".to_owned(),
        Field::Goal
        | Field::Status
        | Field::TransactionId
        | Field::CustomerId
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_) => format!("toString({})", field.column()),
    }
}

/// Whether the rows of the table have the field; revisions have what their clicks have, by a join.
pub(super) const fn has(table: Table, field: Field) -> bool {
    match field {
        Field::Goal | Field::Status => matches!(table, Table::Revisions),
        Field::Variant | Field::Id(Referent::Rule) => !matches!(table, Table::Impressions),
        Field::Id(_)
        | Field::TransactionId
        | Field::CustomerId
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_)
        | Field::Label
        | Field::Client(_) => true,
    }
}

/// Whether reports can be grouped by and filtered on the field.
pub(crate) const fn is_dimension(field: Field) -> bool {
    match field {
        Field::Id(
            Referent::Offer | Referent::Partner | Referent::Campaign | Referent::Link | Referent::Rule,
        )
        | Field::Goal
        | Field::Status
        | Field::Creative
        | Field::SourceId
        | Field::Sub(_)
        | Field::Label
        | Field::Client(_)
        | Field::Variant => true,
        Field::Id(Referent::Source | Referent::Click | Referent::Visitor)
        | Field::TransactionId
        | Field::CustomerId => false,
    }
}

impl Form {
    /// The expression as text of an answer.
    pub(crate) fn output(self, expression: &str) -> String {
        match self {
            Self::Id => format!("lower(hex({expression}))"),
            Self::Text => expression.to_owned(),
            Self::Flag | Self::Integer(_) | Self::Date => format!("toString({expression})"),
        }
    }

    /// Binds a value that came back with a cursor; `None` if it is none of this form.
    pub(crate) fn bind(self, text: &str, values: &mut Values) -> Option<String> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_integer =
            !digits.is_empty() && digits.len() <= 76 && digits.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Flag => (text == "0" || text == "1").then(|| values.bind("UInt8", text)),
            Self::Integer(kind) => is_integer.then(|| values.bind(kind, text)),
            Self::Date => text.parse::<jiff::civil::Date>().ok().map(|_| values.bind("Date", text)),
            Self::Id => hex::decode(text).map(|bytes| values.bind_id(&bytes)),
            Self::Text => Some(values.bind("String", text)),
        }
    }
}
