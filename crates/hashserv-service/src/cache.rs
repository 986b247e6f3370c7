//! Look-ups served from memory.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use hashserv_storage::{TaskKey, Unihash};
use quick_cache::sync::Cache;

/// How many methods are told apart; hashes of further ones are not cached. BitBake has a handful.
const MAX_METHODS: usize = 256;

/// Remembers which unihash tasks have, and which unihashes exist.
///
/// A pair never changes while it is stored, so a hit can be trusted until something is removed; then all is
/// forgotten. Only what was read from the database is remembered, and never that something is missing.
///
/// Only hashes of 64 lower-case hex digits are kept, 32 bytes each. Others are rare, and looked up.
#[derive(Debug)]
pub(crate) struct LookupCache {
    unihashes: Option<Cache<Key, [u8; 32]>>,
    existing: Option<Cache<[u8; 32], ()>>,
    /// Held to be read while entries are added, and to be written while all are dropped, so that no entry
    /// that was read before a removal is added after it.
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts how often all was dropped.
    epoch: Epoch,
    methods: HashMap<Box<str>, u16>,
}

/// When something was read from the database: entries may be added only while it is current.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    method: u16,
    taskhash: [u8; 32],
}

/// Drops all entries when a removal has ended, however it ended.
#[derive(Debug)]
pub(crate) struct Removal<'a>(&'a LookupCache);

impl LookupCache {
    /// A cache of at most so many tasks and as many unihashes; 0 remembers nothing.
    pub(crate) fn new(entries: usize) -> Self {
        LookupCache {
            unihashes: (entries > 0).then(|| Cache::new(entries)),
            existing: (entries > 0).then(|| Cache::new(entries)),
            state: RwLock::default(),
        }
    }

    /// Whether nothing more can be added without something else being forgotten.
    pub(crate) fn is_full(&self) -> bool {
        let has_room = |cache: &Cache<Key, [u8; 32]>| (cache.len() as u64) < cache.capacity();
        !self.unihashes.as_ref().is_some_and(has_room)
    }

    /// Appends what is known of each task to `found`, and tells which are not known, by their position.
    pub(crate) fn unihashes(&self, keys: &[TaskKey<'_>], found: &mut Vec<Option<Unihash>>) -> Vec<usize> {
        let Some(cache) = &self.unihashes else {
            found.resize(keys.len(), None);
            return (0..keys.len()).collect();
        };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut methods = MethodMemo::new(&state.methods);
        let mut missing = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            let hit = cache_key(*key, &mut methods).and_then(|key| cache.get(&key));
            if hit.is_none() {
                missing.push(position);
            }
            found.push(hit.map(Unihash::from));
        }
        missing
    }

    /// Whether the unihash is known to exist.
    pub(crate) fn exists(&self, unihash: &Unihash) -> bool {
        match (&self.existing, unihash.digest()) {
            (Some(cache), Some(digest)) => cache.get(digest).is_some(),
            _ => false,
        }
    }

    /// When a read from the database begins.
    pub(crate) fn epoch(&self) -> Epoch {
        self.state.read().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Adds unihashes that were read from the database since `epoch`.
    pub(crate) fn add_unihashes<'a>(
        &self,
        epoch: Epoch,
        entries: impl Iterator<Item = (TaskKey<'a>, &'a Unihash)>,
    ) {
        let Some(cache) = &self.unihashes else { return };
        for (key, unihash) in entries {
            self.add_method(key.method);
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.epoch != epoch {
                return;
            }
            let key = cache_key(key, &mut MethodMemo::new(&state.methods));
            if let (Some(key), Some(digest)) = (key, unihash.digest()) {
                cache.insert(key, *digest);
            }
        }
    }

    /// Adds unihashes that were found in the database since `epoch`.
    pub(crate) fn add_existing<'a>(&self, epoch: Epoch, unihashes: impl Iterator<Item = &'a Unihash>) {
        let Some(cache) = &self.existing else { return };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.epoch == epoch {
            for digest in unihashes.filter_map(Unihash::digest) {
                cache.insert(*digest, ());
            }
        }
    }

    /// Begins a removal from the database; all entries are dropped when the value is.
    pub(crate) fn removal(&self) -> Removal<'_> {
        Removal(self)
    }

    /// Drops all entries, and those that are being read.
    pub(crate) fn clear(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.epoch = Epoch(state.epoch.0 + 1);
        if let Some(cache) = &self.unihashes {
            cache.clear();
        }
        if let Some(cache) = &self.existing {
            cache.clear();
        }
    }

    /// Gives a method a number, if there is one left. Only methods that are in the database come here.
    fn add_method(&self, method: &str) {
        let known = self.state.read().unwrap_or_else(PoisonError::into_inner).methods.contains_key(method);
        if !known {
            let methods = &mut self.state.write().unwrap_or_else(PoisonError::into_inner).methods;
            if let Ok(number) = u16::try_from(methods.len())
                && methods.len() < MAX_METHODS
            {
                methods.entry(method.into()).or_insert(number);
            }
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Finds the numbers of methods, most of the time without looking: most batches have only one.
struct MethodMemo<'a> {
    methods: &'a HashMap<Box<str>, u16>,
    last: Option<(&'a str, u16)>,
}

impl<'a> MethodMemo<'a> {
    fn new(methods: &'a HashMap<Box<str>, u16>) -> Self {
        MethodMemo { methods, last: None }
    }

    fn number(&mut self, method: &str) -> Option<u16> {
        if let Some((last, number)) = self.last
            && last == method
        {
            return Some(number);
        }
        let (name, number) = self.methods.get_key_value(method)?;
        self.last = Some((name, *number));
        Some(*number)
    }
}

fn cache_key(key: TaskKey<'_>, methods: &mut MethodMemo<'_>) -> Option<Key> {
    Some(Key { method: methods.number(key.method)?, taskhash: digest(key.taskhash)? })
}

/// The 32 bytes of a hash of 64 lower-case hex digits.
fn digest(hash: &str) -> Option<[u8; 32]> {
    Unihash::parse(hash).ok().and_then(|hash| hash.digest().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> String {
        digit.repeat(64)
    }

    fn key<'a>(taskhash: &'a str) -> TaskKey<'a> {
        TaskKey { method: "m", taskhash }
    }

    fn look_up(cache: &LookupCache, taskhash: &str) -> Option<String> {
        let mut found = Vec::new();
        let missing = cache.unihashes(&[key(taskhash)], &mut found);
        assert_eq!(missing.len(), found.iter().filter(|hit| hit.is_none()).count());
        found[0].as_ref().map(ToString::to_string)
    }

    fn add(cache: &LookupCache, epoch: Epoch, taskhash: &str, unihash: &str) {
        let unihash = Unihash::from_stored(unihash);
        cache.add_unihashes(epoch, [(key(taskhash), &unihash)].into_iter());
        cache.add_existing(epoch, [&unihash].into_iter());
    }

    #[test]
    fn what_was_added_is_found_until_something_is_removed() {
        let cache = LookupCache::new(100);
        add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        assert_eq!(look_up(&cache, &hash("a")), Some(hash("b")));
        assert!(cache.exists(&Unihash::from_stored(&hash("b"))));
        assert_eq!(look_up(&cache, &hash("c")), None);
        drop(cache.removal());
        assert_eq!(look_up(&cache, &hash("a")), None);
        assert!(!cache.exists(&Unihash::from_stored(&hash("b"))));
    }

    #[test]
    fn what_was_read_before_a_removal_is_not_added_after_it() {
        let cache = LookupCache::new(100);
        let epoch = cache.epoch();
        drop(cache.removal());
        add(&cache, epoch, &hash("a"), &hash("b"));
        assert_eq!(look_up(&cache, &hash("a")), None);
        assert!(!cache.exists(&Unihash::from_stored(&hash("b"))));
    }

    #[test]
    fn methods_are_told_apart() {
        let cache = LookupCache::new(100);
        add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        let mut found = Vec::new();
        let taskhash = hash("a");
        let keys = [TaskKey { method: "other", taskhash: &taskhash }, key(&taskhash)];
        assert_eq!(cache.unihashes(&keys, &mut found), [0]);
        assert_eq!(found[1].as_ref().map(ToString::to_string), Some(hash("b")));
    }

    #[test]
    fn hashes_of_other_forms_are_not_kept() {
        let cache = LookupCache::new(100);
        add(&cache, cache.epoch(), "short", &hash("b"));
        add(&cache, cache.epoch(), &hash("a"), "old text");
        assert_eq!(look_up(&cache, "short"), None);
        assert_eq!(look_up(&cache, &hash("a")), None);
    }

    #[test]
    fn a_cache_of_no_entries_remembers_nothing() {
        let cache = LookupCache::new(0);
        add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        assert_eq!(look_up(&cache, &hash("a")), None);
        assert!(!cache.exists(&Unihash::from_stored(&hash("b"))));
    }

    #[test]
    fn the_number_of_entries_and_methods_is_bounded() {
        let cache = LookupCache::new(10);
        let unihash = Unihash::from([7; 32]);
        let names: Vec<String> = (0..2 * MAX_METHODS).map(|number| format!("m{number}")).collect();
        let taskhash = hash("a");
        for method in &names {
            let key = TaskKey { method, taskhash: &taskhash };
            cache.add_unihashes(cache.epoch(), [(key, &unihash)].into_iter());
        }
        assert!(cache.unihashes.as_ref().unwrap().len() <= 10);
        assert_eq!(cache.state.read().unwrap().methods.len(), MAX_METHODS);
    }
}
