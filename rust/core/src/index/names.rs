//! String ids: the names of rows, one after another, and the way back from a name to its row.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use hashbrown::HashTable;

use super::gone::Gone;
use crate::error::{Error, Result};
use crate::storage::Array;

/// Names by row number, in the order of adding.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// UTF-8, without gaps.
    text: Array<u8>,
    /// Where each name ends.
    ends: Array<u64>,
    /// Where text and ends start in the file that they were read from.
    sections: [usize; 2],
    /// Text and ends of a mapped file were found to be names.
    sound: OnceLock<()>,
    /// Numbers of the rows that are there by the hash of their names, made when first needed.
    table: OnceLock<HashTable<usize>>,
    hasher: RandomState,
}

impl Names {
    /// Names of a file: text, ends, and where they are. Those of a mapped file are looked at when [`check`](Self::check) is called.
    pub(super) fn from_file(text: Array<u8>, ends: Array<u64>, sections: [usize; 2]) -> Result<Self> {
        let names = Self { text, ends, sections, ..Self::default() };
        if !names.is_mapped() {
            names.check_text()?;
        }
        Ok(names)
    }

    pub(super) fn is_mapped(&self) -> bool {
        self.text.is_mapped() || self.ends.is_mapped()
    }

    /// Compares what is in a mapped file with checksums, and looks whether it is names, if that has not been done.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_mapped() && self.sound.get().is_none() {
            self.text.check_all()?;
            self.ends.check_all()?;
            self.check_text()?;
            let _ = self.sound.set(());
        }
        Ok(())
    }

    /// Refuses ends that are none of the text, and text that is not UTF-8.
    fn check_text(&self) -> Result<()> {
        let [text_at, ends_at] = self.sections;
        let mut start = 0;
        for (row, &end) in self.ends.iter().enumerate() {
            let name = usize::try_from(end).ok().and_then(|end| self.text.get(start..end));
            let name = name.ok_or_else(|| {
                Error::corrupt_index(
                    format!("ends of string ids hold {end}, out of order or beyond them"),
                    ends_at + 8 * row,
                )
            })?;
            if let Err(error) = std::str::from_utf8(name) {
                return Err(Error::corrupt_index(
                    "string ids hold bytes that are not UTF-8",
                    text_at + start + error.valid_up_to(),
                ));
            }
            start += name.len();
        }
        if start < self.text.len() {
            return Err(Error::corrupt_index(
                "string ids are longer than their ends say, the first byte too many is",
                text_at + start,
            ));
        }
        Ok(())
    }

    /// [`check`](Self::check), and refuses names that stand twice among rows that are there.
    pub(super) fn check_distinct(&self, gone: &Gone) -> Result<()> {
        self.check()?;
        let table = self.table(gone);
        // The table finds one row of a name, whichever.
        let twice = |&number: &usize| {
            let name = self.bytes(number);
            let found = table.find(self.hasher.hash_one(name), |&other| self.bytes(other) == name);
            found.is_some_and(|&other| other != number)
        };
        let rows = 0..self.ends.len();
        match rows.filter(|&number| !gone.holds(number)).find(twice) {
            Some(number) => {
                let what = format!("string ids hold {:?} twice, the first of them start", self.get(number));
                Err(Error::corrupt_index(what, self.sections[0]))
            }
            None => Ok(()),
        }
    }

    /// The name of a row; empty if it is in a mapped file that is damaged and was not looked at.
    pub(super) fn get(&self, number: usize) -> &str {
        std::str::from_utf8(self.bytes(number)).unwrap_or_default()
    }

    fn bytes(&self, number: usize) -> &[u8] {
        bytes_of(&self.text, &self.ends, number)
    }

    pub(super) fn number(&self, name: &str, gone: &Gone) -> Option<usize> {
        let name = name.as_bytes();
        self.table(gone).find(self.hasher.hash_one(name), |&number| self.bytes(number) == name).copied()
    }

    /// Appends names that are not there.
    pub(super) fn push(&mut self, names: &[&str]) {
        let Self { text, ends, table, hasher, .. } = self;
        let (text, ends) = (text.to_mut(), ends.to_mut());
        for name in names {
            text.extend_from_slice(name.as_bytes());
            ends.push(text.len() as u64);
            if let Some(table) = table.get_mut() {
                let hash_of = |&other: &usize| hasher.hash_one(bytes_of(text, ends, other));
                table.insert_unique(hasher.hash_one(name.as_bytes()), ends.len() - 1, hash_of);
            }
        }
    }

    /// Appends names of a file; both were checked.
    pub(super) fn extend(&mut self, other: &Self) {
        self.table.take();
        let shift = self.text.len() as u64;
        self.text.to_mut().extend_from_slice(&other.text);
        self.ends.to_mut().extend(other.ends.iter().map(|end| end + shift));
    }

    /// Text and ends of the names from a row on, the ends counted from the text's first byte.
    pub(super) fn since_row(&self, row: usize) -> (&[u8], Vec<u64>) {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        (&self.text[start as usize..], self.ends[row..].iter().map(|end| end - start).collect())
    }

    /// Forgets the way to a row that is there.
    pub(super) fn forget(&mut self, number: usize) {
        let Self { text, ends, table, hasher, .. } = self;
        if let Some(table) = table.get_mut() {
            let hash = hasher.hash_one(bytes_of(text, ends, number));
            if let Ok(entry) = table.find_entry(hash, |&other| other == number) {
                entry.remove();
            }
        }
    }

    /// Drops the names of rows that are gone.
    pub(super) fn compact(&mut self, gone: &Gone) {
        let (text, mut ends) = (self.text.to_mut(), Vec::with_capacity(gone.live()));
        let (mut start, mut to) = (0, 0);
        for (number, &end) in self.ends.iter().enumerate() {
            let end = end as usize;
            if !gone.holds(number) {
                text.copy_within(start..end, to);
                to += end - start;
                ends.push(to as u64);
            }
            start = end;
        }
        text.truncate(to);
        text.shrink_to_fit();
        self.ends = ends.into();
        let ranks = gone.ranks();
        if let Some(table) = self.table.get_mut() {
            table.iter_mut().for_each(|number| *number = ranks.of(*number));
        }
    }

    /// Bytes of text and ends.
    pub(super) fn nbytes(&self) -> usize {
        self.text.nbytes() + self.ends.nbytes()
    }

    /// Bytes of the way back, as far as it is made.
    pub(super) fn table_nbytes(&self) -> usize {
        self.table.get().map_or(0, HashTable::allocation_size)
    }

    fn table(&self, gone: &Gone) -> &HashTable<usize> {
        self.table.get_or_init(|| {
            let mut table = HashTable::with_capacity(gone.live());
            for number in (0..self.ends.len()).filter(|&number| !gone.holds(number)) {
                let hash_of = |&other: &usize| self.hasher.hash_one(self.bytes(other));
                table.insert_unique(self.hasher.hash_one(self.bytes(number)), number, hash_of);
            }
            table
        })
    }
}

fn bytes_of<'a>(text: &'a [u8], ends: &[u64], number: usize) -> &'a [u8] {
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    text.get(start as usize..ends[number] as usize).unwrap_or_default()
}
