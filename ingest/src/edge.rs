//! The edge: what all its routes share.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use catalog::seal::Sealer;
use catalog::{Catalog, Follower, Workspace};
use eventlog::EventLog;
use http::{Extensions, HeaderMap, request};
use parking_lot::Mutex;
use prometheus::Registry;
use schemas::error_code::ErrorCode;
use schemas::event::{Body, Event, label};
use schemas::id::{EventId, Id, IdGenerator, Kind, RequestKind, WorkspaceNumber};
use schemas::time::Timestamp;
use schemas::topic;
use service::clock::{SharedClock, random_seed};
use service::lifecycle::{Shutdown, Tasks};
use service::telemetry::{RequestId, TelemetryError, metrics_text};

use crate::address;
use crate::appender::{self, AppendError, Appender, Caller, Ticket};
use crate::body::Bodies;
use crate::caps::{CapCounts, Clicked};
use crate::caps_follower;
use crate::client::Clients;
use crate::error::{Refusal, StartError};
use crate::inflate::Memory;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::sender::Incoming;
use crate::settings::IngestSettings;
use crate::signature::Signed;
use crate::spool::{self, Spool, SpoolError};

/// The parts that an edge is made of.
pub struct Parts {
    /// Limits and time-outs.
    pub settings: IngestSettings,
    /// The log, whose topics exist. It may be away.
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
    /// The directory of its spool.
    pub spool_dir: PathBuf,
}

/// How long a request waits for the catalog when it names something unknown.
const CATCH_UP_LIMIT: Duration = Duration::from_millis(200);

/// Events are labelled if the catalog was not at the log's end for longer than this.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// How long the start waits for the log to say how many partitions it has. It has just told the catalog.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// How often a log that was away at the start is asked again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that the batches of all clients may take up at a time; beyond them they are told to come again.
const BATCH_MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// The edge. Clones share everything.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    /// The host of the edge's own address.
    public_host: Option<String>,
    settings: IngestSettings,
    follower: Follower,
    sealer: Sealer,
    clock: SharedClock,
    ids: Mutex<IdGenerator>,
    appender: Appender,
    caps: Arc<CapCounts>,
    limits: Limits,
    bodies: Bodies,
    batch_memory: Memory,
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
    /// Starts the edge on a log whose topics exist, with a catalog that was installed. The log may be away: then events go
    /// into the spool.
    ///
    /// From the shutdown on `/readyz` answers 503, so that no new traffic comes. Requests that are open go on being
    /// recorded until [`Edge::drain`], which the caller awaits once its servers have ended: the tasks end with it.
    ///
    /// # Errors
    /// [`StartError`], naming the setting or the contradiction.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { settings, log, follower, sealer, clock, registry, tasks, shutdown, spool_dir } = parts;
        if let Some((setting, reason)) = settings.contradiction() {
            return Err(StartError::Setting { setting, reason });
        }
        let wanted = follower.read().installation().map(|installation| installation.events_partitions);
        let wanted = wanted.ok_or(StartError::NotInstalled)?;
        let absence = look_at_start(&follower, log.as_ref(), wanted).await?;
        let metrics = Arc::new(Metrics::register(&registry)?);
        let clients = Clients::start(&settings, &registry, &tasks, &shutdown).await?;
        let now = Timestamp::from_micros(clock.now_micros());
        let mut ids = IdGenerator::new(random_seed());
        let life = ids.next(now.unix_ms(), WorkspaceNumber::NONE);
        let appender = Appender::start(
            appender::Parts {
                log: Arc::clone(&log),
                follower: follower.clone(),
                spool: open_spool(&settings, spool_dir, wanted, &clock, &mut ids).await?,
                life,
                partitions: wanted,
                limits: appender::Limits {
                    deadline: settings.append_deadline(),
                    spool_deadline: settings.spool_deadline(),
                    queue_events: settings.queue_events,
                    queue_bytes: settings.queue_bytes,
                },
                clock: clock.clone(),
                metrics: Arc::clone(&metrics),
            },
            &tasks,
        )?;
        if let Some(absence) = absence {
            appender.divert(&absence);
            let check = check_later(Arc::clone(&log), wanted, tasks.shutdown().clone());
            tasks.spawn_errand("ingest partition check", check);
        }
        let caps = Arc::new(CapCounts::new(life));
        caps_follower::spawn(log, Arc::clone(&caps), Arc::clone(&clock), &tasks, shutdown.clone());
        let inner = Inner {
            limits: Limits::new(&settings.limits),
            bodies: Bodies::new(&settings),
            batch_memory: Memory::new(BATCH_MEMORY_BYTES),
            public_host: settings.public_host(),
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

    /// Whether this is the host of the edge's own address.
    pub(crate) fn is_public_host(&self, host: &str) -> bool {
        self.inner.public_host.as_deref() == Some(host)
    }

    pub(crate) fn caps(&self) -> &CapCounts {
        &self.inner.caps
    }

    /// What reads the bodies of single events.
    pub(crate) fn bodies(&self) -> &Bodies {
        &self.inner.bodies
    }

    /// The memory for batches.
    pub(crate) fn batch_memory(&self) -> &Memory {
        &self.inner.batch_memory
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
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
        self.inner.appender.measure(self.now());
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
        // It is seldom asked, so it has room of its own.
        if let Err(error) = Box::pin(self.inner.follower.catch_up(CATCH_UP_LIMIT)).await {
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
        mut body: Body,
    ) -> Stamped {
        if self.inner.follower.is_stale(STALE_AFTER)
            && let Some(labels) = labels(&mut body)
        {
            labels.push(label::STALE_CATALOG.to_owned());
        }
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
    ///
    /// From the first poll on the event is on its way: dropping the future does not take it back.
    pub(crate) async fn record(&self, stamped: Stamped, caller: Caller) -> Result<EventId, AppendError> {
        let receipt = stamped.event.id;
        self.enqueue(stamped, caller)?.durable().await?;
        Ok(receipt)
    }

    /// Sends an event on its way that somebody told of: a click adds to its caps as one that was redirected does.
    pub(crate) fn report(&self, stamped: Stamped, caller: Caller) -> Result<Ticket, AppendError> {
        let (caps, received_at) = (&self.inner.caps, stamped.event.received_at);
        let click = Clicked::of(&stamped.event, &self.inner.follower.read()).map(|click| click.added_to());
        let counts = click.unwrap_or_default();
        caps.add(&counts, received_at);
        let ticket = self.enqueue(stamped, caller);
        if ticket.is_err() {
            caps.take_back(&counts);
        }
        ticket
    }

    /// Sends the event on its way; the ticket waits until it is durable. For callers with many events.
    pub(crate) fn enqueue(&self, stamped: Stamped, caller: Caller) -> Result<Ticket, AppendError> {
        self.inner.appender.enqueue(stamped.partition, stamped.event, caller)
    }

    /// The client's address: this peer's, or what it says of its client if it is a trusted proxy.
    pub(crate) fn client_address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        address::client(peer, headers, &self.inner.settings.trusted_proxies)
    }

    /// The client's address; `None` where the server does not tell its peer's.
    pub(crate) fn client_of(&self, parts: &request::Parts) -> Option<IpAddr> {
        peer(parts).map(|peer| self.client_address(&parts.headers, peer))
    }

    /// Counts a redirect or a pixel; whether its client has made too many. A trusted proxy that names nobody stands for who
    /// knows how many: of those, none is one too many.
    pub(crate) fn is_excess(&self, client: Option<IpAddr>) -> bool {
        let client =
            client.filter(|client| !address::is_trusted(*client, &self.inner.settings.trusted_proxies));
        client.is_some_and(|client| self.inner.limits.is_excess(client))
    }

    /// The request, before anybody knows who sent it.
    pub(crate) fn incoming<'r>(
        &'r self,
        parts: &'r request::Parts,
        signed: Option<Signed<'r>>,
        received_at: Timestamp,
    ) -> Incoming<'r> {
        let (peer, address) = (peer(parts), self.client_of(parts));
        Incoming { parts, peer, address, signed, sealer: &self.inner.sealer, received_at }
    }

    /// Refuses paths and queries beyond the limit.
    pub(crate) fn check_uri(&self, uri: &http::Uri) -> Result<(), Refusal> {
        let limit = self.inner.settings.max_uri_bytes;
        let bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
        if bytes > limit { Err(Refusal::UriTooLong { limit }) } else { Ok(()) }
    }
}

/// The labels of what somebody sent.
fn labels(body: &mut Body) -> Option<&mut Vec<String>> {
    match body {
        Body::Click(click) => Some(&mut click.hit.labels),
        Body::Impression(impression) => Some(&mut impression.hit.labels),
        Body::Conversion(conversion) => Some(&mut conversion.labels),
        Body::Refund(refund) => Some(&mut refund.labels),
        Body::Command(_) | Body::Delayed(_) | Body::Tick => None,
    }
}

/// Refuses a log with another number of partitions; tells why it does not say, if it does not.
async fn check_partitions(log: &dyn EventLog, wanted: u32) -> Result<Option<eventlog::Error>, StartError> {
    match log.partitions(topic::EVENTS).await {
        Ok(Some(found)) if found == wanted => Ok(None),
        Ok(Some(found)) => Err(StartError::PartitionCount { found, wanted }),
        Ok(None) => Err(StartError::NoTopic(topic::EVENTS)),
        Err(error) if error.is_retriable() => Ok(Some(error)),
        Err(error) => Err(error.into()),
    }
}

/// Checks the partitions as far as that takes no time from requests that wait for the start already.
async fn look_at_start(
    follower: &Follower,
    log: &dyn EventLog,
    wanted: u32,
) -> Result<Option<eventlog::Error>, StartError> {
    // A log that did not answer the catalog would keep this look waiting just as long.
    if follower.status().confirmed.is_none() {
        let reason = "it could not be compared with the copy of the catalog".to_owned();
        return Ok(Some(eventlog::Error::Unavailable(reason)));
    }
    let look = tokio::time::timeout(LOOK_LIMIT, check_partitions(log, wanted)).await;
    look.unwrap_or(Ok(Some(eventlog::Error::Deadline)))
}

/// Checks the partitions once the log can be reached; another number ends the process.
async fn check_later(log: Arc<dyn EventLog>, wanted: u32, shutdown: Shutdown) -> Result<(), StartError> {
    let check = async {
        while check_partitions(log.as_ref(), wanted).await?.is_some() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    };
    tokio::select! {
        checked = check => checked,
        () = shutdown.started() => Ok(()),
    }
}

/// The spool; `None` if its disk does not let it be, which is no reason not to record what the log takes.
async fn open_spool(
    settings: &IngestSettings,
    dir: PathBuf,
    partitions: u32,
    clock: &SharedClock,
    ids: &mut IdGenerator,
) -> Result<Option<Arc<Spool>>, StartError> {
    let limits = spool::Limits {
        max_bytes: settings.spool_max_bytes,
        min_free_bytes: settings.spool_min_free_bytes,
        queue_bytes: settings.queue_bytes,
    };
    let new_edge = ids.next(Timestamp::from_micros(clock.now_micros()).unix_ms(), WorkspaceNumber::NONE);
    match Spool::open(&dir, partitions, limits, clock.clone(), new_edge).await {
        Ok(spool) => Ok(Some(Arc::new(spool))),
        Err(SpoolError::Contradiction(error)) => Err(StartError::Spool(error.to_string())),
        Err(error @ (SpoolError::Log(_) | SpoolError::File { .. })) => {
            tracing::error!(%error, dir = %dir.display(), "no spool: events are lost while the log is away");
            Ok(None)
        }
    }
}

/// The other end of the connection; `None` where the server does not tell.
pub(crate) fn peer(parts: &request::Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// Whether a look at a newer catalog may change the answer: an unknown key or source is refused as unauthorized, an
/// unknown workspace as not found.
pub(crate) fn may_be_news(refusal: &Refusal) -> bool {
    matches!(refusal.code(), ErrorCode::Unauthorized | ErrorCode::NotFound)
}
