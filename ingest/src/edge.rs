//! The edge: what all its routes share.

use std::sync::Arc;
use std::time::Duration;

use catalog::seal::Sealer;
use catalog::{Catalog, Follower, Workspace};
use eventlog::{EventLog, ProducerUse};
use http::Extensions;
use parking_lot::Mutex;
use prometheus::Registry;
use schemas::error_code::ErrorCode;
use schemas::event::{Body, Event};
use schemas::id::{EventId, Id, IdGenerator, Kind, RequestKind, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::topic;
use service::clock::{SharedClock, random_seed};
use service::lifecycle::{Shutdown, Tasks};
use service::telemetry::{RequestId, TelemetryError, metrics_text};

use crate::appender::{AppendError, Appender, Limits};
use crate::caps::CapCounts;
use crate::caps_follower;
use crate::client::Clients;
use crate::error::{Refusal, StartError};
use crate::metrics::Metrics;
use crate::settings::IngestSettings;

/// The parts that an edge is made of.
pub struct Parts {
    /// Limits and time-outs.
    pub settings: IngestSettings,
    /// The log, whose topics exist.
    pub log: Arc<dyn EventLog>,
    /// The edge's copy of the catalog.
    pub follower: Follower,
    /// Opens the secrets of signed sources.
    pub sealer: Sealer,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where the metrics of the process are.
    pub registry: Registry,
    /// What the edge's own tasks belong to.
    pub tasks: Tasks,
    /// From then on no new traffic is wanted.
    pub shutdown: Shutdown,
}

/// How long a request waits for the catalog when it names something unknown.
const CATCH_UP_LIMIT: Duration = Duration::from_millis(200);

/// The edge. Clones share everything.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    settings: IngestSettings,
    follower: Follower,
    sealer: Sealer,
    clock: SharedClock,
    ids: Mutex<IdGenerator>,
    appender: Appender,
    caps: Arc<CapCounts>,
    metrics: Arc<Metrics>,
    clients: Clients,
    registry: Registry,
    shutdown: Shutdown,
}

/// An event that is ready to be appended.
pub(crate) struct Stamped {
    pub(crate) partition: u32,
    pub(crate) event: Event,
}

/// What came of a look at the catalog.
pub(crate) struct Understood<T> {
    pub(crate) value: T,
    /// This catalog lacks something that the request names; a newer one may have it.
    pub(crate) is_incomplete: bool,
}

impl Edge {
    /// Starts the edge on a log whose topics exist, with a catalog that was installed.
    ///
    /// From `shutdown` on `/readyz` answers 503, so that no new traffic comes. Requests that are open go on being
    /// recorded until [`Edge::drain`], which the caller awaits once its servers have ended: the tasks end with it.
    ///
    /// # Errors
    /// [`StartError`], naming the setting or the contradiction.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { settings, log, follower, sealer, clock, registry, tasks, shutdown } = parts;
        if let Some((setting, reason)) = settings.contradiction() {
            return Err(StartError::Setting { setting, reason });
        }
        let wanted = follower.read().installation().map(|installation| installation.events_partitions);
        let wanted = wanted.ok_or(StartError::NotInstalled)?;
        let found = log.partitions(topic::EVENTS).await?.ok_or(StartError::NoTopic(topic::EVENTS))?;
        if found != wanted {
            return Err(StartError::PartitionCount { found, wanted });
        }
        let producer = log.producer(ProducerUse {
            name: "ingest",
            deadline: settings.append_deadline(),
            max_pending_bytes: settings.queue_bytes,
        })?;
        let metrics = Arc::new(Metrics::register(&registry)?);
        let clients = Clients::start(&settings, &registry, &tasks, &shutdown).await?;
        let now = Timestamp::from_micros(clock.now_micros());
        let mut ids = IdGenerator::new(random_seed());
        let life = ids.next(now.unix_ms(), WorkspaceNumber::NONE);
        let limits = Limits { deadline: settings.append_deadline(), queue_events: settings.queue_events };
        let appender =
            Appender::start(Arc::from(producer), (life, found), limits, Arc::clone(&metrics), &tasks);
        let caps = Arc::new(CapCounts::new(life));
        caps_follower::spawn(log, Arc::clone(&caps), Arc::clone(&clock), &tasks, shutdown.clone());
        let inner = Inner {
            settings,
            follower,
            sealer,
            clock,
            ids: Mutex::new(ids),
            appender,
            caps,
            metrics,
            clients,
            registry,
            shutdown,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes no further event and waits until those taken are answered; `false` if the deadline came first.
    ///
    /// To be called when no server passes requests any more.
    pub async fn drain(&self, deadline: Duration) -> bool {
        let is_drained = self.inner.appender.drain(deadline).await;
        if !is_drained {
            tracing::warn!(?deadline, "events were still waiting for the log when the edge stopped");
        }
        is_drained
    }

    /// Opens the secrets of signed sources.
    pub fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    pub(crate) fn settings(&self) -> &IngestSettings {
        &self.inner.settings
    }

    pub(crate) fn caps(&self) -> &CapCounts {
        &self.inner.caps
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// By what clients are told.
    pub(crate) fn clients(&self) -> &Clients {
        &self.inner.clients
    }

    /// Everything that the process counts, as it is now.
    pub(crate) fn metrics_text(&self) -> Result<String, TelemetryError> {
        self.inner.metrics.catalog(&self.inner.follower.status());
        metrics_text(&self.inner.registry)
    }

    /// Whether requests should be sent here. A catalog that lags is no reason not to: what is known goes on working.
    pub(crate) fn is_ready(&self) -> bool {
        !self.inner.shutdown.is_started() && self.inner.appender.is_open()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.inner.clock.now_micros())
    }

    pub(crate) fn new_id<K: Kind>(&self, now: Timestamp, workspace: WorkspaceNumber) -> Id<K> {
        self.inner.ids.lock().next(now.unix_ms(), workspace)
    }

    /// Makes ids for requests that bring none.
    pub(crate) fn new_request_id(&self) -> String {
        self.new_id::<RequestKind>(self.now(), WorkspaceNumber::NONE).to_string()
    }

    /// The request's id; made here only where no middleware did.
    pub(crate) fn request_id(&self, extensions: &Extensions) -> String {
        let given = extensions.get::<RequestId>().map(|id| id.as_str().to_owned());
        given.unwrap_or_else(|| self.new_request_id())
    }

    /// Looks at the catalog; if it lacks what the request names, once more after it has caught up with the log.
    pub(crate) async fn understand<T>(&self, look: impl Fn(&Catalog) -> Understood<T>) -> T {
        let first = look(&self.inner.follower.read());
        if !first.is_incomplete {
            return first.value;
        }
        // Whatever keeps the catalog from catching up, the request is judged by what is known.
        if let Err(error) = self.inner.follower.catch_up(CATCH_UP_LIMIT).await {
            tracing::debug!(%error, "the catalog did not catch up");
            return first.value;
        }
        look(&self.inner.follower.read()).value
    }

    /// The event of a request that was understood by this catalog. The mark comes with the append.
    pub(crate) fn stamp(
        &self,
        catalog: &Catalog,
        workspace: &Workspace,
        received_at: Timestamp,
        body: Body,
    ) -> Stamped {
        let event = Event {
            id: self.new_id(received_at, workspace.number),
            workspace: workspace.number,
            mark: None,
            received_at,
            catalog: catalog.revision(),
            body,
        };
        Stamped { partition: workspace.partition, event }
    }

    /// Appends the event; its id is the receipt of a durable event.
    pub(crate) async fn record(&self, stamped: Stamped) -> Result<EventId, AppendError> {
        let receipt = stamped.event.id;
        self.inner.appender.append(stamped.partition, stamped.event).await?;
        Ok(receipt)
    }

    /// Refuses paths and queries beyond the limit.
    pub(crate) fn check_uri(&self, uri: &http::Uri) -> Result<(), Refusal> {
        let limit = self.inner.settings.max_uri_bytes;
        let bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
        if bytes > limit { Err(Refusal::UriTooLong { limit }) } else { Ok(()) }
    }
}

/// Whether a look at a newer catalog may change the answer: an unknown key or source is refused as unauthorized, an
/// unknown workspace as not found.
pub(crate) fn may_be_news(refusal: &Refusal) -> bool {
    matches!(refusal.code(), ErrorCode::Unauthorized | ErrorCode::NotFound)
}
