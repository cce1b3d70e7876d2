//! Snapshots of a partition's state in a directory, and processors that begin from them.

pub(crate) mod failover;
mod keeping;

use std::path::PathBuf;

use processor::assignment::PartitionOf;
use processor::core::{Head, Pair};
use processor::snapshot::{Snapshot, Snapshots};
use processor::store::{Committed as _, Store};
use processor::{Metrics, Objects};
use schemas::event::Event;

use crate::scene::{HOUR, Traffic, click_id};
use crate::site::Site;

/// Clicks with their conversions.
fn traffic(edge: &mut Traffic, count: usize) -> Vec<Event> {
    (0..count)
        .flat_map(|n| {
            let click = edge.click(n as i64, |_| {});
            let conversion = edge.conversion(HOUR, |it| it.click = Some(click_id(&click)));
            [click, conversion]
        })
        .collect()
}

impl Site {
    fn objects_dir(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    fn snapshots(&self) -> Snapshots {
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let objects = Objects::in_directory(&self.objects_dir()).unwrap();
        Snapshots::new(objects, self.log.clone(), PartitionOf::first(0), metrics.snapshots(0))
    }

    /// Lets an owner on the state `name` decide these events, in small records.
    async fn decide(&self, name: &str, events: &[Event]) {
        let store = self.store(name);
        let owner = self.owner_with(&store, self.clock.clone(), 4);
        for event in events {
            self.send(event).await;
        }
        self.decided(&store).await;
        owner.stop().await.unwrap();
    }

    /// Takes a snapshot of the state `name`.
    async fn take(&self, name: &str) -> Snapshot {
        let taken = self.snapshots().take(&self.store(name).view()).await.unwrap();
        taken.unwrap()
    }

    /// The file of a snapshot.
    fn file_of(&self, snapshot: &Snapshot) -> PathBuf {
        let hash = schemas::hex::encode(&snapshot.hash);
        self.objects_dir().join(format!("snapshots/0/{:020}-{hash}.zst", snapshot.position))
    }
}

/// Every pair of a state, and its head.
fn all(store: &Store) -> (Vec<Pair>, Head) {
    (store.view().pairs().unwrap().map(Result::unwrap).collect(), store.head().unwrap())
}
