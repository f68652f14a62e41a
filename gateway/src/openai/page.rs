//! [`Page`]: a page of a list on its way, where the lists of several resources stand for one: whether anything is on it, whether
//! its resource knows pages at all, and `has_more` as it is for all of them together.
//!
//! It validates nothing and holds nothing back: what is no list passes as it is.

use super::out::Out;
use bytes::Bytes;
use memchr::memchr2;

/// Where the items stand.
const DATA: &[u8] = b"data";
/// Whether there are more of them.
const HAS_MORE: &[u8] = b"has_more";
/// Longest key that is told from others.
const KEY_MAX: usize = 16;

/// What a page is to its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The client's page.
    Shown,
    /// Nothing that the client does not have: this resource's list is over.
    Over,
}

/// A page, read and rewritten in chunks of any size.
#[derive(Debug, Default)]
pub struct Page {
    /// Another list comes behind this one.
    follows: bool,
    /// The client asks for what comes behind an item of this list.
    goes_on: bool,
    depth: u32,
    object: bool,
    in_string: bool,
    escaped: bool,
    in_key: bool,
    before_key: bool,
    key: Vec<u8>,
    /// Letters of a `false` that are still to be left out.
    left_out: u8,
    in_data: bool,
    is_list: bool,
    items: bool,
    /// It says whether there is more.
    pages: bool,
    ended: bool,
    told: bool,
}

enum Step {
    Keep,
    /// In place of `false`.
    True,
    /// In front of the end.
    Tell,
}

impl Page {
    /// A page of a list that another one `follows`. `goes_on`: the client asked for what is behind an item of it.
    #[must_use]
    pub fn new(follows: bool, goes_on: bool) -> Self {
        Self { follows, goes_on, ..Self::default() }
    }

    /// The next chunk as it goes on.
    pub fn feed(&mut self, chunk: &Bytes) -> Bytes {
        let mut out = Out::new(chunk);
        let mut at = 0;
        while let Some((byte, rest)) = chunk.get(at..).and_then(|rest| Some((*rest.first()?, rest))) {
            if self.in_string {
                let taken = self.string(rest);
                out.keep(at..at + taken);
                at += taken;
                continue;
            }
            self.left_out = if byte.is_ascii_lowercase() { self.left_out } else { 0 };
            if self.left_out > 0 {
                self.left_out -= 1;
                at += 1;
                continue;
            }
            match self.step(byte) {
                Step::Keep => out.keep(at..at + 1),
                Step::True => {
                    out.copy(b"true");
                    self.left_out = 4;
                }
                Step::Tell => {
                    out.copy(if self.follows { br#","has_more":true"# } else { br#","has_more":false"# });
                    out.keep(at..at + 1);
                }
            }
            at += 1;
        }
        out.finish()
    }

    /// What the page is, once, as soon as it is known. `end`: nothing more comes.
    pub fn turn(&mut self, end: bool) -> Option<Turn> {
        // A list without pages is told as a whole, whatever was asked for: the client has it.
        let again = self.goes_on && !self.pages;
        let turn = match self.ended && self.is_list {
            true if !self.items && self.follows || self.items && again => Turn::Over,
            true => Turn::Shown,
            false if end || (self.items && !again) => Turn::Shown,
            false => return None,
        };
        (!std::mem::replace(&mut self.told, true)).then_some(turn)
    }

    /// Goes on to the end of the string: bytes taken.
    fn string(&mut self, rest: &[u8]) -> usize {
        let mut at = usize::from(std::mem::take(&mut self.escaped));
        let mut end = None;
        while let Some(found) = rest.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found;
            if rest.get(at) == Some(&b'"') {
                end = Some(at);
                break;
            }
            at += 2;
        }
        self.escaped = at > rest.len();
        if self.in_key {
            let part = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let room = KEY_MAX.saturating_sub(self.key.len()).min(part.len());
            self.key.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        self.in_string = end.is_none();
        end.map_or(rest.len(), |end| end + 1)
    }

    fn step(&mut self, byte: u8) -> Step {
        let outermost = self.depth == 1;
        match byte {
            _ if self.ended => {}
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => {
                self.item();
                self.in_string = true;
                self.in_key = outermost && self.before_key;
                if self.in_key {
                    self.key.clear();
                }
            }
            b'{' | b'[' => self.enter(byte == b'{'),
            b'}' | b']' => return self.leave(),
            b',' if outermost => self.before_key = self.object,
            b':' if outermost => self.before_key = false,
            b't' | b'f' if outermost && !self.before_key && self.key == HAS_MORE => {
                self.pages = true;
                if byte == b'f' && self.follows {
                    return Step::True;
                }
            }
            _ => self.item(),
        }
        Step::Keep
    }

    fn enter(&mut self, object: bool) {
        self.item();
        self.depth = self.depth.saturating_add(1);
        match self.depth {
            1 => (self.object, self.before_key) = (object, object),
            2 => {
                self.in_data = !object && self.object && self.key == DATA;
                self.is_list |= self.in_data;
            }
            _ => {}
        }
    }

    fn leave(&mut self) -> Step {
        self.ended = self.depth == 1;
        self.depth = self.depth.saturating_sub(1);
        self.in_data &= self.depth >= 2;
        if self.ended && self.is_list && !self.pages { Step::Tell } else { Step::Keep }
    }

    /// Something stands here.
    fn item(&mut self) {
        self.items |= self.in_data && self.depth == 2;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

    fn page(text: &str, cuts: &[usize], (follows, goes_on): (bool, bool)) -> (String, Option<Turn>) {
        let (mut page, mut out, mut turn, mut from) = (Page::new(follows, goes_on), Vec::new(), None, 0);
        for &cut in cuts.iter().chain([&text.len()]) {
            out.extend_from_slice(&page.feed(&Bytes::copy_from_slice(&text.as_bytes()[from..cut])));
            turn = turn.or(page.turn(cut == text.len()));
            from = cut;
        }
        (String::from_utf8_lossy(&out).into_owned(), turn)
    }

    const ITEM: &str =
        r#"{"object":"list","data":[{"id":"a","has_more":false,"data":[]}],"first_id":"a","has_more":false}"#;
    const MORE: &str = r#"{"has_more" : true, "data":[ {} ]}"#;
    const NONE: &str = r#"{"object":"list","data":[ ],"last_id":null,"has_more":false}"#;
    const PAGELESS: &str = r#"{"data":[{"id":"a"}],"object":"list"}"#;

    #[test]
    fn a_page_is_shown_or_over_and_says_what_is_more_of_all_lists() {
        let more = |text: &str| {
            let (front, behind) = text.rsplit_once("false").unwrap();
            format!("{front}true{behind}")
        };
        let with = |word: &str| PAGELESS.replace("\"list\"}", &format!("\"list\",\"has_more\":{word}}}"));
        for (text, asked, want, turn) in [
            (ITEM, (false, false), ITEM.to_owned(), Turn::Shown),
            (ITEM, (true, false), more(ITEM), Turn::Shown),
            (ITEM, (true, true), more(ITEM), Turn::Shown),
            (MORE, (true, true), MORE.to_owned(), Turn::Shown),
            (NONE, (false, true), NONE.to_owned(), Turn::Shown),
            (NONE, (true, false), more(NONE), Turn::Over),
            (NONE, (true, true), more(NONE), Turn::Over),
            (PAGELESS, (true, false), with("true"), Turn::Shown),
            (PAGELESS, (false, false), with("false"), Turn::Shown),
            (PAGELESS, (true, true), with("true"), Turn::Over),
            (PAGELESS, (false, true), with("false"), Turn::Over),
            (r#"{"object":"list"}"#, (true, true), r#"{"object":"list"}"#.to_owned(), Turn::Shown),
            (
                r#"[{"data":[1]},"has_more",false]"#,
                (true, true),
                r#"[{"data":[1]},"has_more",false]"#.to_owned(),
                Turn::Shown,
            ),
            (r#"{"data":{"has_more":false}}"#, (true, true), r#"{"data":{"has_more":false}}"#.to_owned(), Turn::Shown),
            (r#"{}{"data":[]}"#, (true, true), r#"{}{"data":[]}"#.to_owned(), Turn::Shown),
            (r#"}{"data":[]}"#, (true, true), r#"}{"data":[],"has_more":true}"#.to_owned(), Turn::Over),
            (r#"{"data":["#, (true, true), r#"{"data":["#.to_owned(), Turn::Shown),
        ] {
            for cut in 0..=text.len() {
                assert_eq!(page(text, &[cut], asked), (want.clone(), Some(turn)), "{text} at {cut}: {asked:?}");
            }
        }
    }

    #[test]
    fn a_page_is_known_as_soon_as_something_stands_on_it() {
        let mut first = Page::new(true, false);
        drop(first.feed(&Bytes::from_static(br#"{"object":"list","data":[{"#)));
        assert_eq!((first.turn(false), first.turn(true)), (Some(Turn::Shown), None), "told once");
        let mut next = Page::new(true, true);
        drop(next.feed(&Bytes::from_static(br#"{"object":"list","data":[{"#)));
        assert_eq!(next.turn(false), None, "it may be what the client has already");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_chunking_of_any_text_gives_the_same_page(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\"data\"", "\"data\":[", "\"has_more\":", "false", "true", "null", " ", "7", "é",
            ]), 0..30),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            asked in any::<(bool, bool)>(),
        ) {
            let text = parts.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(page(&text, &cuts, asked), page(&text, &[], asked));
        }
    }
}
