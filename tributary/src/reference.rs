//! The reference of all settings, made from the defaults in code and the notes here.

use crate::error::Error;
use crate::settings::Settings;

/// Every setting's note, in the order of the reference.
const NOTES: &[(&str, &str)] = &[
    ("data_dir", "Where this process keeps its data."),
    ("shutdown_deadline_ms", "How long a process that was asked to stop may finish what it has begun."),
];

/// All settings with their defaults and notes, as TOML.
pub fn render() -> Result<String, Error> {
    Ok(service::config::render_reference::<Settings>(NOTES)?)
}
