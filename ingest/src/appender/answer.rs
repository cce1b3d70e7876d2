//! One answer for all requests of a group, whose threads are woken once each.
//!
//! The requests of a group run on the few threads of the server, each with a runtime of its own. Waking a task of another
//! thread costs a system call, waking one of the same thread next to nothing. So on each thread the first request that
//! waits leads the others: the answer wakes the leaders, and a leader, when it has the answer, wakes its crew.
//!
//! So who waits must be polled when it is woken, as the server polls its handlers, or let go of the wait: a leader that is
//! left lying keeps its crew waiting.

use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// An answer that is given once, and for which many wait.
#[derive(Debug)]
pub(super) struct SharedAnswer<T> {
    answer: OnceLock<T>,
    crews: Mutex<Vec<Crew>>,
}

/// Those who wait on one thread.
#[derive(Debug)]
struct Crew {
    thread: ThreadId,
    leader: Option<Waker>,
    followers: Vec<Waker>,
    /// How often it has lost its leader, and begun anew.
    terms: u32,
}

/// The place of one who waits. A crew keeps its place in the list.
#[derive(Debug, Clone, Copy)]
enum Place {
    None,
    Leader { crew: usize },
    Follower { crew: usize, place: usize, term: u32 },
}

impl<T> Default for SharedAnswer<T> {
    fn default() -> Self {
        Self { answer: OnceLock::new(), crews: Mutex::default() }
    }
}

impl<T> SharedAnswer<T> {
    /// Gives the answer. Only the first counts.
    pub(super) fn give(&self, answer: T) {
        if self.answer.set(answer).is_err() {
            return;
        }
        // Whoever takes a place after this has looked for the answer with the list locked, and found it.
        let leaders: Vec<Waker> =
            self.crews.lock().iter_mut().filter_map(|crew| crew.leader.take()).collect();
        leaders.into_iter().for_each(Waker::wake);
    }

    /// Waits for the answer.
    pub(super) const fn wait(&self) -> Wait<'_, T> {
        Wait { shared: self, place: Place::None }
    }

    /// Keeps the waker in this place, or takes one; `None` if the answer came meanwhile.
    fn keep(&self, place: Place, waker: &Waker) -> Option<Place> {
        let mut crews = self.crews.lock();
        if self.answer.get().is_some() {
            return None;
        }
        match place {
            Place::Leader { crew } => {
                if let Some(leader) = crews.get_mut(crew).and_then(|crew| crew.leader.as_mut()) {
                    leader.clone_from(waker);
                    return Some(place);
                }
            }
            Place::Follower { crew, place: number, term } => {
                let crew = crews.get_mut(crew).filter(|crew| crew.terms == term);
                if let Some(follower) = crew.and_then(|crew| crew.followers.get_mut(number)) {
                    follower.clone_from(waker);
                    return Some(place);
                }
            }
            Place::None => {}
        }
        Some(take_place(&mut crews, waker))
    }

    /// The crew loses its leader: all of it are woken, to find the answer or another leader.
    fn disband(&self, crew: usize) {
        let mut crews = self.crews.lock();
        let Some(crew) = crews.get_mut(crew) else { return };
        crew.leader = None;
        crew.terms = crew.terms.wrapping_add(1);
        let followers = std::mem::take(&mut crew.followers);
        drop(crews);
        followers.into_iter().for_each(Waker::wake);
    }
}

/// Takes a place among those of this thread.
fn take_place(crews: &mut Vec<Crew>, waker: &Waker) -> Place {
    thread_local! {
        static THREAD: ThreadId = thread::current().id();
    }
    let thread = THREAD.with(|thread| *thread);
    let waker = waker.clone();
    let Some((number, crew)) = crews.iter_mut().enumerate().find(|(_, crew)| crew.thread == thread) else {
        crews.push(Crew { thread, leader: Some(waker), followers: Vec::new(), terms: 0 });
        return Place::Leader { crew: crews.len() - 1 };
    };
    if crew.leader.is_none() {
        crew.leader = Some(waker);
        return Place::Leader { crew: number };
    }
    crew.followers.push(waker);
    Place::Follower { crew: number, place: crew.followers.len() - 1, term: crew.terms }
}

/// Waits for an answer.
#[derive(Debug)]
pub(super) struct Wait<'a, T> {
    shared: &'a SharedAnswer<T>,
    place: Place,
}

impl<'a, T> Future for Wait<'a, T> {
    type Output = &'a T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'a T> {
        let shared = self.shared;
        if let Some(answer) = shared.answer.get() {
            return Poll::Ready(answer);
        }
        match shared.keep(self.place, cx.waker()) {
            Some(place) => {
                self.place = place;
                Poll::Pending
            }
            None => shared.answer.get().map_or(Poll::Pending, Poll::Ready),
        }
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        match self.place {
            Place::Leader { crew } => self.shared.disband(crew),
            Place::Follower { .. } | Place::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn poll<'a>(wait: &mut Pin<&mut Wait<'a, u8>>, wakes: &Arc<Wakes>) -> Poll<&'a u8> {
        let waker = Waker::from(Arc::clone(wakes));
        wait.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn wakes() -> [Arc<Wakes>; 3] {
        std::array::from_fn(|_| Arc::default())
    }

    fn counts(wakes: &[Arc<Wakes>; 3]) -> [usize; 3] {
        std::array::from_fn(|number| wakes[number].count())
    }

    #[test]
    fn the_answer_wakes_the_leader_and_the_leader_wakes_its_crew() {
        let (shared, wakes) = (SharedAnswer::default(), wakes());
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(shared.wait())).collect();
        for (wait, wakes) in waits.iter_mut().zip(&wakes) {
            assert!(poll(&mut wait.as_mut(), wakes).is_pending());
            // Being looked at again takes no second place.
            assert!(poll(&mut wait.as_mut(), wakes).is_pending());
        }
        shared.give(7);
        shared.give(8);
        assert_eq!(counts(&wakes), [1, 0, 0]);
        let mut leader = waits.remove(0);
        assert_eq!(poll(&mut leader.as_mut(), &wakes[0]), Poll::Ready(&7));
        drop(leader);
        assert_eq!(counts(&wakes), [1, 1, 1]);
        assert_eq!(poll(&mut waits[0].as_mut(), &wakes[1]), Poll::Ready(&7));
        assert_eq!(poll(&mut pin!(shared.wait()), &wakes[0]), Poll::Ready(&7));
    }

    #[test]
    fn a_leader_that_leaves_is_followed_by_another() {
        let (shared, wakes) = (SharedAnswer::default(), wakes());
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(shared.wait())).collect();
        for (wait, wakes) in waits.iter_mut().zip(&wakes) {
            assert!(poll(&mut wait.as_mut(), wakes).is_pending());
        }
        drop(waits.remove(0));
        assert_eq!(counts(&wakes), [0, 1, 1]);
        // The last comes first.
        assert!(poll(&mut waits[1].as_mut(), &wakes[2]).is_pending());
        assert!(poll(&mut waits[0].as_mut(), &wakes[1]).is_pending());
        shared.give(7);
        assert_eq!(counts(&wakes), [0, 1, 2]);
        drop(waits.remove(1));
        assert_eq!(counts(&wakes), [0, 2, 2]);
        assert_eq!(poll(&mut waits[0].as_mut(), &wakes[1]), Poll::Ready(&7));
    }

    #[test]
    fn each_thread_has_its_leader() {
        let (shared, wakes) = (SharedAnswer::default(), wakes());
        let (mut first, mut second) = (Box::pin(shared.wait()), Box::pin(shared.wait()));
        assert!(poll(&mut first.as_mut(), &wakes[0]).is_pending());
        thread::scope(|scope| {
            scope.spawn(|| assert!(poll(&mut second.as_mut(), &wakes[1]).is_pending()));
        });
        shared.give(7);
        assert_eq!(counts(&wakes), [1, 1, 0]);
    }
}
