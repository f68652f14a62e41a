//! `tidegate check`: all problems of a configuration, or what is in it.

use super::arguments::Check;
use super::{Failure, environment, invalid, load, print, tell};
use crate::config;
use crate::config::snapshot::{Proof, Snapshot};

/// Tells whether the configuration is valid. Results go to standard output, warnings to standard error.
pub(super) fn check(options: &Check) -> Result<(), Failure> {
    let path = &options.config.path;
    let (snapshot, warnings) = load(path)?;
    for warning in &warnings {
        tell(&format!("warning: {warning}"));
    }
    let summary = format!("{}: ok: {}", path.display(), summary(&snapshot));
    if options.print {
        // The configuration alone is on standard output: it may go to a file.
        tell(&summary);
        print(&config::effective(path, &environment).map_err(invalid)?);
    } else {
        print(&format!("{summary}\n"));
        if let Some(residency) = &snapshot.residency {
            print(&format!("{}: residency: {}\n", path.display(), proved(residency.proof)));
        }
    }
    Ok(())
}

/// `24 ways proved: 18 end inside their zones, 6 are barred`
fn proved(proof: Proof) -> String {
    let Proof { inside, barred } = proof;
    let ways = inside + barred;
    let plural = if ways == 1 { "way" } else { "ways" };
    format!("{ways} {plural} to a backend proved: {inside} end inside their zones, {barred} are barred")
}

/// `2 pools, 5 backends, 3 routes, 1 listener`
fn summary(snapshot: &Snapshot) -> String {
    let backends = snapshot.pools.iter().map(|pool| pool.backends.len()).sum();
    let counts = [
        (snapshot.pools.len(), "pool"),
        (backends, "backend"),
        (snapshot.routes.len(), "route"),
        (snapshot.listeners.len(), "listener"),
    ];
    let words = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    words.join(", ")
}
