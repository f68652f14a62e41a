//! [`rewrite_path`]: a call's path and query for one backend, in the style that the backend takes.
//!
//! [`Target::style_at`] says in which style a call can go there. What has no counterpart in the other style cannot: it is never
//! sent in a shape that the backend would misread.

use super::{Operation, Style, Target, percent, query};

/// Family of URL shapes that a backend takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// Both: a call goes there as it came.
    #[default]
    Same,
    /// `/openai/deployments/{d}/…` with `api-version`.
    Classic,
    /// `/openai/v1/…`.
    V1,
}

/// What a path is rewritten for.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// Path in front of everything, without trailing slash; mostly empty.
    pub base_path: &'a str,
    /// The style in which the call goes there: see [`Target::style_at`].
    pub style: Style,
    /// Name of the deployment there; the client's own, in a path of the same style, where absent.
    pub deployment: Option<&'a str>,
    /// `api-version` of classic paths there; the client's own where absent.
    pub api_version: Option<&'a str>,
}

/// Kinds of stored things that both styles know by the same paths.
const STORED_IN_BOTH: [&str; 5] = ["responses", "files", "batches", "vector_stores", "fine_tuning"];

/// Path and query for one backend.
///
/// The deployment segment of a classic path is replaced or put in, and `deployment=` or `model=` of a realtime query is
/// replaced; `api-version` is replaced or added on classic paths, and leaves a path that becomes v1. `/v1/…` becomes
/// `/openai/v1/…`. The client's credentials leave the query; everything else of it is kept byte for byte.
#[must_use]
pub fn rewrite_path(target: &Target<'_>, to: &Destination<'_>, query: Option<&str>) -> String {
    let mut out = String::with_capacity(to.base_path.len() + target.rest.len() + query.map_or(0, str::len) + 96);
    out.push_str(to.base_path);
    match to.style {
        Style::Classic => {
            out.push_str("/openai");
            let put_in = to.deployment.filter(|_| target.style == Style::V1 && target.operation.deployment_in_path());
            let replaced = target.deployment.as_deref().map(|asked| to.deployment.unwrap_or(asked));
            if let Some(deployment) = replaced.or(put_in) {
                out.push_str("/deployments/");
                percent::encode_into(deployment, &mut out);
            }
        }
        Style::V1 => out.push_str("/openai/v1"),
        Style::Other => {}
    }
    out.push_str(target.rest);
    let translated = target.style != to.style;
    let realtime = target.operation == Operation::Realtime;
    let edit = query::Edit {
        api_version: to.api_version.filter(|_| to.style == Style::Classic),
        no_api_version: translated && to.style == Style::V1,
        deployment: to.deployment.filter(|_| realtime),
    };
    edit.append(query.unwrap_or_default(), &mut out);
    out
}

impl Target<'_> {
    /// The style in which this call goes to a backend that takes `speaks`; `None` where it has no such shape.
    #[must_use]
    pub fn style_at(&self, speaks: Speaks) -> Option<Style> {
        let there = match speaks {
            Speaks::Same => return Some(self.style),
            Speaks::Classic => Style::Classic,
            Speaks::V1 => Style::V1,
        };
        if self.style == there || self.style == Style::Other {
            return Some(self.style);
        }
        let has_both = match self.operation {
            Operation::Other => self.bound().is_some_and(|family| STORED_IN_BOTH.contains(&family)),
            // The events of a session are those of its client's style, and go through unread.
            Operation::Realtime => false,
            // The list of deployments is of the classic style alone.
            Operation::Models => self.deployment.is_none() && self.rest != "/deployments",
            _ => true,
        };
        has_both.then_some(there)
    }
}

impl Operation {
    /// A classic path names the deployment.
    #[must_use]
    pub const fn deployment_in_path(self) -> bool {
        self.model_in_body() && !matches!(self, Self::Responses)
    }
}

#[cfg(test)]
mod tests;
