//! Each check on a sample that breaks its rule: a check that cannot fail is no check.

use super::*;

#[test]
fn only_code_is_counted() {
    let text = "//! Module.\n\n/* long\ncomment */\n/// Doc.\nfn a() {\n    // Why.\n    let _ = \"one\n// two\";\n}\n\n\
        #[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let source = Source::parse("x/src/lib.rs", text);
    assert_eq!(source.lines(), 3);
    assert_eq!(source.found.functions, [("a".to_owned(), 6, 10), ("b".to_owned(), 14, 14)]);
}

#[test]
fn a_long_file_and_a_long_function_are_found() {
    let body = "    let _ = \"}\"; // }\n".repeat(MAX_FUNCTION_LINES - 1);
    let source = |name: &str, count| {
        let text = format!("struct S;\nimpl S {{\nfn f() {{\n{body}}}\n}}\n").repeat(count);
        Source::parse(name, &text)
    };
    let (short, long) = (source("a.rs", 1), source("b.rs", 6));
    assert_eq!(long_functions(&[short]), ["a.rs:3: f has 71 lines of code"]);
    let lines = long.lines();
    let sources = [source("a.rs", 1), long];
    assert_eq!(long_files(&sources, &[]), [format!("b.rs: {lines} lines of code, 400 allowed")]);
    assert!(long_files(&sources, &[("b.rs", lines)]).is_empty());
    assert_eq!(long_files(&sources, &[("b.rs", lines + 1), ("a.rs", 500), ("c.rs", 401)]).len(), 3);
}

#[test]
fn a_banned_name_is_found() {
    let sources = [Source::parse("x/src/util.rs", ""), Source::parse("x/src/a.rs", "mod v2 { fn x() {} }")];
    assert_eq!(
        banned_names(&sources),
        ["x/src/util.rs: nothing is called util", "x/src/a.rs: nothing is called v2"]
    );
}

#[test]
fn ignored_tests_and_allowed_unwraps_are_found() {
    let text = "#[test]\n#[ignore = \"slow\"]\nfn t() {}\n#[allow(clippy::unwrap_used)]\nfn f() {}\n\
        #[cfg(test)]\nmod tests {\n    #[allow(clippy::unwrap_used)]\n    fn g() {}\n}\n";
    let sources = [Source::parse("x/src/a.rs", text)];
    assert_eq!(ignored_tests(&sources), ["x/src/a.rs:2: a test that is ignored is not a test"]);
    assert_eq!(allowed_unwraps(&sources), ["x/src/a.rs:4: unwrap and expect are for tests"]);
    assert!(allowed_unwraps(&[Source::parse("x/tests/a.rs", text)]).is_empty());
}

#[test]
fn a_repeated_metric_is_found() {
    let text = "fn f() { counter(\"events_total\", \"All.\"); other(\"Not a name\"); }";
    let sources = [Source::parse("a/src/metrics.rs", text), Source::parse("b/src/metrics.rs", text)];
    assert_eq!(
        repeated_metrics(&sources),
        ["b/src/metrics.rs: the metric events_total is also in a/src/metrics.rs"]
    );
}

#[test]
fn an_upward_dependency_and_missing_lints_are_found() {
    let manifest = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\ningest.workspace = true\n";
    let manifest: toml::Table = manifest.parse().unwrap();
    let expected = ["catalog: must not depend on ingest (dev-dependencies)"];
    assert_eq!(wrong_dependencies("catalog", &manifest), expected);
    assert_eq!(wrong_dependencies("new", &manifest).len(), 1);
    assert_eq!(lints_not_inherited("catalog", &manifest).len(), 1);
}

#[test]
fn a_changed_migration_is_found() {
    // The SHA-256 of nothing.
    let listing = "# released\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  1.sql\n";
    assert!(changed_ddl(listing, |_| Some(Vec::new())).is_empty());
    assert_eq!(changed_ddl(listing, |_| Some(b"DROP".to_vec())).len(), 1);
    assert_eq!(changed_ddl(listing, |_| None).len(), 1);
}

#[test]
fn a_path_that_is_gone_is_found() {
    let top = BTreeSet::from(["service".to_owned()]);
    let page = "`service/src/clock.rs` `service/gone.rs` `application/json` `GET /c/{key}` `service/src/a.rs::tells`";
    let content = |path: &str| (path != "service/gone.rs").then(|| "fn ticks() {}".to_owned());
    let problems = missing_paths(page, &top, content);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("service/gone.rs") && problems[1].contains("no tells"));
}

#[test]
fn a_careless_script_is_found() {
    assert!(careless_script("a.sh", "#!/bin/bash\n# Why.\nset -euo pipefail\n", true).is_empty());
    assert_eq!(careless_script("a.sh", "#!/bin/bash\necho\nset -euo pipefail\n", false).len(), 2);
}
