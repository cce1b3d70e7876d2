//! Filters: `field=a,b`, `field[not]=a`, `field[contains]=x`, `field[is_null]=true`, joined by and.

use catalog::Catalog;
use catalog::macros::SUBS;
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
    /// A label: a row has any number of them.
    Label,
    /// What is told of the client of a hit.
    Client(Client),
    /// The place of a smart link's target in its rule.
    Variant,
}

/// What is told of the client of a hit: a conversion has that of its click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Country,
    Region,
    City,
    Device,
    Os,
    Browser,
    Language,
    /// The host of the page before, without `www.`.
    Referrer,
    UtmSource,
    UtmMedium,
    UtmCampaign,
    UtmTerm,
    UtmContent,
}

impl Client {
    const ALL: [(Self, &'static str, &'static str); 13] = [
        (Self::Country, "country", "toString(country)"),
        (Self::Region, "region", "toString(region)"),
        (Self::City, "city", "city"),
        (Self::Device, "device", "toString(device)"),
        (Self::Os, "os", "toString(os)"),
        (Self::Browser, "browser", "toString(browser)"),
        (Self::Language, "language", "toString(language)"),
        (Self::Referrer, "referrer", "domainWithoutWWW(referrer)"),
        (Self::UtmSource, "utm_source", "params['utm_source']"),
        (Self::UtmMedium, "utm_medium", "params['utm_medium']"),
        (Self::UtmCampaign, "utm_campaign", "params['utm_campaign']"),
        (Self::UtmTerm, "utm_term", "params['utm_term']"),
        (Self::UtmContent, "utm_content", "params['utm_content']"),
    ];

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, word, _)| *word == name).map(|(client, _, _)| *client)
    }

    /// The word in requests.
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The expression over a row of `clicks` or `impressions`.
    const fn expression(self) -> &'static str {
        Self::ALL[self as usize].2
    }
}

impl Field {
    /// Whether a conversion and its revisions have the field only from their click.
    pub(crate) const fn is_of_click(self) -> bool {
        match self {
            Self::Client(_) | Self::Variant | Self::Id(Referent::Rule) => true,
            Self::Id(_)
            | Self::Goal
            | Self::Status
            | Self::TransactionId
            | Self::CustomerId
            | Self::Creative
            | Self::SourceId
            | Self::Sub(_)
            | Self::Label => false,
        }
    }

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
            "label" => Self::Label,
            "rule" => Self::Id(Referent::Rule),
            "variant" => Self::Variant,
            _ => return Client::from_name(name).map(Self::Client),
        })
    }

    /// The word in requests; a sub-id's is `sub1`.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Sub(number) => format!("sub{number}"),
            Self::Label => "label".to_owned(),
            Self::Client(client) => client.name().to_owned(),
            Self::Variant => "variant".to_owned(),
            Self::Id(_)
            | Self::Goal
            | Self::Status
            | Self::TransactionId
            | Self::CustomerId
            | Self::Creative
            | Self::SourceId => self.column(),
        }
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
            Self::Label => "labels".to_owned(),
            Self::Client(client) => client.expression().to_owned(),
            Self::Variant => {
                format!("if(rule = {}, '', toString(variant))", Self::Id(Referent::Rule).nothing())
            }
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
            | Self::Sub(_)
            | Self::Label
            | Self::Client(_)
            | Self::Variant => "''",
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

    /// The filter as a condition on `column`; on labels, whether a row has any of them.
    pub(crate) fn condition(&self, column: &str, values: &mut Values) -> String {
        if self.field == Field::Label {
            return self.on_labels(column, values);
        }
        let nothing = self.field.nothing();
        match self.operator {
            Operator::IsNull if self.says_true() => format!("{column} = {nothing}"),
            Operator::IsNull => format!("{column} != {nothing}"),
            Operator::Contains => {
                format!("positionCaseInsensitiveUTF8({column}, {}) > 0", self.bound(values))
            }
            Operator::Eq => format!("{column} IN ({})", self.bound(values)),
            Operator::Not => format!("{column} NOT IN ({})", self.bound(values)),
        }
    }

    fn on_labels(&self, column: &str, values: &mut Values) -> String {
        match self.operator {
            Operator::IsNull if self.says_true() => format!("empty({column})"),
            Operator::IsNull => format!("notEmpty({column})"),
            Operator::Contains => format!(
                "arrayExists(label -> positionCaseInsensitiveUTF8(label, {}) > 0, {column})",
                self.bound(values)
            ),
            Operator::Eq => format!("hasAny({column}, [{}])", self.bound(values)),
            Operator::Not => format!("NOT hasAny({column}, [{}])", self.bound(values)),
        }
    }

    fn says_true(&self) -> bool {
        self.operands.first() == Some(&Operand::Text("true".to_owned()))
    }

    fn bound(&self, values: &mut Values) -> String {
        let bound: Vec<_> = self.operands.iter().map(|operand| operand.bind(values)).collect();
        bound.join(", ")
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
