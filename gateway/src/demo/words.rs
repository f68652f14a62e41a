//! What the demo says: the introduction, one line a second, the summary. Pure text.

use super::live::State;
use super::stage::Stage;
use super::story::{ACTORS, API_VERSION, CHAT, DARK};
use super::tally::Tally;
use std::fmt::Write;
use std::time::Duration;

/// One moment of the demo.
pub(super) struct Scene<'a> {
    pub(super) elapsed: Duration,
    pub(super) duration: Duration,
    /// Whether the region is dark now, and since when.
    pub(super) dark_since: Option<Duration>,
    pub(super) rate: u32,
    pub(super) tally: &'a Tally,
    pub(super) states: &'a [State; ACTORS.len()],
}

/// What runs where, and what to try.
pub(super) fn introduction(stage: &Stage, duration: Duration, rate: u32) -> String {
    let (public, admin) = (stage.public, stage.admin);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "Tidegate demo: one gateway, three simulated regions, {rate} requests/s for {duration:?}. Stop with Ctrl-C.\n\n\
         gateway   http://{public}\nmetrics   http://{admin}/metrics\nadmin     http://{admin}/backends  /readyz  /livez\n\
         config    {}\nlog       {}\n",
        stage.config.display(),
        stage.log.display(),
    );
    for (actor, region) in ACTORS.iter().zip(&stage.regions) {
        let _ = writeln!(text, "region    {:14} http://{}  (faults: /_sim/faults)", actor.region, region.address());
    }
    let _ = write!(
        text,
        "\nTry it meanwhile:\n  curl -i 'http://{public}/openai/deployments/{CHAT}/chat/completions?api-version={API_VERSION}' \\\n    \
         -H 'content-type: application/json' -d '{{\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n\n  \
         from openai import AzureOpenAI, OpenAI\n  \
         azure = AzureOpenAI(azure_endpoint=\"http://{public}\", api_key=\"any\", api_version=\"{API_VERSION}\")\n  \
         plain = OpenAI(base_url=\"http://{public}/openai/v1\", api_key=\"any\")\n  \
         for client in (azure, plain):\n      \
         print(client.chat.completions.create(model=\"{CHAT}\", messages=[{{\"role\": \"user\", \"content\": \"hello\"}}]))\n\n",
    );
    text
}

/// One second in one line.
pub(super) fn line(scene: &Scene<'_>) -> String {
    let tally = scene.tally;
    let mut text = format!("t={:3}s", scene.elapsed.as_secs());
    for (index, actor) in ACTORS.iter().enumerate() {
        let second = tally.last_second.get(index).copied().unwrap_or(0);
        let served = tally.regions.get(index).map_or(0, |counts| counts.served);
        let state = scene.states.get(index).map(State::words).unwrap_or_default();
        let _ = write!(text, "  {} {second:3}/s {served:5} [{state}]", actor.region);
    }
    let _ = writeln!(
        text,
        "  attempts {}  failovers {}  client errors {}  success {:.2} %  first byte p50 {} p99 {}",
        tally.attempts,
        tally.failovers,
        tally.client_errors,
        tally.success(),
        millis(tally.percentile(50)),
        millis(tally.percentile(99)),
    );
    text
}

/// A turn of the story in one line.
pub(super) fn turn(elapsed: Duration, dark: bool) -> String {
    let region = ACTORS.get(DARK).map_or("", |actor| actor.region);
    let what = if dark { "goes dark: it takes no connection and answers nothing" } else { "comes back" };
    format!("t={:3}s  {region} {what}\n", elapsed.as_secs())
}

/// The end: a table and the verdict.
pub(super) fn summary(tally: &Tally) -> String {
    let mut text = format!("\n{:14}  {:>7}  {:>6}  {:>6}  {:>6}\n", "region", "served", "share", "429s", "failed");
    let served: u64 = tally.regions.iter().map(|counts| counts.served).sum();
    for (actor, counts) in ACTORS.iter().zip(&tally.regions) {
        let share = if served == 0 { 0.0 } else { counts.served as f64 * 100.0 / served as f64 };
        let _ = writeln!(
            text,
            "{:14}  {:7}  {share:4.0} %  {:6}  {:6}",
            actor.region, counts.served, counts.throttled, counts.failed
        );
    }
    let _ = write!(
        text,
        "\nattempts {}, failovers {}, first byte p50 {}, p99 {}\nclient errors: {} of {}\n",
        tally.attempts,
        tally.failovers,
        millis(tally.percentile(50)),
        millis(tally.percentile(99)),
        tally.client_errors,
        tally.requests,
    );
    for (error, count) in tally.errors() {
        let _ = writeln!(text, "  {count} x {error}");
    }
    if tally.held_back > 0 {
        let _ = writeln!(text, "  {} requests were not sent: this machine is too slow for the rate", tally.held_back);
    }
    text
}

/// `62 ms`, or a dash.
pub(super) fn millis(span: Option<Duration>) -> String {
    span.map_or_else(|| "-".to_owned(), |span| format!("{} ms", span.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::super::tally::Seen;
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        let first_byte = Duration::from_millis(62);
        for region in [0, 0, 0, 2] {
            tally.add(&Seen { served_by: Some(region), first_byte, ..Seen::default() });
        }
        tally.add(&Seen { failed: vec![(1, "rate_limited".into())], error: Some("503".into()), ..Seen::default() });
        tally.second();
        tally
    }

    #[test]
    fn the_summary_ends_with_the_verdict() {
        let expected = "
region           served   share    429s  failed
swedencentral         3    75 %       0       0
francecentral         0     0 %       1       0
eastus2               1    25 %       0       0

attempts 5, failovers 0, first byte p50 62 ms, p99 62 ms
client errors: 1 of 5
  1 x 503
";
        assert_eq!(summary(&tally()), expected);
    }

    #[test]
    fn a_second_is_one_line() {
        let (tally, states) = (tally(), Default::default());
        let (elapsed, duration) = (Duration::from_secs(3), Duration::from_secs(8));
        let scene = Scene { elapsed, duration, dark_since: None, rate: 40, tally: &tally, states: &states };
        let line = line(&scene);
        assert!(line.starts_with("t=  3s  swedencentral   3/s     3 []  francecentral   0/s"), "{line}");
        assert!(line.ends_with("client errors 1  success 80.00 %  first byte p50 62 ms p99 62 ms\n"), "{line}");
    }
}
