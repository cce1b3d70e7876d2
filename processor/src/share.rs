//! Which partitions a process works on: those that its settings name, or those that its group gives it.

use std::future::pending;

use eventlog::Member;

use crate::error::Error;

/// How a process comes to its partitions.
pub enum Share {
    /// It works on these; on all, if none is named.
    Named(Vec<u32>),
    /// The processes of its group share them out among them, and it hears of its own now and then.
    OfGroup(Box<dyn Member>),
}

/// The partitions that a process works on now.
pub(crate) struct Shared {
    partitions: Vec<u32>,
    member: Option<Box<dyn Member>>,
}

impl Share {
    /// What a process of an installation with so many partitions begins with.
    ///
    /// # Errors
    /// [`Error::Partitions`] if one is named that there is not.
    pub(crate) fn begin(self, partitions: u32) -> Result<Shared, Error> {
        match self {
            Self::OfGroup(member) => Ok(Shared { partitions: Vec::new(), member: Some(member) }),
            Self::Named(wanted) if wanted.is_empty() => {
                Ok(Shared { partitions: (0..partitions).collect(), member: None })
            }
            Self::Named(wanted) => match wanted.iter().find(|number| **number >= partitions) {
                None => Ok(Shared { partitions: wanted, member: None }),
                Some(number) => Err(Error::Partitions { number: *number, partitions }),
            },
        }
    }
}

impl Shared {
    pub(crate) fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// Whether partitions may go to another process, and come back.
    pub(crate) const fn moves(&self) -> bool {
        self.member.is_some()
    }

    /// Waits until it may be another share. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Log`] if the group does not have this process any more.
    pub(crate) async fn change(&mut self) -> Result<(), Error> {
        match &mut self.member {
            None => pending().await,
            Some(member) => {
                self.partitions = member.share().await?;
                Ok(())
            }
        }
    }
}
