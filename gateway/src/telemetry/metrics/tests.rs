#![allow(clippy::unwrap_used, reason = "tests may panic")]
use super::*;
use crate::domain::{BackendName, Ending, LimitName, Outcome, Usage};
use crate::telemetry::meters::ProbeResult;
use crate::telemetry::table::TABLE;
use std::time::Duration;

fn id(pool: &str, backend: &str) -> BackendId {
    BackendId { pool: PoolName::new(pool).unwrap(), backend: BackendName::new(backend).unwrap() }
}

/// Moves every metric, so that each row of the table must show up.
fn touched() -> (Metrics, String) {
    let metrics = Metrics::new().unwrap();
    let (pool, region) = (PoolName::new("chat").unwrap(), Region::new("swedencentral").unwrap());
    metrics.unrouted().ended(Ending::Denied);
    metrics.route(&RouteName::new("all").unwrap(), &pool).ended(Ending::Served);
    metrics.rule(&RuleName::new("docs").unwrap()).matched.inc();
    let meters = metrics.pool(&pool);
    meters.failed_over(Outcome::RateLimited);
    meters.took(Duration::from_millis(30));
    let backend = metrics.backend(&id("chat", "sweden"), &region);
    backend.attempted(Outcome::RateLimited);
    backend.answered(Ending::Served);
    backend.first_byte(Duration::from_millis(20));
    backend.used(Usage { prompt: 7, completion: 5, cached: 3, reasoning: 2 });
    backend.ejected("rate_limited");
    backend.probed(ProbeResult::TimedOut, Duration::from_secs(2));
    backend.health_changed(false);
    metrics.unproven(Unproven::Wrong);
    let consumer = metrics.consumer(&ConsumerName::new("search").unwrap());
    consumer.ended(Ending::Served);
    consumer.keys_expiring(1);
    metrics.denied("route_not_found");
    metrics.waf_found(&"chat-policy".into(), &"scanner".into(), "block", "prevent");
    metrics.spent(None, (&"gpt-4o*".into(), &"USD".into()), &region, 2500);
    metrics.waf_uncounted(4);
    metrics.waf_uncounted(3);
    metrics.limits.meters(&LimitName::new("team").unwrap()).passed.inc();
    metrics.acme_failures("edge", Some(2));
    metrics.faulted("no_backend");
    metrics.shed(Class::Batch, Reason::InFlight);
    metrics.flawed(Flaw::LengthTwice, Treatment::Refuse);
    metrics.looked_up(true);
    metrics.certificates(&[("edge".into(), "edge.pem".into(), 1_800_000_000)]);
    metrics.issuer_seen();
    metrics.identity_seen();
    metrics.in_force(3);
    metrics.reloaded(false);
    let text = String::from_utf8(metrics.render()).unwrap();
    (metrics, text)
}

#[test]
fn every_row_of_the_table_is_printed_and_nothing_else() {
    let (_metrics, text) = touched();
    let printed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).count();
    assert_eq!(printed, TABLE.len());
    for row in TABLE {
        assert!(text.contains(&format!("# HELP {} {}\n", row.name, row.help)), "{}", row.name);
    }
}

#[test]
fn series_carry_the_names_of_the_configuration() {
    let (_metrics, text) = touched();
    for line in [
        r#"tidegate_requests_total{ending="denied",pool="(none)",route="(none)"} 1"#,
        r#"tidegate_requests_total{ending="served",pool="chat",route="all"} 1"#,
        r#"tidegate_attempts_total{backend="sweden",outcome="rate_limited",pool="chat",region="swedencentral"} 1"#,
        r#"tidegate_attempts_total{backend="sweden",outcome="served",pool="chat",region="swedencentral"} 0"#,
        r#"tidegate_failovers_total{pool="chat",reason="rate_limited"} 1"#,
        r#"tidegate_ejections_total{backend="sweden",pool="chat",reason="rate_limited"} 1"#,
        r#"tidegate_probes_total{backend="sweden",pool="chat",result="timed_out"} 1"#,
        r#"tidegate_tokens_total{backend="sweden",kind="reasoning",pool="chat"} 2"#,
        r#"tidegate_health_changes_total{backend="sweden",pool="chat",to="unhealthy"} 1"#,
        r#"tidegate_certificate_expiry_timestamp_seconds{certificate="edge.pem",listener="edge"} 1800000000"#,
        "tidegate_waf_uncounted_total 4",
        r#"tidegate_cost_billionths_total{consumer="(none)",currency="USD",model="gpt-4o*",region="swedencentral"} 2500"#,
        "tidegate_config_generation 3",
        "tidegate_config_last_reload_successful 0",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_same_name_gives_the_same_meters() {
    let (metrics, _text) = touched();
    let region = Region::new("swedencentral").unwrap();
    let (one, two) = (metrics.backend(&id("chat", "sweden"), &region), metrics.backend(&id("chat", "sweden"), &region));
    assert!(Arc::ptr_eq(&one, &two));
}

#[test]
fn what_left_the_configuration_leaves_the_metrics() {
    let (metrics, _text) = touched();
    let held = metrics.backend(&id("chat", "sweden"), &Region::new("swedencentral").unwrap());
    metrics.retain(&crate::config::snapshot::tests::bare());
    held.attempted(Outcome::Served);
    let text = String::from_utf8(metrics.render()).unwrap();
    assert!(!text.contains("chat"), "{text}");
    assert!(text.contains(r#"route="(none)""#));
}
