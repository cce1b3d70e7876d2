//! `GET /macros`: what may stand in braces in a destination address.

use axum::Json;
use catalog::macros::{ENCODING, PLACES, RAW_ENCODING, REGISTRY};
use serde::Serialize;

use crate::auth::{Allowed, Read};
use crate::error::Error;
use crate::params::Params;

/// Every macro, and what holds for all of them.
#[derive(Debug, Serialize)]
pub(crate) struct Macros {
    items: Vec<MacroView>,
    options: [OptionView; 2],
}

#[derive(Debug, Serialize)]
struct MacroView {
    name: &'static str,
    r#type: &'static str,
    valid_in: [&'static str; PLACES.len()],
    encoding: &'static str,
    description: &'static str,
}

#[derive(Debug, Serialize)]
struct OptionView {
    option: &'static str,
    description: &'static str,
}

/// Answers with the registry from which templates are parsed.
pub(crate) async fn list(_caller: Allowed<Read>, params: Params) -> Result<Json<Macros>, Error> {
    params.finish()?;
    let view = |entry: &catalog::macros::Entry| MacroView {
        name: entry.name,
        r#type: entry.kind.as_str(),
        valid_in: PLACES,
        encoding: ENCODING,
        description: entry.description,
    };
    let options = [
        OptionView { option: "{name|raw}", description: RAW_ENCODING },
        OptionView {
            option: "{name|default:text}",
            description: "text stands where there is no value, or an empty one",
        },
    ];
    Ok(Json(Macros { items: REGISTRY.iter().map(view).collect(), options }))
}
