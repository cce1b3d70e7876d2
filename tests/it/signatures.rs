//! The examples of `docs/signatures`, in each language that is installed here, against the test vectors.

use std::path::Path;
use std::process::Command;

const EXAMPLES: [(&str, &[&str], &str); 4] = [
    ("python3", &[], "sign.py"),
    ("node", &[], "sign.mjs"),
    ("go", &["run"], "sign.go"),
    ("php", &[], "sign.php"),
];

#[test]
fn every_example_makes_the_signatures_of_the_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/signatures");
    let vectors: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("vectors.json")).unwrap()).unwrap();
    let expected: Vec<&str> = vectors["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| vector["signature"].as_str().unwrap())
        .collect();
    let mut run = 0;
    for (program, arguments, file) in EXAMPLES {
        let mut command = Command::new(program);
        let started =
            command.args(arguments).arg(folder.join(file)).arg(folder.join("vectors.json")).output();
        let output = match started {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("{program} is not installed: docs/signatures/{file} was not run");
                continue;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {errors}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{file}");
        run += 1;
    }
    assert!(run > 0, "none of the languages is installed");
}
