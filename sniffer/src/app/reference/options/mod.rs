//! The description of every option: name, default, one sentence. Options of processors are not here: `processors` declares them where it
//! reads them.

mod capture;
mod general;
mod observe;
mod outputs;
mod protocols;
mod setup;
mod shared;

use super::Group;

/// Every group of options, in the order of the reference and of the pages.
pub(super) const GROUPS: &[&[Group]] =
    &[general::GROUPS, capture::GROUPS, protocols::GROUPS, outputs::GROUPS, setup::GROUPS, observe::GROUPS];
