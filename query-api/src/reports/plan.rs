//! What a report was asked for.

use schemas::generation::Generation;
use schemas::money::Currency;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::dimension::{Dimension, is_dimension};
use super::metric::{Base, Metric};
use crate::auth::Caller;
use crate::error::Error;
use crate::filter::{self, Filter};
use crate::page::PageRequest;
use crate::params::Params;
use crate::range::{Interval, Offsets, Range, Zone};
use crate::state::Desk;
use crate::store::{Cut, Workspace};
use crate::test_rows::TestRows;

/// Most dimensions of a report.
pub(super) const MAX_DIMENSIONS: usize = 6;
/// The route's name in its cursors.
const LIST: &str = "reports";
/// Parameters of the contract that are not built yet, each with what is taken meanwhile.
const FIXED: [(&str, &str); 3] = [("time_field", "occurred_at"), ("model", "last_touch"), ("compare", "")];

/// What a report was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) zone: Zone,
    pub(crate) range: Range,
    pub(crate) offsets: Offsets,
    pub(crate) dimensions: Vec<Dimension>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) sort: Vec<Sort>,
    pub(crate) test: TestRows,
    pub(crate) gross: bool,
    pub(crate) currency: Currency,
    pub(crate) page: PageRequest,
    pub(crate) after: Option<Place>,
}

/// One sort key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    pub(crate) by: SortBy,
    pub(crate) descends: bool,
}

/// What is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// The dimension with this index; catalog dimensions in the order of their ids, which is that of their creation.
    Dimension(usize),
    /// A metric.
    Metric(Metric),
}

/// Where a page ended: the rows of later pages are those of the same range up to the same cut, whatever came since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The generation that the cut is one of.
    #[serde(default = "Place::first_generation")]
    pub(crate) generation: Generation,
    pub(crate) cut: Option<(u64, i64)>,
    pub(crate) keys: Vec<String>,
}

impl Place {
    /// A cursor that says nothing is of a time when there was no other.
    const fn first_generation() -> Generation {
        Generation::FIRST
    }

    /// The cut that the first page was read at.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut.map(|(cut, core_time)| Cut { cut, core_time })
    }
}

impl Plan {
    /// Reads the parameters of a report.
    pub(crate) fn read(
        mut params: Params,
        caller: &Caller,
        workspace: &Workspace,
        desk: &Desk,
    ) -> Result<Self, Error> {
        let params_ref = &mut params;
        let page = PageRequest::new(params_ref, LIST, caller.workspace)?;
        let after: Option<Place> = page.after()?;
        let zone = params_ref.take("timezone")?;
        let zone = Zone::parse("timezone", zone.as_deref().unwrap_or(&workspace.timezone))?;
        let asked = Range::take(params_ref, &zone, desk.now())?;
        let range = match &after {
            Some(place) => {
                Range { from: Timestamp::from_micros(place.from), to: Timestamp::from_micros(place.to) }
                    .check()?
            }
            None => asked,
        };
        let dimensions = dimensions(params_ref)?;
        let metrics = metrics(params_ref)?;
        let sort = sort(params_ref, &dimensions, &metrics)?;
        let filters = filter::take(params_ref, &desk.catalog().read(), caller.workspace, is_dimension)?;
        let test = TestRows::take(params_ref)?;
        let gross = params_ref.take_bool("gross")?;
        fixed(params_ref, workspace)?;
        params.finish()?;
        let (offsets, currency) = (Offsets::within(range, &zone)?, workspace.currency);
        Ok(Self {
            zone,
            range,
            offsets,
            dimensions,
            metrics,
            filters,
            sort,
            test,
            gross,
            currency,
            page,
            after,
        })
    }

    /// The numbers that the metrics and sort keys are made of, each once.
    pub(crate) fn bases(&self) -> Vec<Base> {
        let mut bases = Vec::new();
        for metric in &self.metrics {
            for base in metric.bases() {
                if !bases.contains(&base) {
                    bases.push(base);
                }
            }
        }
        bases
    }
}

/// Parameters whose one possible value may be said, and no other.
fn fixed(params: &mut Params, workspace: &Workspace) -> Result<(), Error> {
    if params.take("currency")?.is_some_and(|code| code != workspace.currency.code()) {
        let message = format!("can only be the workspace's, {}, so far", workspace.currency);
        return Err(Error::invalid("currency", message));
    }
    for (name, only) in FIXED {
        if params.take(name)?.is_some_and(|value| value != only) {
            let message = if only.is_empty() {
                "is not available yet".to_owned()
            } else {
                format!("can only be {only} so far")
            };
            return Err(Error::invalid(name, message));
        }
    }
    Ok(())
}

fn dimensions(params: &mut Params) -> Result<Vec<Dimension>, Error> {
    let interval = match params.take("interval")? {
        None => None,
        Some(word) => Some(
            Interval::from_word(&word)
                .ok_or_else(|| Error::invalid("interval", "must be one of 15m, hour, day, week, month"))?,
        ),
    };
    let mut dimensions: Vec<Dimension> = interval.into_iter().map(Dimension::Time).collect();
    for word in words(params, "group_by")? {
        let dimension = Dimension::parse("group_by", &word)?;
        if interval.is_some_and(|interval| dimension == Dimension::Time(interval)) {
            continue;
        }
        if dimensions.contains(&dimension) {
            return Err(Error::invalid("group_by", format!("{word:?} stands more than once")));
        }
        dimensions.push(dimension);
    }
    if dimensions.iter().filter(|dimension| matches!(dimension, Dimension::Time(_))).count() > 1 {
        return Err(Error::invalid("group_by", "takes one time dimension"));
    }
    if dimensions.len() > MAX_DIMENSIONS {
        return Err(Error::invalid("group_by", format!("takes at most {MAX_DIMENSIONS} dimensions")));
    }
    Ok(dimensions)
}

/// The metrics in the order asked for; before a ratio stand those of its parts that were not asked for.
fn metrics(params: &mut Params) -> Result<Vec<Metric>, Error> {
    let mut asked = Vec::new();
    for word in words(params, "metrics")? {
        let metric = Metric::parse("metrics", &word)?;
        if asked.contains(&metric) {
            return Err(Error::invalid("metrics", format!("{word:?} stands more than once")));
        }
        asked.push(metric);
    }
    if asked.is_empty() {
        return Ok(Metric::DEFAULT.to_vec());
    }
    let mut shown: Vec<Metric> = Vec::new();
    for metric in &asked {
        for part in metric.parts() {
            if !asked.contains(&part) && !shown.contains(&part) {
                shown.push(part);
            }
        }
        shown.push(*metric);
    }
    Ok(shown)
}

/// The sort keys; without any, time ascends, else the first metric descends.
fn sort(params: &mut Params, dimensions: &[Dimension], metrics: &[Metric]) -> Result<Vec<Sort>, Error> {
    let mut keys: Vec<Sort> = Vec::new();
    for word in words(params, "sort")? {
        let (name, descends) = word.strip_prefix('-').map_or((word.as_str(), false), |name| (name, true));
        let dimension = dimensions.iter().position(|dimension| dimension.name() == name);
        let metric = metrics.iter().copied().find(|metric| metric.name() == name);
        let by = dimension.map(SortBy::Dimension).or(metric.map(SortBy::Metric)).ok_or_else(|| {
            Error::invalid("sort", format!("{name:?} is neither a dimension nor a metric of this report"))
        })?;
        if keys.iter().any(|key| key.by == by) {
            return Err(Error::invalid("sort", format!("{name:?} stands more than once")));
        }
        keys.push(Sort { by, descends });
    }
    if keys.is_empty() {
        let time = dimensions.iter().position(|dimension| matches!(dimension, Dimension::Time(_)));
        keys.extend(time.map(|index| Sort { by: SortBy::Dimension(index), descends: false }));
        keys.extend(metrics.first().map(|metric| Sort { by: SortBy::Metric(*metric), descends: true }));
    }
    Ok(keys)
}

fn words(params: &mut Params, name: &str) -> Result<Vec<String>, Error> {
    let words = params.take_list(name)?.unwrap_or_default();
    if words.iter().any(String::is_empty) && words.len() > 1 {
        return Err(Error::invalid(name, "has an empty item"));
    }
    Ok(words.into_iter().filter(|word| !word.is_empty()).collect())
}
