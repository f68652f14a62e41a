//! [`count()`]: one walk over a JSON body that counts what a model is shown: texts, chat framing, images, tools.
//!
//! Copies no text, keeps none. What it does not know costs nothing.

use super::encoding::Encoding;
use super::{by_length, image};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Every message is framed by so many tokens (OpenAI cookbook, "How to count tokens").
const MESSAGE: u64 = 3;
/// A name of a speaker costs one more than its text.
const NAME: u64 = 1;
/// The answer is primed with so many.
const PRIMING: u64 = 3;

/// Tokens so far.
pub(super) struct Counter {
    encoding: Encoding,
    /// Bytes that may still be counted.
    left: usize,
    tokens: u64,
    exact: bool,
}

impl Counter {
    pub(super) const fn new(encoding: Encoding, exact_max: usize) -> Self {
        Self { encoding, left: exact_max, tokens: 0, exact: true }
    }

    const fn add(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn text(&mut self, text: &str) {
        if text.len() <= self.left {
            self.left -= text.len();
            self.add(self.encoding.count(text));
        } else {
            self.exact = false;
            self.add(by_length(text.len()));
        }
    }
}

/// Tokens of the prompt in `body`, and whether all of it was counted.
pub(super) fn count(body: &[u8], mut counter: Counter) -> (u64, bool) {
    let mut json = serde_json::Deserializer::from_slice(body);
    match (Walk { counter: &mut counter, place: Place::Top }).deserialize(&mut json) {
        Ok(()) => (counter.tokens, counter.exact),
        // Routed all the same, as a body of 128 levels is: its length is what is known.
        Err(_) => (counter.tokens.max(by_length(body.len())), false),
    }
}

/// Where in a body a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The body itself.
    Top,
    /// `messages`, or `input` of the Responses API: its objects are framed.
    Dialogue,
    /// One of its objects.
    Message,
    /// Anything below that is text.
    Inside,
}

/// Walks one value.
struct Walk<'c> {
    counter: &'c mut Counter,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.counter.text(text);
        Ok(())
    }

    /// A bare token id.
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.counter.add(1);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let place = if self.place == Place::Dialogue { Place::Message } else { Place::Inside };
        while seq.next_element_seed(Walk { counter: self.counter, place })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { counter, place } = self;
        if place == Place::Top {
            return top(counter, map);
        }
        if place == Place::Message {
            counter.add(MESSAGE);
        }
        let (mut picture, mut detail) = (None, Detail::High);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Text => map.next_value_seed(Walk { counter, place: Place::Inside })?,
                Key::Name => {
                    counter.add(if place == Place::Message { NAME } else { 0 });
                    map.next_value_seed(Walk { counter, place: Place::Inside })?;
                }
                Key::Image => picture = Some(map.next_value::<Picture>()?),
                Key::Detail => detail = map.next_value()?,
                Key::Opaque => {
                    counter.exact = false;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Some(picture) = picture {
            let low = Detail::Low == detail || picture.detail == Some(Detail::Low);
            counter.exact &= low || picture.size.is_some();
            counter.add(if low { image::LOW } else { image::tokens(picture.size) });
        }
        Ok(())
    }
}

/// The body's own keys.
fn top<'de, A: MapAccess<'de>>(counter: &mut Counter, mut map: A) -> Result<(), A::Error> {
    while let Some(key) = map.next_key::<Top>()? {
        match key {
            Top::Messages => {
                counter.add(PRIMING);
                map.next_value_seed(Walk { counter, place: Place::Dialogue })?;
            }
            Top::Input => map.next_value_seed(Walk { counter, place: Place::Dialogue })?,
            Top::Text => map.next_value_seed(Walk { counter, place: Place::Inside })?,
            // As JSON they are a little longer than in the form that models are shown.
            Top::Schema => counter.text(map.next_value::<&RawValue>()?.get()),
            Top::Other => drop(map.next_value::<IgnoredAny>()?),
        }
    }
    Ok(())
}

/// Keys of a body whose values are paid for.
enum Top {
    Messages,
    Input,
    Text,
    Schema,
    Other,
}

impl From<&str> for Top {
    fn from(key: &str) -> Self {
        match key {
            "messages" => Self::Messages,
            "input" => Self::Input,
            "prompt" | "suffix" | "instructions" => Self::Text,
            "tools" | "functions" | "response_format" | "text" => Self::Schema,
            _ => Self::Other,
        }
    }
}

/// Keys of a message and of what is in it.
enum Key {
    Text,
    Name,
    Image,
    Detail,
    /// Sound, files: paid for, by rules that nothing here knows.
    Opaque,
    Other,
}

impl From<&str> for Key {
    fn from(key: &str) -> Self {
        match key {
            "role" | "content" | "text" | "refusal" | "reasoning_content" | "summary" | "arguments" | "output"
            | "input" | "tool_calls" | "function_call" | "function" => Self::Text,
            "name" => Self::Name,
            "image_url" => Self::Image,
            "detail" => Self::Detail,
            "input_audio" | "audio" | "file" | "file_id" | "file_data" | "file_url" => Self::Opaque,
            _ => Self::Other,
        }
    }
}

macro_rules! by_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a key")
                    }
                    fn visit_str<E>(self, key: &str) -> Result<$type, E> {
                        Ok(key.into())
                    }
                }
                deserializer.deserialize_identifier(Text)
            }
        }
    };
}

by_text!(Top);
by_text!(Key);

/// How closely an image is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Low,
    High,
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(if raw.get() == "\"low\"" { Self::Low } else { Self::High })
    }
}

/// The value of `image_url`: an address, or an object with one.
struct Picture {
    size: Option<(u32, u32)>,
    detail: Option<Detail>,
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Object<'a> {
            #[serde(borrow, default)]
            url: Option<Cow<'a, str>>,
            #[serde(default)]
            detail: Option<Detail>,
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let unread = Self { size: None, detail: None };
        if raw.starts_with('{') {
            let object = serde_json::from_str::<Object<'_>>(raw);
            return Ok(object.map_or(unread, |object| Self {
                size: object.url.as_deref().and_then(image::size),
                detail: object.detail,
            }));
        }
        // An address in a data URL needs no unescaping but of slashes, which a PNG's head may have.
        let url = serde_json::from_str::<Cow<'_, str>>(raw);
        Ok(url.map_or(unread, |url| Self { size: image::size(&url), detail: None }))
    }
}
