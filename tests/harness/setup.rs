//! [`Setup`]: what a test wants from a gateway, put together line by line into a configuration file.
//!
//! Its defaults are those of the product, with short times and no probes, so that a test sees only what it asks for.

use crate::ca::Authority;
use crate::gateway::Gateway;
use crate::ports::Port;
use crate::sim::Sim;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

/// A gateway to be started, or a configuration to be reloaded.
#[derive(Clone, Debug)]
pub struct Setup {
    top: Vec<(String, String)>,
    pool: Vec<(String, String)>,
    backends: Vec<(String, String)>,
    more: String,
    listener: String,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) wait: bool,
    text: Option<String>,
}

/// The ports a gateway listens on.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) public: Arc<Port>,
    pub(crate) secure: Arc<Port>,
    pub(crate) admin: Arc<Port>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One pool named `chat`, without backends.
    #[must_use]
    pub fn new() -> Self {
        let bare = Self {
            top: Vec::new(),
            pool: Vec::new(),
            backends: Vec::new(),
            more: String::new(),
            listener: String::new(),
            files: Vec::new(),
            env: Vec::new(),
            authority: None,
            wait: true,
            text: None,
        };
        bare.top("process: { threads: 2, pre_drain: 0s, drain: 20s, upgrade_socket: {dir}/upgrade/upgrade.sock }")
            .top("access_log: { file: access.jsonl }")
            .top("headers: { attempts: true }")
            .pool("probe: off")
            .pool("selection: { slow_start: 0s, explore: 0% }")
            .pool("failover: { budget: 100%, budget_min: 1000 }")
    }

    /// Sets one key at the top of the file, in one line of YAML: `limits: { … }`.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        set(&mut self.top, line);
        self
    }

    /// Sets one key of the pool, in one line of YAML.
    #[must_use]
    pub fn pool(mut self, line: &str) -> Self {
        set(&mut self.pool, line);
        self
    }

    /// Adds a simulated region as a backend, or changes the one of that name. `keys` are more keys: `priority: 2`.
    #[must_use]
    pub fn backend(self, name: &str, sim: &Sim, keys: &str) -> Self {
        self.backend_at(name, sim.name(), &sim.url(), keys)
    }

    /// Adds a backend at any URL.
    #[must_use]
    pub fn backend_at(mut self, name: &str, region: &str, url: &str, keys: &str) -> Self {
        let gap = if keys.is_empty() { "" } else { ", " };
        let line = format!("{{ name: {name}, region: {region}, url: \"{url}\"{gap}{keys} }}");
        match self.backends.iter_mut().find(|(own, _)| own == name) {
            Some(entry) => entry.1 = line,
            None => self.backends.push((name.to_owned(), line)),
        }
        self
    }

    /// Takes a backend out.
    #[must_use]
    pub fn without_backend(mut self, name: &str) -> Self {
        self.backends.retain(|(own, _)| own != name);
        self
    }

    /// More pools and routes: YAML lines, `pools` entries indented by two, from `routes:` on flush left.
    #[must_use]
    pub fn more(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.more);
        self
    }

    /// More keys of the listeners, in one line of YAML: `connection_caps: false`.
    #[must_use]
    pub fn listeners(mut self, keys: &str) -> Self {
        self.listener = format!(", {keys}");
        self
    }

    /// A file beside the configuration.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.retain(|(own, _)| own != name);
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// An environment variable of the gateway.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A second listener with TLS, by a certificate of `authority`; its CA is in `ca.pem`, for backends too.
    #[must_use]
    pub fn tls(mut self, authority: &Arc<Authority>) -> Self {
        let (certificate, key) = authority.sign(&["localhost", "127.0.0.1"]);
        self.authority = Some(Arc::clone(authority));
        self.file("edge.pem", &certificate).file("edge.key", &key).file("ca.pem", &authority.pem())
    }

    /// Does not wait for `/readyz` to say 200.
    #[must_use]
    pub fn unready(mut self) -> Self {
        self.wait = false;
        self
    }

    /// A whole configuration of one's own; `{port}`, `{secure}`, `{admin}` and `{dir}` are filled in.
    #[must_use]
    pub fn text(mut self, yaml: &str) -> Self {
        self.text = Some(yaml.to_owned());
        self
    }

    /// Starts the gateway and waits until it is ready.
    ///
    /// # Panics
    /// With the gateway's own words when it does not start.
    pub async fn start(self) -> Gateway {
        Gateway::start(self).await
    }

    /// The configuration file.
    pub(crate) fn render(&self, ports: &Ports, dir: &Path) -> String {
        let text = match &self.text {
            Some(text) => text.clone(),
            None => self.assemble(),
        };
        text.replace("{port}", &ports.public.address().port().to_string())
            .replace("{secure}", &ports.secure.address().port().to_string())
            .replace("{admin}", &ports.admin.address().port().to_string())
            .replace("{dir}", &dir.display().to_string())
    }

    fn assemble(&self) -> String {
        let mut text = String::from("version: 1\n");
        if !self.top.iter().any(|(key, _)| key == "home_region") {
            text.push_str("home_region: swedencentral\n");
        }
        let keys = &self.listener;
        let _ = writeln!(text, "listeners:\n  - {{ name: public, address: \"127.0.0.1:{{port}}\"{keys} }}");
        if self.authority.is_some() {
            let _ = writeln!(
                text,
                "  - {{ name: secure, address: \"127.0.0.1:{{secure}}\", \
                 tls: {{ certificate: {{ file: edge.pem }}, key: {{ file: edge.key }} }}{keys} }}",
            );
        }
        text.push_str("admin: { address: \"127.0.0.1:{admin}\" }\n");
        for (_, line) in &self.top {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("pools:\n  - name: chat\n");
        for (_, line) in &self.pool {
            let _ = writeln!(text, "    {line}");
        }
        text.push_str("    backends:\n");
        for (_, line) in &self.backends {
            let _ = writeln!(text, "      - {line}");
        }
        text.push_str(&self.more);
        text
    }
}

fn set(lines: &mut Vec<(String, String)>, line: &str) {
    let key = line.split(':').next().unwrap_or_default().to_owned();
    match lines.iter_mut().find(|(own, _)| *own == key) {
        Some(entry) => line.clone_into(&mut entry.1),
        None => lines.push((key, line.to_owned())),
    }
}
