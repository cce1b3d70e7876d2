//! `POST /api/v1/conversions`: a conversion as JSON, from a server or, with a publishable key, from a page.

use axum::extract::{Request, State};
use axum::response::Response;
use schemas::event::Body;

use crate::conversion_fields::{self, DEFAULT_GOAL, Reading};
use crate::edge::Edge;
use crate::error::Refusal;
use crate::fields::Fields;
use crate::metrics::Route;
use crate::post::{self, Read};
use crate::sender::Sender;

/// Answers a reported conversion.
pub(crate) async fn report(State(edge): State<Edge>, request: Request) -> Response {
    post::answer(&edge, Route::Conversions, request, |fields, sender| read(fields, DEFAULT_GOAL, sender))
        .await
}

/// Reads a conversion that is refused if something in it is wrong.
pub(crate) fn read(fields: Fields<'_>, goal: &str, sender: &Sender<'_>) -> Result<Read, Refusal> {
    let Reading { conversion, faults, has_unknown_reference } =
        conversion_fields::read(fields, false, goal, sender)?;
    if !faults.is_empty() {
        return Err(Refusal::Invalid(faults));
    }
    let body = Body::Conversion(Box::new(conversion));
    Ok(Read { body, is_incomplete: has_unknown_reference, click: None })
}
