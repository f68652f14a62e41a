//! An explanation as people read it.

use super::Explanation;
use super::backends::BackendLine;
use super::residency;
use std::fmt::Write;

/// The whole explanation.
pub(super) fn render(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(explanation, &mut out);
    out
}

fn write(explanation: &Explanation, out: &mut String) -> std::fmt::Result {
    let request = &explanation.request;
    write!(out, "{} ({}", request.path, request.operation)?;
    if let Some(host) = &request.host {
        write!(out, ", host {host}")?;
    }
    if let Some(deployment) = &request.deployment {
        write!(out, ", deployment {deployment}")?;
    }
    writeln!(out, "{})", if request.stream { ", stream" } else { "" })?;
    if !explanation.rules.is_empty() {
        writeln!(out, "\nrules, in order")?;
        let width = explanation.rules.iter().map(|line| line.rule.len()).max().unwrap_or(0);
        for line in &explanation.rules {
            let mark = if line.met { '>' } else { ' ' };
            writeln!(out, "{mark} {:width$}  {}", line.rule, line.why)?;
        }
    }
    if let Some(redirect) = &explanation.redirect {
        writeln!(out, "\nredirected: {} {}", redirect.status, redirect.location)?;
    }
    if !explanation.routes.is_empty() {
        writeln!(out, "\nroutes, most specific first")?;
        let width = explanation.routes.iter().map(|line| line.route.len()).max().unwrap_or(0);
        for line in &explanation.routes {
            let mark = if line.chosen { '>' } else { ' ' };
            writeln!(out, "{mark} {:width$}  {}", line.route, line.why)?;
        }
    }
    if let Some(line) = &explanation.consumer {
        let plan = line.plan.as_ref().map(|plan| format!(", plan {plan}")).unwrap_or_default();
        writeln!(out, "\nconsumer {}{plan}: {}", line.consumer, line.why)?;
    }
    if let Some(line) = &explanation.residency {
        writeln!(out, "\nresidency {}", residency::words(line))?;
    }
    if let Some(pool) = &explanation.pool {
        let known =
            if explanation.live { "as the running gateway sees it" } else { "every backend healthy, nothing measured" };
        let only = if explanation.pinned { "only where its ids lead, " } else { "" };
        writeln!(out, "\npool {pool}: {only}{known}")?;
        backends(&explanation.backends, out)?;
    }
    if let Some(refusal) = &explanation.refusal {
        writeln!(out, "\nrefused: {} {}: {}", refusal.status, refusal.code, refusal.message)?;
    }
    if !explanation.limits.is_empty() {
        writeln!(out, "\nlimits")?;
        let width = explanation.limits.iter().map(|limit| limit.what.len()).max().unwrap_or(0);
        for limit in &explanation.limits {
            writeln!(out, "  {:width$}  {}", limit.what, limit.limit)?;
        }
    }
    Ok(())
}

fn backends(lines: &[BackendLine], out: &mut String) -> std::fmt::Result {
    let name = lines.iter().map(|line| line.backend.len()).max().unwrap_or(0);
    let region = lines.iter().map(|line| line.region.len()).max().unwrap_or(0);
    for line in lines {
        let rank = line.rank.map_or_else(|| " -".to_owned(), |rank| format!("{rank}."));
        // Of a later round only what is shared says anything.
        let share = line.share.filter(|share| line.rank == Some(1) || *share < 100.0);
        let share = share.map_or_else(|| "      ".to_owned(), |share| format!("{share:>4.0} %"));
        writeln!(out, "{rank} {:name$}  {:region$}  {share}  {}", line.backend, line.region, line.why)?;
        if line.rank.is_some() {
            writeln!(out, "   POST {}", line.forward.url)?;
            if let Some(model) = &line.forward.model {
                writeln!(out, "   body model: {model}")?;
            }
            writeln!(out, "   {}", line.forward.headers.join(", "))?;
        }
    }
    if lines.iter().any(|line| line.rank.is_some()) {
        writeln!(out, "   each also gets x-request-id and x-forwarded-*, and none the client's credential")?;
    }
    Ok(())
}
