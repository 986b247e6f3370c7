//! Where the entries of a table are, by hash.
//!
//! Hashes are kept in buckets of eight, each a line of the processor's caches: a look-up waits for one line, and
//! compares its eight hashes at once. A hash whose bucket is full is in one of the next; the first bucket with a
//! vacant slot ends the search.

/// How many hashes a bucket has room for.
const WIDTH: usize = 8;

/// How many hashes come to a bucket, on average and at most. One in twenty is then in another than its own.
const MAX_MEAN: usize = 6;

/// What stands for the hash in a slot without one.
const VACANT: u32 = 0;

/// Tells the indexes of entries by the lower halves of their hashes.
#[derive(Debug, Default)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    hashes: [u32; WIDTH],
    indexes: [u32; WIDTH],
}

/// A place in a bucket.
#[derive(Clone, Copy)]
struct Slot {
    bucket: usize,
    number: usize,
}

impl Index {
    /// Something of the bucket in which a hash is searched for first; it may be any number.
    pub(super) fn touch(&self, hash: u64) -> u32 {
        self.buckets.get(self.home(kept(hash))).map_or(0, |bucket| bucket.hashes[0])
    }

    /// The index of an entry with this hash, of which `is_it` says that it is the right one.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let slot = self.slot(kept(hash), is_it)?;
        Some(self.buckets[slot.bucket].indexes[slot.number])
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the index of an entry.
    pub(super) fn insert(&mut self, hash: u64, index: u32) {
        if self.len >= self.buckets.len() * MAX_MEAN {
            self.grow();
        }
        self.put(kept(hash), index);
        self.len += 1;
    }

    /// Removes the index of an entry.
    pub(super) fn remove(&mut self, hash: u64, index: u32) {
        if let Some(slot) = self.slot(kept(hash), |candidate| candidate == index) {
            self.vacate(slot);
            self.len -= 1;
        }
    }

    fn slot(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<Slot> {
        let mut number = self.home(hash);
        loop {
            let bucket = self.buckets.get(number)?;
            if let Some(slot) = bucket.slots_with(hash).find(|slot| is_it(bucket.indexes[*slot])) {
                return Some(Slot { bucket: number, number: slot });
            }
            if !bucket.is_full() {
                return None;
            }
            number = self.after(number);
        }
    }

    /// Half as many buckets again: they are full to a half at least, but for the first.
    fn grow(&mut self) {
        let buckets = vec![Bucket::default(); self.buckets.len() * 3 / 2 + 1];
        let old = std::mem::replace(&mut self.buckets, buckets);
        for bucket in old {
            for (hash, index) in bucket.hashes.into_iter().zip(bucket.indexes) {
                if hash != VACANT {
                    self.put(hash, index);
                }
            }
        }
    }

    /// Puts a hash into the first bucket with a vacant slot.
    fn put(&mut self, hash: u32, index: u32) {
        let mut number = self.home(hash);
        loop {
            let bucket = &mut self.buckets[number];
            if let Some(slot) = bucket.slots_with(VACANT).next() {
                bucket.hashes[slot] = hash;
                bucket.indexes[slot] = index;
                return;
            }
            number = self.after(number);
        }
    }

    /// Empties a slot. If its bucket was full, there may be hashes in the next buckets that found no room in it. One of
    /// them takes the slot, as the search for it would end here otherwise; and so on with the slot that it leaves.
    fn vacate(&mut self, mut vacant: Slot) {
        let mut number = vacant.bucket;
        let mut was_full = self.buckets[number].is_full();
        self.buckets[number].hashes[vacant.number] = VACANT;
        while was_full {
            number = self.after(number);
            was_full = self.buckets[number].is_full();
            if let Some(slot) = self.displaced(vacant.bucket, number) {
                self.move_to(vacant, slot);
                vacant = slot;
            }
        }
    }

    /// A slot of a bucket whose hash is searched for in the earlier one first.
    fn displaced(&self, earlier: usize, number: usize) -> Option<Slot> {
        let buckets = self.buckets.len();
        let distance = |from: usize| (number + buckets - from) % buckets;
        let passed_by = |hash| hash != VACANT && distance(self.home(hash)) >= distance(earlier);
        let slot = self.buckets[number].hashes.iter().position(|hash| passed_by(*hash))?;
        Some(Slot { bucket: number, number: slot })
    }

    fn move_to(&mut self, vacant: Slot, slot: Slot) {
        let from = &mut self.buckets[slot.bucket];
        let hash = std::mem::replace(&mut from.hashes[slot.number], VACANT);
        let index = from.indexes[slot.number];
        let to = &mut self.buckets[vacant.bucket];
        to.hashes[vacant.number] = hash;
        to.indexes[vacant.number] = index;
    }

    /// The bucket in which a hash is searched for first.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 < self.buckets.len() { bucket + 1 } else { 0 }
    }
}

impl Bucket {
    /// The slots that have this hash.
    fn slots_with(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let bits = self.hashes.iter().enumerate().map(|(slot, other)| u8::from(*other == hash) << slot);
        let bits = bits.fold(0, |bits, bit| bits | bit);
        // Each time without the lowest bit.
        std::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
            .take_while(|bits| *bits != 0)
            .map(|bits| bits.trailing_zeros() as usize)
    }

    fn is_full(&self) -> bool {
        self.slots_with(VACANT).next().is_none()
    }
}

/// What is kept of a hash: its lower half, and never what stands for none.
fn kept(hash: u64) -> u32 {
    (hash as u32).max(VACANT + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Adds an index, or removes it if it is there.
    fn toggle(index: &mut Index, model: &mut HashMap<u32, u64>, entry: u32, hash: u64) {
        match model.remove(&entry) {
            Some(hash) => index.remove(hash, entry),
            None => {
                index.insert(hash, entry);
                model.insert(entry, hash);
            }
        }
    }

    fn check(index: &Index, model: &HashMap<u32, u64>) {
        let kept =
            index.buckets.iter().flat_map(|bucket| bucket.hashes).filter(|hash| *hash != VACANT).count();
        assert_eq!((kept, index.len), (model.len(), model.len()));
        for (entry, hash) in model {
            assert_eq!(index.find(*hash, |found| found == *entry), Some(*entry));
        }
    }

    proptest! {
        /// Hashes that are much alike, so that buckets are full and many hashes are in others.
        #[test]
        fn what_is_in_it_is_found(steps in prop::collection::vec((0..200_u32, 0..4_u64), 0..600)) {
            let (mut index, mut model) = (Index::default(), HashMap::new());
            for (entry, hash) in steps {
                toggle(&mut index, &mut model, entry, (hash << 30) | 1);
                check(&index, &model);
            }
        }
    }
}
