//! Filters: `field=a,b`, `field[not]=a`, `field[contains]=x`, `field[is_null]=true`, joined by and.

use catalog::Catalog;
use schemas::event::Status;
use schemas::id::WorkspaceNumber;

use crate::error::Error;
use crate::params::{Pair, Params};
use crate::reference::Referent;
use crate::sql::Values;

/// Most values of one filter.
pub(crate) const MAX_VALUES: usize = 100;
/// The id of a row that has none.
const NO_ID: [u8; 16] = [0; 16];
/// Sub-ids of a click.
pub(crate) const SUBS: u8 = 10;

/// What a filter or a dimension is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// An id.
    Id(Referent),
    /// The goal, `event` in a conversion.
    Goal,
    /// The place in the life cycle.
    Status,
    /// The sender's transaction id.
    TransactionId,
    /// The sender's customer id.
    CustomerId,
    /// The creative.
    Creative,
    /// The partner's own source id.
    SourceId,
    /// `sub1` to `sub10`.
    Sub(u8),
}

impl Field {
    /// The field with this name in requests.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let sub = name.strip_prefix("sub").and_then(|digits| digits.parse().ok());
        if let Some(number) =
            sub.filter(|number| (1..=SUBS).contains(number) && name == format!("sub{number}"))
        {
            return Some(Self::Sub(number));
        }
        Some(match name {
            "offer" => Self::Id(Referent::Offer),
            "partner" => Self::Id(Referent::Partner),
            "campaign" => Self::Id(Referent::Campaign),
            "link" => Self::Id(Referent::Link),
            "source" => Self::Id(Referent::Source),
            "click_id" => Self::Id(Referent::Click),
            "visitor_id" => Self::Id(Referent::Visitor),
            "goal" | "event" => Self::Goal,
            "status" => Self::Status,
            "transaction_id" => Self::TransactionId,
            "customer_id" => Self::CustomerId,
            "creative" => Self::Creative,
            "source_id" => Self::SourceId,
            _ => return None,
        })
    }

    /// The column, or the expression, of the field.
    pub(crate) fn column(self) -> String {
        match self {
            Self::Id(referent) => referent.column().to_owned(),
            Self::Goal => "goal".to_owned(),
            Self::Status => "status".to_owned(),
            Self::TransactionId => "transaction_id".to_owned(),
            Self::CustomerId => "customer_id".to_owned(),
            Self::Creative => "creative".to_owned(),
            Self::SourceId => "source_id".to_owned(),
            // Beyond the array's end there is an empty text.
            Self::Sub(number) => format!("subs[{number}]"),
        }
    }

    /// The value of the field in a row that has none, as SQL.
    pub(crate) const fn nothing(self) -> &'static str {
        match self {
            Self::Id(_) => "toFixedString('', 16)",
            Self::Goal
            | Self::Status
            | Self::TransactionId
            | Self::CustomerId
            | Self::Creative
            | Self::SourceId
            | Self::Sub(_) => "''",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    Not,
    Contains,
    IsNull,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Id([u8; 16]),
    Text(String),
}

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) field: Field,
    operator: Operator,
    operands: Vec<Operand>,
}

/// Takes the filters on fields that `is_wanted` from the parameters.
pub(crate) fn take(
    params: &mut Params,
    catalog: &Catalog,
    workspace: WorkspaceNumber,
    is_wanted: impl Fn(Field) -> bool,
) -> Result<Vec<Filter>, Error> {
    let pairs = params.take_where(|name| Field::from_name(name).is_some_and(&is_wanted));
    pairs.iter().map(|pair| Filter::parse(pair, catalog, workspace)).collect()
}

impl Filter {
    fn parse(pair: &Pair, catalog: &Catalog, workspace: WorkspaceNumber) -> Result<Self, Error> {
        let invalid = |message: String| Error::invalid(pair.name.clone(), message);
        let (name, operator) = match pair.name.split_once('[') {
            None => (pair.name.as_str(), "eq"),
            Some((name, rest)) => {
                let operator =
                    rest.strip_suffix(']').ok_or_else(|| invalid("has no closing bracket".to_owned()))?;
                (name, operator)
            }
        };
        let field = Field::from_name(name).ok_or_else(|| invalid("is not a filter".to_owned()))?;
        let operator = match operator {
            "eq" => Operator::Eq,
            "not" => Operator::Not,
            "contains" if !matches!(field, Field::Id(_)) => Operator::Contains,
            "is_null" => Operator::IsNull,
            _ => return Err(invalid(format!("{name} has no such operator"))),
        };
        let values = if operator == Operator::Contains { vec![pair.value()?] } else { pair.values()? };
        if operator == Operator::IsNull && values.len() > 1 {
            return Err(invalid("must be true or false".to_owned()));
        }
        if values.len() > MAX_VALUES {
            return Err(invalid(format!("may have at most {MAX_VALUES} values")));
        }
        let operand = |value: String| operand(field, operator, catalog, workspace, value).map_err(invalid);
        let operands = values.into_iter().map(operand).collect::<Result<_, _>>()?;
        Ok(Self { field, operator, operands })
    }

    /// The filter as a condition on `column`.
    pub(crate) fn condition(&self, column: &str, values: &mut Values) -> String {
        let nothing = self.field.nothing();
        let first_is = |text: &str| self.operands.first() == Some(&Operand::Text(text.to_owned()));
        match self.operator {
            Operator::IsNull if first_is("true") => format!("{column} = {nothing}"),
            Operator::IsNull => format!("{column} != {nothing}"),
            Operator::Contains => {
                let bound: Vec<_> = self.operands.iter().map(|operand| operand.bind(values)).collect();
                format!("positionCaseInsensitiveUTF8({column}, {}) > 0", bound.join(", "))
            }
            Operator::Eq | Operator::Not => {
                let bound: Vec<_> = self.operands.iter().map(|operand| operand.bind(values)).collect();
                let not = if self.operator == Operator::Not { "NOT " } else { "" };
                format!("{column} {not}IN ({})", bound.join(", "))
            }
        }
    }
}

impl Operand {
    fn bind(&self, values: &mut Values) -> String {
        match self {
            Self::Id(bytes) => values.bind_id(bytes),
            Self::Text(text) => values.bind("String", text),
        }
    }
}

fn operand(
    field: Field,
    operator: Operator,
    catalog: &Catalog,
    workspace: WorkspaceNumber,
    value: String,
) -> Result<Operand, String> {
    match (operator, field) {
        (Operator::IsNull, _) if value == "true" || value == "false" => Ok(Operand::Text(value)),
        (Operator::IsNull, _) => Err("must be true or false".to_owned()),
        // As everywhere, an empty value is that of the rows that have none.
        (Operator::Eq | Operator::Not, Field::Id(_)) if value.is_empty() => Ok(Operand::Id(NO_ID)),
        (Operator::Eq | Operator::Not, Field::Id(referent)) => {
            referent.resolve(catalog, workspace, &value).map(Operand::Id)
        }
        (Operator::Eq | Operator::Not, Field::Status) if Status::from_word(&value).is_none() => {
            let words: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
            Err(format!("must be one of {}", words.join(", ")))
        }
        (Operator::Eq | Operator::Not | Operator::Contains, _) => Ok(Operand::Text(value)),
    }
}
