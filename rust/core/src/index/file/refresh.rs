//! What others have written to an index's file since it was opened.

use std::fs::File;
use std::io;

use super::additions::Additions;
use super::counted::Counted;
use super::home::{Stored, identity};
use super::layout::Header;
use super::read::{counted, of_all, open, stays};
use crate::error::{Error, Result};
use crate::index::Index;

/// Brings an index to what its file counts now; returns whether that is something new.
pub(super) fn refresh(index: &mut Index) -> Result<bool> {
    let Some(stored) = index.home.unchanged(index)? else { return Ok(false) };
    let Stored { path, map, counted: last, .. } = &stored;
    let failed = |error: io::Error| Error::file(path.display(), "cannot be read", &error);
    let file = File::open(path).map_err(failed)?;
    if identity(&file).map_err(failed)? != stored.identity {
        return replace(index, open(path, *map)?, path);
    }
    let new = of_all(&file, path, |mapped| {
        let header = Header::parse(mapped.bytes())?;
        let (record, repair) = counted(mapped.bytes(), &header)?;
        if record == last.record {
            return Ok(None);
        }
        let new = Additions::read(index, mapped.bytes(), stays(mapped, *map), last, record)?;
        Ok(Some((new, record, repair)))
    });
    let new = match new {
        // Another file may have got the number of one that is gone; damage is found again.
        Err(Error::Corrupt { .. }) => return replace(index, open(path, *map)?, path),
        new => new?,
    };
    let Some((new, record, repair)) = new else { return Ok(false) };
    new.take(index).map_err(|error| error.of_path(path))?;
    let counted = Counted::of(index, record);
    index.home.refreshed(counted, repair);
    Ok(true)
}

/// Takes the place of an index whose file was written anew.
fn replace(index: &mut Index, mut new: Index, path: &std::path::Path) -> Result<bool> {
    let kind = |index: &Index| (index.codec().fingerprint(), index.metric(), index.keep());
    if kind(&new) != kind(index) {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(Error::file(path.display(), "is an index of another codec, metric or keep now; open it", &error));
    }
    // Rows have other places than those that filters knew.
    std::mem::swap(&mut new.numbering, &mut index.numbering);
    new.numbering.change();
    *index = new;
    Ok(true)
}
