//! What the gateway itself says of its backends: `/backends` of its admin listener, looked at twice a second.

use super::http::Client;
use super::tally::region_of;
use parking_lot::Mutex;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::interval;

/// How often.
const LOOK: Duration = Duration::from_millis(500);

/// One backend of the chat pool.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct State {
    pool: String,
    region: String,
    /// `in_service`, `resting`, `trial`, `silent`, `unhealthy`, …
    pub(super) state: String,
    why: Option<String>,
    until_ms: Option<u64>,
    pub(super) ttfb_ms: Option<f64>,
}

/// The latest states, by region.
pub(super) type States = Arc<Mutex<[State; super::story::ACTORS.len()]>>;

/// Looks until it is dropped.
pub(super) async fn watch(admin: String, states: States) {
    #[derive(Deserialize)]
    struct Page {
        backends: Vec<State>,
    }
    let client = Client::new(&admin);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A look that fails leaves the last picture.
        let Ok(body) = client.get("/backends").await else { continue };
        let Ok(page) = serde_json::from_slice::<Page>(&body) else { continue };
        let mut states = states.lock();
        for state in page.backends.into_iter().filter(|state| state.pool == "chat") {
            if let Some(slot) = region_of(&state.region).and_then(|index| states.get_mut(index)) {
                *slot = state;
            }
        }
    }
}

impl State {
    /// State, reason and how long it lasts: `resting: rate_limited, 0.8 s`.
    pub(super) fn words(&self) -> String {
        let state = self.state.replace('_', " ");
        let why = self.why.as_ref().map(|why| format!(": {}", why.replace('_', " "))).unwrap_or_default();
        let until = self.until_ms.filter(|millis| *millis > 0);
        let until = until.map(|millis| format!(", {}.{} s", millis / 1000, millis % 1000 / 100)).unwrap_or_default();
        format!("{state}{why}{until}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_as_words() {
        let state = State { state: "in_service".into(), ..State::default() };
        assert_eq!(state.words(), "in service");
        let state = State {
            state: "resting".into(),
            why: Some("rate_limited".into()),
            until_ms: Some(1870),
            ..State::default()
        };
        assert_eq!(state.words(), "resting: rate limited, 1.8 s");
    }
}
