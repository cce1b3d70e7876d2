//! Starts with a copy of the catalog on disk, and logs that are away, silent, or not the one of before.

use super::super::start::ANSWER_PATIENCE;
use super::*;

async fn start_with_copy(log: &Arc<dyn EventLog>, copy: &Path) -> Result<Follower, FollowError> {
    let settings =
        FollowerSettings { start_deadline: Duration::from_millis(500), ..FollowerSettings::default() };
    Follower::start_with_copy(Arc::clone(log), settings, copy).await
}

/// A log with an installation and partners in it, and a copy of its catalog that nobody has open.
async fn copied() -> (TempDir, Arc<dyn EventLog>, TempDir, Catalog) {
    let (dir, log, first) = installed().await;
    let mut ids = Proposer(IdGenerator::new(1));
    for round in 0..5 {
        first.propose(ids.partner(&format!("anna{round}"))).await.unwrap();
    }
    let copy = TempDir::new().unwrap();
    let follower = start_with_copy(&log, copy.path()).await.unwrap();
    // What comes while it follows is copied, too.
    follower.propose(ids.partner("late")).await.unwrap();
    let catalog = follower.read().clone();
    follower.shutdown().await;
    (dir, log, copy, catalog)
}

#[tokio::test]
async fn a_follower_knows_the_revisions_of_its_log_and_no_others() {
    let (_dir, log, copy, catalog) = copied().await;
    let (_other_dir, other, first) = installed().await;
    let revision = catalog.revision();
    let younger = CatalogRevision { number: revision.number + 1, hash: 7 };
    for follower in [start(&log).await, start_with_copy(&log, copy.path()).await.unwrap()] {
        assert_eq!(follower.knows(CatalogRevision::default()), Some(true));
        assert_eq!(follower.knows(revision), Some(true));
        assert_eq!(follower.knows(CatalogRevision { hash: 7, ..revision }), Some(false));
        assert_eq!(follower.knows(younger), None);
        follower.shutdown().await;
    }
    let mut ids = Proposer(IdGenerator::new(9));
    // A log that is shorter than the copy would be looked at again for a while.
    for round in 0..revision.number {
        first.propose(ids.partner(&format!("bert{round}"))).await.unwrap();
    }
    let follower = start_with_copy(&other, copy.path()).await.unwrap();
    assert_eq!(timeout(LIMIT, follower.confirmed()).await.unwrap().unwrap(), Confirmed::FoldedAnew);
    assert_eq!((follower.copied(), follower.knows(revision)), (Some(revision), Some(false)));
    assert_eq!(follower.knows(follower.revision()), Some(true));
}

#[tokio::test]
async fn a_follower_starts_from_its_copy_while_the_log_is_away_and_follows_it_later() {
    let (_dir, log, copy, catalog) = copied().await;
    let unsteady = Unsteady::new(Arc::clone(&log), 0, true);
    let follower = start_with_copy(&(Arc::clone(&unsteady) as Arc<dyn EventLog>), copy.path()).await.unwrap();
    assert_eq!(*follower.read(), catalog);
    assert_eq!(follower.status().confirmed, None);
    assert!(follower.is_stale(LIMIT));
    assert!(follower.catch_up(Duration::from_millis(50)).await.is_err());

    let other = start(&log).await;
    other.propose(Proposer(IdGenerator::new(3)).partner("bert")).await.unwrap();
    unsteady.is_away.store(false, Ordering::SeqCst);
    let confirmed = timeout(LIMIT, follower.confirmed()).await.unwrap();
    assert_eq!(confirmed.unwrap(), Confirmed::Equal);
    timeout(LIMIT, follower.shared.folded(end_of(&log).await)).await.unwrap().unwrap();
    assert_eq!(*follower.read(), *other.read());
    assert!(!follower.is_stale(LIMIT));
}

#[tokio::test]
async fn a_copy_of_another_log_is_thrown_away() {
    let (_dir, _log, copy, catalog) = copied().await;
    let (_other_dir, other, first) = installed().await;
    let mut ids = Proposer(IdGenerator::new(9));
    for round in 0..10 {
        first.propose(ids.partner(&format!("bert{round}"))).await.unwrap();
    }
    for _ in 0..2 {
        let follower = start_with_copy(&other, copy.path()).await.unwrap();
        assert_eq!(*follower.read(), *first.read());
        assert_ne!(*follower.read(), catalog);
        follower.shutdown().await;
    }
    // The second start was from the new copy.
    let unsteady: Arc<dyn EventLog> = Unsteady::new(other, 0, true);
    let follower = start_with_copy(&unsteady, copy.path()).await.unwrap();
    assert_eq!(*follower.read(), *first.read());
}

#[tokio::test]
async fn a_damaged_copy_is_thrown_away_and_without_a_copy_the_log_is_needed() {
    let (_dir, log, copy, catalog) = copied().await;
    let segment = copy.path().join("catalog/0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[50] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let away: Arc<dyn EventLog> = Unsteady::new(Arc::clone(&log), usize::MAX, true);
    assert!(matches!(start_with_copy(&away, copy.path()).await, Err(FollowError::Timeout)));
    let follower = start_with_copy(&log, copy.path()).await.unwrap();
    assert_eq!(*follower.read(), catalog);
    assert_eq!(follower.status().confirmed, Some(Confirmed::Equal));
    follower.shutdown().await;
    let follower = start_with_copy(&away, copy.path()).await.unwrap();
    assert_eq!(*follower.read(), catalog);
}

#[tokio::test]
async fn a_log_that_says_nothing_at_all_is_not_waited_for() {
    let (_dir, log, copy, catalog) = copied().await;
    let silent = Unsteady::new(log, 0, false);
    let silence = silent.silence.write().await;
    let follower = start_with_copy(&(Arc::clone(&silent) as Arc<dyn EventLog>), copy.path()).await.unwrap();
    assert_eq!(*follower.read(), catalog);
    assert_eq!(follower.status().confirmed, None);
    drop(silence);
    assert_eq!(timeout(LIMIT, follower.confirmed()).await.unwrap().unwrap(), Confirmed::Equal);
}

#[tokio::test]
async fn a_log_that_has_answered_is_waited_for_longer() {
    let (_dir, log, copy, _) = copied().await;
    let other = start(&log).await;
    other.propose(Proposer(IdGenerator::new(3)).partner("bert")).await.unwrap();
    let slow = Unsteady::new(log, 0, false);
    let gate = slow.gate.write().await;
    let shared: Arc<dyn EventLog> = slow.clone();
    let release = async {
        tokio::time::sleep(ANSWER_PATIENCE * 2).await;
        drop(gate);
    };
    let (follower, ()) = tokio::join!(start_with_copy(&shared, copy.path()), release);
    let follower = follower.unwrap();
    assert_eq!(follower.status().confirmed, Some(Confirmed::Equal));
    assert_eq!(*follower.read(), *other.read());
}
