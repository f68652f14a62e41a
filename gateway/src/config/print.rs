//! The effective configuration: the file with every default filled in, as YAML that loads again. Secrets stay references.

use super::{Environment, Problem, Problems, Sources, compile_text, directory_of, parse, read};
use std::path::Path;

/// The configuration at `path` with its defaults filled in. Relative paths stay relative to the file's own directory.
///
/// # Errors
/// Every problem of the file at once.
pub fn effective(path: &Path, environment: Environment<'_>) -> Result<String, Problems> {
    let name = path.display().to_string();
    let text = read(path, &name)?;
    effective_text(&name, &text, directory_of(path), environment)
}

/// Like [`effective`], for text.
fn effective_text(name: &str, text: &str, directory: &Path, environment: Environment<'_>) -> Result<String, Problems> {
    let (mut file, snapshot, _) = compile_text(name, text, directory, Sources::assumed(environment))?;
    file.process.threads = u32::try_from(snapshot.process.threads).ok();
    let unprintable = |message| Problems(vec![Problem::of_file(name, message)]);
    parse::print(&file).map_err(unprintable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    #[test]
    fn effective_configuration_loads_again_to_itself() {
        let text = "version: 1\nhome_region: westeurope\nadmin: off\naccess_log: { file: a.log }\n\
            listeners: [ { name: a, address: \"127.0.0.1:0\" } ]\npools:\n  - name: chat\n    probe: { path: /x }\n    \
            backends:\n      - { name: b, region: francecentral, url: \"https://x.example\", \
            auth: { api_key: { env: KEY } }, headers: { x-a: b, x-b: { env: KEY } }, \
            coordinates: { latitude: 1, longitude: -2.5 } }\n";
        let environment = |_: &str| Some("hunter2".to_owned());
        let first = effective_text("x.yaml", text, Path::new("."), &environment).unwrap();
        assert!(!first.contains("hunter2"), "{first}");
        assert!(first.contains("attempts_max: 3"), "{first}");
        let second = effective_text("x.yaml", &first, Path::new("."), &environment).unwrap();
        assert_eq!(first, second);
    }
}
