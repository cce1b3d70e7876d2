//! Settings: defaults in code, then a TOML file, then the environment. A key that no setting has is refused.
//!
//! Every component keeps its own settings struct beside its code; the binary puts them together into one and loads it
//! here. Such a struct is `#[serde(default, deny_unknown_fields)]`.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the name of each of our environment variables starts with.
pub const ENVIRONMENT_PREFIX: &str = "TRIBUTARY_";

/// What stands between a table and its key in the name of an environment variable (`TRIBUTARY_EDGE__ADDR`).
pub const ENVIRONMENT_SEPARATOR: &str = "__";

/// A settings file larger than this is not a settings file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const REDACTED: &str = "***";

/// What can be wrong with the settings, each in one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("settings file {path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The file is not TOML.
    #[error("settings file {path}, line {line}: {reason}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A setting has a value that it cannot have, or does not exist.
    #[error("{setting}: {reason} ({origin})")]
    Setting {
        /// The setting's path, with dots.
        setting: String,
        /// What is wrong with it.
        reason: String,
        /// The file or the environment variable that set it.
        origin: String,
    },
    /// The notes of the reference and the settings differ.
    #[error("settings reference: {0}")]
    Reference(String),
}

/// A setting that must not be seen: prints and serializes as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What may be shown: that there is a secret, not even how long it is.
    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { REDACTED }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Text(String),
            // Serde's own message for a wrong type would quote the secret.
            Other(IgnoredAny),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Text(text) if text == REDACTED => {
                Err(D::Error::custom("is a redacted secret, not the secret"))
            }
            Raw::Text(text) => Ok(Self(text)),
            Raw::Other(IgnoredAny) => Err(D::Error::custom("a secret is a string: put it in quotes")),
        }
    }
}

/// Loads the settings from the defaults, the file (if one is named) and this process's environment.
pub fn load<T>(file: Option<&Path>) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    // A name or value that is not UTF-8 cannot be one of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_from(file, environment)
}

/// [`load`] with the environment as an argument.
pub fn load_from<T>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let defaults = Figment::from(Serialized::defaults(T::default()));
    let mut merged = defaults.clone();
    if let Some(path) = file {
        merged = merged.merge(Layer { origin: path.display().to_string(), settings: read_file(path)? });
    }
    for (name, text) in environment {
        if let Some(layer) = Layer::from_variable(&name, &text, &defaults) {
            merged = merged.merge(layer);
        }
    }
    merged.extract().map_err(|error| setting_error(&error))
}

/// Settings from one origin: the file, or one variable, so that an error can name it.
struct Layer {
    origin: String,
    settings: Dict,
}

impl Layer {
    /// The setting of one environment variable, or nothing if the variable is not ours.
    fn from_variable(name: &str, text: &str, defaults: &Figment) -> Option<Self> {
        let path = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase().replace(ENVIRONMENT_SEPARATOR, ".");
        // A variable is text. Only where the default is no text is it read as a number, a bool or a list; else a
        // password of digits would become a number.
        let is_text = defaults.find_value(&path).is_ok_and(|default| default.as_str().is_some());
        let value = if is_text {
            Value::from(text)
        } else {
            match text.parse::<Value>() {
                Ok(value) => value,
                Err(never) => match never {},
            }
        };
        let settings = figment::util::nest(&path, value).into_dict()?;
        Some(Self { origin: format!("environment variable {name}"), settings })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.settings.clone())]))
    }
}

fn read_file(path: &Path) -> Result<Dict, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!(
            "{size} bytes are more than the {MAX_FILE_BYTES} a settings file may have"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        ConfigError::Syntax { path: path.to_owned(), line, reason: one_line(error.message()) }
    })
}

fn setting_error(error: &figment::Error) -> ConfigError {
    let origin = error.metadata.as_ref().map_or("defaults", |metadata| metadata.name.as_ref());
    let setting = if error.path.is_empty() { "settings".to_owned() } else { error.path.join(".") };
    ConfigError::Setting { setting, reason: one_line(&error.kind.to_string()), origin: origin.to_owned() }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Renders the defaults as a TOML file in which every setting is a comment, with its note above it.
///
/// `notes` names every setting by its path, in the order in which they are shown; those of one table stand together. A
/// setting without a note and a note without a setting are errors, so the reference cannot fall behind the code.
pub fn render_reference<T: Serialize + Default>(notes: &[(&str, &str)]) -> Result<String, ConfigError> {
    let fail = |text: String| ConfigError::Reference(text);
    let defaults = Value::serialize(T::default()).map_err(|error| fail(one_line(&error.to_string())))?;
    let mut unnoted = Vec::new();
    leaves("", &defaults, &mut unnoted);

    let mut rendered = String::new();
    let mut current_table = "";
    for &(path, note) in notes {
        let at = unnoted.iter().position(|leaf| leaf == path);
        let at = at.ok_or_else(|| fail(format!("{path} is no setting, or is noted twice")))?;
        unnoted.swap_remove(at);
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        if table != current_table {
            if table.is_empty() {
                return Err(fail(format!("{path} stands after a table and would belong to it")));
            }
            rendered.push_str(&format!("\n[{table}]\n"));
            current_table = table;
        }
        for line in note.lines() {
            rendered.push_str(&format!("# {line}\n"));
        }
        rendered.push_str(&format!("# {key} = {}\n", default_text(&defaults, path)?));
    }
    match unnoted.first() {
        Some(path) => Err(fail(format!("{path} has no note"))),
        None => Ok(rendered),
    }
}

/// The paths of all settings below `value`.
fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
    match value.as_dict() {
        Some(table) if !table.is_empty() => {
            for (key, inner) in table {
                let inner_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&inner_path, inner, found);
            }
        }
        Some(_) | None => found.push(path.to_owned()),
    }
}

fn default_text(defaults: &Value, path: &str) -> Result<String, ConfigError> {
    let value =
        defaults.find_ref(path).ok_or_else(|| ConfigError::Reference(format!("{path} is no setting")))?;
    if matches!(value, Value::Empty(..)) {
        return Ok("(not set)".to_owned());
    }
    let as_toml =
        toml::Value::try_from(value).map_err(|error| ConfigError::Reference(format!("{path}: {error}")))?;
    Ok(as_toml.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        name: String,
        edge: Edge,
        hosts: Vec<String>,
        token: Secret,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Edge {
        port: u16,
        public_url: Option<String>,
        password: String,
    }

    impl Default for Settings {
        fn default() -> Self {
            let name = "tributary".to_owned();
            Self { name, edge: Edge::default(), hosts: Vec::new(), token: Secret::default() }
        }
    }

    impl Default for Edge {
        fn default() -> Self {
            Self { port: 8080, public_url: None, password: String::new() }
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn from(text: &str, environment: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let file = file(text);
        let variables = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load_from(Some(file.path()), variables)
    }

    fn error(text: &str, environment: &[(&str, &str)]) -> String {
        let error = from(text, environment).unwrap_err().to_string();
        assert!(!error.contains('\n'), "more than one line: {error}");
        error
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let settings = from(
            "name = \"file\"\n[edge]\nport = 1\n",
            &[("TRIBUTARY_EDGE__PORT", "2"), ("TRIBUTARY_HOSTS", "[a,b]"), ("PATH", "/bin")],
        );
        let settings = settings.unwrap();
        assert_eq!(settings.name, "file");
        assert_eq!(settings.edge.port, 2);
        assert_eq!(settings.hosts, ["a", "b"]);
        assert_eq!(load_from::<Settings>(None, []).unwrap(), Settings::default());
    }

    #[test]
    fn text_from_the_environment_stays_text() {
        let environment = [("TRIBUTARY_EDGE__PASSWORD", "0123"), ("TRIBUTARY_TOKEN", "1e5")];
        let settings = from("", &environment).unwrap();
        assert_eq!(settings.edge.password, "0123");
        assert_eq!(settings.token.expose(), "1e5");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_path_and_origin() {
        let in_file = error("[edge]\nprot = 1\n", &[]);
        assert!(
            in_file.contains("edge") && in_file.contains("`prot`") && in_file.contains("/tmp"),
            "{in_file}"
        );
        let in_environment = error("", &[("TRIBUTARY_EDGE__PROT", "1")]);
        assert!(in_environment.contains("`prot`"), "{in_environment}");
        assert!(in_environment.contains("environment variable TRIBUTARY_EDGE__PROT"), "{in_environment}");
        assert!(error("", &[("TRIBUTARY_DOOR", "1")]).contains("TRIBUTARY_DOOR"));
    }

    #[test]
    fn a_wrong_type_is_named() {
        let message = error("[edge]\nport = \"many\"\n", &[]);
        assert!(message.starts_with("edge.port: invalid type: found string \"many\""), "{message}");
        let message = error("", &[("TRIBUTARY_EDGE__PORT", "70000")]);
        assert!(message.starts_with("edge.port: ") && message.contains("TRIBUTARY_EDGE__PORT"), "{message}");
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let message = error("name = \"x\"\n[edge\nport = 1\n", &[]);
        assert!(message.contains(", line 2: "), "{message}");
        let missing = load_from::<Settings>(Some(Path::new("/nowhere/tributary.toml")), []).unwrap_err();
        assert!(missing.to_string().starts_with("settings file /nowhere/tributary.toml: No such file"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
        let settings = Settings { token: secret, ..Settings::default() };
        assert!(!toml::to_string(&settings).unwrap().contains("hunter2"));
        let message = error("token = 4711\n", &[]);
        assert!(message.contains("put it in quotes") && !message.contains("4711"), "{message}");
        assert!(error("token = \"***\"\n", &[]).contains("redacted"));
    }

    const NOTES: &[(&str, &str)] = &[
        ("name", "What it is called."),
        ("hosts", "Where it runs."),
        ("token", "What it says."),
        ("edge.port", "The port.\n0 = a free one."),
        ("edge.public_url", "How clients see it."),
        ("edge.password", "Kept for the test."),
    ];

    #[test]
    fn the_reference_shows_every_setting_with_its_note() {
        let expected = "# What it is called.\n# name = \"tributary\"\n# Where it runs.\n# hosts = []\n\
             # What it says.\n# token = \"\"\n\n[edge]\n# The port.\n# 0 = a free one.\n# port = 8080\n\
             # How clients see it.\n# public_url = (not set)\n# Kept for the test.\n# password = \"\"\n";
        assert_eq!(render_reference::<Settings>(NOTES).unwrap(), expected);
        assert_eq!(from(expected, &[]).unwrap(), Settings::default());
    }

    #[test]
    fn the_reference_cannot_fall_behind_the_code() {
        let missing = render_reference::<Settings>(&NOTES[1..]).unwrap_err().to_string();
        assert_eq!(missing, "settings reference: name has no note");
        let mut more = NOTES.to_vec();
        more.push(("edge.gone", "No more."));
        let unknown = render_reference::<Settings>(&more).unwrap_err().to_string();
        assert_eq!(unknown, "settings reference: edge.gone is no setting, or is noted twice");
    }
}
