//! The metrics page, parsed.

use std::collections::BTreeMap;

/// One reading of `/metrics`.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Metrics {
    /// Reads the Prometheus text format.
    ///
    /// # Panics
    /// On a line that is not of that format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { series: lines.map(|line| series(line).unwrap_or_else(|| panic!("not a metric: {line}"))).collect() }
    }

    /// Sum over all series of `name` that carry `labels`; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// The same as a whole number, for counters.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test are small")]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels).round() as u64
    }

    /// Whether there is such a series at all.
    #[must_use]
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// Every metric name on the page.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.iter().map(|(name, ..)| name.as_str())
    }

    /// Series of `name` that carry `labels`.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        self.series
            .iter()
            .filter(move |(own, set, _)| {
                own == name && labels.iter().all(|(key, value)| set.get(*key).is_some_and(|v| v == value))
            })
            .map(|(_, set, value)| (set, *value))
    }
}

fn series(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else { return Some((head.to_owned(), BTreeMap::new(), value)) };
    let mut labels = BTreeMap::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (key, tail) = rest.split_once("=\"")?;
        // Label values here are names and enum labels: no escapes.
        let (text, tail) = tail.split_once('"')?;
        labels.insert(key.to_owned(), text.to_owned());
        rest = tail.strip_prefix(',').unwrap_or(tail);
    }
    Some((name.to_owned(), labels, value))
}
