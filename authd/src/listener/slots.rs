//! Places for connections: so many in all, so many for each network, and who has to go when there are none left.
//!
//! A connection that has not sent one whole request yet makes room for a newer one: opening connections and keeping
//! silent costs an attacker more than it costs everybody else.

use ipnet::IpNet;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// How many connections there may be.
#[derive(Clone)]
pub(super) struct Caps {
    /// In all.
    pub(super) total: usize,
    /// For each /24 or /48.
    pub(super) per_network: usize,
    /// Networks that are not counted for themselves: a proxy speaks for many.
    pub(super) uncounted: watch::Receiver<Vec<IpNet>>,
}

struct Holder {
    network: Option<IpNet>,
    is_silent: bool,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    next: u64,
    holders: BTreeMap<u64, Holder>,
    per_network: HashMap<IpNet, usize>,
}

/// All places.
pub(super) struct Slots {
    caps: Caps,
    table: Mutex<Table>,
}

/// One place, given back when it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    leave: Arc<Notify>,
}

impl Slots {
    /// No place is taken.
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, table: Mutex::default() })
    }

    /// A place for a connection from `address`; `None` when all are taken by connections that are in use.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let is_uncounted = self.caps.uncounted.borrow().iter().any(|net| net.contains(&address));
        let network = if is_uncounted { None } else { network_of(address) };
        let mut table = self.lock();
        if let Some(network) = network
            && table.per_network.get(&network).is_some_and(|count| *count >= self.caps.per_network)
        {
            table.dismiss_silent(Some(network))?;
        }
        if table.holders.len() >= self.caps.total {
            table.dismiss_silent(None)?;
        }
        let number = table.next;
        table.next += 1;
        let leave = Arc::new(Notify::new());
        table.holders.insert(number, Holder { network, is_silent: true, leave: Arc::clone(&leave) });
        if let Some(network) = network {
            *table.per_network.entry(network).or_default() += 1;
        }
        Some(Slot { slots: Arc::clone(self), number, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Sends away the oldest connection (of this network) that has not asked for anything yet.
    fn dismiss_silent(&mut self, network: Option<IpNet>) -> Option<()> {
        let fits = |holder: &Holder| holder.is_silent && (network.is_none() || holder.network == network);
        let number = self.holders.iter().find(|(_, holder)| fits(holder)).map(|(number, _)| *number)?;
        self.remove(number)?.leave.notify_one();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Holder> {
        let holder = self.holders.remove(&number)?;
        if let Some(network) = holder.network {
            let left = self.per_network.get_mut(&network).map(|count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == Some(0) {
                self.per_network.remove(&network);
            }
        }
        Some(holder)
    }
}

impl Slot {
    /// The connection has asked for something: its place is its own.
    pub(super) fn keep(&self) {
        if let Some(holder) = self.slots.lock().holders.get_mut(&self.number) {
            holder.is_silent = false;
        }
    }

    /// Waits until the place is needed for somebody else.
    pub(super) async fn dismissed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().remove(self.number);
    }
}

/// The /24 or /48 an address lies in.
fn network_of(address: IpAddr) -> Option<IpNet> {
    let bits = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, bits).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(total: usize, per_network: usize, uncounted: &[&str]) -> Arc<Slots> {
        let nets = uncounted.iter().map(|net| net.parse().unwrap()).collect();
        Slots::new(Caps { total, per_network, uncounted: watch::channel(nets).1 })
    }

    fn take(slots: &Arc<Slots>, address: &str) -> Option<Slot> {
        let slot = slots.take(address.parse().unwrap());
        slot.inspect(Slot::keep)
    }

    #[test]
    fn a_network_has_its_own_cap() {
        let slots = slots(10, 2, &["10.0.0.0/8"]);
        let held = [take(&slots, "192.0.2.1"), take(&slots, "192.0.2.200"), take(&slots, "192.0.3.1")];
        assert!(held.iter().all(Option::is_some));
        assert!(take(&slots, "192.0.2.3").is_none());
        let proxied: Vec<_> = (0..5).map(|_| take(&slots, "10.1.1.1")).collect();
        assert!(proxied.iter().all(Option::is_some));
        drop(held);
        assert!(take(&slots, "192.0.2.3").is_some());
        drop(proxied);
        assert!(slots.lock().per_network.is_empty());
    }

    #[test]
    fn addresses_of_one_site_share_a_cap() {
        let slots = slots(10, 1, &[]);
        let _first = take(&slots, "2001:db8:1:1::1");
        assert!(take(&slots, "2001:db8:1:ffff::2").is_none());
        assert!(take(&slots, "2001:db8:2::1").is_some());
    }

    #[tokio::test]
    async fn a_silent_connection_makes_room_for_a_newer_one() {
        let slots = slots(3, 2, &[]);
        let silent = slots.take("192.0.2.1".parse().unwrap()).unwrap();
        let _asked = take(&slots, "192.0.2.2");
        let newer = take(&slots, "192.0.2.3");
        assert!(newer.is_some());
        silent.dismissed().await;
        drop(silent);
        assert_eq!(slots.lock().holders.len(), 2);
        assert!(take(&slots, "192.0.2.4").is_none());
    }
}
