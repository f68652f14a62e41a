//! What is kept comes back, for its owner alone, and nothing else does.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

fn keepsake(directory: &tempfile::TempDir, key: Option<&str>) -> Keepsake {
    Keepsake { file: directory.path().join("secrets"), key: key.map(Secret::new) }
}

fn all() -> BTreeMap<VaultSecret, Kept> {
    let secret = |name: &str, version: Option<&str>| {
        let host = "vault.example".to_owned();
        VaultSecret {
            vault: format!("https://{host}"),
            host,
            name: name.to_owned(),
            version: version.map(str::to_owned),
        }
    };
    let kept = |value: &str, seen| Kept { value: Secret::new(value), seen };
    BTreeMap::from([(secret("a", None), kept("canary-a", 5)), (secret("a", Some("v1")), kept("canary-b", 6))])
}

#[test]
fn what_is_kept_comes_back_and_is_for_its_owner_alone() {
    for key in [None, Some("a key of the operator's")] {
        let directory = tempfile::tempdir().unwrap();
        let keepsake = keepsake(&directory, key);
        assert_eq!(read(&keepsake).unwrap(), Vec::new());
        write(&keepsake, &all()).unwrap();
        write(&keepsake, &all()).unwrap();
        assert_eq!(read(&keepsake).unwrap().into_iter().collect::<BTreeMap<_, _>>(), all());
        assert_eq!(fs::metadata(&keepsake.file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&keepsake.file).unwrap().contains("canary"), key.is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn a_file_that_others_could_have_written_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let keepsake = keepsake(&directory, None);
    write(&keepsake, &all()).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&keepsake.file, Permissions::from_mode(mode)).unwrap();
        assert!(read(&keepsake).unwrap_err().contains("0600"));
    }
}

#[test]
fn a_changed_file_and_a_wrong_key_are_noticed_and_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, sealed) = (keepsake(&directory, None), keepsake(&directory, Some("one")));
    let mut told = Vec::new();
    write(&plain, &all()).unwrap();
    told.push(read(&sealed));
    let text = fs::read_to_string(&plain.file).unwrap();
    for other in ["", "canary", "tidegate secrets 1 aes-256-gcm\n!", "tidegate secrets 1 aes-256-gcm\nAAAA"] {
        fs::write(&plain.file, other).unwrap();
        told.extend([read(&plain), read(&sealed)]);
    }
    fs::write(&plain.file, text.replace("canary-a", "canary-x")).unwrap();
    told.push(read(&plain));
    fs::write(&plain.file, &text[..text.len() - 9]).unwrap();
    told.push(read(&plain));
    write(&sealed, &all()).unwrap();
    told.extend([read(&plain), read(&keepsake(&directory, Some("two")))]);
    let text = fs::read_to_string(&sealed.file).unwrap();
    fs::write(&sealed.file, text.replacen('A', "B", 1)).unwrap();
    let changed = fs::read_to_string(&sealed.file).unwrap() != text;
    told.extend(changed.then(|| read(&sealed)));
    for one in told {
        let why = one.unwrap_err();
        assert!(!why.contains("canary"), "{why}");
    }
}
