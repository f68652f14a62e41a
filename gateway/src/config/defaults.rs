//! Every default of the configuration, each with the sentence that says why it is this and not something else.

use std::time::Duration;

/// Admin listener: this host only, since it has no authentication of its own.
pub(super) const ADMIN_ADDRESS: &str = "127.0.0.1:9090";
/// Listeners speak HTTP/2 too: SDKs and browsers use it where it is offered.
pub(super) const LISTENER_HTTP2: bool = true;
/// Let's Encrypt: what most ask for who ask for a certificate.
pub(super) const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Permissions of a Unix socket: its owner and its group, such as the web server in front.
pub(super) const SOCKET_MODE: u32 = 0o660;

/// Load balancers in front need this long to notice that `/readyz` says 503.
pub(super) const PRE_DRAIN: Duration = Duration::from_secs(10);
/// The longest answers (reasoning models, not streamed) end within this.
pub(super) const DRAIN: Duration = Duration::from_secs(600);
/// Where the systemd unit's `RuntimeDirectory` is.
pub(super) const UPGRADE_SOCKET: &str = "/run/tidegate/upgrade.sock";
/// Idle connections per thread: enough for a dozen backends at a steady load.
pub(super) const KEEPALIVE_CONNECTIONS_MAX: u32 = 128;

/// Longest request target: deployment paths are below 200 bytes, queries of tools rarely above 4 KiB.
pub(super) const URI_LENGTH_MAX: u64 = 8 * KIB;
/// Header block: twice what common servers accept, for long tokens.
pub(super) const HEADER_SIZE_MAX: u64 = 64 * KIB;
/// Header fields: SDKs send about 20.
pub(super) const HEADER_COUNT_MAX: u32 = 100;
/// Request body: a chat with several images; larger uploads belong to the files API.
pub(super) const BODY_SIZE_MAX: u64 = 32 * MIB;
/// All request bodies together: 32 of the largest at a time.
pub(super) const BODY_MEMORY_MAX: u64 = 1024 * MIB;
/// A client that sends nothing for this long is gone.
pub(super) const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// 32 MiB over a slow line (1 Mbit/s) take 270 s.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes per second: a tenth of what the slowest mobile lines carry.
pub(super) const BODY_RATE_MIN: u64 = KIB;
/// A tunnel or a lift may interrupt a line for some seconds.
pub(super) const BODY_RATE_WINDOW: Duration = Duration::from_secs(30);
/// Idle client connections: SDK pools reuse theirs within seconds.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// A global gateway before a regional one, twice over; more is a circle.
pub(super) const PASSES_MAX: u32 = 4;

/// Caps of connections hold on every listener: one that only colleagues reach may say otherwise.
pub(super) const CONNECTION_CAPS: bool = true;
/// Keys at a server that others use too begin like this.
pub(super) const SHARED_PREFIX: &str = "tidegate";
/// A region that throttles one gateway throttles the others.
pub(super) const SHARED_EJECTIONS: bool = true;
/// Every token counts as one, as the backends count them.
pub(super) const TOKEN_WEIGHT: f64 = 1.0;

/// Connections of the whole process: below the usual limit of open files twice over, since each may need one to a backend.
pub(super) const CONNECTIONS_MAX: u32 = 10_000;
/// Connections of one address: an office behind one address opens tens, an attacker thousands.
pub(super) const CONNECTIONS_PER_ADDRESS_MAX: u32 = 256;
/// A TLS handshake of a client: two round trips over the worst line, with retransmissions.
pub(super) const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// SDKs connect when they have something to say; browsers that connect ahead come back.
pub(super) const CLIENT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(15);
/// A header is one packet or a few; ten seconds are several retransmissions.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing for a minute is gone or means harm.
pub(super) const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections move on now and then: to other gateways behind one name, and to fresh memory.
pub(super) const REQUESTS_MAX: u32 = 1000;

/// Streams of one HTTP/2 connection: what browsers and SDK pools use at most, and what RFC 9113 asks for at least.
pub(super) const HTTP2_STREAMS_MAX: u32 = 100;
/// Decoded header list: as large as the header block of HTTP/1.
pub(super) const HTTP2_HEADER_LIST_MAX: u64 = 64 * KIB;
/// Streams reset before we have looked at them: an honest client cancels a few at a time.
pub(super) const HTTP2_RESETS_PENDING_MAX: u32 = 20;
/// Mistakes of a client that cost us a reset each: an honest one makes none.
pub(super) const HTTP2_RESETS_FORCED_MAX: u32 = 100;
/// HTTP/2's own 64 KiB would cap an upload at 1.3 MB/s over 50 ms.
pub(super) const HTTP2_STREAM_WINDOW: u64 = MIB;
/// Four streams that upload at full speed.
pub(super) const HTTP2_CONNECTION_WINDOW: u64 = 4 * MIB;
/// A client that takes no byte of an answer for this long is gone.
pub(super) const HTTP2_STALLED_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests in flight: twice as many as connections that one process keeps well.
pub(super) const IN_FLIGHT_MAX: u32 = 20_000;
/// Requests that wait: more would wait longer than they may.
pub(super) const QUEUE_MAX: u32 = 128;
/// Longest wait: a burst passes within it, and a client hardly notices.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_millis(250);
/// Batch leaves the last fifth to those who wait for their answers, in percent.
pub(super) const BATCH_SHARE_PERCENT: f64 = 80.0;
/// Value of the header that means batch.
pub(super) const BATCH_VALUE: &str = "batch";
/// Memory: from here on we keep less, in percent of the ceiling.
pub(super) const MEMORY_SHRINK_PERCENT: f64 = 85.0;
/// Memory: from here on we take nothing new, in percent of the ceiling; what runs needs the rest.
pub(super) const MEMORY_REFUSE_PERCENT: f64 = 95.0;

/// `X-Served-By` is on: it holds names, no addresses, and answers the first question of every incident.
pub(super) const SERVED_BY: bool = true;
/// `X-Tidegate-Region` is on: it says where data was processed, which an audit asks for.
pub(super) const PROCESSING_REGION: bool = true;
/// The attempts trail is off: it tells clients about regions that failed.
pub(super) const ATTEMPTS: bool = false;
/// A client's request id is taken over, so that one id names the request everywhere.
pub(super) const REQUEST_ID_ACCEPTED: bool = true;

/// What an inference API is asked with.
pub(super) const CORS_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];
/// What the OpenAI SDKs send from a browser, so that a page that uses one needs no list of its own.
pub(super) const CORS_HEADERS: [&str; 18] = [
    "accept",
    "api-key",
    "authorization",
    "content-type",
    "idempotency-key",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "x-request-id",
    "x-stainless-arch",
    "x-stainless-helper-method",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
];
/// What the OpenAI SDKs read: the id for reports, and when to come back.
pub(super) const CORS_EXPOSED_HEADERS: [&str; 4] = ["retry-after", "retry-after-ms", "x-request-id", "x-should-retry"];
/// Keys travel in headers that pages set themselves; cookies are not forwarded anyway.
pub(super) const CORS_CREDENTIALS: bool = false;
/// Long enough to spare most preflights, short enough to take a change back.
pub(super) const CORS_MAX_AGE: Duration = Duration::from_secs(600);
/// A trace begins with the caller; one that begins here has no caller to show.
pub(super) const TRACE_CREATED: bool = false;

/// As in Front Door: rules after one that matched are looked at too.
pub(super) const RULE_STOP: bool = false;
/// A condition says what it means.
pub(super) const RULE_NEGATE: bool = false;
/// Method and body stay, and no browser remembers a mistake for ever.
pub(super) const REDIRECT_STATUS: u16 = 307;
/// Every path.
pub(super) const REWRITE_FROM: &str = "/";
/// A rewrite moves a tree of paths.
pub(super) const REWRITE_KEEP_REST: bool = true;

/// Azure's own records live for 30 s or more.
pub(super) const DNS_REFRESH: Duration = Duration::from_secs(30);
/// A resolver that takes longer is treated as down; the last good addresses stay.
pub(super) const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// Regions within this of the fastest count as equally near: below what a chat client notices.
pub(super) const LATENCY_BAND: Duration = Duration::from_millis(30);
/// One request in a hundred, in percent, may measure a backend whose latency is unknown or stale.
pub(super) const EXPLORE_PERCENT: f64 = 1.0;
/// A returning backend gets its whole share after this.
pub(super) const SLOW_START: Duration = Duration::from_secs(30);
/// Panic only when nothing is left, in percent of the pool.
pub(super) const PANIC_THRESHOLD_PERCENT: f64 = 0.0;
/// Front Door's rule: when every probe fails, the probe is the likelier suspect.
pub(super) const FAIL_OPEN: bool = true;

/// The first attempt and two more: what one slow and one failing region need.
pub(super) const ATTEMPTS_MAX: u32 = 3;
/// Below the 10 minutes of the SDKs, above the slowest answer of most models.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);
/// An answer that does not stream has its first byte when it is complete.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(120);
/// A stream's header comes with its first token.
pub(super) const STREAM_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// The Responses API sends four events before its first delta, and a keep-alive now and then.
pub(super) const GATE_EVENTS: u32 = 16;
/// `response.created` repeats the request's instructions and tools, and so does `response.in_progress`.
pub(super) const GATE_BYTES: u64 = 128 * 1024;
/// Errors of capacity come within seconds; a model that thinks for longer has been given its capacity.
pub(super) const GATE_TIME: Duration = Duration::from_secs(5);
/// One request in a hundred costs twice; what is slower than 95 % of all is cut by it five times out of a hundred at most.
pub(super) const HEDGE_BUDGET_PERCENT: f64 = 1.0;
/// Below the time that a connection and a word take.
pub(super) const HEDGE_DELAY_MIN: Duration = Duration::from_millis(100);
/// Longer than any region takes that is not stuck, for models that do not think first.
pub(super) const FIRST_TOKEN_BASE: Duration = Duration::from_secs(30);
/// Two thousand tokens of a prompt are read in a second by the slowest.
pub(super) const FIRST_TOKEN_PER_1000: Duration = Duration::from_millis(500);
/// A pause for thought is no crawl.
pub(super) const STREAM_RATE_WINDOW: Duration = Duration::from_secs(30);
/// A dead pool sees at most 1.2 times the client's requests (in percent: 20 more).
pub(super) const BUDGET_PERCENT: f64 = 20.0;
/// Failovers per second that a quiet pool may always make.
pub(super) const BUDGET_MIN: u32 = 3;

/// Consecutive failures: one or two happen, five are a pattern.
pub(super) const FAILURES: u32 = 5;
/// Half of the attempts failing is worse than the trouble of moving them, in percent.
pub(super) const FAILURE_SHARE_PERCENT: f64 = 50.0;
/// Fewer attempts prove nothing about a share.
pub(super) const ATTEMPTS_MIN: u32 = 20;
/// Window of the failure share.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// First ejection: long enough to matter, short enough to be forgiven.
pub(super) const EJECTION_BASE: Duration = Duration::from_secs(5);
/// Longest ejection: a region that came back is found within two minutes.
pub(super) const EJECTION_MAX: Duration = Duration::from_secs(120);
/// Half of a pool, in percent, stays in use whatever fails.
pub(super) const EJECTION_SHARE_MAX_PERCENT: f64 = 50.0;
/// Rest after a 429 without advice: Azure's request windows are 1 and 10 s.
pub(super) const ADVISED_DEFAULT: Duration = Duration::from_secs(10);
/// Longest rest after a 429: Azure has advised a whole day by mistake.
pub(super) const ADVISED_MAX: Duration = Duration::from_secs(600);
/// Azure counts requests over ten seconds at most.
pub(super) const CALL_RATE_REST: Duration = Duration::from_secs(10);
/// One attempt in so long finds out early that a quota was raised.
pub(super) const DAY_QUOTA_REST: Duration = Duration::from_secs(600);
/// A peak of demand comes and goes: half the time of the one that was asked.
pub(super) const CAPACITY_REGION_REST: Duration = Duration::from_secs(5);
/// A wrong key does not mend itself in seconds.
pub(super) const MISCONFIGURED: Duration = Duration::from_secs(60);
/// Spread of ejection times in percent, so that gateways do not return together.
pub(super) const EJECTION_JITTER_PERCENT: f64 = 10.0;

/// Time between probes: a dead region is known within half a minute without traffic.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Spread of the interval in percent, so that probes do not march in step.
pub(super) const PROBE_JITTER_PERCENT: f64 = 20.0;
/// Limit of one probe, the longest round trip between regions (300 ms) six times over.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Successes in a row before a backend is trusted again.
pub(super) const HEALTHY_AFTER: u32 = 2;
/// Failures in a row before a backend is distrusted.
pub(super) const UNHEALTHY_AFTER: u32 = 3;
/// Statuses that prove a backend alive: 401 without our credential, 429 under load.
pub(super) const PROBE_STATUSES: [u16; 3] = [200, 401, 429];
/// Probes go without the credential: they need no more than a sign of life.
pub(super) const PROBE_CREDENTIAL: bool = false;

/// Three times the longest round trip between regions.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connect plus two round trips of TLS, with one retransmission.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest pause inside an answer: reasoning models think for minutes between two chunks. TCP keep-alive finds a peer that
/// is gone much sooner.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A backend that does not take bytes for this long is stuck.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Above the 10 minutes after which SDKs give up themselves.
pub(super) const TOTAL_TIMEOUT: Duration = Duration::from_secs(900);
/// A realtime session may listen in silence for as long as Azure lets it live.
pub(super) const WEBSOCKET_IDLE: Duration = Duration::from_secs(3600);
/// Below the 60 s after which Azure's front ends close idle connections.
pub(super) const BACKEND_KEEPALIVE: Duration = Duration::from_secs(55);

/// Priority of a backend: the first tier.
pub(super) const PRIORITY: u32 = 1;
/// Weight of a backend: Front Door's default.
pub(super) const WEIGHT: u32 = 50;

/// One critical match blocks, as in Front Door.
pub(super) const WAF_THRESHOLD: u32 = 5;
/// Front Door's status of a block.
pub(super) const WAF_BLOCK_STATUS: u16 = 403;
/// As much of a body as Front Door looks at.
pub(super) const WAF_BODY_INSPECTION_MAX: u64 = 128 * KIB;
/// A rule that is written is meant.
pub(super) const WAF_RULE_ENABLED: bool = true;
/// Front Door's shorter window.
pub(super) const WAF_RATE_MINUTES: u32 = 1;

/// What inference requests are sent as: JSON, and forms with files.
pub(super) const MEDIA_TYPES: [&str; 2] = ["application/json", "multipart/form-data"];
/// Deepest nesting of a body: tool schemas reach about 20.
pub(super) const DEPTH_MAX: u32 = 64;
/// Most keys of a body: a long chat with tools has some thousands.
pub(super) const KEYS_MAX: u32 = 50_000;
/// Longest `model`: Azure's deployment names have at most 64 bytes, fine-tuned models more.
pub(super) const MODEL_LENGTH_MAX: u32 = 128;
/// Most `messages`: more than any context holds usefully.
pub(super) const MESSAGES_MAX: u32 = 4096;
/// Most entries of `input`: embeddings take 2048 texts, or the 8192 tokens of one.
pub(super) const INPUT_MAX: u32 = 8192;
/// Largest `n`: each answer costs as much as a request.
pub(super) const N_MAX: u32 = 8;
/// Largest ceiling of tokens: above every model's, below a slip of the finger.
pub(super) const MAX_TOKENS_MAX: u32 = 1_000_000;

/// Who has a claim looked at means it: a token without it is not let through.
pub(super) const RESIDENCY_CLAIM_REQUIRED: bool = true;

/// A consumer that is written is meant.
pub(super) const CONSUMER_ENABLED: bool = true;
/// Where the SDKs of Azure, of OpenAI and of API Management put a key, in the order in which they count.
pub(super) const KEY_HEADERS: [&str; 3] = ["api-key", "authorization", "ocp-apim-subscription-key"];
/// An application with a wrong key retries once a second; an office of them is slowed down, and told why in the log.
pub(super) const AUTHENTICATION_FAILURES_MAX: u32 = 60;

/// As API Management does: keys are published days before they sign.
pub(super) const KEYS_REFRESH: Duration = Duration::from_secs(3600);
/// Made-up key ids must not become load for the issuer.
pub(super) const KEYS_REFRESH_MIN: Duration = Duration::from_secs(30);
/// An outage of the issuer is no outage of ours, but a withdrawn key must not live for ever.
pub(super) const KEYS_STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// What clocks that are kept by NTP never differ by, and what libraries allow.
pub(super) const TOKEN_LEEWAY: Duration = Duration::from_secs(60);

/// A machine's metadata service answers in milliseconds, the Azure CLI in seconds.
pub(super) const IDENTITY_TIMEOUT: Duration = Duration::from_secs(10);
/// Azure OpenAI's classic audience; the newer one is `https://ai.azure.com/.default`.
pub(super) const TOKEN_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// Where Entra ID issues tokens in the public cloud.
pub(super) const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Audience of Key Vault in the public cloud.
pub(super) const VAULT_SCOPE: &str = "https://vault.azure.net/.default";
/// A rotated secret works in minutes, not in the four hours of API Management; a vault takes thousands of requests in ten seconds.
pub(super) const VAULT_REFRESH: Duration = Duration::from_secs(300);
/// A vault answers in tens of milliseconds; a start waits for it this long.
pub(super) const VAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// About what a chat answers with when nobody says how long: more is settled, not refused.
pub(super) const OUTPUT_DEFAULT: u32 = 1024;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
