//! Compiles what a backend takes and can do.

use super::name;
use crate::config::file::{self, Style};
use crate::config::report::Report;
use crate::domain::{Abilities, Ability, DeploymentName};
use crate::openai::operation::Speaks;
use crate::policy::capability::Capability;
use http::HeaderValue;

/// Compiles the `capabilities` of a backend, in which nothing can be wrong.
pub(super) fn compile(typed: &file::Backend) -> Capability {
    let can = &typed.capabilities;
    let stated = [
        (can.tools, Ability::Tools),
        (can.vision, Ability::Vision),
        (can.audio, Ability::Audio),
        (can.structured_outputs, Ability::StructuredOutputs),
    ];
    let lacking = stated.into_iter().filter(|(can, _)| !can).map(|(_, ability)| ability);
    Capability {
        lacks: lacking.fold(Abilities::NONE, Abilities::with),
        context_tokens: can.context_tokens,
        provisioned: typed.provisioned,
    }
}

/// A style by itself.
pub(super) const fn style(typed: Style) -> Speaks {
    match typed {
        Style::Same => Speaks::Same,
        Style::Classic => Speaks::Classic,
        Style::V1 => Speaks::V1,
    }
}

/// The style, with the `api-version` that its paths need.
pub(super) fn speaks(typed: &file::Backend, path: &str, report: &mut Report<'_>) -> Speaks {
    match (typed.style, &typed.api_version) {
        (Style::Classic, None) if !report.any_replaced(path, ".api_version") => {
            let help = "add `api_version`, such as 2024-10-21: v1 clients send none".to_owned();
            report.problem(&format!("{path}.style"), "`classic` needs an `api_version`", help);
        }
        (Style::V1, Some(_)) if matches!(typed.realtime, None | Some(Style::V1)) => {
            let help = "v1 paths go there without one".to_owned();
            report.warn(&format!("{path}.api_version"), "is not used with `style: v1`", help);
        }
        _ => {}
    }
    style(typed.style)
}

/// The value of `x-ms-spillover-deployment`; `Some(None)` only after a problem.
pub(super) fn spillover(typed: &file::Backend, path: &str, report: &mut Report<'_>) -> Option<Option<HeaderValue>> {
    let deployment = typed.spillover_deployment.as_deref()?;
    let path = format!("{path}.spillover_deployment");
    let deployment = name(DeploymentName::new(deployment), &path, report);
    Some(deployment.and_then(|deployment| HeaderValue::from_str(deployment.as_str()).ok()))
}
