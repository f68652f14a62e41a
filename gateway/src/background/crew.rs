//! A crew: one task for each thing that is looked after, kept in step with the configuration. Decides which tasks run,
//! not what they do. As large as the configuration, no larger.

use super::Shared;
use crate::state::Fleet;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A task that has ended, which it should not, is started again after this at the latest.
const ROLL_CALL: Duration = Duration::from_secs(30);

/// Tasks by what they look after.
pub(super) struct Crew<K, P> {
    members: HashMap<K, (P, Task)>,
}

/// Ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: Eq + Hash, P: PartialEq + Clone> Crew<K, P> {
    /// An empty crew.
    pub(super) fn new() -> Self {
        Self { members: HashMap::new() }
    }

    /// Ends the tasks whose post is gone or changed, starts those that are missing, leaves all others alone.
    pub(super) fn muster<F>(&mut self, mut posts: HashMap<K, P>, start: impl Fn(P) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.members.retain(|key, (post, task)| {
            let stays = posts.get(key) == Some(post) && !task.0.is_finished();
            if stays {
                posts.remove(key);
            }
            stays
        });
        for (key, post) in posts {
            let task = Task(tokio::spawn(start(post.clone())));
            self.members.insert(key, (post, task));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

/// Calls `muster` with the fleet in force: now, after each reload, and at each roll call.
pub(super) async fn follow(shared: &Shared, mut generations: watch::Receiver<u64>, mut muster: impl FnMut(&Fleet)) {
    loop {
        muster(&shared.fleets.load_full());
        tokio::select! {
            changed = generations.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(ROLL_CALL) => {}
        }
    }
}

/// `wait`, spread by `share` of it around its middle; `draw` is from 0 to 1.
pub(super) fn spread(wait: Duration, share: f64, draw: f64) -> Duration {
    wait.mul_f64((1.0 + share.clamp(0.0, 1.0) * (draw - 0.5)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn only_changed_posts_get_a_new_task() {
        let started = Arc::new(AtomicUsize::new(0));
        let begin = |ends: bool| {
            let started = Arc::clone(&started);
            async move {
                started.fetch_add(1, Ordering::Relaxed);
                if !ends {
                    std::future::pending::<()>().await;
                }
            }
        };
        let mut crew = Crew::new();
        for (posts, running, begun) in [
            (HashMap::from([("a", false), ("b", false)]), 2, 2),
            (HashMap::from([("a", false), ("b", true)]), 2, 3),
            (HashMap::from([("b", true)]), 1, 4),
            (HashMap::new(), 0, 4),
        ] {
            crew.muster(posts, begin);
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            assert_eq!((crew.len(), started.load(Ordering::Relaxed)), (running, begun));
        }
    }

    #[test]
    fn a_spread_stays_within_its_share() {
        let wait = Duration::from_secs(10);
        assert_eq!(spread(wait, 0.2, 0.0), Duration::from_secs(9));
        assert_eq!(spread(wait, 0.2, 0.5), wait);
        assert_eq!(spread(wait, 0.2, 1.0), Duration::from_secs(11));
        assert_eq!(spread(wait, 0.0, 1.0), wait);
    }
}
