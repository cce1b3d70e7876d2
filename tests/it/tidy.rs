//! The rules of the house that a machine can check. Every check is a function from the tree to a list of problems, so
//! that each is also tried on a tree that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use self::source::Source;

mod samples;
mod source;

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

/// Files that are longer than they should be, with their length. The list may only shrink: a file that got shorter must
/// lower its number here, one that is short enough must leave.
const LONG_FILES: &[(&str, usize)] = &[];

/// Names that say nothing about what is inside, so everything ends up there.
const BANNED_NAMES: &[&str] =
    &["util", "utils", "common", "manager", "helper", "helpers", "misc", "shared", "types", "v2"];

/// Which of our crates each crate may depend on. ARCHITECTURE.md refers to this table; a new arrow is a decision.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("catalog", &["schemas", "eventlog"]),
    ("eventlog", &["schemas"]),
    ("warehouse", &["schemas"]),
    ("service", &[]),
    ("ingest", &["schemas", "catalog", "eventlog", "service"]),
    ("processor", &["schemas", "catalog", "eventlog", "warehouse", "service"]),
    ("query-api", &["schemas", "catalog", "eventlog", "warehouse", "service"]),
    (
        "tributary",
        &["schemas", "catalog", "eventlog", "warehouse", "service", "ingest", "processor", "query-api"],
    ),
    ("loadtest", &["schemas", "service"]),
    (
        "tests",
        &[
            "schemas",
            "catalog",
            "eventlog",
            "warehouse",
            "service",
            "ingest",
            "processor",
            "query-api",
            "tributary",
            "loadtest",
        ],
    ),
];

/// Folders that are not ours to judge.
const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules", "data", ".git", ".cache"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below the root, as paths relative to it.
fn files() -> Vec<String> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else {
                found.push(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files, parsed once for all checks.
fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let files = files();
        let rust = files.iter().filter(|path| path.ends_with(".rs"));
        rust.map(|path| Source::parse(path, &read(path))).collect()
    });
    assert!(SOURCES.len() > 20, "only {} source files were found", SOURCES.len());
    &SOURCES
}

fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn long_files(sources: &[Source], exceptions: &[(&str, usize)]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let (lines, path) = (source.lines(), &source.path);
        match exceptions.iter().find(|(excepted, _)| excepted == path) {
            None if lines > MAX_FILE_LINES => {
                problems.push(format!("{path}: {lines} lines of code, {MAX_FILE_LINES} allowed"));
            }
            Some((_, allowed)) if lines <= MAX_FILE_LINES || lines != *allowed => {
                problems.push(format!(
                    "{path}: {lines} lines of code, but the list of exceptions says {allowed}"
                ));
            }
            None | Some(_) => {}
        }
    }
    let gone = exceptions.iter().filter(|(path, _)| !sources.iter().any(|source| source.path == *path));
    problems.extend(gone.map(|(path, _)| format!("{path}: in the list of exceptions, but not there")));
    problems
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        for (name, first, last) in &source.found.functions {
            let lines = source.code.range(first..=last).count();
            if lines > MAX_FUNCTION_LINES {
                problems.push(format!("{}:{first}: {name} has {lines} lines of code", source.path));
            }
        }
    }
    problems
}

fn banned_names(sources: &[Source]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in sources {
        let path = source.path.trim_end_matches(".rs");
        let names = path.split('/').chain(source.found.modules.iter().map(String::as_str));
        let banned: BTreeSet<&str> = names.filter(|name| BANNED_NAMES.contains(name)).collect();
        problems.extend(banned.iter().map(|name| format!("{}: nothing is called {name}", source.path)));
    }
    problems
}

fn ignored_tests(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| source.found.ignored.clone();
    located(sources, lines, "a test that is ignored is not a test")
}

fn allowed_unwraps(sources: &[Source]) -> Vec<String> {
    let lines = |source: &Source| source.found.unwraps_allowed.clone();
    located(sources, lines, "unwrap and expect are for tests")
}

fn located(sources: &[Source], lines: impl Fn(&Source) -> Vec<usize>, rule: &str) -> Vec<String> {
    let problem = |source: &Source, line| format!("{}:{line}: {rule}", source.path);
    sources.iter().flat_map(|source| lines(source).into_iter().map(|line| problem(source, line))).collect()
}

fn repeated_metrics(sources: &[Source]) -> Vec<String> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("metrics.rs")) {
        for name in &source.found.metrics {
            if let Some(first) = seen.insert(name, &source.path) {
                problems.push(format!("{}: the metric {name} is also in {first}", source.path));
            }
        }
    }
    problems
}

fn wrong_dependencies(name: &str, manifest: &toml::Table) -> Vec<String> {
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("{name}: not in the table of dependencies")];
    };
    let mut problems = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            let is_ours = MAY_DEPEND_ON.iter().any(|(ours, _)| ours == dependency);
            if is_ours && !allowed.contains(&dependency.as_str()) {
                problems.push(format!("{name}: must not depend on {dependency} ({section})"));
            }
        }
    }
    problems
}

fn lints_not_inherited(name: &str, manifest: &toml::Table) -> Vec<String> {
    let inherited =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if inherited == Some(true) {
        Vec::new()
    } else {
        vec![format!("{name}: [lints] workspace = true is missing")]
    }
}

/// `listing` has one line for each released file: its SHA-256 and its name.
fn changed_ddl(listing: &str, content: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<String> {
    let mut problems = Vec::new();
    for line in listing.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let Some((expected, name)) = line.split_once("  ") else {
            problems.push(format!("{line:?} is not `sha256  file`"));
            continue;
        };
        let actual = content(name).map(|bytes| {
            Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        if actual.as_deref() != Some(expected) {
            problems.push(format!(
                "{name}: released, and now another file or gone: write a new migration instead"
            ));
        }
    }
    problems
}

/// The paths and `path::test` names that a page gives in backticks: what begins with a folder or file of the root.
fn named_paths<'a>(page: &'a str, top: &BTreeSet<String>) -> Vec<&'a str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    let spans = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans
        .filter(|text| text.chars().all(plain) && !text.contains("://"))
        .filter(|text| {
            text.split_once('/').is_some_and(|(first, _)| top.contains(first)) || text.ends_with(".rs")
        })
        .collect()
}

fn missing_paths(
    page: &str,
    top: &BTreeSet<String>,
    content: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for named in named_paths(page, top) {
        let (path, symbol) = named.split_once("::").unwrap_or((named, ""));
        let name = symbol.rsplit("::").next().unwrap_or_default();
        match content(path) {
            None => problems.push(format!("ARCHITECTURE.md names {named}, which does not exist")),
            Some(text) if !text.contains(name) => {
                problems.push(format!("ARCHITECTURE.md names {named}, but {path} has no {name}"));
            }
            Some(_) => {}
        }
    }
    problems
}

fn careless_script(path: &str, text: &str, is_executable: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_executable {
        problems.push(format!("{path}: not executable"));
    }
    let first = text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty());
    if first != Some("set -euo pipefail") {
        problems.push(format!("{path}: does not start with `set -euo pipefail`"));
    }
    problems
}

fn manifests() -> Vec<(String, toml::Table)> {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let names = members.iter().map(|member| member.as_str().unwrap().to_owned());
    names.map(|name| (name.clone(), read(&format!("{name}/Cargo.toml")).parse().unwrap())).collect()
}

#[test]
fn files_and_functions_are_short() {
    let sources = sources();
    expect_none(&[long_files(sources, LONG_FILES), long_functions(sources)].concat());
}

#[test]
fn names_say_what_is_inside() {
    expect_none(&banned_names(sources()));
}

#[test]
fn no_test_is_ignored_and_no_unwrap_allowed() {
    let sources = sources();
    expect_none(&[ignored_tests(sources), allowed_unwraps(sources)].concat());
}

#[test]
fn every_metric_has_its_own_name() {
    expect_none(&repeated_metrics(sources()));
}

#[test]
fn crates_depend_downwards_and_inherit_the_lints() {
    let manifests = manifests();
    let members: BTreeSet<&str> = manifests.iter().map(|(name, _)| name.as_str()).collect();
    let tabled: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, tabled, "the workspace's members and the table of dependencies differ");
    let check =
        |(name, manifest)| [wrong_dependencies(name, manifest), lints_not_inherited(name, manifest)].concat();
    expect_none(
        &manifests
            .iter()
            .map(|(name, manifest)| (name.as_str(), manifest))
            .flat_map(check)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn released_ddl_is_never_changed() {
    let listing = read("schemas/ddl/RELEASED");
    expect_none(&changed_ddl(&listing, |name| std::fs::read(root().join("schemas/ddl").join(name)).ok()));
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let top =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let content = |path: &str| {
        let path = root().join(path);
        if path.is_dir() { Some(String::new()) } else { std::fs::read_to_string(path).ok() }
    };
    let page = read("ARCHITECTURE.md");
    let top = top.collect();
    assert!(!named_paths(&page, &top).is_empty(), "ARCHITECTURE.md names no path");
    expect_none(&missing_paths(&page, &top, content));
}

#[test]
fn scripts_stop_at_the_first_error() {
    let mut scripts = 0;
    let mut problems = Vec::new();
    for path in files() {
        let absolute = root().join(&path);
        let Ok(text) = std::fs::read_to_string(&absolute) else { continue };
        let first = text.lines().next().unwrap_or_default();
        if path.ends_with(".sh") || (first.starts_with("#!") && first.ends_with("sh")) {
            let mode = std::fs::metadata(&absolute).unwrap().permissions().mode();
            problems.extend(careless_script(&path, &text, mode & 0o111 == 0o111));
            scripts += 1;
        }
    }
    assert!(scripts >= 3, "only {scripts} scripts were found");
    expect_none(&problems);
}
