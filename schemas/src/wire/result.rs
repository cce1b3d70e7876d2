//! Results of commands on the wire.

use bytes::Bytes;
use prost::Message;

use super::conversion::{optional_status_from_pb, status_to_pb};
use super::fact::{outcome_status_from_pb, outcome_status_to_pb};
use super::pb_results as pb;
use super::{RESULT_VERSION, WireError, decode_versioned, id, id_bytes, present, workspace};
use crate::result::{CommandResult, ConversionNow};

/// The bytes of a command's result.
pub fn encode_result(result: &CommandResult) -> Bytes {
    let message = pb::Result {
        version: RESULT_VERSION,
        workspace: result.workspace.get(),
        event: id_bytes(result.event),
        status: outcome_status_to_pb(result.status).into(),
        reason: result.reason.clone(),
        conversion: result.conversion.map(|now| pb::Conversion {
            id: id_bytes(now.id),
            version: now.version,
            status: status_to_pb(now.status).into(),
        }),
    };
    message.encode_to_vec().into()
}

/// The result in these bytes.
///
/// # Errors
/// [`WireError`] if the bytes are not exactly a result of a known version.
pub fn decode_result(bytes: Bytes) -> Result<CommandResult, WireError> {
    let message = decode_versioned(bytes, RESULT_VERSION, |result: &pb::Result| result.version)?;
    Ok(CommandResult {
        workspace: workspace(message.workspace)?,
        event: id(&message.event, "result.event")?,
        status: outcome_status_from_pb(message.status)?,
        reason: message.reason,
        conversion: message.conversion.as_ref().map(now_from_pb).transpose()?,
    })
}

fn now_from_pb(now: &pb::Conversion) -> Result<ConversionNow, WireError> {
    Ok(ConversionNow {
        id: id(&now.id, "result.conversion")?,
        version: now.version,
        status: present(optional_status_from_pb(now.status)?, "result.status")?,
    })
}
