//! Where Azure's regions are, and which data zones they belong to. Coordinates and data zones in the file win over the tables.

use crate::policy::distance::Point;

/// The coordinates of a region.
pub(super) fn find(region: &str) -> Option<Point> {
    TABLE
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(region))
        .map(|(_, latitude, longitude)| Point { latitude: *latitude, longitude: *longitude })
}

/// Names of the regions in the table.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

/// Regions of Azure's EU data zone as of May 2026: those of France, Germany, Italy, the Netherlands, Norway, Poland, Spain, Sweden
/// and Switzerland. Not Ireland, not the United Kingdom. It may grow without notice.
pub(super) const DATA_ZONE_EU: [&str; 12] = [
    "francecentral",
    "germanynorth",
    "germanywestcentral",
    "italynorth",
    "norwayeast",
    "norwaywest",
    "polandcentral",
    "spaincentral",
    "swedencentral",
    "switzerlandnorth",
    "switzerlandwest",
    "westeurope",
];

/// Regions of Azure's US data zone: the public ones of the United States.
pub(super) const DATA_ZONE_US: [&str; 9] = [
    "centralus",
    "eastus",
    "eastus2",
    "northcentralus",
    "southcentralus",
    "westcentralus",
    "westus",
    "westus2",
    "westus3",
];

/// Region, latitude, longitude. From a public map of Azure's regions, as `az account list-locations` prints them.
const TABLE: [(&str, f64, f64); 43] = [
    ("eastus", 37.3719, -79.8164),
    ("eastus2", 36.6681, -78.3889),
    ("centralus", 41.5908, -93.6208),
    ("northcentralus", 41.8819, -87.6278),
    ("southcentralus", 29.4167, -98.5),
    ("westus", 37.783, -122.417),
    ("westus2", 47.233, -119.852),
    ("westus3", 33.448376, -112.074036),
    ("canadacentral", 43.653, -79.383),
    ("canadaeast", 46.817, -71.217),
    ("brazilsouth", -23.55, -46.633),
    ("australiaeast", -33.86, 151.2094),
    ("australiasoutheast", -37.8136, 144.9631),
    ("japaneast", 35.68, 139.77),
    ("japanwest", 34.6939, 135.5022),
    ("koreacentral", 37.5665, 126.9780),
    ("eastasia", 22.267, 114.188),
    ("northeurope", 53.3478, -6.2597),
    ("westeurope", 52.3667, 4.9),
    ("francecentral", 46.3772, 2.3730),
    ("germanywestcentral", 50.110924, 8.682127),
    ("germanynorth", 53.073635, 8.806422),
    ("norwayeast", 59.913868, 10.752245),
    ("norwaywest", 58.969975, 5.733107),
    ("swedencentral", 60.67488, 17.14127),
    ("switzerlandnorth", 47.451542, 8.564572),
    ("switzerlandwest", 46.204391, 6.143158),
    ("uksouth", 50.941, -0.799),
    ("ukwest", 53.427, -3.084),
    ("uaenorth", 25.266666, 55.316666),
    ("southafricanorth", -25.73134, 28.21837),
    ("centralindia", 18.5822, 73.9197),
    ("southindia", 12.9822, 80.1636),
    ("southeastasia", 1.283, 103.833),
    // Known less surely than the rest: check against `az account list-locations` and override where it differs.
    ("polandcentral", 52.23334, 21.01666),
    ("italynorth", 45.46888, 9.18109),
    // Azure's own list has had the sign of this longitude wrong.
    ("spaincentral", 40.4259, -3.4209),
    ("israelcentral", 31.2655705, 33.4506633),
    ("qatarcentral", 25.551462, 51.439327),
    ("mexicocentral", 20.588818, -100.389888),
    ("newzealandnorth", -36.84853, 174.76349),
    ("westcentralus", 40.89, -110.234),
    ("westindia", 19.088, 72.868),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn distances_are_plausible() {
        let between = |a, b| find(a).unwrap().spot().distance_km(find(b).unwrap().spot());
        for (a, b, low, high) in [
            ("swedencentral", "swedencentral", 0.0, 0.001),
            ("swedencentral", "francecentral", 1800.0, 2000.0),
            ("westeurope", "eastus", 6000.0, 6600.0),
            ("australiaeast", "newzealandnorth", 2100.0, 2300.0),
            ("westus", "japaneast", 8100.0, 8600.0),
        ] {
            let km = between(a, b);
            assert!((low..=high).contains(&km), "{a} to {b}: {km}");
            assert!((km - between(b, a)).abs() < 1e-6);
        }
        assert!(find("SwedenCentral").is_some());
        assert!(find("atlantis").is_none());
    }

    #[test]
    fn data_zones_are_made_of_known_regions() {
        for region in DATA_ZONE_EU.iter().chain(&DATA_ZONE_US) {
            assert!(find(region).is_some(), "{region}");
        }
        assert!(!DATA_ZONE_EU.contains(&"northeurope") && !DATA_ZONE_EU.contains(&"uksouth"));
    }

    #[test]
    fn every_region_is_on_the_globe_once() {
        for (index, (name, latitude, longitude)) in TABLE.iter().enumerate() {
            assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0, "{name}");
            assert!(TABLE.iter().skip(index + 1).all(|(other, ..)| other != name), "{name} twice");
        }
    }
}
