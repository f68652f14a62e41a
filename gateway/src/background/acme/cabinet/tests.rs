//! What is kept comes back, for its owner alone; what does not work is not kept.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use std::os::unix::fs::PermissionsExt;

fn acme(cache: &Path) -> Acme {
    Acme {
        names: vec!["a.example".to_owned(), "b.example".to_owned()],
        directory: "https://acme.example/directory".to_owned(),
        directory_ca: None,
        contacts: Vec::new(),
        cache: cache.to_owned(),
        pem: cache.join("edge.pem"),
    }
}

fn signed(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    (pair.signing_key.serialize_pem(), pair.cert.pem())
}

#[test]
fn a_certificate_comes_back_as_it_was_kept_and_nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let acme = acme(&directory.path().join("deep/cache"));
    assert_eq!(certificate(&acme), None);
    for _ in 0..2 {
        let (key, chain) = signed(&["B.example", "a.example"]);
        keep_certificate(&acme, &key, &chain).unwrap();
        let held = certificate(&acme).unwrap();
        assert_eq!((&held.names, &held.directory), (&acme.names, &acme.directory));
        assert!(held.validity.from < held.validity.until);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&acme.cache), mode(&acme.pem)), (0o700, 0o600));
    assert_eq!(fs::read_dir(&acme.cache).unwrap().count(), 1, "no draft is left");
}

#[test]
fn what_does_not_work_is_neither_kept_nor_taken() {
    let directory = tempfile::tempdir().unwrap();
    let acme = acme(directory.path());
    let ((key, chain), (other, _)) = (signed(&["a.example", "b.example"]), signed(&["a.example"]));
    assert!(keep_certificate(&acme, &other, &chain).unwrap_err().contains("certificate and key"));
    assert!(keep_certificate(&acme, &key, "").is_err() && keep_certificate(&acme, "", &chain).is_err());
    let (key, few) = signed(&["a.example"]);
    assert!(keep_certificate(&acme, &key, &few).unwrap_err().contains("not for b.example"));
    assert_eq!(certificate(&acme), None);
    for text in ["", "directory: x\n", "no PEM", &chain] {
        fs::write(&acme.pem, text).unwrap();
        assert_eq!(certificate(&acme), None);
    }
}

#[test]
fn accounts_are_of_one_directory_and_a_broken_one_is_told_without_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let one = acme(directory.path());
    let two = Acme { directory: "https://other.example/directory".to_owned(), ..one.clone() };
    assert_ne!(account_path(&one), account_path(&two));
    assert!(account(&one).unwrap().is_none());
    fs::write(account_path(&one), "{\"key\":\"CANARY\"").unwrap();
    let why = account(&one).err().unwrap();
    assert!(why.contains("holds no account") && !why.contains("CANARY"), "{why}");
}
