//! Look-ups served from memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashserv_storage::{TaskKey, Unihash};

use crate::table::Table;

/// How many methods are told apart; hashes of further ones are not cached. BitBake has a handful.
const MAX_METHODS: usize = 256;
/// How many entries are added before those who look up have their turn again.
const ADDED_TOGETHER: usize = 64;

/// Remembers which unihash tasks have, and which unihashes exist.
///
/// A pair never changes while it is stored, so a hit can be trusted until something is removed; then all is
/// forgotten. Only what was read from the database is remembered, and never that something is missing.
///
/// Only hashes of 64 lower-case hex digits are kept, 32 bytes each. Others are rare, and looked up.
#[derive(Debug)]
pub(crate) struct LookupCache {
    /// None remembers nothing.
    memory: Option<RwLock<Memory>>,
}

#[derive(Debug)]
struct Memory {
    unihashes: Table<Key, Digest>,
    existing: Table<Digest, ()>,
    /// Counts how often all was dropped.
    epoch: Epoch,
    /// How many removals are under way.
    removals: usize,
    methods: HashMap<Box<str>, u16>,
}

/// When something was read from the database: entries may be added only while it is current, so that none that was
/// read before a removal is added after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    method: u16,
    taskhash: Digest,
}

/// The 32 bytes of a hash of 64 lower-case hex digits.
type Digest = [u8; 32];

/// Keeps anything from being remembered until a removal has ended, however it ended.
#[derive(Debug)]
pub(crate) struct Removal(Arc<LookupCache>);

impl LookupCache {
    /// A cache of at most so many tasks and as many unihashes; 0 remembers nothing.
    pub(crate) fn new(entries: usize) -> Self {
        LookupCache { memory: (entries > 0).then(|| RwLock::new(Memory::new(entries))) }
    }

    /// Whether no more tasks can be added without others being forgotten.
    pub(crate) fn is_full(&self) -> bool {
        self.read().is_none_or(|memory| memory.unihashes.is_full())
    }

    /// What is known of each task.
    pub(crate) fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Option<Unihash>> {
        let Some(memory) = self.read() else { return vec![None; keys.len()] };
        let mut methods = MethodMemo::new(&memory.methods);
        let mut found = Vec::with_capacity(keys.len());
        let asked = keys.iter().map(|key| cache_key(*key, &mut methods));
        memory.unihashes.get_all(asked, |hit| found.push(hit.map(Unihash::from)));
        found
    }

    /// Whether each unihash is known to exist.
    pub(crate) fn existence(&self, unihashes: &[Unihash]) -> Vec<bool> {
        let Some(memory) = self.read() else { return vec![false; unihashes.len()] };
        let mut found = Vec::with_capacity(unihashes.len());
        let asked = unihashes.iter().map(|unihash| unihash.digest().copied());
        memory.existing.get_all(asked, |hit| found.push(hit.is_some()));
        found
    }

    /// When a read from the database begins.
    pub(crate) fn epoch(&self) -> Epoch {
        self.read().map(|memory| memory.epoch).unwrap_or_default()
    }

    /// Adds unihashes that were read from the database since `epoch`.
    pub(crate) fn add_unihashes<'a>(
        &self,
        epoch: Epoch,
        entries: impl Iterator<Item = (TaskKey<'a>, &'a Unihash)>,
    ) {
        self.add(epoch, entries, |memory, (key, unihash)| {
            if let (Some(key), Some(digest)) = (memory.key_to_add(key), unihash.digest()) {
                memory.unihashes.insert(key, *digest);
            }
        });
    }

    /// Adds unihashes that were found in the database since `epoch`.
    pub(crate) fn add_existing<'a>(&self, epoch: Epoch, unihashes: impl Iterator<Item = &'a Unihash>) {
        self.add(epoch, unihashes.filter_map(Unihash::digest), |memory, digest| {
            memory.existing.insert(*digest, ());
        });
    }

    /// Begins a removal from the database: nothing is remembered until the value is dropped.
    ///
    /// A large removal commits part after part. An entry that was still read in between might be gone with the next.
    pub(crate) fn removal(self: &Arc<Self>) -> Removal {
        self.forget_all(|removals| removals + 1);
        Removal(self.clone())
    }

    /// Drops all entries, and those that are being read.
    pub(crate) fn clear(&self) {
        self.forget_all(|removals| removals);
    }

    fn forget_all(&self, removals: impl FnOnce(usize) -> usize) {
        let forgotten = self.write().map(|mut memory| {
            memory.removals = removals(memory.removals);
            memory.forget_all()
        });
        // Much memory takes long to be freed; nobody waits for the lock meanwhile.
        drop(forgotten);
    }

    fn add<T>(&self, epoch: Epoch, items: impl Iterator<Item = T>, insert: impl Fn(&mut Memory, T)) {
        let mut items = items.peekable();
        while items.peek().is_some() {
            match self.write() {
                Some(mut memory) if memory.epoch == epoch && memory.removals == 0 => {
                    items.by_ref().take(ADDED_TOGETHER).for_each(|item| insert(&mut memory, item));
                }
                _ => return,
            }
        }
    }

    fn read(&self) -> Option<RwLockReadGuard<'_, Memory>> {
        Some(self.memory.as_ref()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Option<RwLockWriteGuard<'_, Memory>> {
        Some(self.memory.as_ref()?.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.0.forget_all(|removals| removals - 1);
    }
}

impl Memory {
    fn new(entries: usize) -> Self {
        Memory {
            unihashes: Table::new(entries),
            existing: Table::new(entries),
            epoch: Epoch::default(),
            removals: 0,
            methods: HashMap::new(),
        }
    }

    /// Begins anew; gives what was remembered.
    fn forget_all(&mut self) -> Self {
        let anew = Memory {
            unihashes: self.unihashes.emptied(),
            existing: self.existing.emptied(),
            epoch: Epoch(self.epoch.0 + 1),
            removals: self.removals,
            methods: HashMap::new(),
        };
        std::mem::replace(self, anew)
    }

    /// The key of a task that is in the database; its method is given a number, if there is one left.
    fn key_to_add(&mut self, key: TaskKey<'_>) -> Option<Key> {
        if !self.methods.contains_key(key.method) && self.methods.len() < MAX_METHODS {
            let number = u16::try_from(self.methods.len()).ok()?;
            self.methods.insert(key.method.into(), number);
        }
        cache_key(key, &mut MethodMemo::new(&self.methods))
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

fn digest(hash: &str) -> Option<Digest> {
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
        cache.unihashes(&[key(taskhash)])[0].as_ref().map(ToString::to_string)
    }

    fn add(cache: &LookupCache, epoch: Epoch, taskhash: &str, unihash: &str) {
        let unihash = Unihash::from_stored(unihash);
        cache.add_unihashes(epoch, [(key(taskhash), &unihash)].into_iter());
        cache.add_existing(epoch, [&unihash].into_iter());
    }

    fn exists(cache: &LookupCache, unihash: &str) -> bool {
        cache.existence(&[Unihash::from_stored(unihash)])[0]
    }

    #[test]
    fn what_was_added_is_found_until_something_is_removed() {
        let cache = Arc::new(LookupCache::new(100));
        add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        assert_eq!(look_up(&cache, &hash("a")), Some(hash("b")));
        assert!(exists(&cache, &hash("b")));
        assert_eq!(look_up(&cache, &hash("c")), None);
        drop(cache.removal());
        assert_eq!(look_up(&cache, &hash("a")), None);
        assert!(!exists(&cache, &hash("b")));
    }

    #[test]
    fn what_was_read_before_a_removal_is_not_added_after_it() {
        let cache = Arc::new(LookupCache::new(100));
        let epoch = cache.epoch();
        drop(cache.removal());
        add(&cache, epoch, &hash("a"), &hash("b"));
        assert_eq!(look_up(&cache, &hash("a")), None);
        assert!(!exists(&cache, &hash("b")));
    }

    #[test]
    fn nothing_is_remembered_in_the_middle_of_removals() {
        let cache = Arc::new(LookupCache::new(100));
        let add_now = || add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        add_now();
        let (one, other) = (cache.removal(), cache.removal());
        assert!(look_up(&cache, &hash("a")).is_none() && !exists(&cache, &hash("b")));
        for removal in [one, other] {
            add_now();
            assert!(look_up(&cache, &hash("a")).is_none() && !exists(&cache, &hash("b")));
            drop(removal);
        }
        add_now();
        assert!(look_up(&cache, &hash("a")).is_some() && exists(&cache, &hash("b")));
    }

    #[test]
    fn methods_are_told_apart() {
        let cache = LookupCache::new(100);
        add(&cache, cache.epoch(), &hash("a"), &hash("b"));
        let taskhash = hash("a");
        let keys = [TaskKey { method: "other", taskhash: &taskhash }, key(&taskhash)];
        assert_eq!(cache.unihashes(&keys), [None, Some(Unihash::from_stored(&hash("b")))]);
    }

    #[test]
    fn of_many_each_has_its_own_answer() {
        let cache = LookupCache::new(1000);
        let taskhashes: Vec<String> = (0..100).map(|number| format!("{number:064x}")).collect();
        let unihashes: Vec<Unihash> = taskhashes.iter().map(|hash| Unihash::from_stored(hash)).collect();
        let keys: Vec<TaskKey<'_>> = taskhashes.iter().map(|taskhash| key(taskhash)).collect();
        let added = || keys.iter().copied().zip(&unihashes).step_by(3);
        cache.add_unihashes(cache.epoch(), added());
        cache.add_existing(cache.epoch(), added().map(|(_, unihash)| unihash));
        for (number, hit) in cache.unihashes(&keys).iter().enumerate() {
            assert_eq!(hit.as_ref(), (number % 3 == 0).then_some(&unihashes[number]));
        }
        assert_eq!(cache.existence(&unihashes), (0..100).map(|number| number % 3 == 0).collect::<Vec<_>>());
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
        assert!(!exists(&cache, &hash("b")));
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
        let known = |method| cache.unihashes(&[TaskKey { method, taskhash: &taskhash }]) != [None];
        assert!(names.iter().filter(|method| known(method)).count() <= 10);
        assert_eq!(cache.read().unwrap().methods.len(), MAX_METHODS);
        cache.clear();
        add(&cache, cache.epoch(), &taskhash, &hash("b"));
        assert!(look_up(&cache, &taskhash).is_some(), "methods whose entries are forgotten make room");
    }
}
