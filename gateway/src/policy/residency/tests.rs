#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

fn regions(names: &[&str]) -> Vec<Region> {
    names.iter().map(|name| region(name)).collect()
}

fn data_zones() -> DataZones {
    DataZones { eu: regions(&["swedencentral", "francecentral"]), us: regions(&["eastus", "westus"]) }
}

fn zone(name: &str, names: &[&str], kinds: &[Kind]) -> Zone {
    Zone::new(ZoneName::new(name).unwrap(), &regions(names), kinds.iter().copied().collect(), &data_zones())
}

const WITHIN: [Kind; 3] = [Kind::Regional, Kind::DataZoneEu, Kind::DataZoneUs];

fn country(code: &str) -> Country {
    Country::new(code).unwrap()
}

/// `eu` (0), `us` (1), `sweden` (2, regional only), `at_rest` (3, global too).
fn residency() -> Residency {
    let zones = vec![
        zone("eu", &["FranceCentral", "swedencentral", "westeurope"], &WITHIN),
        zone("us", &["eastus", "westus"], &WITHIN),
        zone("sweden", &["swedencentral"], &[Kind::Regional]),
        zone("at_rest", &["swedencentral", "eastus"], &Kind::ALL),
    ];
    Residency::new(zones, BTreeMap::from([(country("DE"), 0), (country("US"), 1)]))
}

#[test]
fn a_backend_is_inside_where_everything_that_it_may_use_is() {
    use Kind::{DataZoneEu, DataZoneUs, Global, Regional};
    let residency = residency();
    for (at, kind, inside) in [
        ("swedencentral", Some(Regional), &[0, 2, 3][..]),
        ("SwedenCentral", Some(Regional), &[0, 2, 3]),
        ("francecentral", Some(Regional), &[0]),
        ("westeurope", Some(DataZoneEu), &[0]),
        ("swedencentral", Some(DataZoneEu), &[0]),
        ("northeurope", Some(DataZoneEu), &[]),
        ("eastus", Some(Regional), &[1, 3]),
        ("eastus", Some(DataZoneUs), &[1]),
        ("eastus", Some(Global), &[3]),
        ("swedencentral", Some(Global), &[3]),
        ("northeurope", Some(Global), &[]),
        ("swedencentral", None, &[]),
        ("sweden", Some(Regional), &[]),
    ] {
        for index in 0..4 {
            let holds = residency.holds(Zones::one(index), &region(at), kind);
            assert_eq!(holds, inside.contains(&index), "{at} {kind:?} in zone {index}");
        }
        assert!(residency.holds(Zones::NONE, &region(at), kind), "nothing binds");
        assert!(!residency.holds(Zones::one(9), &region(at), kind), "what nobody knows holds nothing");
    }
}

#[test]
fn everything_that_is_said_binds_together() {
    let residency = residency().with(Unlisted::Refuse, Unlisted::Unbound, Some(3));
    let said = |listener, consumer, token, country| Said { listener, consumer, token, country };
    let unknown = Country::UNKNOWN;
    let of = |indexes: &[usize]| indexes.iter().fold(Zones::NONE, |zones, index| zones.and(Zones::one(*index)));
    for (said, bound) in [
        (said(None, None, Zones::NONE, unknown), Ok(of(&[3]))),
        (said(Some(0), None, Zones::NONE, unknown), Ok(of(&[0]))),
        (said(Some(0), Some(2), Zones::NONE, unknown), Ok(of(&[0, 2]))),
        (said(Some(0), Some(2), Zones::one(3), country("de")), Ok(of(&[0, 2, 3]))),
        (said(None, None, Zones::NONE, country("US")), Ok(of(&[1]))),
        (said(None, Some(0), Zones::NONE, country("US")), Err(Unbindable::Conflict)),
        (said(Some(2), None, Zones::one(1), unknown), Err(Unbindable::Conflict)),
        (said(None, None, Zones::NONE, country("JP")), Err(Unbindable::Country)),
        (said(Some(0), Some(0), Zones::one(0), country("JP")), Err(Unbindable::Country)),
    ] {
        assert_eq!(residency.bind(said), bound, "{said:?}");
    }
    let lenient = residency.with(Unlisted::Zone(1), Unlisted::Zone(0), None);
    let alone = |country| Said { country, ..Said::default() };
    assert_eq!(lenient.bind(alone(country("JP"))), Ok(Zones::one(1)));
    assert_eq!(lenient.bind(alone(unknown)), Ok(Zones::one(0)));
    let words: Vec<_> = lenient.by_country().collect();
    assert_eq!(words.len(), 4, "{words:?}");
    assert_eq!(words.last().map(|(zone, words)| (*zone, words.as_str())), Some((0, "an unknown country")));
}

#[test]
fn zones_conflict_when_each_two_of_them_agree_and_all_three_do_not() {
    let three = [["a", "b"], ["b", "c"], ["c", "a"]].map(|names| zone("z", &names, &WITHIN));
    let residency = Residency::new(three.into(), BTreeMap::new());
    let said = |listener, consumer, token| Said { listener, consumer, token, country: Country::UNKNOWN };
    assert!(residency.bind(said(Some(0), Some(1), Zones::NONE)).is_ok());
    assert!(residency.bind(said(Some(1), Some(2), Zones::NONE)).is_ok());
    assert_eq!(residency.bind(said(Some(0), Some(1), Zones::one(2))), Err(Unbindable::Conflict));
    let kinds = [zone("z", &["a"], &[Kind::Regional]), zone("z", &["a"], &[Kind::Global])];
    let residency = Residency::new(kinds.into(), BTreeMap::new());
    assert_eq!(residency.bind(said(Some(0), Some(1), Zones::NONE)), Err(Unbindable::Conflict), "no kind in common");
}

#[test]
fn marks_say_the_same_as_the_zones() {
    let residency = residency();
    let backends = [
        (region("swedencentral"), Some(Kind::Regional)),
        (region("francecentral"), Some(Kind::DataZoneEu)),
        (region("eastus"), Some(Kind::Global)),
        (region("swedencentral"), None),
    ];
    let outside = Outside::new(&residency, backends.iter().map(|(region, kind)| (region, *kind)));
    for bits in 0..16_usize {
        let zones = (0..4).filter(|index| bits & (1 << index) != 0).fold(Zones::NONE, |all, i| all.and(Zones::one(i)));
        for (index, (region, kind)) in backends.iter().enumerate() {
            let barred = outside.of(zones) & (1 << index) != 0;
            assert_eq!(barred, !residency.holds(zones, region, *kind), "{zones:?} {region} {kind:?}");
        }
    }
    assert_eq!(outside.of(Zones::one(40)), u64::MAX, "of a zone that is not there everything is outside");
    assert_eq!(outside.of(Zones::NONE), 0);
}

#[test]
fn the_place_of_processing_is_told_by_its_kind() {
    let at = region("swedencentral");
    let places = Kind::ALL.map(|kind| kind.place(&at).to_owned());
    assert_eq!(places, ["swedencentral", "eu", "us", "global"]);
    assert_eq!(Kind::ALL.map(Kind::label), ["regional", "data_zone_eu", "data_zone_us", "global"]);
}
