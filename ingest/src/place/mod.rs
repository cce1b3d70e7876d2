//! Where a client is: by a file that the operator names, or by the header of a trusted proxy.
//!
//! The file is in MaxMind's format, of any maker: country, region and city where it has them. It lies in memory as it lies
//! on disk, so its size is what it costs (a file of cities may have 60 MB, one of countries 6). It is read again when it
//! changes; a new file that cannot be read leaves the old one in use.

#[cfg(test)]
mod mmdb;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use maxminddb::{MaxMindDbError, Reader};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, Registry};
use serde::Deserialize;
use service::lifecycle::{Shutdown, Tasks};

use crate::error::StartError;
use crate::text::cut;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of a city's name that are kept.
const MAX_CITY_BYTES: usize = 128;
/// Bytes of a country's code, and the most of a subdivision's.
const COUNTRY_CODE_BYTES: usize = 2;
const MAX_SUBDIVISION_BYTES: usize = 3;

/// Where a client is. Empty texts stand for what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// ISO 3166-1 alpha-2, such as `DE`.
    pub(crate) country: String,
    /// ISO 3166-2, such as `DE-BE`.
    pub(crate) region: String,
    /// The city's English name.
    pub(crate) city: String,
}

/// Why a file of places is not used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is no file of places.
    #[error("it is no MaxMind database: {0}")]
    Form(#[from] MaxMindDbError),
}

/// What a look at the file found; enough to tell a file from one that has replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    NotYet,
    Missing,
    File { modified: SystemTime, bytes: u64 },
}

#[derive(Debug)]
struct Counters {
    loaded: IntGauge,
    failures: IntCounter,
}

impl Counters {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let loaded = IntGauge::new(
            "ingest_places_built_seconds",
            "When the file of places in use was built, in Unix seconds; 0 without one.",
        )?;
        let failures = IntCounter::new(
            "ingest_places_failures_total",
            "Changed files of places that could not be used; the one before them stays.",
        )?;
        registry.register(Box::new(loaded.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        Ok(Self { loaded, failures })
    }
}

/// The file of places, as it was read last. Clones share it.
#[derive(Clone)]
pub(crate) struct Places {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` where the operator names none.
    path: Option<PathBuf>,
    file: ArcSwapOption<Reader<Vec<u8>>>,
    /// What was looked at last, be it used or not: a broken file is complained of once.
    seen: Mutex<Look>,
    counters: Counters,
}

impl Places {
    /// Reads the file; an empty path stands for none.
    pub(crate) async fn open(path: &Path, registry: &Registry) -> Result<Self, StartError> {
        let counters = Counters::register(registry)?;
        let inner = Inner {
            path: if path.as_os_str().is_empty() { None } else { Some(path.to_owned()) },
            file: ArcSwapOption::empty(),
            seen: Mutex::new(Look::NotYet),
            counters,
        };
        let places = Self { inner: Arc::new(inner) };
        let opened = places.refresh().await;
        opened.map_err(|source| StartError::Places { file: path.to_owned(), source })?;
        Ok(places)
    }

    /// Looks at the file from time to time, until the shutdown.
    pub(crate) fn watch(&self, tasks: &Tasks, shutdown: &Shutdown) {
        let (places, ended) = (self.clone(), shutdown.clone());
        if self.inner.path.is_none() {
            return;
        }
        tasks.spawn_until(shutdown, "places", async move {
            loop {
                tokio::select! {
                    () = ended.started() => return Ok::<(), std::convert::Infallible>(()),
                    () = tokio::time::sleep(LOOK_INTERVAL) => {}
                }
                if let Err(error) = places.refresh().await {
                    tracing::error!(%error, "the file of places has changed and is not used; the one before it stays");
                }
            }
        });
    }

    /// Reads the file if it has changed since the last look. Whatever goes wrong with it, the one in use stays.
    async fn refresh(&self) -> Result<(), PlaceError> {
        let Some(path) = self.inner.path.clone() else { return Ok(()) };
        let metadata = tokio::fs::metadata(&path).await;
        let look = metadata.as_ref().map_or(Look::Missing, |metadata| Look::File {
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            bytes: metadata.len(),
        });
        if std::mem::replace(&mut *self.inner.seen.lock(), look) == look {
            return Ok(());
        }
        let read = match metadata {
            Ok(_) => tokio::task::spawn_blocking(move || read(&path))
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error).into())),
            Err(error) => Err(error.into()),
        };
        let reader = read.inspect_err(|_| self.inner.counters.failures.inc())?;
        self.inner.counters.loaded.set(i64::try_from(reader.metadata().build_epoch).unwrap_or(i64::MAX));
        self.inner.file.store(Some(Arc::new(reader)));
        Ok(())
    }

    /// Where the address is. `stated` is the country in the header of a trusted proxy; it counts, and the file's region
    /// and city then only if they lie in it.
    pub(crate) fn find(&self, address: IpAddr, stated: Option<&[u8]>) -> Place {
        let place = self.inner.file.load().as_ref().map(|file| look_up(file, address)).unwrap_or_default();
        match stated.and_then(country_code) {
            Some(country) if country != place.country => Place { country, ..Place::default() },
            Some(_) | None => place,
        }
    }
}

fn read(path: &Path) -> Result<Reader<Vec<u8>>, PlaceError> {
    Ok(Reader::from_source(std::fs::read(path)?)?)
}

/// What of a record is used.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Iso<'a>,
    #[serde(borrow)]
    subdivisions: Vec<Iso<'a>>,
    #[serde(borrow)]
    city: City<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Iso<'a> {
    iso_code: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct City<'a> {
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Names<'a> {
    en: &'a str,
}

/// What the file says of the address. A record that cannot be read says nothing: it is no reason to lose a click.
fn look_up(file: &Reader<Vec<u8>>, address: IpAddr) -> Place {
    let found = file.lookup(address).and_then(|found| found.decode::<Record<'_>>());
    let Ok(Some(record)) = found else { return Place::default() };
    let Some(country) = country_code(record.country.iso_code.as_bytes()) else { return Place::default() };
    let subdivision = record.subdivisions.first().map_or("", |subdivision| subdivision.iso_code);
    let is_code = (1..=MAX_SUBDIVISION_BYTES).contains(&subdivision.len())
        && subdivision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let region = if is_code { [&country, "-", subdivision].concat() } else { String::new() };
    Place { city: cut(record.city.names.en, MAX_CITY_BYTES).to_owned(), region, country }
}

/// A country's code in capital letters. `XX` and `T1`, by which proxies say that they know none, are none.
fn country_code(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii();
    let is_code = text.len() == COUNTRY_CODE_BYTES
        && text.iter().all(u8::is_ascii_alphabetic)
        && !text.eq_ignore_ascii_case(b"xx");
    if is_code { std::str::from_utf8(text).ok().map(str::to_ascii_uppercase) } else { None }
}
