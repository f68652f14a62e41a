//! One attempt's request in the shape of its backend: style of the path, name of the deployment, and where the body says it.
//!
//! Whether the backend can take the request at all was decided before (`capable`).

use super::context::Admission;
use super::live::Model;
use crate::config::snapshot::Backend;
use crate::openai::operation::{self, Destination, Style};
use crate::openai::rewrite::{self, Replacement, Segments};
use http::header;
use pingora::http::RequestHeader;
use std::borrow::Cow;

/// The request as one backend gets it.
#[derive(Clone, Copy)]
pub(super) struct Translation<'a> {
    admission: &'a Admission,
    backend: &'a Backend,
    /// The style in which it goes there.
    pub(super) style: Style,
    /// The deployment's name there, where the client's own words will not do.
    name: Option<&'a str>,
}

impl<'a> Translation<'a> {
    /// For one backend.
    pub(super) fn new(admission: &'a Admission, backend: &'a Backend, path: &str) -> Self {
        let asked = admission.shape.style();
        let target = admission.shape.target(path, admission.deployment.as_deref());
        let style = backend.style_of(&target).unwrap_or(asked);
        let own = backend.deployment.as_ref().map(|deployment| deployment.as_str());
        let renamed = admission.alias.is_some() || style != asked;
        let name = own.or_else(|| admission.deployment.as_deref().filter(|_| renamed));
        Self { admission, backend, style, name }
    }

    /// Path and query.
    pub(super) fn path(&self, (path, query): (&str, Option<&str>)) -> String {
        let target = self.admission.shape.target(path, self.admission.deployment.as_deref());
        let api_version = self.backend.api_version.as_deref();
        let base_path = &self.backend.url.path;
        let to = Destination { base_path, style: self.style, deployment: self.name, api_version };
        operation::rewrite_path(&target, &to, query)
    }

    /// The body with this backend's name for the deployment in it, without copying the rest.
    pub(super) fn body(&self, incoming: &RequestHeader, ready: Option<&Model>) -> Segments {
        let Admission { facts, body, multipart, .. } = self.admission;
        let Some(name) = self.renames() else { return Segments::whole(body.clone()) };
        match &facts.model {
            Some(model) if *multipart => rewrite::replace(body, model.span.clone(), &self.form(ready, name)),
            Some(model) => rewrite::replace(body, model.span.clone(), &self.json(ready, name)),
            None if *multipart => {
                let content_type = incoming.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                rewrite::into_form(content_type.unwrap_or_default(), body, name)
            }
            None => rewrite::into_json(body, &self.json(ready, name)),
        }
    }

    /// The `model` of a JSON body where it changes, or is missing there.
    pub(super) fn model(&self, ready: Option<&'a Model>) -> Option<Cow<'a, Replacement>> {
        self.renames().map(|name| self.json(ready, name))
    }

    /// The name that the body must say and does not.
    fn renames(&self) -> Option<&'a str> {
        let name = self.name?;
        match &self.admission.facts.model {
            Some(model) => (model.value != name).then_some(name),
            None => {
                let classic = self.admission.shape.style() == Style::Classic;
                let wanted = self.style == Style::V1 && classic && self.admission.operation.deployment_in_path();
                (wanted && !self.admission.body.is_empty()).then_some(name)
            }
        }
    }

    fn json<'m>(&self, ready: Option<&'m Model>, name: &str) -> Cow<'m, Replacement> {
        match ready.filter(|_| self.backend.deployment.is_some()) {
            Some(ready) => Cow::Borrowed(&ready.json),
            None => Cow::Owned(Replacement::json(name)),
        }
    }

    fn form<'m>(&self, ready: Option<&'m Model>, name: &str) -> Cow<'m, Replacement> {
        match ready.filter(|_| self.backend.deployment.is_some()) {
            Some(ready) => Cow::Borrowed(&ready.form),
            None => Cow::Owned(Replacement::raw(name)),
        }
    }
}
