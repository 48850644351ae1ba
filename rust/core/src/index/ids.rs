//! Ids of an index's rows: by number in the order of adding, which rows are gone, and the way back from an id to its row.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::gone::Gone;
use super::names::Names;
use crate::error::{Error, Result};
use crate::storage::Array;

/// Ids for rows that are added.
///
/// An index is either of integers or of strings: its first rows decide that for good.
#[derive(Debug, Clone, Copy)]
pub enum RowIds<'a> {
    /// The next free ones: the largest id so far and up, which no removed row ever had.
    Assigned,
    /// These, distinct and new.
    New(&'a [i64]),
    /// These, distinct; rows of the same ids are replaced.
    Upsert(&'a [i64]),
    /// These strings, distinct and new; integers stand for them inside, in the order of adding.
    NewNames(&'a [&'a str]),
    /// These strings, distinct; rows of the same ids are replaced.
    UpsertNames(&'a [&'a str]),
}

#[derive(Debug, Clone)]
pub(crate) struct Ids {
    /// By number; rows that are gone keep theirs until they are dropped.
    ids: Array<i64>,
    /// The largest id ever given, −1 without any.
    largest: i64,
    /// Whether ids ascend: halving then finds them, and no table is needed.
    ascending: bool,
    pub(crate) gone: Gone,
    /// Numbers of rows by the hash of their ids, made when first needed: of every id the last row, which may be gone, so that removing
    /// one is a lookup and a bit.
    table: OnceLock<HashTable<usize>>,
    hasher: RandomState,
    /// The strings that the ids stand for.
    names: Option<Names>,
}

/// Checked ids of new rows, and the rows that they replace.
pub(crate) struct Checked<'a> {
    pub(crate) ids: Vec<i64>,
    names: Option<&'a [&'a str]>,
    pub(crate) replaced: Vec<usize>,
}

impl Ids {
    pub(crate) fn new() -> Self {
        let (table, hasher) = (OnceLock::new(), RandomState::new());
        Self { ids: Array::default(), largest: -1, ascending: true, gone: Gone::default(), table, hasher, names: None }
    }

    /// Ids by number, of rows that are gone, too.
    pub(crate) fn all(&self) -> &[i64] {
        &self.ids
    }

    /// Compares ids that are in a mapped file with checksums, if that has not been done.
    pub(crate) fn check_all(&self) -> Result<()> {
        self.ids.check_all()?;
        self.names.iter().try_for_each(Names::check)
    }

    /// Refuses string ids that stand twice; `later` leaves that to a later call where they are in a mapped file.
    pub(crate) fn check_distinct(&self, later: bool) -> Result<()> {
        let names = self.names.iter().filter(|names| !(later && names.is_mapped()));
        names.into_iter().try_for_each(|names| names.check_distinct(&self.gone))
    }

    /// Takes ids of a file, those of its chunks one after the other, compared if there are several; [`loaded`](Self::loaded) follows.
    pub(crate) fn load(&mut self, ids: Array<i64>, names: Option<Names>) {
        self.gone.grow(ids.len());
        self.table.take();
        match (&mut self.names, names) {
            (Some(own), Some(new)) => own.extend(&new),
            (own, new) => *own = new,
        }
        if self.ids.is_empty() {
            self.ids = ids;
        } else {
            self.ids.to_mut().extend_from_slice(&ids);
        }
    }

    /// Notes what a file says of its ids; unless they stay there and are 0, 1, 2 … they are looked at.
    pub(crate) fn loaded(&mut self, largest: i64, in_order: bool, named: bool) -> Result<()> {
        self.largest = largest;
        if named {
            self.names.get_or_insert_default();
        }
        if !(self.ids.is_mapped() && in_order && self.in_order()) {
            self.ids.check_all()?;
            self.ascending = self.ids.is_sorted_by(|a, b| a < b);
        }
        Ok(())
    }

    /// Whether ids are 0, 1, 2 …: as many as the largest says, ascending.
    pub(crate) fn in_order(&self) -> bool {
        self.ascending && self.largest.checked_add(1) == i64::try_from(self.ids.len()).ok()
    }

    /// The largest id that ever was there, −1 without any.
    pub(crate) fn largest(&self) -> i64 {
        self.largest
    }

    /// Refuses ids of another index that this one has, or that are of another kind. Compares both with checksums.
    pub(super) fn check_join(&self, other: &Self) -> Result<()> {
        self.check_all()?;
        other.check_all()?;
        if self.largest >= 0 && other.largest >= 0 && self.names.is_some() != other.names.is_some() {
            let kinds = ["integers, as those of the index's rows are", "strings, as those of the index's rows are"];
            let got = if self.names.is_some() { "integers" } else { "strings" };
            return Err(Error::argument("ids", kinds[usize::from(self.names.is_some())], got));
        }
        for number in other.gone.iter_live() {
            if let Some(names) = &other.names {
                let name = names.get(number);
                if self.number_of_name(name).is_some() {
                    return Err(Error::DuplicateName { name: name.to_owned() });
                }
            } else if other.ids[number] <= self.largest && self.number(other.ids[number]).is_some() {
                return Err(Error::DuplicateId { id: other.ids[number] });
            }
        }
        Ok(())
    }

    /// Takes the ids of another index behind its own; [`check_join`](Self::check_join) allowed it.
    pub(super) fn join(&mut self, other: &Self) {
        let first = self.ids.len();
        // Integers that stand for strings go on in the order of adding.
        let shift = if other.names.is_some() { self.largest.saturating_add(1) } else { 0 };
        self.ids.to_mut().extend(other.ids.iter().map(|id| id.saturating_add(shift)));
        self.largest = self.largest.max(other.largest.saturating_add(shift));
        if let Some(names) = &other.names {
            self.names.get_or_insert_default().extend(names);
        }
        self.gone.grow(other.ids.len());
        for row in other.gone.since(&Gone::default()) {
            self.gone.insert(first + row as usize);
        }
        self.table.take();
        self.ascending = self.ids.is_sorted_by(|a, b| a < b);
    }

    /// Notes that ids up to this one were given elsewhere.
    pub(crate) fn given(&mut self, largest: i64) {
        self.largest = self.largest.max(largest);
    }

    pub(crate) fn mapped_nbytes(&self) -> usize {
        let names = self.names.as_ref().filter(|names| names.is_mapped()).map_or(0, Names::nbytes);
        names + if self.ids.is_mapped() { self.ids.nbytes() } else { 0 }
    }

    pub(crate) fn names(&self) -> Option<&Names> {
        self.names.as_ref()
    }

    /// The number of the row of an id.
    pub(crate) fn number(&self, id: i64) -> Option<usize> {
        if self.ascending {
            let guess = usize::try_from(id).ok()?;
            let found = if self.ids.get(guess) == Some(&id) { guess } else { self.ids.binary_search(&id).ok()? };
            return Some(found).filter(|&number| !self.gone.holds(number));
        }
        let found = self.table().find(self.hasher.hash_one(id), |&number| self.ids[number] == id);
        found.copied().filter(|&number| !self.gone.holds(number))
    }

    /// The number of the row of a string id.
    pub(crate) fn number_of_name(&self, name: &str) -> Option<usize> {
        self.names.as_ref()?.number(name, &self.gone)
    }

    /// Checks ids for `rows` new rows, or makes them.
    pub(crate) fn check<'a>(&self, rows: usize, ids: RowIds<'a>) -> Result<Checked<'a>> {
        // What is in a mapped file is compared before it is copied, too, which new ids ask for.
        self.check_all()?;
        let given = match ids {
            RowIds::Assigned => None,
            RowIds::New(ids) | RowIds::Upsert(ids) => Some(ids.len()),
            RowIds::NewNames(names) | RowIds::UpsertNames(names) => Some(names.len()),
        };
        if let Some(given) = given.filter(|&given| given != rows) {
            return Err(Error::argument("ids", format!("one a row ({rows})"), given));
        }
        let named = matches!(ids, RowIds::NewNames(_) | RowIds::UpsertNames(_));
        if rows > 0 && self.largest >= 0 && named != self.names.is_some() {
            let kinds = ["integers, as those of the index's rows are", "strings, as those of the index's rows are"];
            let (expected, got) = if named { (kinds[0], "strings") } else { (kinds[1], "integers") };
            return Err(Error::argument("ids", expected, if given.is_some() { got } else { "none" }));
        }
        match ids {
            RowIds::Assigned => Ok(Checked { ids: self.next(rows)?, names: None, replaced: Vec::new() }),
            RowIds::New(ids) => self.check_integers(ids, false),
            RowIds::Upsert(ids) => self.check_integers(ids, true),
            RowIds::NewNames(names) => self.check_names(names, false),
            RowIds::UpsertNames(names) => self.check_names(names, true),
        }
    }

    fn next(&self, rows: usize) -> Result<Vec<i64>> {
        let next = self.largest.checked_add(1);
        match next.and_then(|next| Some(next..next.checked_add(rows as i64)?)) {
            Some(new) => Ok(new.collect()),
            None => Err(Error::argument("ids", "given, since the largest id is in use", "none")),
        }
    }

    fn check_integers<'a>(&self, ids: &[i64], replace: bool) -> Result<Checked<'a>> {
        let ascending = ids.is_sorted_by(|a, b| a < b);
        let (mut seen, mut replaced) = (HashSet::new(), Vec::new());
        for &id in ids {
            if id < 0 {
                return Err(Error::argument("ids", "at least 0 (−1 marks empty places)", id));
            }
            let old = if id > self.largest { None } else { self.number(id) };
            if !ascending && !seen.insert(id) || old.is_some() && !replace {
                return Err(Error::DuplicateId { id });
            }
            replaced.extend(old);
        }
        Ok(Checked { ids: ids.to_vec(), names: None, replaced })
    }

    fn check_names<'a>(&self, names: &'a [&'a str], replace: bool) -> Result<Checked<'a>> {
        let (mut seen, mut replaced) = (HashSet::with_capacity(names.len()), Vec::new());
        for &name in names {
            let old = self.number_of_name(name);
            if !seen.insert(name) || old.is_some() && !replace {
                return Err(Error::DuplicateName { name: name.to_owned() });
            }
            replaced.extend(old);
        }
        Ok(Checked { ids: self.next(names.len())?, names: Some(names), replaced })
    }

    /// Takes the ids of rows that have been appended; those that they replace have been removed.
    pub(crate) fn take(&mut self, new: &Checked<'_>) {
        let first = self.ids.len();
        self.ascending = self.ascending
            && new.ids.first().is_none_or(|first| self.ids.last().is_none_or(|last| last < first))
            && new.ids.is_sorted_by(|a, b| a < b);
        self.ids.to_mut().extend_from_slice(&new.ids);
        self.largest = new.ids.iter().fold(self.largest, |largest, &id| largest.max(id));
        if let Some(table) = self.table.get_mut() {
            (first..self.ids.len()).for_each(|number| note(table, &self.hasher, &self.ids, number));
        }
        if let Some(names) = new.names.filter(|names| !names.is_empty()) {
            self.names.get_or_insert_default().push(names);
        }
        self.gone.grow(new.ids.len());
    }

    /// Lets rows go, by number. A number may stand twice.
    pub(crate) fn remove(&mut self, numbers: &[usize]) {
        for &number in numbers {
            if !self.gone.insert(number) {
                continue;
            }
            if let Some(names) = &mut self.names {
                names.forget(number);
            }
        }
    }

    /// Drops the rows that are gone: the others get new numbers, in the same order.
    pub(crate) fn compact(&mut self) {
        super::gone::retain(&mut self.ids, 1, |number| !self.gone.holds(number));
        let ranks = self.gone.ranks();
        self.ascending = self.ids.is_sorted_by(|a, b| a < b);
        if self.ascending {
            self.table.take();
        }
        if let Some(table) = self.table.get_mut() {
            table.retain(|number| !self.gone.holds(*number));
            table.iter_mut().for_each(|number| *number = ranks.of(*number));
        }
        if let Some(names) = &mut self.names {
            names.compact(&self.gone);
        }
        self.gone.compact();
    }

    /// Bytes of ids, of rows that are gone, and of strings.
    pub(crate) fn nbytes(&self) -> usize {
        self.ids.nbytes() + self.gone.nbytes() + self.names.as_ref().map_or(0, Names::nbytes)
    }

    /// Bytes of the way back from ids to rows, as far as it is made.
    pub(crate) fn table_nbytes(&self) -> usize {
        let names = self.names.as_ref().map_or(0, Names::table_nbytes);
        names + self.table.get().map_or(0, HashTable::allocation_size)
    }

    fn table(&self) -> &HashTable<usize> {
        self.table.get_or_init(|| {
            let mut table = HashTable::with_capacity(self.gone.live());
            self.gone.iter_live().for_each(|number| note(&mut table, &self.hasher, &self.ids, number));
            table
        })
    }
}

/// Notes that a row, by number, is the last of its id.
fn note(table: &mut HashTable<usize>, hasher: &RandomState, ids: &[i64], number: usize) {
    let id = ids[number];
    match table.entry(hasher.hash_one(id), |&other| ids[other] == id, |&other| hasher.hash_one(ids[other])) {
        Entry::Occupied(mut entry) => *entry.get_mut() = number,
        Entry::Vacant(entry) => drop(entry.insert(number)),
    }
}
