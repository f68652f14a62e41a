//! Waiting with a deadline: nothing in a test waits without one, and nothing is proved by having slept.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks every 10 ms until `look` gives a value.
///
/// # Panics
/// After `limit`, naming `what`.
pub async fn eventually<T>(what: impl Display, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The future's value.
///
/// # Panics
/// When it takes longer than `limit`, naming `what`.
pub async fn within<T>(what: impl Display, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("longer than {limit:?}: {what}"),
    }
}
