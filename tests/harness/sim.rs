//! A simulated Azure OpenAI region in the test's own process.

use crate::ca::Authority;
use crate::wait::eventually;
use std::time::Duration;
use tidegate::simulator::{
    FaultKind, FaultRule, Latency, Record, Region, RegionOptions, Stats, StatusFault, TlsOptions,
};

/// A region, started.
#[derive(Debug)]
pub struct Sim {
    region: Region,
    name: String,
    tls: bool,
}

impl Sim {
    /// A region without quota, key or latency that accepts every deployment.
    pub async fn start(name: &str) -> Self {
        Self::with(RegionOptions::new(name)).await
    }

    /// A region with options of its own.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn with(options: RegionOptions) -> Self {
        let (name, tls) = (options.region.clone(), options.tls.is_some());
        let region = Region::start(options, ([127, 0, 0, 1], 0).into()).await.expect("the region starts");
        Self { region, name, tls }
    }

    /// A region that serves TLS with a certificate of `authority` for `localhost`.
    pub async fn tls(name: &str, authority: &Authority) -> Self {
        let (certificate, key) = authority.sign(&["localhost"]);
        Self::with(RegionOptions { tls: Some(TlsOptions { certificate, key }), ..RegionOptions::new(name) }).await
    }

    /// Azure's slug.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Base URL for a backend.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.region.address();
        if self.tls { format!("https://localhost:{}", address.port()) } else { format!("http://{address}") }
    }

    /// Puts a fault in force.
    ///
    /// # Panics
    /// When the rule is none.
    pub fn fault(&self, rule: FaultRule) {
        self.region.control().add_fault(rule).expect("a good rule");
    }

    /// Answers every request with `status` until cleared.
    pub fn status(&self, status: u16) {
        self.fault(FaultRule::new(FaultKind::Status(StatusFault::status(status))));
    }

    /// Answers every request with 429 and this advice until cleared.
    pub fn throttle(&self, retry_after: Duration) {
        let millis = u64::try_from(retry_after.as_millis()).unwrap();
        self.fault(FaultRule::new(FaultKind::Status(StatusFault::preset("429_tokens").retry_after_ms(millis))));
    }

    /// Refuses connections until cleared.
    pub fn refuse(&self) {
        self.fault(FaultRule::new(FaultKind::Refuse { keep_connections: false, for_ms: None }));
    }

    /// Takes all faults back.
    pub fn clear(&self) {
        self.region.control().clear_faults();
    }

    /// Takes all faults back and forgets all counters.
    pub fn reset(&self) {
        self.region.control().reset();
    }

    /// From now on the first token (or the whole answer) takes this long.
    pub fn first_token(&self, first_token: Duration) {
        self.latency(Latency { first_token, ..Latency::default() });
    }

    /// How fast it answers from now on.
    pub fn latency(&self, latency: Latency) {
        self.region.control().set_latency(latency);
    }

    /// Closes every connection now.
    pub fn end_connections(&self) {
        self.region.control().end_connections();
    }

    /// All counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.region.control().stats()
    }

    /// Requests received, probes not included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.region.control().stats_with(0).requests
    }

    /// The latest requests, oldest first, probes not included.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.stats().records.into_iter().filter(|record| !record.path_and_query.contains("/models")).collect()
    }

    /// The record of the request with this `x-request-id`, once its body is in.
    pub async fn record(&self, id: &str) -> Record {
        eventually(format!("request {id} at {}", self.name), Duration::from_secs(5), async || {
            self.find(id).filter(|record| !record.body_sha256.is_empty() || record.ended)
        })
        .await
    }

    /// The record of the request with this `x-request-id`, as it is now.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Record> {
        self.stats().records.into_iter().find(|record| record.header("x-request-id") == Some(id))
    }
}
