//! The waves of look-ups with which a build begins.

use std::fmt;

/// How many keys each wave has.
pub(crate) struct Waves(Vec<usize>);

/// What was counted in a build of core-image-sato with an empty database.
const WAVES: usize = 173;
const TOTAL: usize = 5_315;
const LARGEST: usize = 673;
const NINETIETH: usize = 61;
const MEDIAN: usize = 11;
const SINGLE: usize = 22;

/// Waves with the figures of core-image-sato, the same each time.
pub(crate) fn core_image_sato() -> Waves {
    let sorted = sizes();
    // 61 and 173 have no common divisor, so that each size comes once.
    Waves((0..WAVES).map(|position| sorted[(position * NINETIETH + MEDIAN) % WAVES]).collect())
}

/// The sizes in ascending order: what lies between the counted figures grows steadily.
fn sizes() -> Vec<usize> {
    let (median, ninetieth) = (WAVES / 2, rank(WAVES, 90));
    let mut sizes = vec![1; SINGLE];
    sizes.extend((SINGLE..median).map(|rank| between(rank, (SINGLE, 2), (median, MEDIAN))));
    sizes.extend((median..ninetieth).map(|rank| between(rank, (median, MEDIAN), (ninetieth, NINETIETH))));
    let large = WAVES - 1 - ninetieth;
    let left = TOTAL - LARGEST - sizes.iter().sum::<usize>() - large * NINETIETH;
    let weights: usize = (0..large).map(|rank| rank * rank).sum();
    sizes.extend((0..large).map(|rank| NINETIETH + left * rank * rank / weights));
    let rest = TOTAL - LARGEST - sizes.iter().sum::<usize>();
    if let Some(last) = sizes.last_mut() {
        *last += rest;
    }
    sizes.push(LARGEST);
    sizes
}

fn between(rank: usize, (low, low_size): (usize, usize), (high, high_size): (usize, usize)) -> usize {
    low_size + (high_size - low_size) * (rank - low) / (high - low)
}

/// Where in a sorted list the percentile stands.
fn rank(count: usize, percent: usize) -> usize {
    (count * percent).div_ceil(100) - 1
}

impl Waves {
    pub(crate) fn sizes(&self) -> &[usize] {
        &self.0
    }

    pub(crate) fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

impl fmt::Display for Waves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        write!(
            f,
            "{} keys in {} waves: largest {}, 90th percentile {}, median {}, of one key {}",
            self.total(),
            sorted.len(),
            sorted[sorted.len() - 1],
            sorted[rank(sorted.len(), 90)],
            sorted[sorted.len() / 2],
            sorted.iter().filter(|size| **size == 1).count()
        )
    }
}
