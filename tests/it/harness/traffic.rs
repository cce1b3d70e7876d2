//! Traffic while things break: every acknowledgement is remembered, every conversion is tried until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::client::wait_for;
use super::stack::Stack;

/// Clients at a time.
const CLIENTS: u64 = 4;
/// How long a client waits after a refusal.
const RETRY: Duration = Duration::from_millis(20);

/// What was sent and what was acknowledged.
#[derive(Default)]
pub struct Ledger {
    pub clicks_sent: AtomicU64,
    pub clicks: Mutex<Vec<String>>,
    pub conversions: Mutex<Vec<String>>,
    pub transactions: AtomicU64,
}

/// Clients that click and convert until they are told to stop.
pub struct Traffic {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Traffic {
    /// Starts the clients. Each click is followed by a conversion of 10.00.
    pub fn start(stack: &Stack, link: &str) -> Self {
        let (ledger, stop) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let customer = stack.customer();
            let (ledger, stop, link) = (ledger.clone(), stop.clone(), link.to_owned());
            clients.spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    ledger.clicks_sent.fetch_add(1, Ordering::Relaxed);
                    let Some(click) = customer.try_click(&format!("{link}?sub1=c{client}")).await else {
                        tokio::time::sleep(RETRY).await;
                        continue;
                    };
                    ledger.clicks.lock().await.push(click.receipt);
                    let transaction = format!("{client}-{number}");
                    let body =
                        json!({"click_id": click.id, "transaction_id": transaction, "amount": "10.00"});
                    ledger.transactions.fetch_add(1, Ordering::Relaxed);
                    let receipt = loop {
                        match customer.try_convert(&body).await {
                            Some(receipt) => break receipt,
                            None => tokio::time::sleep(RETRY).await,
                        }
                    };
                    ledger.conversions.lock().await.push(receipt);
                }
            });
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
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.ledger
    }
}

impl Stack {
    /// Everything that was acknowledged is counted once, nothing else is counted but what may have been.
    pub async fn audit(&self, ledger: &Ledger) {
        for receipt in ledger.clicks.lock().await.iter() {
            let settled = self.receipt(receipt).await;
            assert_eq!(settled["status"], "recorded", "{settled}");
        }
        // An acknowledgement may have been lost with a killed edge: the repetition is then the duplicate.
        for receipt in ledger.conversions.lock().await.iter() {
            let settled = self.receipt(receipt).await;
            assert!(settled["status"] == "recorded" || settled["status"] == "duplicate", "{settled}");
        }
        let transactions = ledger.transactions.load(Ordering::Relaxed);
        let wanted = json!({
            "conversions": transactions,
            "revenue": format!("{}.00", transactions * 10),
            "payout": format!("{transactions}.00"),
        });
        let report = self.await_totals(&wanted).await;
        let clicks = report["totals"]["clicks"].as_u64().unwrap();
        let acknowledged = ledger.clicks.lock().await.len() as u64;
        let sent = ledger.clicks_sent.load(Ordering::Relaxed);
        assert!((acknowledged..=sent).contains(&clicks), "{acknowledged} <= {clicks} <= {sent}");
        self.assert_balance().await;
    }
}
