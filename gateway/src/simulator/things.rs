//! What a region keeps besides responses: files, batches, vector stores, assistants, threads with their messages and runs,
//! conversations, containers, fine-tuning jobs, chat completions that are stored. A region knows its own and nobody else's.
//!
//! A document is what the client sent, with an id, a kind and what the calls of the SDKs read. Nothing is worked on: a batch or a
//! run is completed as soon as it is made.

use super::facts::multipart_field;
use super::preset;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// Things kept; the oldest are forgotten first.
const THINGS_MAX: usize = 1024;

/// Things on a page of a list, where nothing is said.
const PAGE: usize = 20;

/// Families with the prefix of their ids and the kind of their objects.
const FAMILIES: [(&str, &str, &str); 12] = [
    ("files", "file-", "file"),
    ("batches", "batch_", "batch"),
    ("vector_stores", "vs_", "vector_store"),
    ("assistants", "asst_", "assistant"),
    ("threads", "thread_", "thread"),
    ("conversations", "conv_", "conversation"),
    ("containers", "cntr_", "container"),
    ("jobs", "ftjob-", "fine_tuning.job"),
    ("completions", "chatcmpl-", "chat.completion"),
    ("messages", "msg_", "thread.message"),
    ("runs", "run_", "thread.run"),
    ("items", "msg_", "message"),
];

/// Whether a path behind `/openai/` or `/openai/v1/` is about things.
pub(crate) fn is_about(tail: &str) -> bool {
    let first = tail.split('/').next().unwrap_or_default();
    matches!(first, "fine_tuning" | "chat") || FAMILIES.iter().take(7).any(|(family, ..)| *family == first)
}

/// One thing.
#[derive(Debug)]
struct Thing {
    id: String,
    family: &'static str,
    parent: Option<String>,
    document: Value,
    content: Bytes,
}

/// Everything that a region keeps, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Things {
    kept: VecDeque<Thing>,
    made: u64,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// Behind `/openai/` or `/openai/v1/`.
    pub(crate) tail: &'a str,
    pub(crate) query: &'a str,
    /// Its lists have pages; those of files of the classic API have none.
    pub(crate) v1: bool,
    pub(crate) body: &'a [u8],
    /// Unique part of new ids.
    pub(crate) unique: &'a str,
    /// Who answers.
    pub(crate) marker: &'a str,
    pub(crate) unix: u64,
}

/// What a call is told.
#[derive(Debug)]
pub(crate) enum Told {
    Json(StatusCode, String),
    File(Bytes),
    Events(String),
}

fn refused(status: StatusCode, text: &str) -> Told {
    Told::Json(status, preset::invalid_request(text, None, None))
}

impl Things {
    /// Whether it has a thing of this id.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.kept.iter().any(|thing| thing.id == id)
    }

    /// Carries a call out.
    pub(crate) fn answer(&mut self, asked: Asked<'_>) -> Told {
        let tail = ["fine_tuning/", "chat/"].iter().find_map(|family| asked.tail.strip_prefix(family));
        let tail = tail.unwrap_or(asked.tail);
        let segments: Vec<&str> = tail.split('/').collect();
        for id in [segments.get(1), segments.get(3)].into_iter().flatten() {
            if !self.contains(id) {
                return refused(StatusCode::NOT_FOUND, &format!("No object found with id '{id}'."));
            }
        }
        match (asked.method, segments.as_slice()) {
            (&Method::POST, [family]) => self.create(family, None, asked),
            (&Method::GET, [family]) => self.list(family, None, asked),
            (&Method::GET, [_, id, "content"]) => {
                Told::File(self.find(id).map(|t| t.content.clone()).unwrap_or_default())
            }
            (&Method::POST, [_, id, "cancel"] | [_, _, _, id, "cancel"]) => self.cancel(id),
            (&Method::POST, [_, id, family]) => self.create(family, Some(id), asked),
            (&Method::GET, [_, id, family]) => self.list(family, Some(id), asked),
            (&Method::DELETE, [_, id] | [_, _, _, id]) => self.delete(id),
            (&Method::POST, [_, id]) => self.change(id, asked.body),
            (&Method::GET | &Method::POST, [_, id] | [_, _, _, id]) => self.show(id),
            _ => Told::Json(StatusCode::NOT_FOUND, preset::error("404", "Resource not found")),
        }
    }

    fn find(&self, id: &str) -> Option<&Thing> {
        self.kept.iter().find(|thing| thing.id == id)
    }

    fn show(&self, id: &str) -> Told {
        Told::Json(StatusCode::OK, self.find(id).map(|thing| thing.document.to_string()).unwrap_or_default())
    }

    fn change(&mut self, id: &str, body: &[u8]) -> Told {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        if let (Some(metadata), Some(thing)) = (sent.get("metadata"), self.kept.iter_mut().find(|thing| thing.id == id))
            && let Value::Object(fields) = &mut thing.document
        {
            fields.insert("metadata".to_owned(), metadata.clone());
        }
        self.show(id)
    }

    /// Keeps a chat completion, as `store: true` asks for.
    pub(crate) fn store(&mut self, document: Value) {
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.push(Thing { id, family: "completions", parent: None, document, content: Bytes::new() });
    }

    fn cancel(&mut self, id: &str) -> Told {
        if let Some(status) =
            self.kept.iter_mut().find(|thing| thing.id == id).and_then(|thing| thing.document.get_mut("status"))
        {
            *status = "cancelled".into();
        }
        self.show(id)
    }

    fn delete(&mut self, id: &str) -> Told {
        let kind = self.find(id).map_or(Value::Null, |thing| format!("{}.deleted", object_of(thing.family)).into());
        self.kept.retain(|thing| thing.id != id && thing.parent.as_deref() != Some(id));
        Told::Json(StatusCode::OK, json!({"id": id, "object": kind, "deleted": true}).to_string())
    }

    /// A page of a list, newest first.
    fn list(&self, family: &str, parent: Option<&str>, asked: Asked<'_>) -> Told {
        let of = |thing: &&Thing| thing.family == family && thing.parent.as_deref() == parent;
        let all: Vec<&Value> = self.kept.iter().rev().filter(of).map(|thing| &thing.document).collect();
        if family == "files" && parent.is_none() && !asked.v1 {
            return Told::Json(StatusCode::OK, json!({"object": "list", "data": all}).to_string());
        }
        let parameter = |name: &str| asked.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let limit = parameter("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE);
        let begin = match parameter("after") {
            None => 0,
            Some(after) => match all.iter().position(|one| one.get("id").and_then(Value::as_str) == Some(after)) {
                Some(at) => at + 1,
                None => return refused(StatusCode::BAD_REQUEST, &format!("No object found with id '{after}'.")),
            },
        };
        let left = all.get(begin..).unwrap_or_default();
        let data = left.get(..limit).unwrap_or(left);
        let end = |thing: Option<&&Value>| thing.and_then(|thing| thing.get("id")).cloned().unwrap_or_default();
        let list = json!({"object": "list", "first_id": end(data.first()), "last_id": end(data.last()),
            "has_more": left.len() > data.len(), "data": data});
        Told::Json(StatusCode::OK, list.to_string())
    }

    fn create(&mut self, family: &str, parent: Option<&str>, asked: Asked<'_>) -> Told {
        let Some((family, ..)) = FAMILIES.iter().find(|(known, ..)| *known == family) else {
            return Told::Json(StatusCode::NOT_FOUND, preset::error("404", "Resource not found"));
        };
        let sent: Value = serde_json::from_slice(asked.body).unwrap_or_default();
        if let Some(id) = self.missing(&sent) {
            return refused(StatusCode::NOT_FOUND, &format!("No object found with id '{id}'."));
        }
        let fields = match sent {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let streams = fields.get("stream") == Some(&Value::Bool(true));
        let document = match *family {
            "files" if parent.is_some() => return self.attach(&fields, parent, asked),
            "files" => self.file(asked),
            "batches" => self.batch(fields, asked),
            "runs" => self.run(fields, parent, asked),
            family => self.keep(family, parent, fields, asked),
        };
        if !streams {
            return Told::Json(StatusCode::OK, document.to_string());
        }
        let event = |name: &str, data: &Value| format!("event: {name}\ndata: {data}\n\n");
        let delta = json!({"id": "msg_delta", "object": "thread.message.delta", "delta": {"content": [
            {"index": 0, "type": "text", "text": {"value": asked.marker, "annotations": []}}]}});
        let events = [
            event("thread.run.created", &document),
            event("thread.message.delta", &delta),
            event("thread.run.completed", &document),
            "event: done\ndata: [DONE]\n\n".to_owned(),
        ];
        Told::Events(events.concat())
    }

    /// The first id of the document that is of nothing here.
    fn missing(&self, value: &Value) -> Option<String> {
        let wrong = |text: &str| {
            let known = FAMILIES.iter().any(|(_, prefix, _)| text.starts_with(prefix)) || text.contains("_tg1");
            known && !self.contains(text)
        };
        match value {
            Value::String(text) if wrong(text) => Some(text.clone()),
            Value::Array(all) => all.iter().find_map(|value| self.missing(value)),
            Value::Object(fields) => {
                let looked_at = fields.iter().filter(|(key, _)| *key != "metadata" && *key != "content");
                looked_at.map(|(_, value)| value).find_map(|value| self.missing(value))
            }
            _ => None,
        }
    }

    fn id(&mut self, family: &str, asked: Asked<'_>) -> String {
        self.made += 1;
        let prefix = FAMILIES.iter().find(|(known, ..)| *known == family).map_or("", |(_, prefix, _)| prefix);
        format!("{prefix}{}{:04x}", asked.unique, self.made)
    }

    fn keep(
        &mut self,
        family: &'static str,
        parent: Option<&str>,
        fields: Map<String, Value>,
        asked: Asked<'_>,
    ) -> Value {
        let id = self.id(family, asked);
        let mut document = fields;
        for (key, value) in [
            ("id", Value::from(id.as_str())),
            ("object", object_of(family).into()),
            ("created_at", asked.unix.into()),
            ("status", "completed".into()),
        ] {
            document.insert(key.to_owned(), value);
        }
        if let Some(parent) = parent.filter(|_| matches!(family, "messages" | "runs")) {
            document.insert("thread_id".to_owned(), parent.into());
        }
        if family == "messages"
            && let Some(Value::String(text)) = document.get("content")
        {
            let content = json!([{"type": "text", "text": {"value": text, "annotations": []}}]);
            document.insert("content".to_owned(), content);
        }
        let document = Value::Object(document);
        self.push(Thing {
            id,
            family,
            parent: parent.map(str::to_owned),
            document: document.clone(),
            content: Bytes::new(),
        });
        document
    }

    fn push(&mut self, thing: Thing) {
        if self.kept.len() >= THINGS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(thing);
    }

    fn file(&mut self, asked: Asked<'_>) -> Value {
        let content = multipart_field(asked.body, "file").unwrap_or_default();
        let purpose = multipart_field(asked.body, "purpose").unwrap_or_default();
        let fields = json!({"bytes": content.len(), "filename": "file.jsonl", "purpose": purpose});
        let Value::Object(fields) = fields else { return Value::Null };
        let document = self.keep("files", None, fields, asked);
        if let Some(thing) = self.kept.back_mut() {
            thing.content = Bytes::copy_from_slice(content.as_bytes());
        }
        document
    }

    /// A file becomes one of a vector store.
    fn attach(&mut self, fields: &Map<String, Value>, parent: Option<&str>, asked: Asked<'_>) -> Told {
        let document = json!({"id": fields.get("file_id"), "object": "vector_store.file", "vector_store_id": parent,
            "created_at": asked.unix, "status": "completed"});
        Told::Json(StatusCode::OK, document.to_string())
    }

    fn batch(&mut self, mut fields: Map<String, Value>, asked: Asked<'_>) -> Value {
        let output = self.keep("files", None, Map::new(), asked);
        if let Some(thing) = self.kept.back_mut() {
            thing.content =
                Bytes::from(format!("{{\"custom_id\":\"1\",\"id\":\"batch_req_1\",\"by\":\"{}\"}}\n", asked.marker));
        }
        fields.insert("output_file_id".to_owned(), output.get("id").cloned().unwrap_or_default());
        self.keep("batches", None, fields, asked)
    }

    /// A run has written its message as soon as it is made.
    fn run(&mut self, fields: Map<String, Value>, parent: Option<&str>, asked: Asked<'_>) -> Value {
        let assistant = fields.get("assistant_id").cloned().unwrap_or_default();
        let run = self.keep("runs", parent, fields, asked);
        let message =
            json!({"role": "assistant", "assistant_id": assistant, "run_id": run.get("id"), "content": asked.marker});
        if let Value::Object(message) = message {
            self.keep("messages", parent, message, asked);
        }
        run
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

fn object_of(family: &str) -> &'static str {
    FAMILIES.iter().find(|(known, ..)| *known == family).map_or("", |(.., object)| object)
}
