//! Attaches TC programs through clsact, on kernels without tcx. This module adds the qdisc if the interface has none, puts the program
//! before all other filters, checks whether the program is still attached, and removes the filters of killed runs.

use super::{
    error::Error,
    qdisc::{self, Owner, Side},
};
use crate::capture::devices::Device;
use std::{io, os::fd::BorrowedFd};

pub(super) use super::qdisc::Place;

/// The clsact qdiscs and filters of this process.
#[derive(Default)]
pub(super) struct Clsact {
    /// The name that the filters of this process carry; made when the first filter is attached.
    owner: Option<Owner>,
    /// Interfaces whose clsact qdisc was added by this process or by a killed run of the program.
    ours: Vec<u32>,
}

impl Clsact {
    fn owner(&mut self) -> Result<&Owner, Error> {
        let owner = match self.owner.take() {
            Some(owner) => owner,
            None => Owner::new().map_err(|e| Error::io("a socket that marks the filters of this process", e))?,
        };
        Ok(self.owner.insert(owner))
    }

    /// Makes sure that the interface has a clsact qdisc.
    fn add(&mut self, device: &Device) -> Result<(), Error> {
        let failed = |e| Error::io(format!("adding a clsact qdisc to {}", device.name), e);
        match qdisc::kind(device.ifindex).map_err(failed)?.as_deref() {
            Some("clsact") => {}
            // An ingress qdisc has no egress side: the kernel would attach both programs to the ingress side.
            Some(other) => {
                return Err(Error::Qdisc { name: device.name.clone(), reason: format!("it has a qdisc of kind `{other}`, not `clsact`") });
            }
            None => {
                qdisc::add_clsact(device.ifindex).map_err(failed)?;
                self.ours.push(device.ifindex);
            }
        }
        Ok(())
    }

    /// Attaches `program` to one side of `device`.
    ///
    /// # Errors
    /// [`Error::Qdisc`] if the device has another kind of qdisc, or a filter that no other can precede.
    pub fn attach(&mut self, device: &Device, side: Side, program: BorrowedFd<'_>) -> Result<(), Error> {
        self.add(device)?;
        qdisc::attach_first(device.ifindex, side, program, self.owner()?).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Qdisc { name: device.name.clone(), reason: error.to_string() },
            _ => Error::io(format!("attaching TC to {}", device.name), error),
        })
    }

    /// The place of the program among the filters of one side of `device`.
    pub fn place(&mut self, device: &Device, side: Side) -> Result<Place, Error> {
        let place = qdisc::place(device.ifindex, side, self.owner()?);
        place.map_err(|e| Error::io(format!("reading the filters of {}", device.name), e))
    }

    /// Removes the programs of this process from an interface; `None` if it never attached any.
    pub fn detach(&self, ifindex: u32) -> Option<io::Result<()>> {
        self.owner.as_ref().map(|owner| qdisc::detach(ifindex, owner))
    }

    /// Removes the programs that earlier runs left on a device because they were killed.
    pub fn remove_stale(&mut self, device: &Device) {
        match qdisc::remove_stale(device.ifindex) {
            Ok(0) => {}
            Ok(count) => {
                log::warn!("{}: removed {count} TC programs of a run that did not end properly", device.name);
                // A killed run that left filters has also added the qdisc. The qdisc is deleted at the end, unless
                // other programs use it.
                self.ours.push(device.ifindex);
            }
            Err(error) => log::debug!("{}: programs of earlier runs: {error}", device.name),
        }
    }

    /// Deletes the clsact qdiscs that this program added, unless other programs use them by now.
    pub fn delete_unused(&mut self) {
        for ifindex in std::mem::take(&mut self.ours) {
            if let Err(error) = qdisc::delete_unused_clsact(ifindex) {
                log::debug!("the clsact qdisc of interface {ifindex} could not be deleted: {error}");
            }
        }
    }
}
