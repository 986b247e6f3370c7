//! A bounded table in memory, made for looking up many keys at once.
//!
//! Where the table is larger than the processor's caches, a look-up waits for the main memory: for the index of the
//! entry, and then for the entry. A processor waits for dozens of such reads at the same time, but only if few
//! instructions and no lock lie between them. So keys are looked up together: first all indexes are fetched, then
//! searched, then all entries are read; and a lock, where there is one, is held once for all.

mod index;

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::quality::RandomState;

use self::index::Index;

/// How many keys are looked up together, at most.
const TOGETHER: usize = 32;

/// In how many parts a large table is divided: each grows by itself, and so nobody has to wait long for it.
const PARTS: usize = 64;
/// How many entries make a part worth it.
const PART_ENTRIES: usize = 1024;

/// Keeps at most so many values; for a further one another is dropped, that was not looked up lately.
#[derive(Debug)]
pub(crate) struct Table<K, V, S = RandomState> {
    parts: Box<[Part<K, V>]>,
    /// How many entries each part may have.
    part_capacity: usize,
    hasher: S,
}

#[derive(Debug)]
struct Part<K, V> {
    index: Index,
    entries: Vec<Entry<K, V>>,
    /// Which entry is the next to be dropped, unless it was used.
    hand: usize,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    /// Whether it was looked up since the hand passed.
    used: AtomicBool,
}

impl<K: Copy + Eq + Hash, V: Copy> Table<K, V> {
    /// An empty table for so many entries, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Table::with_hasher(capacity, RandomState::default())
    }
}

impl<K: Copy + Eq + Hash, V: Copy, S: BuildHasher> Table<K, V, S> {
    fn with_hasher(capacity: usize, hasher: S) -> Self {
        let parts = (capacity / PART_ENTRIES).clamp(1, PARTS);
        Table {
            parts: (0..parts).map(|_| Part::default()).collect(),
            part_capacity: (capacity / parts).clamp(1, u32::MAX as usize),
            hasher,
        }
    }

    /// Whether something may have to be dropped for what is added.
    pub(crate) fn is_full(&self) -> bool {
        self.parts.iter().any(|part| part.entries.len() >= self.part_capacity)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: K) -> Option<V> {
        let mut value = None;
        self.get_all([Some(key)], |found| value = found);
        value
    }

    /// Hands the values of all keys to `found`, in their order; there is none for no key.
    pub(crate) fn get_all(
        &self,
        keys: impl IntoIterator<Item = Option<K>>,
        mut found: impl FnMut(Option<V>),
    ) {
        let mut keys = keys.into_iter().peekable();
        while keys.peek().is_some() {
            let mut asked = [None; TOGETHER];
            let mut count = 0;
            for (asked, key) in asked.iter_mut().zip(&mut keys) {
                *asked = key;
                count += 1;
            }
            self.get_together(&asked[..count], &mut found);
        }
    }

    /// As [`get_all`](Self::get_all), for [`TOGETHER`] keys at most.
    fn get_together(&self, keys: &[Option<K>], found: &mut impl FnMut(Option<V>)) {
        let mut hashes = [0; TOGETHER];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = key.map_or(0, |key| self.hasher.hash_one(key));
        }
        self.touch(&hashes[..keys.len()]);
        let mut indexes = [None; TOGETHER];
        for ((index, hash), _) in indexes.iter_mut().zip(hashes).zip(keys) {
            *index = self.part(hash).likely(hash);
        }
        for ((key, hash), index) in keys.iter().zip(hashes).zip(indexes) {
            found(key.and_then(|key| self.part(hash).use_value(key, hash, index)));
        }
    }

    /// Makes the processor fetch what tells the indexes: nothing depends on what is read, so it waits for all at once.
    fn touch(&self, hashes: &[u64]) {
        let parts = hashes.iter().map(|hash| self.part(*hash).index.touch(*hash));
        std::hint::black_box(parts.fold(0, |all, part| all ^ part));
    }

    /// Adds a key, or gives it another value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(key);
        let part = &mut self.parts[part_number(hash, self.parts.len())];
        if let Some(index) = part.find(key, hash) {
            part.entries[index as usize].value = value;
            return;
        }
        let entry = Entry { key, value, used: AtomicBool::new(false) };
        if part.entries.len() < self.part_capacity {
            part.push(entry, hash);
        } else {
            part.replace(entry, hash, |key| self.hasher.hash_one(key));
        }
    }

    /// A table like this one, but empty.
    pub(crate) fn emptied(&self) -> Self
    where
        S: Clone,
    {
        Table {
            parts: self.parts.iter().map(|_| Part::default()).collect(),
            part_capacity: self.part_capacity,
            hasher: self.hasher.clone(),
        }
    }

    fn part(&self, hash: u64) -> &Part<K, V> {
        &self.parts[part_number(hash, self.parts.len())]
    }
}

impl<K: Copy + Eq, V: Copy> Part<K, V> {
    /// The index of an entry that has the same half of the hash; no entry is read.
    fn likely(&self, hash: u64) -> Option<u32> {
        self.index.find(hash, |_| true)
    }

    /// The value of a key: but for one time in millions it is that of the likely entry.
    fn use_value(&self, key: K, hash: u64, likely: Option<u32>) -> Option<V> {
        let mut entry = &self.entries[likely? as usize];
        if entry.key != key {
            entry = &self.entries[self.find(key, hash)? as usize];
        }
        entry.mark_used();
        Some(entry.value)
    }

    fn find(&self, key: K, hash: u64) -> Option<u32> {
        let is_at = |index| self.entries[index as usize].key == key;
        self.index.find(hash, is_at)
    }

    fn push(&mut self, entry: Entry<K, V>, hash: u64) {
        // The capacity of a part keeps an index within 32 bits.
        self.index.insert(hash, self.entries.len() as u32);
        self.entries.push(entry);
    }

    /// Puts the entry where the first is that was not used since the hand passed it; all that it passes may be dropped
    /// the next time.
    fn replace(&mut self, entry: Entry<K, V>, hash: u64, hash_of: impl Fn(K) -> u64) {
        while std::mem::take(self.entries[self.hand].used.get_mut()) {
            self.advance();
        }
        let index = self.hand;
        self.advance();
        let dropped = hash_of(self.entries[index].key);
        self.index.remove(dropped, index as u32);
        self.index.insert(hash, index as u32);
        self.entries[index] = entry;
    }

    fn advance(&mut self) {
        self.hand = (self.hand + 1) % self.entries.len();
    }
}

impl<K, V> Default for Part<K, V> {
    fn default() -> Self {
        Part { index: Index::default(), entries: Vec::new(), hand: 0 }
    }
}

impl<K, V> Entry<K, V> {
    fn mark_used(&self) {
        // A write only where it is needed: others look at the same entry.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

/// The upper half of a hash tells the part, and the lower the bucket in its index.
fn part_number(hash: u64, parts: usize) -> usize {
    (((hash >> 32) * parts as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    /// Gives all keys the same hash.
    #[derive(Clone, Default)]
    struct Same;

    impl BuildHasher for Same {
        type Hasher = Same;

        fn build_hasher(&self) -> Same {
            Same
        }
    }

    impl Hasher for Same {
        fn finish(&self) -> u64 {
            7
        }

        fn write(&mut self, _: &[u8]) {}
    }

    fn count<S: BuildHasher>(table: &Table<usize, usize, S>, keys: std::ops::Range<usize>) -> usize {
        keys.filter(|key| table.get(*key).is_some()).count()
    }

    #[test]
    fn each_key_has_its_value_also_in_many_parts() {
        let mut table = Table::new(200_000);
        (0..100_000).for_each(|key| table.insert(key, key + 1));
        assert!((0..100_000).all(|key| table.get(key) == Some(key + 1)));
        assert_eq!(table.get(100_000), None);
    }

    #[test]
    fn keys_looked_up_together_have_their_values_in_order() {
        let mut table = Table::new(10);
        table.insert(1, 10);
        table.insert(2, 20);
        let mut found = Vec::new();
        table.get_all([Some(2), None, Some(3), Some(1)], |value| found.push(value));
        assert_eq!(found, [Some(20), None, None, Some(10)]);
    }

    #[test]
    fn keys_of_the_same_hash_are_told_apart() {
        let mut table = Table::with_hasher(3, Same);
        (0..5).for_each(|key| table.insert(key, key));
        assert_eq!(count(&table, 0..5), 3);
        assert!((2..5).all(|key| table.get(key) == Some(key)));
    }

    #[test]
    fn a_key_may_be_given_another_value() {
        let mut table = Table::new(2);
        table.insert(1, 10);
        table.insert(1, 11);
        assert_eq!(table.get(1), Some(11));
        assert!(!table.is_full());
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        for capacity in [1, 7, 5000, 100_000] {
            let mut table = Table::new(capacity);
            (0..3 * capacity).for_each(|key| table.insert(key, ()));
            assert!(table.is_full());
            let entries: usize = table.parts.iter().map(|part| part.entries.len()).sum();
            let indexes: usize = table.parts.iter().map(|part| part.index.len()).sum();
            assert!(entries <= capacity, "{entries} of {capacity}");
            assert_eq!(entries, indexes);
        }
    }

    #[test]
    fn what_is_used_stays_longer() {
        let mut table = Table::new(100);
        (0..100).for_each(|key| table.insert(key, key));
        assert_eq!(count(&table, 0..50), 50);
        (100..150).for_each(|key| table.insert(key, key));
        assert_eq!(count(&table, 0..50), 50);
        assert_eq!(count(&table, 50..100), 0);
    }

    #[test]
    fn an_emptied_table_has_room_for_as_much() {
        let mut table = Table::new(10_000);
        (0..5_000).for_each(|key| table.insert(key, key));
        let mut table = table.emptied();
        assert_eq!(count(&table, 0..5_000), 0);
        (0..5_000).for_each(|key| table.insert(key, key));
        assert_eq!(count(&table, 0..5_000), 5_000);
    }
}
