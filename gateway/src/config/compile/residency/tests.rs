//! What is proved about residency, what is refused, and what is warned of.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use crate::config::snapshot::{Proof, Snapshot};
use crate::config::{Problem, Problems, load_text};
use crate::domain::Zones;
use crate::policy::distance::Point;
use crate::policy::screen::view::Country;
use std::path::Path;

/// Where the test databases are.
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conf");

/// A file with the zones `eu` and `us`, two pools with a route each, and `more`.
fn text(pools: &str, more: &str) -> String {
    format!(
        "version: 1
listeners: [ {{ name: edge, address: \"127.0.0.1:0\" }} ]
residency:
  zones:
    - {{ name: eu, data_zones: [ eu ] }}
    - {{ name: us, regions: [ eastus, westus ] }}
pools:
{pools}routes:
  - {{ name: chat, match: {{ deployment: chat }}, pool: chat }}
{more}"
    )
}

fn backend(name: &str, region: &str, more: &str) -> String {
    format!("      - {{ name: {name}, region: {region}, url: \"https://{name}.example\", auth: none{more} }}\n")
}

/// A pool `chat` with these keys and backends.
fn pool(keys: &str, backends: &[String]) -> String {
    format!("  - name: chat\n{keys}    backends:\n{}", backends.concat())
}

fn load(text: &str) -> Result<(Snapshot, Vec<Problem>), Problems> {
    load_text("x.yaml", text, Path::new(DIRECTORY), &|_| None)
}

#[track_caller]
fn loaded(text: &str) -> (Snapshot, Vec<Problem>) {
    load(text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn refused(text: &str) -> Vec<String> {
    load(text).unwrap_err().0.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

fn shared() -> Vec<String> {
    vec![
        backend("sweden", "swedencentral", ", kind: regional"),
        backend("france", "francecentral", ", kind: data_zone_eu"),
        backend("east", "eastus", ", kind: global"),
    ]
}

#[test]
fn a_way_outside_is_told_from_its_beginning_to_its_end() {
    let consumers = "consumers: [ { name: acme, residency: eu }, { name: other } ]\n";
    let problems = refused(&text(&pool("", &shared()), consumers));
    assert_eq!(
        problems,
        ["pools[0].backends[2]: consumer `acme` (residency `eu`) → route `chat` → pool `chat` → backend `east` \
          (eastus, global): outside zone `eu`"]
    );
}

#[test]
fn a_pool_that_filters_bars_what_is_outside_and_is_proved() {
    let consumers = "consumers: [ { name: acme, residency: eu }, { name: beta, residency: eu }, { name: other } ]\n";
    let (snapshot, warnings) = loaded(&text(&pool("    residency: filter\n", &shared()), consumers));
    let residency = snapshot.residency.as_ref().unwrap();
    assert_eq!(residency.proof, Proof { inside: 4, barred: 2 });
    assert_eq!(snapshot.pools[0].outside.of(Zones::one(0)), 0b100);
    assert_eq!(snapshot.pools[0].outside.of(Zones::NONE), 0);
    let idle = warnings.iter().filter(|warning| warning.message == "the zone `us` binds nobody").count();
    assert_eq!(idle, 1, "{warnings:?}");
    let everywhere = text(&pool("", &shared()), consumers).replace("residency:\n", "residency:\n  mode: filter\n");
    assert_eq!(loaded(&everywhere).0.residency.unwrap().proof, Proof { inside: 4, barred: 2 });
}

#[test]
fn a_pool_without_a_backend_inside_is_refused_even_where_it_filters() {
    let only_east = [backend("east", "eastus", ", kind: regional")];
    let problems =
        refused(&text(&pool("    residency: filter\n", &only_east), "consumers: [ { name: a, residency: eu } ]\n"));
    assert_eq!(
        problems,
        [
            "pools[0].backends: consumer `a` (residency `eu`) → route `chat` → pool `chat`: no backend is inside zone `eu`"
        ]
    );
}

#[test]
fn whoever_cannot_use_a_route_is_no_way() {
    let pools = format!(
        "{}  - name: world\n    backends:\n{}",
        pool("", &shared()[..2]),
        backend("east", "eastus", ", kind: global")
    );
    let routes = |consumer: &str| {
        text(
            &pools,
            &format!("  - {{ name: world, match: {{ deployment: world }}, pool: world }}\nconsumers: [ {consumer} ]\n"),
        )
    };
    let bound = routes("{ name: acme, residency: eu, allow: { routes: [ chat ] } }");
    assert_eq!(loaded(&bound).0.residency.unwrap().proof, Proof { inside: 2, barred: 0 });
    let problems = refused(&routes("{ name: acme, residency: eu }"));
    assert!(problems[0].contains("→ route `world` → pool `world` → backend `east`"), "{problems:?}");
    // A rule may send the requests of every route elsewhere.
    let diverted = format!("{bound}rules: [ {{ name: divert, then: [ {{ pool: world }} ] }} ]\n");
    let problems = refused(&diverted);
    assert!(problems[0].contains("consumer `acme` (residency `eu`) → route `chat` → pool `world`"), "{problems:?}");
}

#[test]
fn every_source_is_a_way() {
    let pools = pool("", &shared());
    let database = "residency:\n  database: databases/GeoLite2-Country-Test.mmdb\n";
    for (file, start) in [
        (text(&pools, "").replace("name: edge,", "name: edge, residency: eu,"), "listener `edge`"),
        (text(&pools, "").replace("residency:\n", "residency:\n  default: eu\n"), "everybody else"),
        (
            text(&pools, "").replace("residency:\n", database).replace("[ eu ] }", "[ eu ], countries: [ DE ] }"),
            "country DE",
        ),
        (
            text(
                &pools,
                "consumers: [ { name: a } ]\nauthentication: { issuers: [ { name: id, issuers: [ x ], \
                 audiences: [ y ], jwks: { url: \"https://id.example/keys\" }, consumer: { name: a }, \
                 residency: { claim: pdl, map: { EUR: eu } } } ] }\n",
            ),
            "token of `id` with pdl `EUR`",
        ),
    ] {
        let problems = refused(&file);
        let told = format!("{start} (residency `eu`) → route `chat` → pool `chat` → backend `east`");
        assert!(problems.len() == 1 && problems[0].contains(&told), "{problems:?}");
    }
}

/// What is said of combinations.
fn combined(text: &str) -> Vec<String> {
    let (_, warnings) = loaded(text);
    let told = |warning: &Problem| format!("{}:{}: {}", warning.line, warning.path, warning.message);
    let combined =
        |warning: &&Problem| warning.message.contains("may serve it") || warning.message.contains("combinations");
    warnings.iter().filter(combined).map(told).collect()
}

const FILTER: &str = "    residency: filter\n";

#[test]
fn a_listener_and_a_consumer_that_leave_no_backend_are_told() {
    let consumers = "consumers: [ { name: acme, residency: eu }, { name: beta, residency: eu }, { name: other } ]\n";
    let east = [backend("sweden", "swedencentral", ", kind: regional"), backend("east", "eastus", ", kind: regional")];
    let file = text(&pool(FILTER, &east), consumers).replace("name: edge,", "name: us-edge, residency: us,");
    let last = file.lines().count();
    assert_eq!(
        combined(&file),
        [format!(
            "{last}:consumers[0].residency: consumer `acme` (residency `eu`, line {last}) with listener `us-edge` \
             (residency `us`, line 2): no backend of pool `chat` may serve it"
        )]
    );
    let inside = file.replace("regions: [ eastus, westus ]", "regions: [ swedencentral, eastus ]");
    assert_eq!(combined(&inside), [""; 0]);
    let elsewhere = file.replace("{ name: acme, residency: eu }, { name: beta, residency: eu }", "{ name: acme }");
    assert_eq!(combined(&elsewhere), [""; 0], "one binding is no combination");
}

#[test]
fn tokens_and_countries_combine_and_only_the_shortest_combinations_are_told() {
    let pools = [backend("sweden", "swedencentral", ", kind: regional"), backend("east", "eastus", ", kind: regional")];
    let more = "consumers: [ { name: a, residency: eu } ]\nauthentication: { issuers: [ { name: id, issuers: [ x ], \
                audiences: [ y ], jwks: { url: \"https://id.example/keys\" }, consumer: { name: a }, \
                residency: { claim: pdl, map: { NAM: us, EUR: eu } } } ] }\n";
    let file = text(&pool(FILTER, &pools), more)
        .replace(
            "residency:\n",
            "residency:\n  database: databases/GeoLite2-Country-Test.mmdb\n  other_countries: unbound\n",
        )
        .replace("westus ] }", "westus ], countries: [ US, CA ] }");
    let start = "17:consumers[0].residency: consumer `a` (residency `eu`, line 17) with";
    let end = "no backend of pool `chat` may serve it";
    assert_eq!(
        combined(&file),
        [
            format!("{start} country CA (residency `us`, line 8): {end}"),
            format!("{start} token of `id` with pdl `NAM` (residency `us`, line 18): {end}"),
        ]
    );
}

#[test]
fn many_combinations_are_told_by_number() {
    let regions = ["swedencentral", "francecentral", "eastus", "westus", "japaneast"];
    let backends: Vec<String> = regions.iter().map(|region| backend(region, region, ", kind: regional")).collect();
    let zones = regions.map(|region| format!("    - {{ name: z-{region}, regions: [ {region} ] }}\n")).concat();
    let listeners =
        regions.map(|region| format!("{{ name: {region}, address: \"127.0.0.1:0\", residency: z-{region} }}"));
    let consumers = regions.map(|region| format!("{{ name: {region}, residency: z-{region} }}"));
    let file = text(&pool(FILTER, &backends), &format!("consumers: [ {} ]\n", consumers.join(", ")))
        .replace("  zones:\n", &format!("  zones:\n{zones}"))
        .replace("{ name: edge, address: \"127.0.0.1:0\" }", &listeners.join(", "));
    let told = combined(&file);
    assert_eq!(told.len(), 9, "{told:#?}");
    assert!(
        told.iter().any(|one| one.contains("residency: 12 more combinations leave a pool without a backend")),
        "{told:#?}"
    );
}

#[test]
fn a_backend_that_does_not_state_its_kind_is_outside_every_zone() {
    let pools = [backend("sweden", "swedencentral", ", kind: regional"), backend("france", "francecentral", "")];
    let consumers = "consumers: [ { name: acme, residency: eu } ]\n";
    let problems = refused(&text(&pool("", &pools), consumers));
    assert!(
        problems[0].ends_with("backend `france` (francecentral, kind not stated): outside zone `eu`"),
        "{problems:?}"
    );
    let (snapshot, warnings) = loaded(&text(&pool("    residency: filter\n", &pools), consumers));
    assert_eq!(snapshot.pools[0].outside.of(Zones::one(0)), 0b10);
    assert!(warnings.iter().any(|w| w.path == "pools[0].backends[1]" && w.message.starts_with("states no `kind`")));
    let unused =
        format!("version: 1\nlisteners: [ {{ name: a, address: \"127.0.0.1:0\" }} ]\npools:\n{}", pool("", &pools));
    let asked = loaded(&unused).1.iter().any(|warning| warning.message.contains("`kind`"));
    assert!(!asked, "without residency nobody asks");
}

#[test]
fn data_zones_of_the_file_win_over_the_built_in_ones() {
    let france = [backend("france", "francecentral", ", kind: data_zone_eu")];
    let consumers = "consumers: [ { name: acme, residency: eu } ]\n";
    let narrow =
        text(&pool("", &france), consumers).replace("data_zones: [ eu ]", "regions: [ francecentral, swedencentral ]");
    assert!(refused(&narrow)[0].ends_with("outside zone `eu`"), "the built-in data zone is larger");
    let own = narrow.replace("residency:\n", "residency:\n  data_zones: { eu: [ francecentral, swedencentral ] }\n");
    assert_eq!(loaded(&own).0.residency.unwrap().proof, Proof { inside: 1, barred: 0 });
    let grown = own.replace("{ eu: [ francecentral,", "{ eu: [ francecentral, polandcentral,");
    assert!(refused(&grown)[0].ends_with("outside zone `eu`"), "a data zone that has grown is larger than the zone");
}

#[test]
fn a_zone_holds_global_deployments_only_when_it_says_so() {
    let pools = [backend("sweden", "swedencentral", ", kind: global")];
    let consumers = "consumers: [ { name: acme, residency: eu } ]\n";
    assert_eq!(refused(&text(&pool("", &pools), consumers)).len(), 1);
    let lenient = text(&pool("", &pools), consumers)
        .replace("data_zones: [ eu ]", "data_zones: [ eu ], kinds: [ regional, global ]");
    let (snapshot, _) = loaded(&lenient);
    assert_eq!(snapshot.residency.unwrap().proof, Proof { inside: 1, barred: 0 });
}

#[test]
fn clients_are_located_by_city_else_by_the_middle_of_their_country() {
    let near = "    selection: { nearest: client }\n    residency: filter\n";
    for (database, latitude, longitude, off) in [("City", 58.4167, 15.6167, 1.0), ("Country", 60.1, 18.6, 1.0)] {
        let file = text(&pool(near, &shared()), "")
            .replace("residency:\n", &format!("residency:\n  database: databases/GeoLite2-{database}-Test.mmdb\n"));
        let (snapshot, _) = loaded(&file);
        let located = snapshot.locate(Some("::ffff:89.160.20.112".parse().unwrap()));
        assert_eq!(located.country, Country::new("SE").unwrap());
        let km = located.spot.unwrap().distance_km(Point { latitude, longitude }.spot());
        assert!(km < off, "{database}: {km} km");
        let nowhere = snapshot.locate(Some("192.0.2.1".parse().unwrap()));
        assert_eq!((nowhere.country, nowhere.spot), (Country::UNKNOWN, None));
        assert_eq!(snapshot.locate(None), nowhere);
    }
}
