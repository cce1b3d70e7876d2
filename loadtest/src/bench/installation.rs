//! An installation of ours to be measured, with a campaign that the clicks are for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::server::{self, Ready, Server, failed};
use crate::LoadError;

/// A partition that no event of the first workspace is in.
const ELSEWHERE: &str = "[3]";
const ENGINE_PASSWORD: &str = "bench";
/// More than the connections that a measurement opens.
const MAX_CONNECTIONS: &str = "12000";
/// More batches than one key may send a minute otherwise.
const EVENTS_PER_MINUTE: &str = "1000000";

/// Link keys of the campaign.
pub(crate) const PLAIN: &str = "plain";
pub(crate) const RULED: &str = "ruled";

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) repository: PathBuf,
    /// Our binary.
    pub(crate) tributary: PathBuf,
    pub(crate) engine_library: PathBuf,
    /// Data goes below it.
    pub(crate) dir: PathBuf,
}

/// What the edge shares its process with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Processor and sink own another partition, so nothing happens but the edge.
    Alone,
    /// Every role works.
    All,
}

/// A running installation. What was started first is dropped last.
pub(crate) struct Installation {
    /// The process that holds the edge.
    pub(crate) edge: Server,
    /// The key of everything.
    pub(crate) key: String,
    campaign: Campaign,
    /// A warehouse of a cluster, and its broker.
    _behind: Vec<Server>,
}

impl Installation {
    /// Everything in one process, on embedded engines.
    pub(crate) async fn up(place: &Place, company: Company) -> Result<Self, LoadError> {
        let data = place.dir.join(match company {
            Company::Alone => "up-edge-alone",
            Company::All => "up",
        });
        let mut command = place.up(&data);
        if company == Company::Alone {
            command
                .env("TRIBUTARY_PROCESSOR__PARTITIONS", ELSEWHERE)
                .env("TRIBUTARY_SINK__PARTITIONS", ELSEWHERE);
        }
        let edge = Server::start("tributary up", command, Ready::Says("edge  "))?;
        let api = edge.announced("api   ")?;
        let key = read_key(&data)?;
        let campaign = Campaign::create(&format!("http://{api}"), &key).await?;
        Ok(Self { edge, key, campaign, _behind: Vec::new() })
    }

    /// The edge as a process of its own, on a real broker. Processor and sink do not run.
    pub(crate) async fn on_kafka(place: &Place) -> Result<Self, LoadError> {
        let Cluster { edge, broker, desk, warehouse, key, campaign, .. } =
            Cluster::start(place, Company::Alone).await?;
        drop(desk);
        Ok(Self { edge, key, campaign, _behind: vec![warehouse, broker] })
    }

    /// Adds a link whose rules look at what is known of a visitor.
    pub(crate) async fn add_rules(&self) -> Result<(), LoadError> {
        let test = |field: &str, value: &str| json!({"field": field, "op": "eq", "value": [value]});
        let to = |page: &str, weight: u32| {
            let url = format!("https://shop.example/{page}?cid={{click_id}}");
            json!({"destination_url": url, "weight": weight})
        };
        let rules = json!([
            {"when": test("bot", "true"), "to": [to("plain", 1)]},
            {
                "when": {"and": [test("device", "mobile"), {"not": test("os", "iOS")}]},
                "to": [to("m1", 1), to("m2", 3)],
            },
            {"when": {"or": [test("browser", "Firefox"), test("language", "de")]}, "to": [to("f", 1)]},
            {"when": {"and": []}, "to": [to("a", 1), to("b", 1)]},
        ]);
        let Campaign { api, offer, partner } = &self.campaign;
        let link = json!({"offer": offer, "partner": partner, "key": RULED, "rules": rules});
        create(api, &self.key, "links", &link).await?;
        Ok(())
    }
}

/// The roles as processes of their own, on a real broker. What was started first is dropped last.
pub(crate) struct Cluster {
    /// The edge, always on the same port.
    pub(crate) edge: Server,
    pub(crate) desk: Server,
    /// Processor and sink, if they run.
    _workers: Vec<Server>,
    pub(crate) warehouse: Server,
    pub(crate) broker: Server,
    pub(crate) key: String,
    campaign: Campaign,
}

impl Cluster {
    /// Starts everything; processor and sink only in company.
    pub(crate) async fn start(place: &Place, company: Company) -> Result<Self, LoadError> {
        let broker = server::kafka(&place.repository, &place.dir)?;
        let warehouse_port = server::free_port()?;
        let mut engine = place.up(&place.dir.join("warehouse-of-the-cluster"));
        engine
            .env("TRIBUTARY_ENGINE__PORT", warehouse_port.to_string())
            .env("TRIBUTARY_ENGINE__PASSWORD", ENGINE_PASSWORD);
        let warehouse = Server::start("warehouse", engine, Ready::Says("edge  "))?;
        let edge_port = server::free_port()?;
        let role = |name: &str| {
            let mut command = Command::new(&place.tributary);
            command
                .arg(name)
                .env("TRIBUTARY_DATA_DIR", place.dir.join(name))
                .env("TRIBUTARY_LOG__FILTER", "error")
                .env("TRIBUTARY_KAFKA__BROKERS", broker.address.to_string())
                .env("TRIBUTARY_KAFKA__REPLICATION_FACTOR", "1")
                .env("TRIBUTARY_WAREHOUSE__URL", format!("http://127.0.0.1:{warehouse_port}"))
                .env("TRIBUTARY_WAREHOUSE__USER", "tributary")
                .env("TRIBUTARY_WAREHOUSE__PASSWORD", ENGINE_PASSWORD)
                .env("TRIBUTARY_WAREHOUSE__DATABASE", "bench")
                .env("TRIBUTARY_EDGE__LISTEN", format!("127.0.0.1:{edge_port}"))
                .env("TRIBUTARY_EDGE_HTTP__MAX_CONNECTIONS", MAX_CONNECTIONS)
                .env("TRIBUTARY_EDGE__LIMITS__EVENTS_PER_MINUTE", EVENTS_PER_MINUTE)
                .env("TRIBUTARY_API__LISTEN", "127.0.0.1:0")
                .env("TRIBUTARY_OPS__LISTEN", "127.0.0.1:0");
            command
        };
        let migrated = role("migrate").stdout(Stdio::null()).status()?;
        if !migrated.success() {
            return Err(failed("tributary migrate", &format!("it ended with {migrated}")));
        }
        let key = read_key(&place.dir.join("migrate"))?;
        let desk = Server::start("tributary query-api", role("query-api"), Ready::Says("api  "))?;
        let campaign = Campaign::create(&format!("http://{}", desk.address), &key).await?;
        let workers = match company {
            Company::Alone => Vec::new(),
            Company::All => vec![
                Server::start("tributary processor", role("processor"), Ready::Says("ops  "))?,
                Server::start("tributary sink", role("sink"), Ready::Says("ops  "))?,
            ],
        };
        let edge = Server::start("tributary ingest", role("ingest"), Ready::Says("edge  "))?;
        Ok(Self { edge, desk, _workers: workers, warehouse, broker, key, campaign })
    }
}

impl Place {
    fn up(&self, data: &Path) -> Command {
        let mut command = Command::new(&self.tributary);
        command
            .args(["up", "--edge", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--engine-library")
            .arg(&self.engine_library)
            .env("TRIBUTARY_LOG__FILTER", "warn")
            .env("TRIBUTARY_EDGE_HTTP__MAX_CONNECTIONS", MAX_CONNECTIONS)
            .env("TRIBUTARY_EDGE__LIMITS__EVENTS_PER_MINUTE", EVENTS_PER_MINUTE);
        command
    }
}

fn read_key(data: &Path) -> Result<String, LoadError> {
    let path = data.join("admin-key");
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|error| LoadError::File { path, reason: error.to_string() })?;
    Ok(text.trim().to_owned())
}

/// What the clicks are for.
struct Campaign {
    api: String,
    offer: String,
    partner: String,
}

impl Campaign {
    /// An offer, a partner and a plain link.
    async fn create(api: &str, key: &str) -> Result<Self, LoadError> {
        let offer = json!({
            "name": "Shoes",
            "destination_url": "https://shop.example/?cid={click_id}",
            "goals": [{"key": "sale", "payout": {"type": "percent", "percent": "10"}}],
        });
        let offer = create(api, key, "offers", &offer).await?;
        let partner = create(api, key, "partners", &json!({"name": "Anna"})).await?;
        create(api, key, "links", &json!({"offer": offer, "partner": partner, "key": PLAIN})).await?;
        Ok(Self { api: api.to_owned(), offer, partner })
    }
}

async fn create(api: &str, key: &str, resource: &str, body: &Value) -> Result<String, LoadError> {
    let url = format!("{api}/api/v1/{resource}");
    let wrong = |reason: String| LoadError::Api { url: url.clone(), reason };
    let sent = reqwest::Client::new().post(&url).bearer_auth(key).json(body).send().await;
    let response = sent.map_err(|error| wrong(error.to_string()))?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(|error| wrong(error.to_string()))?;
    match answer["id"].as_str() {
        Some(id) if status.is_success() => Ok(id.to_owned()),
        Some(_) | None => Err(wrong(format!("{status}: {answer}"))),
    }
}
