//! Processor time that finished connections have used and not got back, for each network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::account::{MAX_USED_PROCESSOR_TIME, recovered};

/// Number of networks whose debts are remembered.
const MAX_NETWORKS: usize = 4096;

/// Debts of networks. They come back with time, as the allowance of a connection does.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<HashMap<IpAddr, Debt>>);

#[derive(Clone, Copy, Debug)]
struct Debt {
    used: Duration,
    at: Instant,
}

impl Debt {
    fn left(self, now: Instant) -> Duration {
        recovered(self.used, self.at, now)
    }
}

impl Debts {
    /// Returns what is left of the debt of a network.
    pub(super) fn of(&self, network: IpAddr, now: Instant) -> Duration {
        self.lock().get(&network).map(|debt| debt.left(now)).unwrap_or_default()
    }

    /// Adds what a connection of the network has used. Where too many networks have debts, those of further ones are
    /// forgiven.
    pub(super) fn add(&self, network: IpAddr, used: Duration, now: Instant) {
        let mut debts = self.lock();
        if debts.len() >= MAX_NETWORKS && !debts.contains_key(&network) {
            debts.retain(|_, debt| !debt.left(now).is_zero());
            if debts.len() >= MAX_NETWORKS {
                return;
            }
        }
        let debt = debts.entry(network).or_insert(Debt { used: Duration::ZERO, at: now });
        *debt = Debt { used: (debt.left(now) + used).min(MAX_USED_PROCESSOR_TIME), at: now };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Debt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn debts_add_up_to_a_bound_and_come_back() {
        let debts = Debts::default();
        let network = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..100 {
            debts.add(network, Duration::from_millis(1), Instant::now());
        }
        assert_eq!(debts.of(network, Instant::now()), MAX_USED_PROCESSOR_TIME);
        assert_eq!(debts.of([192, 0, 2, 2].into(), Instant::now()), Duration::ZERO);
        advance(Duration::from_secs(1)).await;
        assert_eq!(debts.of(network, Instant::now()), Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_networks_is_remembered() {
        let debts = Debts::default();
        let add = |number: usize| {
            let network = Ipv4Addr::from_bits(u32::try_from(number).unwrap());
            debts.add(network.into(), Duration::from_millis(1), Instant::now());
        };
        (0..2 * MAX_NETWORKS).for_each(add);
        assert_eq!(debts.lock().len(), MAX_NETWORKS);
        advance(Duration::from_secs(10)).await;
        add(2 * MAX_NETWORKS);
        assert_eq!(debts.lock().len(), 1, "those that are paid are forgotten");
    }
}
