//! Points on the globe and how far apart they are. A guess at latency until it is measured.

/// Mean radius of the Earth in km.
const EARTH_RADIUS_KM: f64 = 6371.0;

/// A point in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// From where distance counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nearest {
    /// From the home region.
    #[default]
    Home,
    /// From the client.
    Client,
}

/// The same as a vector of length 1, which makes many distances cheap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot([f64; 3]);

impl Point {
    /// The vector of the point.
    #[must_use]
    pub fn spot(self) -> Spot {
        let (sin, cos) = self.latitude.to_radians().sin_cos();
        let (east, straight) = self.longitude.to_radians().sin_cos();
        Spot([cos * straight, cos * east, sin])
    }
}

impl Spot {
    /// Great-circle distance in km, by the chord: exact for near points too.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let Self([x, y, z]) = self;
        let Self([a, b, c]) = other;
        let chord = ((x - a).powi(2) + (y - b).powi(2) + (z - c).powi(2)).sqrt();
        2.0 * EARTH_RADIUS_KM * (chord / 2.0).min(1.0).asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_follow_the_globe() {
        let spot = |latitude, longitude| Point { latitude, longitude }.spot();
        for (a, b, km) in [
            (spot(52.5, 13.4), spot(52.5, 13.4), 0.0),
            (spot(0.0, 0.0), spot(0.0, 1.0), 111.19),
            (spot(60.0, 179.5), spot(60.0, -179.5), 55.6),
            (spot(0.0, 0.0), spot(0.0, 180.0), 20_015.1),
            (spot(90.0, 7.0), spot(-90.0, 99.0), 20_015.1),
            (spot(52.3667, 4.9), spot(37.3719, -79.8164), 6_483.0),
        ] {
            let (there, back) = (a.distance_km(b), b.distance_km(a));
            assert!((there - km).abs() < km * 0.01 + 1e-6, "{there} instead of {km}");
            assert!((there - back).abs() < 1e-6);
        }
    }
}
