//! Traffic while things break: every acknowledgement is remembered, every conversion is tried until it is acknowledged.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::client::{Customer, SETTLE_LIMIT, wait_for};
use super::stack::Stack;

/// Clients at a time.
const CLIENTS: u64 = 4;
/// How long a client waits after a refusal.
const RETRY: Duration = Duration::from_millis(20);
/// Receipts that are asked for at a time.
const QUESTIONS: usize = 8;

/// What was sent and what was acknowledged.
#[derive(Default)]
pub struct Ledger {
    pub clicks_sent: AtomicU64,
    pub clicks: Mutex<Vec<String>>,
    pub conversions: Mutex<Vec<String>>,
    /// Receipts of transactions that had been acknowledged before.
    pub repeated: Mutex<Vec<String>>,
    pub transactions: AtomicU64,
    /// Of the conversions and of the repeated ones, how many an audit has found settled.
    audited: [AtomicUsize; 2],
}

/// Clients that click and convert until they are told to stop.
pub struct Traffic {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Traffic {
    /// Starts the clients as soon as the edge knows the link. Each click of theirs is followed by a conversion of 10.00.
    pub async fn start(stack: &Stack, link: &str) -> Self {
        Self::start_with(stack, link, Habits::default()).await
    }

    /// The same with habits of their own.
    pub async fn start_with(stack: &Stack, link: &str, habits: Habits) -> Self {
        // Nothing breaks yet: what is not acknowledged is a link that is not known, and no click.
        let first = stack.click(link).await;
        let ledger = Ledger {
            clicks_sent: AtomicU64::new(1),
            clicks: Mutex::new(vec![first.receipt]),
            ..Ledger::default()
        };
        Self::resume(stack, link, Arc::new(ledger), habits)
    }

    /// Goes on after [`Self::finish`], in the same ledger.
    pub fn resume(stack: &Stack, link: &str, ledger: Arc<Ledger>, habits: Habits) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                customer: stack.customer(),
                ledger: ledger.clone(),
                path: format!("{link}?sub1=c{number}"),
                habits,
            };
            clients.spawn(client.run(stop.clone()));
        }
        Self { ledger, stop, clients }
    }

    /// Waits until this many more clicks were acknowledged.
    pub async fn more_clicks(&self, more: usize) {
        let wanted = self.ledger.clicks.lock().await.len() + more;
        wait_for("traffic", async || {
            let found = self.ledger.clicks.lock().await.len();
            if found >= wanted { Ok(()) } else { Err(format!("{found} of {wanted} clicks acknowledged")) }
        })
        .await;
    }

    /// Lets every client finish what it has begun.
    pub async fn finish(mut self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let all_ended = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap();
            }
        };
        let ended = tokio::time::timeout(SETTLE_LIMIT, all_ended).await;
        ended.expect("a client is still refused, long after everything is up again");
        self.ledger
    }
}

/// How clients behave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Of ten transactions so many are sent once more, later.
    pub repeats_of_ten: u64,
    /// How long a client waits after a conversion before it clicks again.
    pub pause: Duration,
}

impl Habits {
    /// For a test in which something is away for long: about 20 clicks in a second, so that it is not the work that has piled up
    /// meanwhile that decides how long it takes.
    pub const CALM: Self = Self { repeats_of_ten: 0, pause: Duration::from_millis(200) };
}

/// One of those who click and convert.
struct Client {
    customer: Customer,
    ledger: Arc<Ledger>,
    path: String,
    habits: Habits,
}

impl Client {
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut sent = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            self.ledger.clicks_sent.fetch_add(1, Ordering::Relaxed);
            let Some(click) = self.customer.try_click(&self.path).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            self.ledger.clicks.lock().await.push(click.receipt);
            let number = self.ledger.transactions.fetch_add(1, Ordering::Relaxed);
            let transaction = format!("T-{number}");
            let body = json!({"click_id": click.id, "transaction_id": transaction, "amount": "10.00"});
            let receipt = self.convert(&body).await;
            self.ledger.conversions.lock().await.push(receipt);
            sent.push(body);
            if number % 10 < self.habits.repeats_of_ten {
                let receipt = self.convert(&sent[sent.len() / 2]).await;
                self.ledger.repeated.lock().await.push(receipt);
            }
            tokio::time::sleep(self.habits.pause).await;
        }
    }

    /// Sends a conversion until it is acknowledged.
    async fn convert(&self, body: &Value) -> String {
        loop {
            match self.customer.try_convert(body).await {
                Some(receipt) => return receipt,
                None => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

impl Stack {
    /// Everything that was acknowledged is counted once, nothing else is counted but what may have been.
    pub async fn audit(&self, ledger: &Ledger) {
        self.audit_conversions(ledger).await;
        self.audit_clicks(ledger).await;
        self.assert_balance().await;
    }

    /// Every transaction was sent until it was acknowledged: each is in the sums exactly once.
    async fn audit_conversions(&self, ledger: &Ledger) {
        // An acknowledgement may have been lost with a killed edge: the repetition is then the duplicate.
        let once = (&ledger.conversions, &ledger.audited[0], &["recorded", "duplicate"][..]);
        let again = (&ledger.repeated, &ledger.audited[1], &["duplicate"][..]);
        for (receipts, audited, wanted) in [once, again] {
            let receipts = receipts.lock().await;
            let asking = receipts[audited.load(Ordering::Relaxed)..].iter().map(|it| self.receipt(it));
            let mut settled = futures::stream::iter(asking).buffer_unordered(QUESTIONS);
            while let Some(settled) = settled.next().await {
                assert!(wanted.iter().any(|status| settled["status"] == *status), "{settled}");
            }
            audited.store(receipts.len(), Ordering::Relaxed);
        }
        let transactions = ledger.transactions.load(Ordering::Relaxed);
        let wanted = json!({
            "conversions": transactions,
            "revenue": format!("{}.00", transactions * 10),
            "payout": format!("{transactions}.00"),
        });
        self.await_totals(&wanted).await;
    }

    /// Every acknowledged click is in the list exactly once, and the report counts what the list shows.
    async fn audit_clicks(&self, ledger: &Ledger) {
        let acknowledged = ledger.clicks.lock().await;
        let listed = wait_for("clicks", async || {
            let listed = self.listed_clicks().await?;
            let reported = self.reported_clicks().await?;
            let present: HashSet<&String> = listed.iter().collect();
            let lost = acknowledged.iter().filter(|receipt| !present.contains(receipt)).count();
            if lost == 0 && reported == listed.len() as u64 {
                return Ok(listed);
            }
            let (acknowledged, listed) = (acknowledged.len(), listed.len());
            Err(format!(
                "{lost} of {acknowledged} acknowledged clicks not listed; {listed} listed, {reported} reported"
            ))
        })
        .await;
        let unique = |receipts: &[String]| receipts.iter().collect::<HashSet<_>>().len();
        assert_eq!(unique(&acknowledged), acknowledged.len(), "two clicks have one receipt");
        assert_eq!(unique(&listed), listed.len(), "a click is counted twice");
        let (listed, sent) = (listed.len() as u64, ledger.clicks_sent.load(Ordering::Relaxed));
        assert!(listed <= sent, "{listed} clicks listed, {sent} sent");
    }
}
