//! Looks at keys: a server of one page, a file that changes, documents that lie.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::background::tests::{Site, shared, until};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw"}]}"#;

/// A server on this host that answers every request with what it holds.
struct Page {
    port: u16,
    holds: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

impl Page {
    async fn start(holds: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = Self { port, holds: Arc::new(Mutex::new(holds)), asked: Arc::default() };
        let (holds, asked) = (Arc::clone(&page.holds), Arc::clone(&page.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = holds.lock().clone();
                tokio::spawn(async move {
                    let mut request = [0; 2048];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        page
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A site with one issuer whose keys are there.
fn site(jwks: &str) -> Shared {
    let more = format!(
        "consumers: [ {{ name: one }} ]\nauthentication:\n  issuers:\n    - name: id\n      issuers: [ \"https://id.example/\" ]\n      \
         audiences: [ tidegate ]\n      jwks: {jwks}\n      refresh_min: 1ms\n      consumer: {{ name: one }}"
    );
    shared(&Site { more: &more, ..Site::default() })
}

fn post(shared: &Shared) -> Post {
    posts(&shared.fleets.load()).into_values().next().unwrap()
}

#[tokio::test]
async fn keys_are_there_before_the_first_request_and_counted() {
    let page = Page::start(ok(KEYS)).await;
    let shared = site(&format!("{{ url: \"http://127.0.0.1:{}/keys\" }}", page.port));
    let fleet = shared.fleets.load_full();
    assert!(fleet.issuers[0].is_missing());
    missing(&fleet, &shared.metrics).await;
    assert!(!fleet.issuers[0].is_missing() && page.asked() == 1);
    missing(&fleet, &shared.metrics).await;
    assert_eq!(page.asked(), 1, "a reload does not ask for what is there");
    let text = String::from_utf8(shared.metrics.render()).unwrap();
    assert!(text.contains("tidegate_jwks_fetches_total{issuer=\"id\",result=\"ok\"} 1"), "{text}");
    assert!(text.contains("tidegate_jwks_keys{issuer=\"id\"} 1"), "{text}");
    shared.metrics.issuers(&self::shared(&Site::default()).fleets.load().snapshot);
    let text = String::from_utf8(shared.metrics.render()).unwrap();
    assert!(!text.contains("issuer="), "{text}");
}

#[tokio::test]
async fn a_failed_look_leaves_the_last_keys_and_says_why() {
    let page = Page::start(ok(KEYS)).await;
    let shared = site(&format!("{{ url: \"http://127.0.0.1:{}/keys\" }}", page.port));
    let post = post(&shared);
    look(&post, &shared.metrics).await.unwrap();
    let large = format!("{{\"keys\":[\"{}\"]}}", "x".repeat(SET_SIZE_MAX));
    for (answer, why) in [
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 302"),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(), "status 500"),
        (ok("{\"keys\":[]}"), "holds no key"),
        (ok("<html>"), "is no JSON Web Key Set"),
        (ok(&large), "limit"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{".to_owned(), ""),
        (String::new(), ""),
    ] {
        *page.holds.lock() = answer;
        let told = look(&post, &shared.metrics).await.unwrap_err();
        assert!(told.contains(why), "{told}");
        assert!(!post.store.is_missing());
    }
    assert_eq!((post.pace(0), post.pace(1), post.pace(3)), (post.issuer.refresh, FIRST_PAUSE, FIRST_PAUSE * 4));
    assert_eq!(post.pace(u32::MAX), post.issuer.refresh);
}

#[tokio::test]
async fn a_discovery_document_is_the_issuers_own() {
    let keys = Page::start(ok(KEYS)).await;
    let document =
        |issuer: &str, uri: &str| ok(&format!("{{\"issuer\":\"{issuer}\",\"jwks_uri\":\"{uri}\",\"x\":[]}}"));
    let uri = format!("http://127.0.0.1:{}/keys", keys.port);
    let page = Page::start(document("https://id.example/", &uri)).await;
    let shared = site(&format!("{{ discovery: \"http://127.0.0.1:{}/.well-known/x\" }}", page.port));
    let post = post(&shared);
    look(&post, &shared.metrics).await.unwrap();
    assert_eq!((page.asked(), keys.asked()), (1, 1));
    for (answer, why) in [
        (document("https://id.example", &uri), "of another issuer"),
        (document("https://id.example/", "http://id.example/keys"), "must begin with https://"),
        (document("https://id.example/", "file:///etc/passwd"), "must begin with https://"),
        (ok("{}"), "no discovery document"),
    ] {
        *page.holds.lock() = answer;
        let told = look(&post, &shared.metrics).await.unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(keys.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_wakes_the_task_at_once() {
    let page = Page::start(ok(KEYS)).await;
    let shared = site(&format!("{{ url: \"http://127.0.0.1:{}/keys\" }}", page.port));
    let post = post(&shared);
    let task = tokio::spawn(run(post.clone(), Arc::clone(&shared.metrics)));
    tokio::task::yield_now().await;
    post.store.ask(Duration::from_millis(1), clock::now());
    let wait = post.store.wait().unwrap();
    until("the look is over", || wait.is_over()).await;
    assert!(page.asked() == 1 && !post.store.is_missing());
    task.abort();
}

#[tokio::test]
async fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    std::fs::write(&path, KEYS).unwrap();
    let shared = site(&format!("{{ file: \"{}\" }}", path.display()));
    let post = post(&shared);
    let version = || post.store.trusted(None, clock::now()).unwrap().as_ref().unwrap().version;
    assert_eq!(version(), 1, "it was read with the configuration");
    look(&post, &shared.metrics).await.unwrap();
    assert_eq!(version(), 1);
    std::fs::write(&path, KEYS.replace("k1", "k2")).unwrap();
    look(&post, &shared.metrics).await.unwrap();
    assert_eq!(version(), 2);
    std::fs::write(&path, "{").unwrap();
    assert!(look(&post, &shared.metrics).await.unwrap_err().contains("is no JSON Web Key Set"));
    std::fs::remove_file(&path).unwrap();
    assert!(look(&post, &shared.metrics).await.unwrap_err().contains("cannot be read"));
    assert_eq!(version(), 2);
    assert_eq!(post.pace(0), FILE_PACE);
}
