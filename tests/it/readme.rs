//! README's walk, run as it stands there.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Engines, Stack, on_both_engine_sets, repository};

on_both_engine_sets!(the_walk_of_the_readme_gives_the_numbers_that_it_prints);

async fn the_walk_of_the_readme_gives_the_numbers_that_it_prints(engines: Engines) {
    let stack = Stack::start(engines).await;
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let key_file = stack.scratch("key");
    std::fs::write(&key_file, &stack.key).unwrap();
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let walk = block(&readme, "sh")
        .replace("127.0.0.1:8080", &host(&stack.edge))
        .replace("127.0.0.1:8081", &host(&stack.api))
        .replace("data/admin-key", key_file.to_str().unwrap());

    let output = Command::new("bash").args(["-e", "-u", "-o", "pipefail", "-c", &walk]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&stdout).into_iter().collect::<Result<_, _>>().unwrap();
    let [.., receipt, report] = answers.as_slice() else { panic!("too few answers: {stdout}") };
    assert_eq!(receipt["status"], "recorded", "{receipt}");

    let printed: Value = serde_json::from_str(&block(&readme, "json")).unwrap();
    assert_same(&printed, report, "report");
}

/// The first fenced block of a language.
fn block(text: &str, language: &str) -> String {
    let start = format!("```{language}\n");
    let from = text.find(&start).unwrap_or_else(|| panic!("no {language} block")) + start.len();
    let length = text[from..].find("\n```").unwrap();
    text[from..from + length].to_owned()
}

/// Whatever is printed must be there; `…` stands for anything.
fn assert_same(printed: &Value, found: &Value, path: &str) {
    match (printed, found) {
        (Value::Object(printed), Value::Object(found)) => {
            for (name, value) in printed {
                assert_same(value, found.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"));
            }
        }
        (Value::Array(printed), Value::Array(found)) => {
            assert_eq!(printed.len(), found.len(), "{path}");
            for (at, (printed, found)) in printed.iter().zip(found).enumerate() {
                assert_same(printed, found, &format!("{path}[{at}]"));
            }
        }
        (Value::String(printed), Value::String(found)) if printed.ends_with('…') => {
            assert!(found.starts_with(printed.trim_end_matches('…')), "{path}: {found}");
        }
        (printed, found) => assert_eq!(printed, found, "{path}"),
    }
}
