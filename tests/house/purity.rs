//! What a room may touch: the pure rooms touch nothing, and each foreign crate lives where the architecture puts it.

use crate::imports::imports;
use crate::source::{Source, gateway};
use crate::{Exception, Finding, assert_none, without_excepted};

/// Rooms of layers 0 and 1.
const PURE_ROOMS: [&str; 3] = ["domain", "openai", "policy"];

/// What the pure rooms never name: input and output, clock, chance, lock, log.
const IMPURE: [&str; 32] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Once",
    "std::sync::OnceLock",
    "std::sync::mpsc",
    "std::cell",
    "std::hash::RandomState",
    "arc_swap",
    "parking_lot",
    "log",
    "env_logger",
    "rand",
    "fastrand",
    "tokio",
    "futures",
    "socket2",
    "libc",
];

/// Foreign crates with the only places that may name them: a room, or one file.
const HOMES: [(&str, &[&str]); 31] = [
    ("pingora", &["proxy", "background", "server", "main"]),
    ("pingora_core", &["proxy", "background", "server", "main"]),
    ("pingora_proxy", &["proxy", "background", "server", "main"]),
    ("pingora_load_balancing", &["proxy", "background", "server", "main"]),
    ("pingora_timeout", &["proxy", "background", "server", "main"]),
    (
        "redis",
        &[
            "gateway/src/background/shared_limits.rs",
            "gateway/src/background/shared_limits/link.rs",
            "gateway/src/background/shared_limits/rests.rs",
        ],
    ),
    ("serde_yaml", &["gateway/src/config/parse.rs"]),
    ("schemars", &["config", "cli"]),
    ("prometheus", &["telemetry"]),
    ("env_logger", &["telemetry"]),
    ("log", &["telemetry", "proxy", "background", "simulator", "server", "cli", "demo", "main"]),
    ("clap", &["cli", "main"]),
    ("anyhow", &["cli", "server", "demo", "main"]),
    ("fastrand", &["proxy", "background", "simulator", "server", "demo", "main"]),
    // `telemetry/clock.rs` is the named place where the runtime's own clock is read.
    // `strict.rs` names its channels, nothing that runs.
    (
        "tokio",
        &[
            "gateway/src/telemetry/clock.rs",
            "gateway/src/state/limits/strict.rs",
            "proxy",
            "background",
            "simulator",
            "server",
            "cli",
            "demo",
            "main",
        ],
    ),
    ("tokio_rustls", &["proxy", "background", "simulator", "server", "demo"]),
    ("futures", &["proxy", "background", "simulator", "server", "cli", "demo"]),
    ("h2", &["gateway/src/proxy/h2_writer.rs"]),
    ("hyper", &["background", "simulator", "demo"]),
    ("hyper_util", &["background", "simulator", "demo"]),
    ("socket2", &["proxy", "background", "simulator", "server"]),
    ("libc", &["proxy", "background", "server", "cli", "demo", "main"]),
    ("mimalloc", &["main"]),
    ("uapi", &["gateway/src/proxy/cork.rs"]),
    ("strsim", &["config"]),
    ("bpe_openai", &["gateway/src/openai/estimate/encoding.rs"]),
    ("instant_acme", &["background"]),
    // gateway/decisions/0015
    (
        "azure_core",
        &[
            "gateway/src/background/azure.rs",
            "gateway/src/background/identity/source.rs",
            "gateway/src/background/vault/fetch.rs",
        ],
    ),
    ("azure_identity", &["gateway/src/background/identity/source.rs", "gateway/src/background/identity/cli.rs"]),
    ("azure_security_keyvault_secrets", &["gateway/src/background/vault/fetch.rs"]),
    // gateway/decisions/0010
    // gateway/decisions/0015
    (
        "ring",
        &[
            "policy",
            "gateway/src/config/compile/identities.rs",
            "gateway/src/background/identity/assertion.rs",
            "gateway/src/background/vault/keepsake.rs",
        ],
    ),
];

/// Rooms that may read a clock, each in one file.
const CLOCK_ROOMS: [&str; 8] = ["telemetry", "proxy", "background", "simulator", "main", "cli", "server", "demo"];

/// Departures that stand.
const EXCEPTIONS: [Exception; 0] = [];

#[test]
fn pure_rooms_touch_nothing() {
    let mut found = Vec::new();
    for source in gateway().iter().filter(|source| PURE_ROOMS.contains(&source.room())) {
        for import in imports(source).iter().filter(|import| !import.in_test) {
            if let Some(what) = IMPURE.iter().find(|prefix| import.starts_with(prefix)) {
                let message = format!("`{}` is pure and names `{}`", source.room(), import.path.join("::"));
                found.push(Finding { file: source.path.clone(), line: import.line, what: (*what).into(), message });
            }
        }
    }
    assert_none(
        "domain, openai and policy use no input or output, clock, chance, lock or log",
        without_excepted(&EXCEPTIONS, found),
    );
}

#[test]
fn foreign_crates_stay_at_home() {
    let mut violations = Vec::new();
    for source in gateway() {
        for import in imports(source).iter().filter(|import| !import.in_test && import.path.len() > 1) {
            let Some((name, homes)) = HOMES.iter().find(|(name, _)| import.path[0] == *name) else { continue };
            if !homes.contains(&source.room()) && !homes.contains(&source.path.as_str()) {
                let (path, line) = (&source.path, import.line);
                violations.push(format!("{path}:{line}: `{name}` is named outside {}", homes.join(", ")));
            }
        }
    }
    assert_none("each foreign crate lives in its rooms", violations);
}

#[test]
fn clocks_are_read_at_one_place_per_room() {
    let readers: Vec<&Source> = gateway().iter().filter(|source| reads_clock(source)).collect();
    let mut violations = Vec::new();
    for source in &readers {
        if !CLOCK_ROOMS.contains(&source.room()) {
            violations.push(format!(
                "{}: `{}` takes time as an argument and never reads it",
                source.path,
                source.room()
            ));
        }
        let others: Vec<&str> =
            readers.iter().filter(|other| other.room() == source.room()).map(|other| other.path.as_str()).collect();
        if others.len() > 1 {
            violations.push(format!(
                "room `{}` reads clocks in {} files: {}",
                source.room(),
                others.len(),
                others.join(", ")
            ));
        }
    }
    assert_none("clocks are read in one file of a room", violations);
}

fn reads_clock(source: &Source) -> bool {
    imports(source)
        .iter()
        .any(|import| !import.in_test && (import.ends_with("Instant::now") || import.ends_with("SystemTime::now")))
}
