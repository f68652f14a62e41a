//! The process log: one line per record on standard error, with time, level and target. Nothing per request at `info`;
//! requests have the access log. Client text never gets here unescaped.

use super::clock::Timestamp;
use env_logger::{Builder, Target};
use log::{Level, Record};
use std::io::{self, Write};

/// What is logged unless the operator says otherwise. Pingora reports every failed request, connection and handshake by
/// itself, at `error` and `warn`: a flood under attack. Requests are in the access log, attempts in metrics; of Pingora only
/// the server's own life is left.
pub const FILTER: &str = "info,pingora_core=off,pingora_core::server=warn,pingora_core::services=warn,\
    pingora_core::services::listening=off,pingora_proxy=off,pingora_load_balancing=warn";

/// Starts the process log. `filter` is what the operator gave in `RUST_LOG`; [`FILTER`] when absent or empty. A second call
/// changes nothing.
pub fn start(filter: Option<&str>) {
    let filter = filter.filter(|text| !text.trim().is_empty()).unwrap_or(FILTER);
    let mut builder = Builder::new();
    builder.parse_filters(filter).target(Target::Stderr).format(write_line);
    // An error only says that a log is running already: a test, or an embedding program.
    let _ = builder.try_init();
}

fn write_line(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    if record.level() > Level::Info && !record.target().starts_with("tidegate") {
        // Libraries print request headers there, credentials among them.
        return Ok(());
    }
    let target = record.target().strip_prefix("tidegate::").unwrap_or(record.target());
    let message = escape(&record.args().to_string());
    writeln!(out, "{} {:<5} {target}: {message}", Timestamp::now(), record.level())
}

/// A record stays one line, whatever it quotes: control characters are escaped, but a line break of a longer message (the
/// problems of a configuration) becomes a break and two blanks, which no record begins with.
fn escape(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for character in message.trim_end().chars() {
        match character {
            '\n' => text.push_str("\n  "),
            control if control.is_control() => text.extend(control.escape_default()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_record_cannot_forge_another() {
        assert_eq!(escape("a\r\u{1b}[2K\nINFO b\n"), "a\\r\\u{1b}[2K\n  INFO b");
    }

    #[test]
    fn a_line_names_time_level_and_room() {
        let mut line = Vec::new();
        let arguments = format_args!("three pools");
        let record =
            Record::builder().level(Level::Warn).target("tidegate::background::reload").args(arguments).build();
        write_line(&mut line, &record).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(line.ends_with("Z WARN  background::reload: three pools\n"), "{line}");
    }

    #[test]
    fn libraries_say_nothing_below_info() {
        for (target, level, said) in [
            ("pingora_proxy::proxy_h1", Level::Debug, false),
            ("h2", Level::Trace, false),
            ("pingora_core", Level::Info, true),
            ("tidegate::proxy", Level::Trace, true),
        ] {
            let mut line = Vec::new();
            let record = Record::builder().level(level).target(target).args(format_args!("x")).build();
            write_line(&mut line, &record).unwrap();
            assert_eq!(!line.is_empty(), said, "{target} {level}");
        }
    }
}
