//! The ejection machine, outcome by outcome.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

fn params() -> Ejection {
    Ejection {
        failures: 5,
        failure_share: 0.5,
        attempts_min: 20,
        window: secs(10),
        base: secs(10),
        max: secs(300),
        share_max: 0.5,
        rests: Rests {
            unknown: secs(10),
            max: secs(600),
            call_rate: secs(10),
            day_quota: secs(300),
            capacity_region: secs(5),
        },
        misconfigured: secs(60),
        jitter: 0.0,
    }
}

const fn report(outcome: Outcome, started: Moment) -> Report {
    Report { outcome, throttle: None, advice: None, started, trial: None, accepted: false, spare: true }
}

/// One machine and its clock in milliseconds.
#[derive(Default)]
struct Bench {
    machine: Machine,
    now: u64,
}

impl Bench {
    fn send(&mut self, outcome: Outcome) -> Option<Transition> {
        self.tell(&report(outcome, at(self.now)))
    }

    fn tell(&mut self, report: &Report) -> Option<Transition> {
        self.machine.record(report, &params(), at(self.now), 1)
    }

    fn throttled(&mut self, advice: u64) -> Option<Transition> {
        let advice = Some(Duration::from_millis(advice));
        self.tell(&Report { advice, ..report(Outcome::RateLimited, at(self.now)) })
    }

    fn trial(&mut self, outcome: Outcome) -> Option<Transition> {
        let lease = self.machine.take_trial(at(self.now)).unwrap();
        self.tell(&Report { trial: Some(lease), ..report(outcome, at(self.now)) })
    }

    fn fail_five(&mut self) {
        for _ in 0..5 {
            let _ = self.send(Outcome::ServerError);
        }
    }

    fn standing(&self) -> Standing {
        self.machine.standing(at(self.now))
    }
}

const fn resting(reason: Reason, until: u64) -> Standing {
    Standing::Resting { reason, until: Moment::from_micros(until * 1000) }
}

#[test]
fn five_failures_in_a_row_eject_and_a_success_between_does_not() {
    let mut bench = Bench::default();
    for outcome in [Outcome::ServerError, Outcome::ConnectFailed, Outcome::TimedOut, Outcome::BrokenEarly] {
        assert_eq!(bench.send(outcome), None);
    }
    assert_eq!(bench.send(Outcome::ClientError), None, "a 400 proves that it works");
    for _ in 0..4 {
        assert_eq!(bench.send(Outcome::BrokenLate), None);
    }
    let told = bench.send(Outcome::ServerError).unwrap();
    assert_eq!((told.from, told.to), (Standing::Open, resting(Reason::ConsecutiveFailures, 10_000)));
}

#[test]
fn half_of_twenty_failing_ejects() {
    let mut bench = Bench::default();
    for round in 0..10 {
        bench.now += 100;
        assert_eq!(bench.send(Outcome::Served), None, "round {round}");
        let told = bench.send(Outcome::ServerError);
        assert_eq!(told.is_some(), round == 9, "round {round}");
    }
    assert!(matches!(bench.standing(), Standing::Resting { reason: Reason::FailureShare, .. }));
}

#[test]
fn a_429_rests_for_its_advice_and_is_neutral_for_failures() {
    let mut bench = Bench::default();
    for _ in 0..4 {
        let _ = bench.send(Outcome::ServerError);
    }
    assert_eq!(bench.throttled(2_000).unwrap().to, resting(Reason::RateLimited, 2_000));
    assert_eq!(bench.machine.consecutive_failures(), 4);
    assert_eq!(bench.throttled(500), None, "a shorter rest never shortens a longer one");
    assert_eq!(bench.machine.take_trial(at(1_999)), None, "not hit before its time");
    bench.now = 2_000;
    assert_eq!(bench.trial(Outcome::Served).unwrap().to, Standing::Open);
    assert_eq!(bench.machine.consecutive_failures(), 0);
}

#[test]
fn advice_is_bounded_both_ways_and_has_a_default() {
    for (advice, rest) in [(None, 10_000), (Some(secs(0)), 100), (Some(secs(86_400)), 600_000)] {
        let mut bench = Bench::default();
        let told = bench.tell(&Report { advice, ..report(Outcome::RateLimited, at(0)) }).unwrap();
        assert_eq!(told.to, resting(Reason::RateLimited, rest));
    }
}

#[test]
fn jitter_only_lengthens() {
    let params = Ejection { jitter: 0.1, ..params() };
    for draw in 0..500 {
        let mut machine = Machine::default();
        let told = machine.record(&report(Outcome::RateLimited, at(0)), &params, at(0), draw).unwrap();
        let Standing::Resting { until, .. } = told.to else { panic!("rests") };
        assert!((at(10_000)..=at(11_000)).contains(&until));
    }
}

#[test]
fn one_trial_at_a_time_and_a_lost_one_expires() {
    let mut bench = Bench::default();
    bench.fail_five();
    bench.now = 10_000;
    assert!(bench.machine.take_trial(at(bench.now)).is_some());
    assert!(matches!(bench.standing(), Standing::Trial { .. }));
    assert_eq!(bench.machine.take_trial(at(bench.now)), None);
    bench.now += 10_000;
    assert!(bench.machine.take_trial(at(bench.now)).is_some(), "the lease has run out");
}

#[test]
fn a_trial_that_says_nothing_gives_its_slot_back() {
    for outcome in [Outcome::ClientGone, Outcome::RateLimited] {
        let mut bench = Bench::default();
        bench.fail_five();
        bench.now = 10_000;
        let _ = bench.trial(outcome);
        bench.now = 30_000;
        assert!(bench.machine.is_failing(), "{outcome:?} is no success");
        assert!(bench.machine.take_trial(at(bench.now)).is_some(), "{outcome:?}");
    }
}

#[test]
fn failed_trials_double_the_rest_up_to_its_maximum() {
    let mut bench = Bench::default();
    bench.fail_five();
    let mut rests = Vec::new();
    for _ in 0..7 {
        let Standing::Resting { until, .. } = bench.standing() else { panic!("rests") };
        rests.push(at(bench.now).until(until).as_secs());
        bench.now = until.as_micros() / 1000;
        let _ = bench.trial(Outcome::TimedOut);
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn a_long_good_time_forgets_the_doubling() {
    let rest_after_service = |millis: u64| {
        let mut bench = Bench::default();
        bench.fail_five();
        bench.now = 10_000;
        let _ = bench.trial(Outcome::Served);
        bench.now += millis;
        bench.fail_five();
        let Standing::Resting { until, .. } = bench.standing() else { panic!("rests") };
        at(bench.now).until(until).as_secs()
    };
    assert_eq!([rest_after_service(1_000), rest_after_service(60_000)], [20, 10]);
}

#[test]
fn outcomes_of_older_attempts_change_nothing() {
    let mut bench = Bench { now: 1_000, ..Bench::default() };
    bench.fail_five();
    bench.now = 2_000;
    for outcome in [Outcome::TimedOut, Outcome::Served] {
        assert_eq!(bench.tell(&report(outcome, at(500))), None, "{outcome:?} started before the ejection");
    }
    assert_eq!(bench.standing(), resting(Reason::ConsecutiveFailures, 11_000));
    assert_eq!(bench.send(Outcome::ServerError), None, "made in need during the rest: not counted twice");
    assert_eq!(bench.send(Outcome::Served).unwrap().to, Standing::Open, "made in need and served: it works");
}

#[test]
fn a_success_before_the_429s_time_does_not_end_that_rest() {
    let mut bench = Bench::default();
    let _ = bench.throttled(5_000);
    assert_eq!(bench.send(Outcome::Served), None);
    assert_eq!(bench.standing(), resting(Reason::RateLimited, 5_000));
}

#[test]
fn a_pool_that_cannot_spare_it_keeps_it() {
    let mut bench = Bench::default();
    for _ in 0..9 {
        assert_eq!(bench.tell(&Report { spare: false, ..report(Outcome::ServerError, at(0)) }), None);
    }
    assert!(bench.send(Outcome::ServerError).is_some(), "ejected as soon as it can be spared");
}

#[test]
fn refusing_us_sets_aside_at_once() {
    for outcome in [Outcome::BackendDenied, Outcome::DeploymentMissing] {
        let mut bench = Bench::default();
        let told = bench.tell(&Report { spare: false, ..report(outcome, at(0)) }).unwrap();
        assert_eq!(told.to, resting(Reason::Misconfigured, 60_000));
        assert!(!bench.machine.is_failing(), "never used in need");
        bench.machine.forgive_misconfiguration();
        assert_eq!(bench.standing(), Standing::Open);
    }
}

#[test]
fn a_break_after_the_header_counts_as_a_failure_of_the_same_attempt() {
    let mut bench = Bench::default();
    let mut told = None;
    for _ in 0..20 {
        let _ = bench.send(Outcome::Served);
        told = bench.tell(&Report { accepted: true, ..report(Outcome::BrokenLate, at(0)) });
    }
    assert!(matches!(told.unwrap().to, Standing::Resting { reason: Reason::FailureShare, .. }));
}

impl Bench {
    fn hear(&mut self, rest: u64) -> Option<Transition> {
        self.machine.hear(Duration::from_millis(rest), &params(), at(self.now), 1)
    }
}

#[test]
fn a_429_that_another_gateway_met_rests_as_long_and_ends_with_one_trial() {
    let mut bench = Bench::default();
    let told = bench.hear(2_000).unwrap();
    assert_eq!((told.from, told.to), (Standing::Open, resting(Reason::Shared, 2_000)));
    assert_eq!(bench.machine.own_rest(at(0)), None, "it is not told on");
    bench.now = 1_999;
    assert_eq!(bench.machine.take_trial(at(bench.now)), None);
    bench.now = 2_000;
    let lease = bench.machine.take_trial(at(bench.now)).unwrap();
    assert_eq!(bench.machine.take_trial(at(bench.now)), None, "one trial");
    let back = bench.tell(&Report { trial: Some(lease), ..report(Outcome::Served, at(bench.now)) }).unwrap();
    assert_eq!(back.to, Standing::Open);
}

#[test]
fn what_is_heard_of_a_known_or_ending_rest_changes_nothing() {
    let mut bench = Bench::default();
    assert_eq!(bench.hear(99), None, "almost over");
    let _ = bench.throttled(2_000);
    assert_eq!(bench.hear(2_050), None, "the same, measured elsewhere");
    assert_eq!(bench.machine.own_rest(at(500)), Some(Duration::from_millis(1_500)));
    assert_eq!(bench.hear(5_000).unwrap().to, resting(Reason::Shared, 5_000));
    assert_eq!(bench.throttled(3_000), None, "a shorter one of our own");
    assert_eq!(bench.throttled(6_000).unwrap().to, resting(Reason::RateLimited, 6_000));
    assert_eq!(bench.machine.own_rest(at(6_000)), None, "over");
}

#[test]
fn what_is_heard_rests_no_longer_than_a_429_of_our_own_may() {
    let mut bench = Bench::default();
    assert_eq!(bench.hear(u64::MAX / 1000).unwrap().to, resting(Reason::Shared, 600_000));
}

#[test]
fn a_full_provisioned_deployment_is_back_to_the_millisecond() {
    for advice in [140, 740, 12_345, 59_999] {
        let mut bench = Bench::default();
        let params = Ejection { jitter: 1.0, ..params() };
        let told = Report {
            throttle: Some(Throttle::Provisioned),
            advice: Some(Duration::from_millis(advice)),
            ..report(Outcome::RateLimited, at(0))
        };
        bench.machine.record(&told, &params, at(0), u64::MAX).unwrap();
        assert_eq!(bench.machine.throttled_until(), Some(at(advice)));
        assert_eq!(bench.machine.take_trial(at(advice - 1)), None);
        assert!(bench.machine.take_trial(at(advice)).is_some(), "{advice}");
    }
}

#[test]
fn a_days_quota_is_tried_again_early() {
    let mut bench = Bench::default();
    let gone = |bench: &Bench, trial| Report {
        throttle: Some(Throttle::DayQuota),
        advice: Some(secs(86_400)),
        trial,
        ..report(Outcome::RateLimited, at(bench.now))
    };
    bench.tell(&gone(&bench, None)).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.machine.take_trial(at(bench.now + 299_000)), None);
        bench.now += 300_000;
        let lease = bench.machine.take_trial(at(bench.now));
        assert!(lease.is_some(), "one attempt finds out");
        bench.tell(&gone(&bench, lease)).unwrap();
    }
}
