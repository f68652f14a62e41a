//! Fifty ways to ruin a configuration file. Each takes a good one.

type Ruin = fn(&str) -> String;

fn top(text: &str, line: &str) -> String {
    format!("{text}{line}\n")
}

fn swap(text: &str, from: &str, to: &str) -> String {
    text.replacen(from, to, 1)
}

/// What is wrong, and how to get there.
pub(crate) const RUINED: &[(&str, Ruin)] = &[
    ("an empty file", |_| String::new()),
    ("blanks only", |_| "  \n\n".to_owned()),
    ("no YAML", |_| "{{{{ : : [".to_owned()),
    ("a list", |_| "- a\n- b\n".to_owned()),
    ("a word", |_| "hello\n".to_owned()),
    ("cut in the middle", |good| good[..good.len() / 2].to_owned()),
    ("cut after the listeners", |good| good[..good.find("pools:").unwrap()].to_owned()),
    ("a tab", |good| swap(good, "  - name: chat", "\t- name: chat")),
    ("no UTF-8 sense", |good| swap(good, "version: 1", "version: \u{0}1")),
    ("an unclosed quote", |good| swap(good, "\"127.0.0.1:", "\"127.0.0.1")),
    ("an unclosed brace", |good| swap(good, "priority: 1 }", "priority: 1")),
    ("two documents", |good| format!("{good}---\n{good}")),
    ("a key twice", |good| top(good, "version: 1")),
    ("a nested key twice", |good| swap(good, "priority: 1", "priority: 1, priority: 1")),
    ("an unknown key", |good| top(good, "colour: blue")),
    ("a misspelt key", |good| swap(good, "failover:", "failovr:")),
    ("a misspelt nested key", |good| swap(good, "budget_min", "buget_min")),
    ("no version", |good| swap(good, "version: 1\n", "")),
    ("version 2", |good| swap(good, "version: 1", "version: 2")),
    ("version as text", |good| swap(good, "version: 1", "version: one")),
    ("an anchor bomb", |_| {
        let mut text = "version: 1\na: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
            text.push_str(&format!("{name}: &{name} [*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of}]\n"));
        }
        text
    }),
    ("an alias to nothing", |good| swap(good, "version: 1", "version: *nothing")),
    ("a listener without address", |good| swap(good, "address: \"127.0.0.1:", "name2: \"127.0.0.1:")),
    ("a listener at a name", |good| swap(good, "127.0.0.1:", "localhost:")),
    ("a port beyond 65535", |good| swap(good, "127.0.0.1:", "127.0.0.1:9")),
    ("a certificate that is not there", |good| {
        swap(good, "{ name: public,", "{ name: public, tls: { certificate: { file: no.pem }, key: { file: no.key } },")
    }),
    ("no listeners", |good| swap(good, "listeners:", "listeners: []\nlistener:")),
    ("a listener twice", |good| {
        let at = good.find("  - { name: public").unwrap();
        let end = good[at..].find('\n').unwrap() + at + 1;
        format!("{}{}{}", &good[..end], &good[at..end], &good[end..])
    }),
    ("no backends", |good| {
        let at = good.find("      - {").unwrap();
        format!("{}      []\n", &good[..at])
    }),
    ("a backend without url", |good| swap(good, "url:", "link:")),
    ("a url that is none", |good| swap(good, "\"http://", "\"ht tp://")),
    ("a url of another scheme", |good| swap(good, "\"http://", "\"ftp://")),
    ("a url with a password", |good| swap(good, "\"http://", "\"http://user:pass@")),
    ("a backend name twice", |good| swap(good, "name: b,", "name: a,")),
    ("a name with a blank", |good| swap(good, "name: a,", "name: \"a b\",")),
    ("a name that is too long", |good| swap(good, "name: a,", &format!("name: {},", "n".repeat(65)))),
    ("a priority of 0", |good| swap(good, "priority: 1", "priority: 0")),
    ("a priority below 0", |good| swap(good, "priority: 1", "priority: -1")),
    ("a weight as text", |good| swap(good, "priority: 1", "priority: 1, weight: heavy")),
    ("a weight beyond 1000", |good| swap(good, "priority: 1", "priority: 1, weight: 1001")),
    ("a share without percent", |good| swap(good, "budget: 100%", "budget: 1.0")),
    ("a share beyond 100 %", |good| swap(good, "budget: 100%", "budget: 101%")),
    ("a duration without unit", |good| swap(good, "drain: 20s", "drain: 20")),
    ("a duration with a fraction", |good| swap(good, "drain: 20s", "drain: 1.5s")),
    ("a deadline of zero", |good| swap(good, "budget: 100%", "deadline: 0s, budget: 100%")),
    ("a size without unit", |good| top(good, "limits: { body_size_max: 1000 }")),
    ("too many attempts", |good| swap(good, "budget: 100%", "attempts_max: 99, budget: 100%")),
    ("an unknown choice", |good| swap(good, "access_log: { file: access.jsonl }", "access_log: printer")),
    ("a secret as text", |good| swap(good, "priority: 1", "priority: 1, auth: { api_key: abc123 }")),
    ("a secret of no environment", |good| {
        swap(good, "priority: 1", "priority: 1, auth: { api_key: { env: TIDEGATE_NOT_SET } }")
    }),
    ("a secret in no file", |good| swap(good, "priority: 1", "priority: 1, auth: { bearer: { file: none } }")),
    ("a header that is none", |good| swap(good, "priority: 1", "priority: 1, headers: { \"bad name\": x }")),
    ("a route to no pool", |good| top(good, "routes: [{ name: r, pool: nowhere }]")),
    ("a route name twice", |good| top(good, "routes: [{ name: r, pool: chat }, { name: r, pool: chat }]")),
    ("a pattern with a star inside", |good| top(good, "routes: [{ name: r, match: { path: \"/a*b\" }, pool: chat }]")),
    ("a pool name twice", |good| {
        let at = good.find("  - name: chat").unwrap();
        format!("{good}{}", &good[at..])
    }),
    ("no pools", |good| good[..good.find("pools:").unwrap()].to_owned() + "pools: []\n"),
    ("coordinates off the globe", |good| {
        swap(good, "priority: 1", "priority: 1, coordinates: { latitude: 91, longitude: 0 }")
    }),
];
