//! Broken configurations and what their authors are told. The files in `broken/` begin with a line
//! `# expect: LINE: MESSAGE` for each problem they have (`…` stands for any text), so that the end-to-end tests can feed
//! them to running gateways too.

use crate::{environment, yaml_files};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/broken")
}

#[test]
fn every_broken_file_is_told_what_and_where() {
    let files = yaml_files(&folder());
    assert!(files.len() >= 100, "{} files", files.len());
    for (path, text) in files {
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let error = tidegate::config::load_text(name, &text, &folder(), &environment)
            .err()
            .unwrap_or_else(|| panic!("{name} loads"));
        let told: Vec<String> = error.0.iter().map(told).collect();
        let alike =
            told.len() == expected.len() && told.iter().zip(&expected).all(|(told, expected)| fits(told, expected));
        assert!(alike, "{name}\n{error}\nexpected {expected:#?}\ntold {told:#?}");
        assert!(!error.to_string().contains("sk-not-a-real-key"), "{error}");
        assert!(!error.to_string().contains("value-of-"), "{error}");
    }
}

/// A problem in the words of an `# expect:` line.
fn told(problem: &tidegate::config::Problem) -> String {
    let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
    format!("{}: {path}{}", problem.line, problem.message)
}

fn fits(told: &str, expected: &str) -> bool {
    match expected.split_once('…') {
        Some((start, end)) => told.starts_with(start) && told.contains(end),
        None => told == expected,
    }
}

#[test]
fn certificate_and_key_must_be_a_pair() {
    let directory = tempfile::tempdir().unwrap();
    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    write("edge.pem", one.cert.pem());
    write("edge.key", one.signing_key.serialize_pem());
    write("other.key", other.signing_key.serialize_pem());
    let load = |key: &str, authorities: &str| {
        let text = format!(
            "version: 1
listeners:
  - name: public
    address: \"127.0.0.1:0\"
    tls: {{ certificate: {{ file: edge.pem }}, key: {{ file: {key} }} }}
pools:
  - name: chat
    backends:
      - {{ name: a, region: eastus, url: \"https://a.example\", auth: none, ca_file: {authorities} }}
"
        );
        tidegate::config::load_text("x.yaml", &text, directory.path(), &environment)
    };
    let (snapshot, _) = load("edge.key", "edge.pem").unwrap();
    assert!(snapshot.listeners[0].tls.as_ref().unwrap().certificates[0].certificate.ends_with("edge.pem"));
    assert!(snapshot.pools[0].backends[0].url.trust.ca_file.is_some());
    let told_of =
        |key: &str, authorities: &str| load(key, authorities).unwrap_err().0.iter().map(told).collect::<Vec<_>>();
    let mismatch = told_of("other.key", "edge.pem");
    assert!(mismatch[0].starts_with("5: listeners[0].tls.key.file: ") && mismatch[0].contains("is not the key of"));
    assert!(told_of("edge.pem", "edge.pem")[0].contains("holds no PEM private key"));
    assert!(told_of("edge.key", "edge.key")[0].contains("holds no PEM certificate"));
}

#[test]
fn a_cache_for_keys_that_others_can_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("acme");
    std::fs::create_dir(&cache).unwrap();
    let text = "version: 1
listeners:
  - { name: public, address: \"127.0.0.1:0\" }
  - { name: secure, address: \"127.0.0.1:0\", tls: { acme: { names: [ Edge.example ], cache: acme } } }
pools:
  - name: chat
    backends: [ { name: a, region: eastus, url: \"https://a.example\", auth: none } ]
";
    let load = |mode: u32| {
        std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(mode)).unwrap();
        tidegate::config::load_text("x.yaml", text, directory.path(), &environment)
    };
    assert!(told(&load(0o750).unwrap_err().0[0]).contains("listeners[1].tls.acme.cache: others have access to"));
    let (snapshot, _) = load(0o700).unwrap();
    let acme = snapshot.listeners[1].tls.as_ref().unwrap().acme.as_ref().unwrap();
    assert_eq!((acme.names[0].as_str(), acme.pem.ends_with("acme/secure.pem")), ("edge.example", true));
}
