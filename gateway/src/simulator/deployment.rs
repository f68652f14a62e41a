//! The deployments of a region: which exist, their quota counters and their fixed headers.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use parking_lot::{Mutex, RwLock};

use super::options::{DeploymentOptions, Quota, model};
use super::quota::{Meter, Verdict};
use crate::domain::{DeploymentName, Moment};

/// Deployments that may come to be by being asked for.
const IMPLICIT_MAX: usize = 1024;

/// One deployment.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) name: String,
    /// The model's name as a JSON string, quotes included.
    pub(crate) model_json: String,
    pub(crate) model: String,
    pub(crate) name_header: HeaderValue,
    pub(crate) context_tokens: Option<u64>,
    quota: Quota,
    meter: Mutex<Meter>,
}

impl Deployment {
    fn new(options: &DeploymentOptions) -> Self {
        Self {
            name: options.name.clone(),
            model_json: serde_json::Value::from(options.model.as_str()).to_string(),
            model: options.model.clone(),
            name_header: HeaderValue::from_str(&options.name).unwrap_or(HeaderValue::from_static("")),
            context_tokens: options.context_tokens,
            quota: options.quota,
            meter: Mutex::new(Meter::new(options.quota)),
        }
    }

    pub(crate) fn admit(&self, now: Moment, tokens: u64) -> Verdict {
        if self.quota == Quota::Unlimited {
            return Verdict { exceeded: None, budget: None };
        }
        self.meter.lock().admit(now, tokens)
    }

    pub(crate) fn settle(&self, charged: u64, used: u64) {
        if matches!(self.quota, Quota::Provisioned { .. }) {
            self.meter.lock().settle(charged, used);
        }
    }
}

/// All deployments of a region.
#[derive(Debug)]
pub(crate) struct Deployments {
    known: RwLock<HashMap<String, Arc<Deployment>>>,
    /// Names that were not declared are accepted.
    open: bool,
}

impl Deployments {
    pub(crate) fn new(options: &[DeploymentOptions]) -> Self {
        let known = options.iter().map(|one| (one.name.clone(), Arc::new(Deployment::new(one)))).collect();
        Self { known: RwLock::new(known), open: options.is_empty() }
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<Deployment>> {
        if let Some(found) = self.known.read().get(name) {
            return Some(Arc::clone(found));
        }
        if !self.open || DeploymentName::new(name).is_err() {
            return None;
        }
        let deployment = Arc::new(Deployment::new(&DeploymentOptions {
            name: name.to_owned(),
            model: model(),
            quota: Quota::Unlimited,
            context_tokens: None,
        }));
        let mut known = self.known.write();
        if known.len() < IMPLICIT_MAX {
            known.insert(name.to_owned(), Arc::clone(&deployment));
        }
        Some(deployment)
    }

    /// Names in order, for the models list.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.known.read().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Starts every quota anew.
    pub(crate) fn reset(&self) {
        for deployment in self.known.read().values() {
            *deployment.meter.lock() = Meter::new(deployment.quota);
        }
    }
}
