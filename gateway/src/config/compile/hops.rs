//! Compiles who is believed: networks of trusted hops and the Front Doors of listeners. It judges no request.

use super::network;
use crate::config::file;
use crate::config::report::Report;
use crate::domain::ListenerName;
use crate::policy::hops::{FrontDoor, FrontDoorId, Hops};

/// Compiles everything about hops; what is wrong is left out and reported.
pub(super) fn compile(file: &file::File, report: &mut Report<'_>) -> Hops {
    let front_doors = file.listeners.iter().enumerate().filter_map(|(index, listener)| {
        let ids = &listener.front_door.as_ref()?.ids;
        let ids = ids.iter().enumerate().filter_map(|(at, typed)| id(typed, (index, at), report)).collect();
        Some(FrontDoor { listener: ListenerName::new(&listener.name).ok()?, ids })
    });
    let front_doors = front_doors.collect();
    Hops {
        networks: network::set(&file.trusted_hops.networks, "trusted_hops.networks", report),
        front_doors,
        passes_max: file.limits.passes_max,
        trace_created: file.headers.trace_created,
    }
}

fn id(typed: &str, (listener, at): (usize, usize), report: &mut Report<'_>) -> Option<FrontDoorId> {
    let told = |error: crate::policy::hops::FrontDoorIdError| {
        let help = "write the GUID that the profile's overview shows as Front Door ID".to_owned();
        report.problem(&format!("listeners[{listener}].front_door.ids[{at}]"), error.to_string(), help);
    };
    FrontDoorId::new(typed).map_err(told).ok()
}
