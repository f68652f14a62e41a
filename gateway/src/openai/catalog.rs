//! The lists of models and deployments that the gateway answers itself, in the shapes that SDKs and Azure's tools read. Which
//! names are in them is decided elsewhere.

use super::operation::{Style, Target};
use bytes::Bytes;
use serde_json::{Value, json};

/// What of a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// All of it.
    All,
    /// One entry, by its name as it stands in the path.
    One(&'a str),
}

/// A list, as a path asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// `/deployments`, not `/models`.
    pub deployments: bool,
    style: Style,
    /// What is asked for.
    pub wanted: Wanted<'a>,
}

impl<'a> Listing<'a> {
    /// The list that `target` asks for; `None` where it asks for none.
    #[must_use]
    pub fn of(target: &'a Target<'a>) -> Option<Self> {
        let list = |deployments, wanted| Some(Self { deployments, style: target.style, wanted });
        match (target.deployment.as_deref(), target.rest.trim_end_matches('/')) {
            (Some(name), "") => list(true, Wanted::One(name)),
            (Some(_), _) => None,
            (None, "/deployments") => list(true, Wanted::All),
            (None, "/models") => list(false, Wanted::All),
            (None, rest) => match rest.strip_prefix("/models/") {
                Some(name) if !name.contains('/') => list(false, Wanted::One(name)),
                _ => None,
            },
        }
    }

    /// The document with these names: the whole list, or the one entry.
    #[must_use]
    pub fn document<'n>(&self, names: impl Iterator<Item = &'n str>) -> Bytes {
        let mut entries = names.map(|name| self.entry(name));
        let document = match self.wanted {
            Wanted::All => json!({"object": "list", "data": entries.collect::<Vec<_>>()}),
            Wanted::One(_) => entries.next().unwrap_or_default(),
        };
        Bytes::from(document.to_string())
    }

    /// When a deployment was made nobody here knows: the beginning of time.
    fn entry(&self, name: &str) -> Value {
        if self.deployments {
            return json!({
                "id": name, "object": "deployment", "model": name, "owner": "organization-owner", "status": "succeeded",
                "scale_settings": {"scale_type": "standard"}, "created_at": 0, "updated_at": 0,
            });
        }
        let mut model = json!({"id": name, "object": "model", "created": 0, "owned_by": "azure"});
        if let (Style::Classic, Some(fields)) = (self.style, model.as_object_mut()) {
            fields.insert("status".to_owned(), "succeeded".into());
            fields.insert("lifecycle_status".to_owned(), "generally-available".into());
            fields.insert("capabilities".to_owned(), json!({"inference": true, "fine_tune": false}));
            fields.insert("created_at".to_owned(), 0.into());
        }
        model
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::openai::operation::parse;

    #[test]
    fn lists_are_told_by_their_paths() {
        for (path, want) in [
            ("/openai/v1/models", Some((false, Wanted::All))),
            ("/v1/models/", Some((false, Wanted::All))),
            ("/openai/models", Some((false, Wanted::All))),
            ("/openai/models/gpt-4o", Some((false, Wanted::One("gpt-4o")))),
            ("/openai/deployments", Some((true, Wanted::All))),
            ("/openai/deployments/gpt-4o", Some((true, Wanted::One("gpt-4o")))),
            ("/openai/deployments/gpt-4o/models", None),
            ("/openai/v1/models/a/b", None),
            ("/openai/v1/files", None),
        ] {
            let target = parse(path).unwrap();
            assert_eq!(Listing::of(&target).map(|list| (list.deployments, list.wanted)), want, "{path}");
        }
    }

    #[test]
    fn documents_have_the_shape_that_is_read() {
        let document = |path: &str, names: &[&str]| -> Value {
            let target = parse(path).unwrap();
            let bytes = Listing::of(&target).unwrap().document(names.iter().copied());
            serde_json::from_slice(&bytes).unwrap()
        };
        let v1 = document("/openai/v1/models", &["a\"", "b"]);
        let model = |name: &str| json!({"id": name, "object": "model", "created": 0, "owned_by": "azure"});
        assert_eq!(v1, json!({"object": "list", "data": [model("a\""), model("b")]}));
        assert_eq!(document("/openai/v1/models/b", &["b"]), model("b"));
        let classic = document("/openai/models", &["a"]);
        assert_eq!(
            (&classic["data"][0]["capabilities"]["inference"], &classic["data"][0]["created"]),
            (&true.into(), &0.into())
        );
        let deployment = document("/openai/deployments/a", &["a"]);
        assert_eq!((&deployment["object"], &deployment["status"]), (&"deployment".into(), &"succeeded".into()));
        assert_eq!(document("/openai/deployments", &[]), json!({"object": "list", "data": []}));
    }
}
