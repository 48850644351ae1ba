//! String ids: the names of rows, one after another, and the way back from a name to its row.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use hashbrown::HashTable;

use super::gone::Gone;

/// Names by row number, in the order of adding.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// UTF-8, without gaps.
    text: String,
    /// Where each name ends.
    ends: Vec<usize>,
    /// Numbers of the rows that are there by the hash of their names, made when first needed.
    table: OnceLock<HashTable<usize>>,
    hasher: RandomState,
}

impl Names {
    pub(super) fn get(&self, number: usize) -> &str {
        name_of(&self.text, &self.ends, number)
    }

    pub(super) fn number(&self, name: &str, gone: &Gone) -> Option<usize> {
        self.table(gone).find(self.hasher.hash_one(name), |&number| self.get(number) == name).copied()
    }

    /// Appends names that are not there.
    pub(super) fn push(&mut self, names: &[&str]) {
        let Self { text, ends, table, hasher } = self;
        for name in names {
            text.push_str(name);
            ends.push(text.len());
            if let Some(table) = table.get_mut() {
                let hash_of = |&other: &usize| hasher.hash_one(name_of(text, ends, other));
                table.insert_unique(hasher.hash_one(name), ends.len() - 1, hash_of);
            }
        }
    }

    /// Forgets the way to a row that is there.
    pub(super) fn forget(&mut self, number: usize) {
        if self.table.get().is_some() {
            let hash = self.hasher.hash_one(self.get(number));
            let table = self.table.get_mut().expect("seen above");
            if let Ok(entry) = table.find_entry(hash, |&other| other == number) {
                entry.remove();
            }
        }
    }

    /// Drops the names of rows that are gone.
    pub(super) fn compact(&mut self, gone: &Gone) {
        let (mut text, mut ends) = (std::mem::take(&mut self.text).into_bytes(), Vec::with_capacity(gone.live()));
        let (mut start, mut to) = (0, 0);
        for (number, &end) in self.ends.iter().enumerate() {
            if !gone.holds(number) {
                text.copy_within(start..end, to);
                to += end - start;
                ends.push(to);
            }
            start = end;
        }
        text.truncate(to);
        text.shrink_to_fit();
        self.text = String::from_utf8(text).expect("whole names are moved");
        self.ends = ends;
        let ranks = gone.ranks();
        if let Some(table) = self.table.get_mut() {
            table.iter_mut().for_each(|number| *number = ranks.of(*number));
        }
    }

    /// Bytes of text and ends.
    pub(super) fn nbytes(&self) -> usize {
        self.text.len() + size_of::<usize>() * self.ends.len()
    }

    /// Bytes of the way back, as far as it is made.
    pub(super) fn table_nbytes(&self) -> usize {
        self.table.get().map_or(0, HashTable::allocation_size)
    }

    fn table(&self, gone: &Gone) -> &HashTable<usize> {
        self.table.get_or_init(|| {
            let mut table = HashTable::with_capacity(gone.live());
            for number in (0..self.ends.len()).filter(|&number| !gone.holds(number)) {
                let hash_of = |&other: &usize| self.hasher.hash_one(self.get(other));
                table.insert_unique(self.hasher.hash_one(self.get(number)), number, hash_of);
            }
            table
        })
    }
}

fn name_of<'a>(text: &'a str, ends: &[usize], number: usize) -> &'a str {
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &text[start..ends[number]]
}
