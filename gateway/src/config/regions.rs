//! Where Azure's regions are, and how far apart. A guess until latency is measured; coordinates in the file win over the table.

/// Degrees north and east.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Degrees north.
    pub(super) latitude: f64,
    /// Degrees east.
    pub(super) longitude: f64,
}

/// Mean radius of the Earth in km.
const EARTH_RADIUS_KM: f64 = 6371.0;

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

/// Great-circle distance in km (haversine).
pub(super) fn distance_km(a: Point, b: Point) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let across = a.latitude.to_radians().cos() * b.latitude.to_radians().cos();
    let h = half(a.latitude, b.latitude) + across * half(a.longitude, b.longitude);
    2.0 * EARTH_RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
}

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
        let between = |a, b| distance_km(find(a).unwrap(), find(b).unwrap());
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
    fn every_region_is_on_the_globe_once() {
        for (index, (name, latitude, longitude)) in TABLE.iter().enumerate() {
            assert!(latitude.abs() <= 90.0 && longitude.abs() <= 180.0, "{name}");
            assert!(TABLE.iter().skip(index + 1).all(|(other, ..)| other != name), "{name} twice");
        }
    }
}
