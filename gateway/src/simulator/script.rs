//! `tidegate simulate`: regions from command-line words, and a script that breaks and mends them at set times.
//!
//! Prints nothing: the caller learns the addresses through a callback and prints what it likes.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::clock;
use super::control::Control;
use super::fault::FaultRule;
use super::options::{DeploymentOptions, Latency, Quota, RegionOptions, TlsOptions};
use super::region::Region;

/// Steps that a script may have.
const STEPS_MAX: usize = 10_000;

/// What `tidegate simulate` is told.
#[derive(Clone, Debug, Default)]
pub struct SimulateOptions {
    /// `slug=address:port`, such as `swedencentral=127.0.0.1:7001`.
    pub regions: Vec<String>,
    /// `name`, `name=standard:TPM:RPM` or `name=ptu:TOKENS_PER_SECOND:BURST_TOKENS`, for all regions; with `slug/` in
    /// front for one. None for a region: it accepts every deployment.
    pub deployments: Vec<String>,
    /// A script, see [`Script`].
    pub script: Option<PathBuf>,
    /// Seed of ids, jitter and fault shares.
    pub seed: u64,
    /// The key that requests must carry.
    pub api_key: Option<crate::domain::Secret>,
    /// How fast all regions answer.
    pub latency: Latency,
    /// Completion length in tokens; absent: 16.
    pub tokens_out: Option<u32>,
    /// Files of certificate chain and key, PEM: serve TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// A region that is up.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its slug.
    pub region: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its handle.
    pub control: Control,
}

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// No region was named.
    #[error("no region: name at least one as slug=address:port")]
    NoRegion,
    /// A region that cannot be read, or is named twice.
    #[error("region `{0}`: {1}")]
    Region(String, &'static str),
    /// A deployment that cannot be read.
    #[error(
        "deployment `{0}`: expected name, name=standard:TPM:RPM or name=ptu:TOKENS_PER_SECOND:BURST_TOKENS, with `region/` in front if it is for one region only"
    )]
    Deployment(String),
    /// A file that cannot be read.
    #[error("cannot read {0}")]
    File(PathBuf, #[source] io::Error),
    /// A script that is none.
    #[error("script: {0}")]
    Script(String),
    /// A region that cannot start.
    #[error("region `{0}` cannot listen on {1}")]
    Start(String, SocketAddr, #[source] io::Error),
}

/// Runs the regions and the script until the process is told to stop (SIGINT, SIGTERM) or the future is dropped.
///
/// # Errors
/// [`SimulateError`] when options or script are wrong or an address is taken. `started` is called once all are up.
pub async fn run(options: SimulateOptions, started: impl FnOnce(&[Started])) -> Result<(), SimulateError> {
    let script = match &options.script {
        Some(path) => Script::parse(&read(path)?)?,
        None => Script::default(),
    };
    let planned = planned(&options)?;
    script.check(planned.iter().map(|(region, _)| region.region.as_str()))?;
    let mut regions = Vec::new();
    for (region, address) in planned {
        let slug = region.region.clone();
        let running = Region::start(region, address).await;
        regions.push((slug.clone(), running.map_err(|error| SimulateError::Start(slug, address, error))?));
    }
    let list: Vec<_> = regions
        .iter()
        .map(|(slug, region)| Started {
            region: slug.clone(),
            address: region.address(),
            control: region.control().clone(),
        })
        .collect();
    // Heard from here on: who reads the addresses may stop us at once.
    let stop = told_to_stop();
    started(&list);
    tokio::select! {
        () = async {
            script.play(&list).await;
            std::future::pending().await
        } => {}
        () = stop => {}
    }
    for (_, region) in regions {
        region.stop().await;
    }
    Ok(())
}

/// Faults at set times: JSON, either one array or one object a line, such as
/// `{"at_ms": 5000, "region": "swedencentral", "fault": {"kind": "status", "preset": "503"}}` and
/// `{"at_ms": 9000, "region": "*", "clear": true}`.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    /// A slug, or `*` for all.
    region: String,
    fault: Option<FaultRule>,
    #[serde(default)]
    clear: bool,
}

impl Script {
    /// Reads a script; the steps are put in the order of their times.
    ///
    /// # Errors
    /// [`SimulateError::Script`] says what and where.
    pub fn parse(text: &str) -> Result<Self, SimulateError> {
        let wrong = |what: String| SimulateError::Script(what);
        let mut steps: Vec<Step> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?
        } else {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let step = |(index, line)| {
                serde_json::from_str(line).map_err(|error| wrong(format!("line {}: {error}", index + 1)))
            };
            lines.map(step).collect::<Result<_, _>>()?
        };
        if steps.len() > STEPS_MAX {
            return Err(wrong(format!("at most {STEPS_MAX} steps")));
        }
        for step in &steps {
            if let Some(fault) = &step.fault {
                fault.check().map_err(|error| wrong(format!("at {} ms: {error}", step.at_ms)))?;
            } else if !step.clear {
                return Err(wrong(format!("at {} ms: neither `fault` nor `clear`", step.at_ms)));
            }
        }
        steps.sort_by_key(|step| step.at_ms);
        Ok(Self { steps })
    }

    /// Every step must name a known region.
    fn check<'a>(&self, known: impl Iterator<Item = &'a str> + Clone) -> Result<(), SimulateError> {
        let unknown =
            self.steps.iter().find(|step| step.region != "*" && !known.clone().any(|slug| slug == step.region));
        unknown.map_or(Ok(()), |step| Err(SimulateError::Script(format!("no region is named `{}`", step.region))))
    }

    /// Plays the steps from now on and returns after the last. A step first clears, then adds its fault.
    pub async fn play(&self, regions: &[Started]) {
        let start = clock::now();
        for step in &self.steps {
            let due = start.after(Duration::from_millis(step.at_ms));
            tokio::time::sleep(clock::now().until(due)).await;
            let meant = |started: &&Started| step.region == "*" || step.region == started.region;
            for Started { control, .. } in regions.iter().filter(meant) {
                if step.clear {
                    control.clear_faults();
                }
                if let Some(fault) = &step.fault {
                    // Checked when the script was read; what is left is the limit of rules in force.
                    let _ = control.add_fault(fault.clone());
                }
            }
        }
    }
}

/// The regions' options and addresses.
fn planned(options: &SimulateOptions) -> Result<Vec<(RegionOptions, SocketAddr)>, SimulateError> {
    if options.regions.is_empty() {
        return Err(SimulateError::NoRegion);
    }
    let tls = match &options.tls {
        Some((certificate, key)) => Some(TlsOptions { certificate: read(certificate)?, key: read(key)? }),
        None => None,
    };
    let deployments =
        options.deployments.iter().map(|text| deployment(text)).collect::<Result<Vec<_>, SimulateError>>()?;
    let mut planned: Vec<(RegionOptions, SocketAddr)> = Vec::new();
    for text in &options.regions {
        let wrong = |what| SimulateError::Region(text.clone(), what);
        let (slug, address) = text.split_once('=').ok_or_else(|| wrong("expected slug=address:port"))?;
        crate::domain::Region::new(slug).map_err(|_unfit| wrong("the slug is no name"))?;
        let address = address.parse().map_err(|_unfit| wrong("the address is not of the form 127.0.0.1:7001"))?;
        if planned.iter().any(|(other, _)| other.region == slug) {
            return Err(wrong("named twice"));
        }
        let own = deployments.iter().filter(|(only, _)| only.as_deref().is_none_or(|only| only == slug));
        let mut region = RegionOptions {
            deployments: own.map(|(_, deployment)| deployment.clone()).collect(),
            api_key: options.api_key.as_ref().map(|key| key.expose().to_owned()),
            tls: tls.clone(),
            seed: options.seed,
            latency: options.latency,
            ..RegionOptions::new(slug)
        };
        region.tokens_out = options.tokens_out.unwrap_or(region.tokens_out);
        planned.push((region, address));
    }
    Ok(planned)
}

/// `[slug/]name[=standard:TPM:RPM|=ptu:RATE:BURST]`.
fn deployment(text: &str) -> Result<(Option<String>, DeploymentOptions), SimulateError> {
    let wrong = || SimulateError::Deployment(text.to_owned());
    let (name, quota) = text.split_once('=').unwrap_or((text, ""));
    let (only, name) = name.split_once('/').map_or((None, name), |(slug, name)| (Some(slug.to_owned()), name));
    crate::domain::DeploymentName::new(name).map_err(|_unfit| wrong())?;
    let numbers = |text: &str| {
        let (first, second) = text.split_once(':')?;
        Some((first.parse::<u64>().ok()?, second.parse::<u64>().ok()?))
    };
    let quota = match quota.split_once(':') {
        None if quota.is_empty() => Quota::Unlimited,
        Some(("standard", rest)) => {
            let (tpm, rpm) = numbers(rest).ok_or_else(wrong)?;
            Quota::Standard { tpm, rpm }
        }
        Some(("ptu", rest)) => {
            let (tokens_per_second, burst_tokens) = numbers(rest).ok_or_else(wrong)?;
            Quota::Provisioned { tokens_per_second, burst_tokens }
        }
        _ => return Err(wrong()),
    };
    Ok((only, DeploymentOptions::new(name, quota)))
}

fn read(path: &Path) -> Result<String, SimulateError> {
    std::fs::read_to_string(path).map_err(|error| SimulateError::File(path.to_owned(), error))
}

/// SIGINT or SIGTERM; never where signals cannot be heard.
fn told_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn scripts_are_read_strictly() {
        let lines = "{\"at_ms\":9,\"region\":\"*\",\"clear\":true}\n\n{\"at_ms\":5,\"region\":\"a\",\"fault\":{\"kind\":\"refuse\"}}";
        let script = Script::parse(lines).unwrap();
        assert_eq!(script.steps.iter().map(|step| step.at_ms).collect::<Vec<_>>(), [5, 9]);
        assert!(script.check(["a"].into_iter()).is_ok() && script.check(["b"].into_iter()).is_err());
        for bad in [
            r#"[{"at_ms":1,"region":"a"}]"#,
            r#"[{"at_ms":1,"region":"a","fault":{"kind":"no"}}]"#,
            r#"[{"at_ms":1,"region":"a","fault":{"kind":"status","preset":"418"}}]"#,
            r#"{"at_ms":1,"region":"a","clears":true}"#,
        ] {
            assert!(Script::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn command_line_words_are_read() {
        let options = SimulateOptions {
            regions: vec!["a=127.0.0.1:0".into(), "b=127.0.0.1:0".into()],
            deployments: vec!["gpt=standard:1000:60".into(), "b/ptu=ptu:10:100".into(), "plain".into()],
            ..SimulateOptions::default()
        };
        let regions = planned(&options).unwrap();
        let counts: Vec<_> = regions.iter().map(|(region, _)| region.deployments.len()).collect();
        assert_eq!(counts, [2, 3]);
        for bad in ["gpt=standard:1", "gpt=free", "g p", "gpt=ptu:a:b"] {
            assert!(deployment(bad).is_err(), "{bad}");
        }
        for bad in [vec![], vec!["a"], vec!["a=b"], vec!["a b=127.0.0.1:1"], vec!["a=127.0.0.1:0", "a=127.0.0.1:0"]] {
            let regions = bad.iter().map(ToString::to_string).collect();
            assert!(planned(&SimulateOptions { regions, ..SimulateOptions::default() }).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_script_breaks_and_mends() {
        let region = Region::start(RegionOptions::new("a"), SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let control = region.control().clone();
        let started = [Started { region: "a".into(), address: region.address(), control: control.clone() }];
        let text = r#"[{"at_ms":0,"region":"a","fault":{"kind":"status","preset":"503"}}]"#;
        Script::parse(text).unwrap().play(&started).await;
        assert_eq!(control.faults().len(), 1);
        Script::parse(r#"{"at_ms":1,"region":"*","clear":true}"#).unwrap().play(&started).await;
        assert!(control.faults().is_empty());
        region.stop().await;
    }
}
