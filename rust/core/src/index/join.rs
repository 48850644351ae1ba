//! Several indexes as one: the arrays of each stay where they are, in mapped files too.

use super::Index;
use crate::error::{Error, Result};

impl Index {
    /// Refuses another index whose rows are not of this one's kind.
    pub(super) fn check_joins(&self, other: &Self) -> Result<()> {
        let (own, others) = (self.codec().fingerprint(), other.codec().fingerprint());
        if own != others {
            return Err(Error::OtherCodec { expected: own, got: others });
        }
        if self.metric != other.metric {
            let expected = format!("an index of the same metric, {:?}", self.metric.name());
            return Err(Error::argument("other", expected, format!("{:?}", other.metric.name())));
        }
        if self.keep() != other.keep() {
            let name = |index: &Self| index.keep().map_or("none", super::Keep::name);
            let expected = format!("an index that keeps the same originals, {}", name(self));
            return Err(Error::argument("other", expected, name(other)));
        }
        Ok(())
    }

    /// Takes the rows of another index as groups of its own; only ids are copied. Removed rows stay marked as such.
    pub(super) fn join(&mut self, other: Self) -> Result<()> {
        self.check_joins(&other)?;
        self.ids.check_join(&other.ids)?;
        let base = self.stored();
        self.partitions.extend(other.partitions.into_iter().map(|partition| partition.moved(base)));
        if let (Some(own), Some(others)) = (&mut self.originals, other.originals) {
            own.join(others);
        }
        self.ids.join(&other.ids);
        self.numbering.change();
        Ok(())
    }
}
