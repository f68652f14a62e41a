#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::super::context::{Admission, RequestContext};
use super::super::{select, wrapper::Desk};
use super::*;
use crate::domain::{Moment, Proof};
use crate::openai::facts::Facts;
use crate::openai::operation;
use crate::state::{BodyMemory, Gauges, Registry};
use crate::telemetry::Metrics;
use bytes::Bytes;
use http::HeaderValue;
use std::path::Path;
use std::sync::Arc;

/// Pool `chat`: `sweden` (0), `france` (1) and `east` (2), which only two zones hold.
fn live(residency: &str) -> Arc<Live> {
    let text = format!(
        "version: 1
listeners: [ {{ name: open, address: \"127.0.0.1:0\" }}, {{ name: swedish, address: \"127.0.0.2:0\", residency: sweden }} ]
residency:
  mode: filter
{residency}  zones:
    - {{ name: eu, data_zones: [ eu ], countries: [ SE, GB ] }}
    - {{ name: us, regions: [ eastus ], countries: [ US ] }}
    - {{ name: sweden, regions: [ swedencentral ] }}
    - {{ name: baltic, regions: [ swedencentral, polandcentral ] }}
    - {{ name: poland, regions: [ polandcentral ] }}
consumers:
  - {{ name: nobody }}
  - {{ name: european, residency: eu }}
  - {{ name: baltic, residency: baltic }}
pools:
  - name: chat
    selection: {{ nearest: client, latency_band: 2ms, explore: 0% }}
    backends:
      - {{ name: sweden, region: swedencentral, url: \"http://127.0.0.1:9\", kind: regional, auth: none }}
      - {{ name: france, region: francecentral, url: \"http://127.0.0.1:8\", kind: data_zone_eu, auth: none }}
      - {{ name: east, region: eastus, url: \"http://127.0.0.1:7\", kind: regional, auth: none }}
"
    );
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conf/databases");
    let (snapshot, _) = crate::config::load_text("x.yaml", &text, Path::new(directory), &|_| None).unwrap();
    Arc::new(Live::new(Registry::default().bind(Arc::new(snapshot)), &Metrics::new().unwrap()))
}

fn usual() -> Arc<Live> {
    live("  database: GeoLite2-City-Test.mmdb\n  other_countries: unbound\n")
}

fn envelope(client: Option<&str>) -> Envelope {
    Envelope {
        request_id: HeaderValue::from_static("r"),
        client: client.map(|address| format!("{address}:1").parse().unwrap()),
        hop: None,
        http2: false,
        tls: false,
        certificate: None,
        upgrade: false,
        sdk_retries: 0,
    }
}

fn caller(consumer: usize, zones: Zones) -> Caller {
    Caller { consumer, proof: Proof::Key, zones, claims: None }
}

const SWEDEN: &str = "89.160.20.112";
const AMERICA: &str = "216.160.83.56";
const CHINA: &str = "175.16.199.1";
const UNKNOWN: &str = "192.0.2.1";

fn resident(live: &Live, client: Option<&str>, caller: Option<&Caller>, listener: &str) -> Result<Residence, Denial> {
    let mut slot = None;
    let bound = bind(&mut slot, (live, &envelope(client), caller), (0, Some(listener)));
    let residence = slot.unwrap();
    assert!(bound.is_ok() || residence.barred == Tried::of(u64::MAX), "who is refused goes nowhere");
    bound.map(|()| residence)
}

#[test]
fn everything_that_is_said_binds_and_what_is_not_known_is_refused() {
    let live = usual();
    let bound = |client, consumer: usize, token: Zones, listener| {
        let caller = caller(consumer, token);
        let bound = resident(&live, client, Some(&caller), listener);
        bound.map(|residence| (residence.zones.indexes().collect::<Vec<_>>(), residence.barred))
    };
    let barred = |indexes: &[usize]| indexes.iter().fold(Tried::NONE, |all, index| all.with(*index));
    for (client, consumer, token, listener, want) in [
        (Some(CHINA), 0, Zones::NONE, "open", Ok((vec![], barred(&[])))),
        (Some(SWEDEN), 0, Zones::NONE, "open", Ok((vec![0], barred(&[2])))),
        (Some(AMERICA), 0, Zones::NONE, "open", Ok((vec![1], barred(&[0, 1])))),
        (Some(CHINA), 1, Zones::NONE, "open", Ok((vec![0], barred(&[2])))),
        (Some(SWEDEN), 1, Zones::NONE, "swedish", Ok((vec![0, 2], barred(&[1, 2])))),
        (Some(CHINA), 0, Zones::one(3), "open", Ok((vec![3], barred(&[1, 2])))),
        (Some(AMERICA), 1, Zones::NONE, "open", Err(Denial::ResidencyConflict)),
        (Some(CHINA), 0, Zones::one(4), "swedish", Err(Denial::ResidencyConflict)),
        (Some(CHINA), 2, Zones::one(4), "open", Err(Denial::ResidencyUnserved)),
        (Some(UNKNOWN), 0, Zones::NONE, "open", Err(Denial::ResidencyUnknown)),
        (None, 1, Zones::NONE, "open", Err(Denial::ResidencyUnknown)),
        (Some(CHINA), 0, Zones::NONE, "renamed", Err(Denial::ResidencyUnknown)),
    ] {
        assert_eq!(bound(client, consumer, token, listener), want, "{client:?} {consumer} {token:?} {listener}");
    }
}

#[test]
fn a_backend_outside_is_stopped_by_what_it_states_itself() {
    let live = usual();
    let snapshot = &live.fleet.snapshot;
    let backends = &snapshot.pools[0].backends;
    let in_zones = |zones| Some(Residence { zones, ..Residence::default() });
    let verdicts =
        |zones| [0, 1, 2].map(|index| assert_inside(snapshot, in_zones(zones).as_ref(), &backends[index]).is_ok());
    assert_eq!(verdicts(Zones::one(0)), [true, true, false]);
    assert_eq!(verdicts(Zones::one(1)), [false, false, true]);
    assert_eq!(verdicts(Zones::one(0).and(Zones::one(2))), [true, false, false]);
    assert_eq!(verdicts(Zones::NONE), [true; 3]);
    assert_eq!(verdicts(Zones::one(60)), [false; 3]);
    assert_eq!(assert_inside(snapshot, None, &backends[0]), Err(Fault::Internal), "who was never bound goes nowhere");
}

/// A request in zone `eu` whose pick is told to bar nothing, and may take one backend only.
fn misled(live: &Arc<Live>, allowed: usize) -> RequestContext {
    let now = Moment::from_micros(1);
    let mut ctx = RequestContext::new(now, Arc::clone(live), Gauges::default().request());
    let target = operation::parse("/openai/v1/models").unwrap();
    ctx.envelope = Some(envelope(Some(SWEDEN)));
    ctx.residence = Some(Residence { zones: Zones::one(0), ..Residence::default() });
    ctx.attempts.wanted.barred = (0..3).filter(|index| *index != allowed).fold(Tried::NONE, Tried::with);
    ctx.admission = Some(Admission {
        route: 0,
        pool: 0,
        operation: target.operation,
        shape: target.shape("/openai/v1/models"),
        alias: None,
        deployment: None,
        facts: Facts::default(),
        multipart: false,
        body: Bytes::new(),
        _memory: BodyMemory::new(1).reserve(0),
        desk: Arc::new(Desk::default()),
        deadline: now.after(std::time::Duration::from_secs(60)),
        attempts_max: 3,
    });
    ctx
}

#[test]
fn a_wrong_mask_leads_to_no_attempt() {
    let live = usual();
    let now = Moment::from_micros(2);
    for (allowed, stopped) in [(0, false), (1, false), (2, true)] {
        let mut ctx = misled(&live, allowed);
        select::first(&mut ctx, now).unwrap();
        let selected = select::select(&mut ctx, now).map(|_peer| ());
        assert_eq!(selected, if stopped { Err(Fault::ResidencyViolated) } else { Ok(()) }, "{allowed}");
        assert_eq!(ctx.attempts.current.is_some(), !stopped);
        assert_eq!(ctx.attempts.count, u32::from(!stopped), "no attempt was begun");
    }
    let in_flight: u32 = (0..3).filter_map(|index| live.fleet.pools[0].backend(index)).map(|b| b.in_flight()).sum();
    assert_eq!(in_flight, 0, "and none is left open");
}

#[test]
fn nearness_counts_from_the_client_where_nothing_is_measured() {
    let live = usual();
    for (client, zones, nearest) in
        [(SWEDEN, Zones::one(0), 0), (AMERICA, Zones::one(1), 2), ("81.2.69.142", Zones::one(0), 1)]
    {
        let residence = resident(&live, Some(client), None, "open").unwrap();
        assert_eq!(residence.zones, zones);
        let mut wanted = Wanted::default();
        residence.ask(&mut wanted);
        for draw in 0..32 {
            let pick = live.fleet.pools[0].pick_for(&wanted, Moment::from_micros(1), draw);
            let crate::state::Pick::Attempt(ticket) = pick else { unreachable!("all are in service") };
            assert_eq!(ticket.index(), nearest, "{client}");
        }
    }
}
