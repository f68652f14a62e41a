//! All backends' state by [`BackendId`], kept over reloads, and its binding to a snapshot. Never reads a file.

use super::addresses::Addresses;
use super::backend::BackendState;
use super::failures::Failures;
use super::headroom::HeadroomCell;
use super::keys::IssuerKeys;
use super::limits::Limits;
use super::own_token::Bearer;
use super::pool::PoolState;
use super::rates::Rates;
use super::roster::PoolShared;
use super::shared_name::SharedName;
use super::shares::{Shares, Tally};
use super::tokens::Tokens;
use crate::config::snapshot::{Auth, Backend, BaseUrl, Issuer, KeySource, OwnToken, Snapshot};
use crate::domain::{BackendId, DeploymentName, IssuerName, Moment, PoolName, QuotaName};
use crate::policy::eject::{Reason, Standing};
use crate::policy::seal::Key;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// State of every backend that some snapshot in use names.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Mutex<Entries>,
    rates: Arc<Rates>,
    limits: Arc<Limits>,
    tokens: Arc<Tokens>,
    failures: Arc<Failures>,
    shares: Shares,
    id_key: Option<Key>,
}

#[derive(Debug, Default)]
struct Entries {
    backends: HashMap<BackendId, Entry>,
    pools: HashMap<PoolName, Arc<PoolShared>>,
    /// Quotas that several backends share.
    quotas: HashMap<QuotaName, Arc<HeadroomCell>>,
    /// Tokens of our own, with what they are.
    own_tokens: Vec<(OwnToken, Arc<Bearer>)>,
    /// With where they come from.
    issuers: HashMap<IssuerName, (KeySource, Arc<IssuerKeys>)>,
}

/// A backend's state, and the configuration that it was learned under.
#[derive(Debug)]
struct Entry {
    state: Arc<BackendState>,
    url: BaseUrl,
    deployment: Option<DeploymentName>,
    auth: Auth,
}

/// A snapshot together with the live state of its pools, in the same order.
#[derive(Debug)]
pub struct Fleet {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// State of `snapshot.pools`, index by index.
    pub pools: Vec<PoolState>,
    /// Counters of rate limits, the same for every snapshot.
    pub rates: Arc<Rates>,
    /// Buckets of usage limits, the same for every snapshot.
    pub limits: Arc<Limits>,
    /// Keys of the issuers of tokens, index by index.
    pub issuers: Vec<Arc<IssuerKeys>>,
    /// Tokens of our own, index by index.
    pub own_tokens: Vec<Arc<Bearer>>,
    /// Tokens that were verified a moment ago.
    pub tokens: Arc<Tokens>,
    /// Failed attempts to authenticate, the same for every snapshot.
    pub failures: Arc<Failures>,
    /// Requests of each consumer, index by index.
    pub shares: Vec<Tally>,
    /// Seals ids where the configuration has no key, as long as the process lives.
    pub id_key: Option<Key>,
}

impl Fleet {
    /// The required pools that cannot serve. A pool whose backends merely rest after a 429 is not lacking: the honest
    /// answer is our 429 with the time to come back, and a load balancer that took this gateway out would turn it into an
    /// outage.
    pub fn lacking(&self, now: Moment) -> impl Iterator<Item = &PoolState> {
        let pools = self.snapshot.pools.iter().zip(&self.pools);
        let lacks = move |pool: &PoolState| pool.eligible_count(now) == 0 && !is_throttled(pool, now);
        pools.filter(move |(pool, state)| pool.required && lacks(state)).map(|(_, state)| state)
    }
}

fn is_throttled(pool: &PoolState, now: Moment) -> bool {
    let rests = |standing| {
        matches!(
            standing,
            Standing::Resting { reason: Reason::RateLimited | Reason::Shared, .. }
                | Standing::Trial { reason: Reason::RateLimited | Reason::Shared, .. }
        )
    };
    pool.backends().any(|backend| backend.is_probe_healthy() && rests(backend.standing(now)))
}

impl Registry {
    /// Without a backend yet; ids are sealed with `id_key` where the configuration has no key.
    #[must_use]
    pub fn new(id_key: Option<Key>) -> Self {
        Self { id_key, ..Self::default() }
    }

    /// Binds `snapshot` to the state that is known, makes what is missing, and forgets what neither this snapshot nor an
    /// attempt under way uses.
    ///
    /// A backend whose URL or deployment changed is another backend and starts anew; one whose credential changed keeps
    /// its state but for a refusal of the old credential.
    #[must_use]
    pub fn bind(&self, snapshot: Arc<Snapshot>) -> Arc<Fleet> {
        let mut entries = self.entries.lock();
        let own_tokens: Vec<_> = snapshot.own_tokens.iter().map(|token| entries.bearer_of(token)).collect();
        let pools = snapshot.pools.iter().map(|pool| {
            let shared = Arc::clone(entries.pools.entry(pool.name.clone()).or_default());
            let bound = |backend: &Backend| {
                let state = entries.state_of(backend);
                let headroom = entries.headroom_of(backend, &state);
                let token = match backend.auth {
                    Auth::Token(index) => own_tokens.get(index).map(Arc::clone),
                    Auth::None | Auth::ApiKey(_) | Auth::Bearer(_) => None,
                };
                (state, headroom, token)
            };
            let states = pool.backends.iter().map(bound).collect::<Vec<_>>();
            if pool.probe.is_none() {
                states.iter().for_each(|(state, ..)| state.forget_probes());
            }
            PoolState::new(pool, states, shared)
        });
        let pools = pools.collect();
        let issuers = snapshot.access.iter().flat_map(|access| &access.issuers);
        let issuers = issuers.map(|issuer| entries.keys_of(issuer)).collect();
        let (rates, limits, failures) = (Arc::clone(&self.rates), Arc::clone(&self.limits), Arc::clone(&self.failures));
        let tokens = Arc::clone(&self.tokens);
        let consumers = snapshot.access.iter().flat_map(|access| &access.consumers);
        let shares = self.shares.bind(consumers.map(|consumer| &consumer.name));
        let fleet = Arc::new(Fleet {
            id_key: self.id_key.clone(),
            shares,
            snapshot,
            pools,
            rates,
            limits,
            failures,
            issuers,
            own_tokens,
            tokens,
        });
        // What the new fleet holds has a second owner by now; so has what an old one still in use holds.
        entries.backends.retain(|_, entry| Arc::strong_count(&entry.state) > 1);
        entries.quotas.retain(|_, headroom| Arc::strong_count(headroom) > 1);
        entries.pools.retain(|_, shared| Arc::strong_count(shared) > 1);
        entries.own_tokens.retain(|(_, bearer)| Arc::strong_count(bearer) > 1);
        entries.issuers.retain(|_, (_, keys)| Arc::strong_count(keys) > 1);
        fleet
    }

    /// How many backends are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.lock().backends.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entries {
    /// An issuer's keys; those of another place are another's. What a file holds was read with the configuration.
    fn keys_of(&mut self, issuer: &Issuer) -> Arc<IssuerKeys> {
        let fresh = || (issuer.source.clone(), Arc::default());
        let (source, keys) = self.issuers.entry(issuer.name.clone()).or_insert_with(fresh);
        if !source.is_same_place(&issuer.source) {
            (*source, *keys) = fresh();
        }
        if let KeySource::File { keys: read, .. } = &issuer.source {
            keys.publish(read, Moment::ZERO);
        }
        Arc::clone(keys)
    }

    /// A token of ours. It stays while it is the same bearer's, however that proves itself now.
    fn bearer_of(&mut self, token: &OwnToken) -> Arc<Bearer> {
        if let Some((known, bearer)) = self.own_tokens.iter_mut().find(|(known, _)| known.is_same_bearer(token)) {
            *known = token.clone();
            return Arc::clone(bearer);
        }
        let bearer = Arc::default();
        self.own_tokens.push((token.clone(), Arc::clone(&bearer)));
        bearer
    }

    /// What is left of the quota that a backend draws on: its own, or the one of its group.
    fn headroom_of(&mut self, backend: &Backend, state: &BackendState) -> Arc<HeadroomCell> {
        let headroom = match &backend.quota.group {
            Some(group) => self.quotas.entry(group.clone()).or_default(),
            None => state.headroom(),
        };
        headroom.configure(backend.quota.quota);
        Arc::clone(headroom)
    }

    fn state_of(&mut self, backend: &Backend) -> Arc<BackendState> {
        // A renewed certificate of ours makes no other backend of it.
        let mut url = backend.url.clone();
        url.trust.contents = 0;
        let known = self.backends.get_mut(&backend.id);
        if let Some(entry) = known.filter(|e| e.url == url && e.deployment == backend.deployment) {
            if entry.auth != backend.auth {
                entry.auth = backend.auth.clone();
                entry.state.forgive_misconfiguration();
            }
            return Arc::clone(&entry.state);
        }
        let addresses = Addresses::of_host(&url.host, url.port);
        let same_host = |e: &&Entry| e.url.host == url.host && e.url.port == url.port;
        if let Some(entry) = self.backends.get(&backend.id).filter(same_host) {
            addresses.replace(entry.state.addresses().all());
        }
        let state = Arc::new(BackendState::new(backend.id.clone(), SharedName::of(backend), addresses));
        let entry = Entry {
            state: Arc::clone(&state),
            url,
            deployment: backend.deployment.clone(),
            auth: backend.auth.clone(),
        };
        self.backends.insert(backend.id.clone(), entry);
        state
    }
}
