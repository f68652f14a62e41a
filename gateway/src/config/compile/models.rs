//! Compiles the names of models, and says what of them leads nowhere or to two versions.

use crate::config::file::{self, List};
use crate::config::report::{Report, suggestion};
use crate::config::snapshot::{Models, Route};
use crate::domain::DeploymentName;
use crate::policy::alias::Aliases;
use crate::policy::route::DeploymentMatch;
use std::collections::BTreeMap;

/// Compiles `models`.
pub(super) fn compile(file: &file::File, routes: &[Route], report: &mut Report<'_>) -> Models {
    versions(&file.pools, report);
    let mut aliases = Vec::new();
    for (name, deployment) in &file.models.aliases {
        let path = format!("models.aliases.{name}");
        let named =
            if name == "*" { Ok(()) } else { DeploymentName::new(name.strip_suffix('*').unwrap_or(name)).map(drop) };
        if named.is_err() {
            let help = "write gpt-4o, gpt-4o-* or *".to_owned();
            report.problem(&path, "is not a name of a model", help);
            continue;
        }
        match DeploymentName::new(deployment) {
            Err(error) => report.problem(&path, error.to_string(), None),
            Ok(deployment) => aliases.push((name.as_str(), deployment)),
        }
    }
    let listed = file.models.list == List::Config;
    let aliases = Aliases::new(aliases);
    reachable(file, (&aliases, routes), report);
    scopes(file, &aliases, report);
    Models { listed, aliases, names: Vec::new() }
}

/// An alias of an alias is not followed, and one whose deployment no route takes leads nowhere.
fn reachable(file: &file::File, (aliases, routes): (&Aliases, &[Route]), report: &mut Report<'_>) {
    for (name, deployment) in &file.models.aliases {
        let path = format!("models.aliases.{name}");
        let chained = aliases.names().any(|alias| alias == deployment) && aliases.resolve(deployment).is_some();
        if chained {
            let help = "aliases are not followed twice: write the deployment itself".to_owned();
            report.problem(&path, format!("`{deployment}` is an alias too"), help);
        } else if !routes.is_empty() && !routes.iter().any(|route| route.matcher.deployment.takes(Some(deployment))) {
            let exact = routes.iter().filter_map(|route| match &route.matcher.deployment {
                DeploymentMatch::Exact(name) => Some(name.as_str()),
                DeploymentMatch::Prefix(_) | DeploymentMatch::Any => None,
            });
            let help = suggestion(deployment, exact, "deployments of routes");
            report.warn(&path, format!("no route takes the deployment `{deployment}`"), help);
        }
        let shadowed = routes.iter().find(|route| match &route.matcher.deployment {
            DeploymentMatch::Exact(own) => own.as_str() == name && aliases.resolve(name).is_some(),
            DeploymentMatch::Prefix(_) | DeploymentMatch::Any => false,
        });
        if let Some(route) = shadowed {
            let message =
                format!("hides the deployment of the route `{}`: routes see what an alias stands for", route.name);
            report.warn(&path, message, None);
        }
    }
}

/// A scope sees what an alias stands for: one that names the alias allows nothing.
fn scopes(file: &file::File, aliases: &Aliases, report: &mut Report<'_>) {
    let consumers = file.consumers.iter().map(|one| &one.allow).enumerate();
    let consumers = consumers.map(|(index, allow)| (format!("consumers[{index}]"), allow));
    let plans = file.plans.iter().map(|one| &one.allow).enumerate();
    let plans = plans.map(|(index, allow)| (format!("plans[{index}]"), allow));
    for (path, allow) in consumers.chain(plans) {
        for (index, name) in allow.deployments.iter().enumerate() {
            if let Some(deployment) = aliases.resolve(name).filter(|_| !name.ends_with('*')) {
                let path = format!("{path}.allow.deployments[{index}]");
                report.warn(&path, format!("is an alias: scopes see what it stands for, `{deployment}`"), None);
            }
        }
    }
}

/// One deployment has one version, and one name should mean one model whatever its route.
fn versions(typed: &[file::Pool], report: &mut Report<'_>) {
    let mut by_place: BTreeMap<(&str, &str), (&str, &file::Backend)> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (at, pool) in typed.iter().enumerate() {
        for (index, backend) in pool.backends.iter().enumerate() {
            let Some(deployment) = backend.deployment.as_deref() else { continue };
            let path = format!("pools[{at}].backends[{index}]");
            let place = (backend.url.trim_end_matches('/'), deployment);
            let (first, other) = *by_place.entry(place).or_insert((&pool.name, backend));
            let models = backend.model.as_deref().zip(other.model.as_deref()).filter(|(own, others)| own != others);
            if let Some((own, others)) = models {
                let message = format!(
                    "the deployment `{deployment}` is `{own}` in the pool `{}` and `{others}` in the pool `{first}`",
                    pool.name
                );
                report.problem(
                    &format!("{path}.model"),
                    message,
                    "one deployment of one resource has one model".to_owned(),
                );
            }
            let versions =
                backend.api_version.as_deref().zip(other.api_version.as_deref()).filter(|(own, others)| own != others);
            if let Some((own, others)) = versions {
                let message = format!(
                    "the deployment `{deployment}` is asked with {own} in the pool `{}` and with {others} in the pool `{first}`",
                    pool.name
                );
                report.warn(&format!("{path}.api_version"), message, None);
            }
            let Some(model) = backend.model.as_deref() else { continue };
            let (first, known) = *by_name.entry(deployment).or_insert((&pool.name, model));
            if known != model && models.is_none() && first != pool.name {
                let message = format!(
                    "`{deployment}` is `{model}` in the pool `{}` and `{known}` in the pool `{first}`",
                    pool.name
                );
                let help = "the route alone decides which of them a client gets; give one of them another name, or say so to your clients".to_owned();
                report.warn(&format!("{path}.model"), message, help);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use crate::config::load_text;
    use std::path::Path;

    const HEAD: &str = "version: 1\nlisteners: [ { name: p, address: \"127.0.0.1:0\" } ]\n";

    fn warnings(text: &str) -> Vec<String> {
        let (_, warnings) = load_text("x.yaml", &format!("{HEAD}{text}"), Path::new("."), &|_| None).unwrap();
        let own = warnings.iter().filter(|warning| !warning.path.starts_with("stateful"));
        own.map(|warning| format!("{}: {}", warning.path, warning.message)).collect()
    }

    fn backend(host: &str, keys: &str) -> String {
        format!("{{ name: b, region: eastus, url: \"https://{host}\", auth: none, {keys} }}")
    }

    #[test]
    fn aliases_that_lead_nowhere_or_astray_are_told() {
        let text = format!(
            "models: {{ aliases: {{ fast: gpt-4o, lost: gpt-5, old: gpt-4o }} }}\n\
             consumers: [ {{ name: c, keys: [ {{ hash: \"sha256:{}\" }} ], allow: {{ deployments: [ fast, gpt-4o ] }} }} ]\n\
             pools: [ {{ name: chat, backends: [ {} ] }} ]\n\
             routes:\n  - {{ name: chat, match: {{ deployment: gpt-4o }}, pool: chat }}\n  \
             - {{ name: old, match: {{ deployment: old }}, pool: chat }}\n",
            "0".repeat(64),
            backend("a.example", "deployment: d"),
        );
        assert_eq!(
            warnings(&text),
            [
                "models.aliases.lost: no route takes the deployment `gpt-5`",
                "models.aliases.old: hides the deployment of the route `old`: routes see what an alias stands for",
                "consumers[0].allow.deployments[0]: is an alias: scopes see what it stands for, `gpt-4o`",
            ]
        );
    }

    #[test]
    fn one_name_in_two_versions_is_told_with_both_pools() {
        let pools = |one: String, two: String| {
            format!(
                "pools:\n  - {{ name: old, backends: [ {one} ] }}\n  - {{ name: new, backends: [ {two} ] }}\n\
                 routes:\n  - {{ name: old, match: {{ host: old.example }}, pool: old }}\n  - {{ name: new, pool: new }}\n"
            )
        };
        let (may, november) =
            ("deployment: gpt, model: gpt-4o-2024-05-13", "deployment: gpt, model: gpt-4o-2024-11-20");
        assert_eq!(
            warnings(&pools(backend("a.example", may), backend("b.example", november))),
            [
                "pools[1].backends[0].model: `gpt` is `gpt-4o-2024-11-20` in the pool `new` and `gpt-4o-2024-05-13` in the pool `old`"
            ]
        );
        let (first, second) = ("deployment: gpt, api_version: 2024-06-01", "deployment: gpt, api_version: 2024-10-21");
        assert_eq!(
            warnings(&pools(backend("a.example", first), backend("a.example", second))),
            [
                "pools[1].backends[0].api_version: the deployment `gpt` is asked with 2024-10-21 in the pool `new` and with 2024-06-01 in the pool `old`"
            ]
        );
        assert!(warnings(&pools(backend("a.example", may), backend("b.example", may))).is_empty());
    }

    #[test]
    fn a_list_names_what_the_configuration_names() {
        let text = format!(
            "models: {{ aliases: {{ fast: gpt-4o-mini, \"x-*\": gpt-4o }} }}\n\
             pools:\n  - {{ name: chat, backends: [ {}, {} ] }}\n\
             routes:\n  - {{ name: small, match: {{ deployment: gpt-4o-mini }}, pool: chat }}\n  \
             - {{ name: chat, match: {{ deployment: \"gpt-4*\" }}, pool: chat }}\n",
            backend("a.example", "deployment: there, model: gpt-4o").replace("name: b", "name: a"),
            backend("b.example", "deployment: gpt-4.1-eu"),
        );
        let (snapshot, _) = load_text("x.yaml", &format!("{HEAD}{text}"), Path::new("."), &|_| None).unwrap();
        let names: Vec<&str> = snapshot.models.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["fast", "gpt-4.1-eu", "gpt-4o", "gpt-4o-mini"]);
    }
}
