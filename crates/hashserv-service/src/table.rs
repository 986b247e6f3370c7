//! A bounded table in memory, made for looking up many keys at once.
//!
//! Where the table is larger than the processor's caches, a look-up waits for the main memory: for the place of the
//! key, and then for its entry. A processor waits for some ten such reads at the same time, but only if few
//! instructions and no lock lie between them. So keys are looked up together: first the hashes of all, then the places
//! of all, then the entries of all; and a lock, where there is one, is held once for all of them.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{DefaultHashBuilder, HashTable};

/// How many keys are looked up together, at most.
const TOGETHER: usize = 32;

/// In how many parts a large table is divided: each grows by itself, and so nobody has to wait long for it.
const PARTS: usize = 64;
/// How many entries make a part worth it.
const PART_ENTRIES: usize = 1024;

/// Keeps at most so many values; for a further one another is dropped, that was not looked up lately.
#[derive(Debug)]
pub(crate) struct Table<K, V, S = DefaultHashBuilder> {
    parts: Box<[Part<K, V>]>,
    /// How many entries each part may have.
    part_capacity: usize,
    hasher: S,
}

#[derive(Debug)]
struct Part<K, V> {
    places: HashTable<Place>,
    entries: Vec<Entry<K, V>>,
    /// Which entry is the next to be dropped, unless it was used.
    hand: usize,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The lower half of the key's hash: it tells nearly always whether the entry is the right one, without touching it.
    hash: u32,
    index: u32,
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
        Table::with_hasher(capacity, DefaultHashBuilder::default())
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
        let mut places = [None; TOGETHER];
        for ((place, hash), _) in places.iter_mut().zip(hashes).zip(keys) {
            *place = self.part(hash).likely_place(hash);
        }
        for ((key, hash), place) in keys.iter().zip(hashes).zip(places) {
            let entry = key.zip(place).and_then(|(key, place)| self.part(hash).entry(key, hash, place));
            found(entry.map(Entry::use_value));
        }
    }

    /// Adds a key, or gives it another value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(key);
        let part = &mut self.parts[part_number(hash, self.parts.len())];
        if let Some(index) = part.find(key, hash) {
            part.entries[index].value = value;
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

impl<K: Copy + Eq, V> Part<K, V> {
    /// Where an entry is that has the same half of the hash; no entry is touched.
    fn likely_place(&self, hash: u64) -> Option<Place> {
        let hash = lower_half(hash);
        self.places.find(spread(hash), |place| place.hash == hash).copied()
    }

    /// The entry of the key, which is at the likely place but for one time in millions.
    fn entry(&self, key: K, hash: u64, likely: Place) -> Option<&Entry<K, V>> {
        let entry = &self.entries[likely.index as usize];
        if entry.key == key { Some(entry) } else { self.find(key, hash).map(|index| &self.entries[index]) }
    }

    fn find(&self, key: K, hash: u64) -> Option<usize> {
        let hash = lower_half(hash);
        let is_at = |place: &Place| place.hash == hash && self.entries[place.index as usize].key == key;
        self.places.find(spread(hash), is_at).map(|place| place.index as usize)
    }

    fn push(&mut self, entry: Entry<K, V>, hash: u64) {
        self.add_place(self.entries.len(), hash);
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
        let dropped = lower_half(hash_of(self.entries[index].key));
        if let Ok(place) = self.places.find_entry(spread(dropped), |place| place.index as usize == index) {
            place.remove();
        }
        self.add_place(index, hash);
        self.entries[index] = entry;
    }

    fn advance(&mut self) {
        self.hand = (self.hand + 1) % self.entries.len();
    }

    fn add_place(&mut self, index: usize, hash: u64) {
        let hash = lower_half(hash);
        // The capacity of a part keeps an index within 32 bits.
        let place = Place { hash, index: index as u32 };
        self.places.insert_unique(spread(hash), place, |place| spread(place.hash));
    }
}

impl<K, V> Default for Part<K, V> {
    fn default() -> Self {
        Part { places: HashTable::new(), entries: Vec::new(), hand: 0 }
    }
}

impl<K, V: Copy> Entry<K, V> {
    fn use_value(&self) -> V {
        // A write only where it is needed: others look at the same entry.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.value
    }
}

/// The upper half of a hash tells the part, and the lower the place in it.
fn part_number(hash: u64, parts: usize) -> usize {
    (((hash >> 32) * parts as u64) >> 32) as usize
}

fn lower_half(hash: u64) -> u32 {
    hash as u32
}

/// Makes 64 bits of 32, as the table uses the highest and the lowest ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
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
            let places: usize = table.parts.iter().map(|part| part.places.len()).sum();
            assert!(entries <= capacity, "{entries} of {capacity}");
            assert_eq!(entries, places);
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
