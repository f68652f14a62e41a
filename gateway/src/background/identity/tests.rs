//! Credentials of the crate against endpoints that lie: what reaches them, what comes of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::source::get;
use crate::config::snapshot::{Application, Credential, Endpoint, Identity, OwnToken, Place};
use crate::domain::{IdentityName, Secret};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers everybody this, with `#` as the number of the request; counts them.
async fn endpoint(status: u16, body: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (body, counter) = (body.to_owned(), Arc::clone(&count));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            counter.store(number, Ordering::SeqCst);
            let body = body.replace('#', &number.to_string());
            let length = body.len();
            let head = format!("HTTP/1.1 {status} Told\r\nretry-after: 0\r\ncontent-length: {length}\r\n\r\n");
            let mut request = [0; 8192];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (url, count)
}

/// A machine, a secret and a workload, all asking at `url`.
fn identities(url: &str, proof: &std::path::Path) -> Vec<OwnToken> {
    let application = Application {
        directory: "contoso.onmicrosoft.com".to_owned(),
        client_id: "3f2504e0-4f89-41d3-9a0c-0305e82c3301".to_owned(),
        authority: url.to_owned(),
        ca_file: None,
    };
    let place = Place { endpoint: Endpoint::local(&format!("{url}/metadata")).unwrap(), header: None };
    let credentials = [
        Credential::Managed { assigned: None, place: Box::new(place) },
        Credential::Secret { application: application.clone(), secret: Some(Secret::new("canary-secret")) },
        Credential::Workload { application, token_file: proof.to_owned() },
    ];
    let tokens = credentials.map(|credential| OwnToken {
        identity: Identity { name: IdentityName::new("us").unwrap(), credential, timeout: Duration::from_secs(9) },
        scope: "https://cognitiveservices.azure.com/.default".into(),
    });
    tokens.into()
}

fn proof() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "canary-proof\n").unwrap();
    file
}

#[tokio::test]
async fn an_end_that_would_overflow_never_reaches_a_credential() {
    for end in [
        r#""expires_in":9223372036854775807"#,
        r#""expires_in":"9223372036854775807","expires_on":"canary","ext_expires_in":-9223372036854775808"#,
        r#""expires_on":9223372036854775807"#,
        r#""expires_on":18446744073709551615"#,
    ] {
        let body = format!(r#"{{"access_token":"canary-#","token_type":"bearer",{end}}}"#);
        let (url, _) = endpoint(200, &body).await;
        let file = proof();
        for token in identities(&url, file.path()) {
            let got = get(&token).await.unwrap();
            let day = Duration::from_secs(86_399)..=Duration::from_secs(86_400);
            assert!(day.contains(&got.life), "{end}: {:?}", got.life);
        }
    }
}

#[tokio::test]
async fn every_try_asks_anew_and_gets_what_is_told_then() {
    let (url, count) = endpoint(200, r#"{"access_token":"canary-#","token_type":"Bearer","expires_in":3600}"#).await;
    let file = proof();
    for token in identities(&url, file.path()) {
        let before = count.load(Ordering::SeqCst);
        for number in [before + 1, before + 2] {
            let got = get(&token).await.unwrap();
            assert_eq!(got.header.to_str().unwrap(), format!("Bearer canary-{number}"));
            assert!(got.header.is_sensitive());
        }
    }
}

#[tokio::test]
async fn a_refusal_is_asked_for_once_and_told_in_our_words() {
    let refusal = r#"{"error":"invalid_client","error_description":"canary","error_codes":[7000215]}"#;
    for (status, body, why) in [
        (401, refusal, "status 401, invalid_client, AADSTS7000215"),
        (404, "canary", "status 404"),
        (429, "canary", "status 429"),
        (500, r#"{"error":"canary of many words","error_codes":"canary"}"#, "status 500"),
        (503, "", "status 503"),
        (302, "canary", "status 302"),
        (200, "canary", "the answer holds no token"),
        (
            200,
            r#"{"access_token":"canary canary","token_type":"Bearer","expires_in":9}"#,
            "none that a header could carry",
        ),
        (200, r#"{"access_token":"canary","token_type":"Bearer","expires_in":0}"#, "the token has expired already"),
    ] {
        let (url, count) = endpoint(status, body).await;
        let file = proof();
        for (index, token) in identities(&url, file.path()).iter().enumerate() {
            let told = get(token).await.unwrap_err();
            assert!(told.contains(why) && !told.contains("canary"), "{told}");
            assert_eq!(count.load(Ordering::SeqCst), index + 1, "{told}");
        }
    }
}

#[tokio::test]
async fn a_proof_that_cannot_be_read_is_named_and_nobody_is_asked() {
    let (url, count) = endpoint(200, "").await;
    let file = proof();
    std::fs::write(file.path(), "c".repeat(20_000)).unwrap();
    let workload = identities(&url, file.path()).pop().unwrap();
    assert!(get(&workload).await.unwrap_err().contains("larger than a token"));
    let workload = identities(&url, std::path::Path::new("/nonexistent/proof")).pop().unwrap();
    assert!(get(&workload).await.unwrap_err().starts_with("/nonexistent/proof cannot be read"));
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
