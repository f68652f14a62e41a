//! The words of the command line, and what `--help` says about them. Only shapes: what they do is in the other files.

use super::span::parse_span;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const AFTER: &str = "\
Examples:
  tidegate demo                                      see it work, without Azure
  tidegate check --config tidegate.yaml              every problem of a configuration at once
  tidegate explain --config tidegate.yaml --deployment gpt-4o
  tidegate run --config tidegate.yaml

Signals: SIGHUP reloads, SIGTERM drains and ends, SIGQUIT hands over to a new process.
Exit codes: 0 done, 1 running failed, 2 wrong command line or configuration.";

/// Sends OpenAI traffic to the best regional backend; when that one throttles, fails or hangs, the client gets the next
/// region's answer.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    about = "An edge load balancer for multi-region Azure OpenAI",
    after_help = AFTER,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway until a signal ends it
    ///
    /// SIGHUP reads the configuration again (a bad file changes nothing), SIGTERM drains and ends, SIGQUIT hands the
    /// listeners to a process started with --upgrade. The process log goes to standard error; RUST_LOG filters it.
    Run(Run),
    /// Check a configuration: every problem at once, with file, line, column and a suggestion
    Check(Check),
    /// Explain which route, pool and backends a request would meet, and why
    ///
    /// Tells the route and why not the others, the pool, the backends in the order in which they would be tried, what each
    /// would be sent, and the limits on the way. Without --admin every backend counts as healthy and unmeasured; with it the
    /// states of a running gateway are used. The request itself is never sent. Exit code 1 when it would be refused.
    Explain(Explain),
    /// Show who has used what of which limit, and what it cost
    ///
    /// Asks a running gateway on its admin listener. Limits whose values are addresses, deployments or claims are named without
    /// their users. Cost counts from the start of the process.
    Usage(Usage),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Make an API key for a consumer, or hash one from elsewhere
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Run simulated Azure OpenAI regions
    ///
    /// Quotas, 429s with Azure's headers, streams, and faults on demand: over HTTP on the region's own port under /_sim/, or
    /// by a script at set times.
    Simulate(Simulate),
    /// See it work, without Azure: a gateway, three simulated regions, and one that fails
    ///
    /// The regions differ in latency and quota; a steady mixed load runs; one region goes dark and comes back, another runs
    /// into its quota. No client notices: exit code 1 when one saw an error.
    Demo(Demo),
}

/// Words of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate run --config /etc/tidegate/tidegate.yaml
  tidegate run --config tidegate.yaml --upgrade &  kill -QUIT <old process>")]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) config: Config,
    /// Take the listeners over from a running process, which then gets SIGQUIT
    #[arg(long)]
    pub(super) upgrade: bool,
    /// End as soon as standard input is closed: whoever started us is gone
    #[arg(long, hide = true)]
    pub(super) until_stdin_closes: bool,
}

/// Words of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate check --config tidegate.yaml
  tidegate check --config tidegate.yaml --print | less")]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) config: Config,
    /// Print the effective configuration: the file with every default filled in, secrets as references
    #[arg(long)]
    pub(super) print: bool,
}

/// Words of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate explain --config tidegate.yaml --deployment gpt-4o
  tidegate explain --config tidegate.yaml --path /openai/v1/responses --model gpt-4o --stream
  tidegate explain --config tidegate.yaml --deployment gpt-4o --admin http://127.0.0.1:9090")]
pub(super) struct Explain {
    #[command(flatten)]
    pub(super) config: Config,
    /// Path of the request, with or without query [default: the chat path of the deployment]
    #[arg(long, value_name = "PATH", required_unless_present = "deployment")]
    pub(super) path: Option<String>,
    /// Host of the request [default: none, which only routes for every host take]
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// Deployment that the request names: in its path, or as `model` in its body
    #[arg(long, visible_alias = "model", value_name = "NAME")]
    pub(super) deployment: Option<String>,
    /// The request asks for a stream
    #[arg(long)]
    pub(super) stream: bool,
    /// Method, for the rules engine [default: POST]
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// A header, for the rules engine. May be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Consumer that the request comes from: what its scopes say of it
    #[arg(long, value_name = "NAME")]
    pub(super) consumer: Option<String>,
    /// Country of the client by two letters, for residency and for pools whose nearest region is the client's
    #[arg(long, value_name = "COUNTRY")]
    pub(super) country: Option<String>,
    /// Listener that the request comes to, for residency
    #[arg(long, value_name = "NAME")]
    pub(super) listener: Option<String>,
    /// Zone that the request's token says. May be repeated
    #[arg(long = "residency", value_name = "ZONE")]
    pub(super) zones: Vec<String>,
    /// Admin address of a running gateway whose live states to use
    #[arg(long, value_name = "URL")]
    pub(super) admin: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// Words of `usage`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate usage --admin http://127.0.0.1:9090
  tidegate usage --admin http://127.0.0.1:9090 --format json")]
pub(super) struct Usage {
    /// Admin address of the running gateway
    #[arg(long, value_name = "URL")]
    pub(super) admin: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// How an explanation or a usage is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  tidegate key new --consumer search-team --expires 2027-01-31
  tidegate key hash < old-subscription-key.txt")]
pub(super) enum KeyCommand {
    /// Make a key: 256 random bits with a checksum. The first line is the key, the rest goes into the configuration
    New(NewKey),
    /// Read a key from standard input and print what the configuration needs of it
    Hash,
}

/// Words of `key new`.
#[derive(Debug, Args)]
pub(super) struct NewKey {
    /// Name of the consumer in the printed configuration
    #[arg(long, value_name = "NAME")]
    pub(super) consumer: Option<String>,
    /// From when on the key is good no more, in the printed configuration
    #[arg(long, value_name = "DATE")]
    pub(super) expires: Option<String>,
}

/// Words of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate simulate --region swedencentral=127.0.0.1:7001 --region francecentral=127.0.0.1:7002
  tidegate simulate --region eastus2=127.0.0.1:7003 --deployment gpt-4o=standard:90000:600
  curl -X POST http://127.0.0.1:7001/_sim/faults -d '{\"kind\":\"status\",\"preset\":\"429_tokens\"}'")]
pub(super) struct Simulate {
    /// A region and where it listens; port 0 takes any free one. May be repeated
    #[arg(long = "region", value_name = "REGION=ADDRESS:PORT", required = true)]
    pub(super) regions: Vec<String>,
    /// A deployment, for all regions or for one: [REGION/]NAME[=standard:TPM:RPM|=ptu:RATE:BURST]. May be repeated; without
    /// any, every name is served without quota
    #[arg(long = "deployment", value_name = "DEPLOYMENT")]
    pub(super) deployments: Vec<String>,
    /// Faults at set times: JSON, one {"at_ms": …, "region": …, "fault": …} a line
    #[arg(long, value_name = "FILE")]
    pub(super) script: Option<PathBuf>,
    /// The key that requests must carry
    #[arg(long, value_name = "KEY", env = "TIDEGATE_SIMULATE_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
    /// Time to the first token
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "0ms")]
    pub(super) first_token: Duration,
    /// Time between two tokens
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "0ms")]
    pub(super) per_token: Duration,
    /// Share by which latencies vary, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    pub(super) jitter: u8,
    /// Length of an answer in tokens
    #[arg(long, value_name = "TOKENS")]
    pub(super) tokens: Option<u32>,
    /// Serve TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(super) certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(super) key: Option<PathBuf>,
    /// Seed of ids, jitter and fault shares
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// End after this time [default: run until SIGINT or SIGTERM]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(super) duration: Option<Duration>,
}

/// Words of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate demo
  tidegate demo --duration 10m --rate 100 --port 8080
  tidegate demo --duration 20s --plain > demo.log")]
pub(super) struct Demo {
    /// How long it runs
    #[arg(long, value_name = "TIME", value_parser = parse_demo_span, default_value = "60s")]
    pub(super) duration: Duration,
    /// Requests per second
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rate: u32,
    /// One line a second instead of the live view
    #[arg(long)]
    pub(super) plain: bool,
    /// Port of the gateway on this host; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    pub(super) port: u16,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct Config {
    /// The configuration file
    #[arg(id = "config", long, short = 'c', value_name = "FILE", env = "TIDEGATE_CONFIG")]
    pub(super) path: PathBuf,
}

/// The demo tells a story that needs some time, and keeps no more than a day of it.
fn parse_demo_span(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_secs(4)..=Duration::from_secs(24 * 3600);
    if bounds.contains(&span) { Ok(span) } else { Err("between 4s and 24h".to_owned()) }
}

/// An admin address, as `http://host:port`.
pub(super) fn parse_admin(text: &str) -> Result<String, &'static str> {
    let shape = "expected http://address:port, such as http://127.0.0.1:9090";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    let url = url::Url::parse(text).map_err(|_unreadable| shape)?;
    let authority = url.host().zip(url.port_or_known_default());
    let (host, port) = authority.filter(|_| url.scheme() == "http").ok_or(shape)?;
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_story_has_its_bounds() {
        assert_eq!(parse_demo_span("8s").unwrap(), Duration::from_secs(8));
        assert!(parse_demo_span("3s").is_err() && parse_demo_span("25h").is_err() && parse_demo_span("60").is_err());
    }

    #[test]
    fn admin_addresses_are_read() {
        for (text, address) in [
            ("http://127.0.0.1:9090", "127.0.0.1:9090"),
            ("http://[::1]:9090/", "[::1]:9090"),
            ("http://gateway.local", "gateway.local:80"),
            ("127.0.0.1:9090", "127.0.0.1:9090"),
        ] {
            assert_eq!(parse_admin(text), Ok(address.to_owned()));
        }
        assert!(parse_admin("https://a:1").is_err() && parse_admin("9090").is_err() && parse_admin("").is_err());
    }
}
