//! Places for connections: so many in all, so many for each network, and who has to go when there are none left.
//!
//! A connection that has not sent one whole request yet makes room for a newer one: opening connections and keeping
//! silent costs an attacker more than it costs everybody else. When there is no place left at all, the one that has
//! asked for nothing for the longest time makes room too, unless it is a proxy's, which speaks for many.

use super::traffic::Traffic;
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
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

/// The connection that has a place.
struct Occupant {
    /// The number of its last request among all; 0 before its first.
    last_request: AtomicU64,
    traffic: Arc<Traffic>,
    leave: Notify,
}

impl Occupant {
    fn last_request(&self) -> u64 {
        self.last_request.load(Ordering::Relaxed)
    }
}

struct Holder {
    /// `None`: not counted.
    network: Option<IpNet>,
    occupant: Arc<Occupant>,
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
    requests: AtomicU64,
}

/// One place, given back when it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    occupant: Arc<Occupant>,
}

impl Slots {
    /// No place is taken.
    pub(super) fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, table: Mutex::default(), requests: AtomicU64::new(0) })
    }

    /// A place for a connection from `address`; `None` when all are taken by connections that are in use.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, traffic: Arc<Traffic>) -> Option<Slot> {
        let is_uncounted = self.caps.uncounted.borrow().iter().any(|net| net.contains(&address));
        let network = if is_uncounted { None } else { network_of(address) };
        let mut table = self.lock();
        if let Some(network) = network
            && table.per_network.get(&network).is_some_and(|count| *count >= self.caps.per_network)
        {
            table.dismiss_silent(Some(network))?;
        }
        if table.holders.len() >= self.caps.total {
            table.dismiss_silent(None).or_else(|| table.dismiss_idle())?;
        }
        let number = table.next;
        table.next += 1;
        let occupant = Arc::new(Occupant { last_request: AtomicU64::new(0), traffic, leave: Notify::new() });
        table.holders.insert(number, Holder { network, occupant: Arc::clone(&occupant) });
        if let Some(network) = network {
            *table.per_network.entry(network).or_default() += 1;
        }
        Some(Slot { slots: Arc::clone(self), number, occupant })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Sends away the oldest connection (of this network) that has not asked for anything yet.
    fn dismiss_silent(&mut self, network: Option<IpNet>) -> Option<()> {
        let is_silent = |holder: &Holder| holder.occupant.last_request() == 0;
        let fits = |holder: &Holder| is_silent(holder) && (network.is_none() || holder.network == network);
        let number = self.holders.iter().find(|(_, holder)| fits(holder)).map(|(number, _)| *number)?;
        self.dismiss(number)
    }

    /// Sends away the counted connection that waits for nothing and has asked for nothing for the longest time.
    fn dismiss_idle(&mut self) -> Option<()> {
        let is_idle = |holder: &Holder| holder.network.is_some() && !holder.occupant.traffic.is_busy();
        let idle = self.holders.iter().filter(|(_, holder)| is_idle(holder));
        let number = idle.min_by_key(|(_, holder)| holder.occupant.last_request()).map(|(number, _)| *number)?;
        self.dismiss(number)
    }

    fn dismiss(&mut self, number: u64) -> Option<()> {
        self.remove(number)?.occupant.leave.notify_one();
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
    /// The connection has asked for something.
    pub(super) fn use_now(&self) {
        let number = self.slots.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.occupant.last_request.store(number, Ordering::Relaxed);
    }

    /// Whether it has ever asked for something.
    pub(super) fn is_used(&self) -> bool {
        self.occupant.last_request() != 0
    }

    /// Waits until the place is needed for somebody else.
    pub(super) async fn dismissed(&self) {
        self.occupant.leave.notified().await;
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
    use crate::listener::traffic::Verdict;
    use std::time::Duration;
    use tokio::time::timeout;

    fn slots(total: usize, per_network: usize, uncounted: &[&str]) -> Arc<Slots> {
        let nets = uncounted.iter().map(|net| net.parse().unwrap()).collect();
        Slots::new(Caps { total, per_network, uncounted: watch::channel(nets).1 })
    }

    fn silent(slots: &Arc<Slots>, address: &str) -> Option<Slot> {
        slots.take(address.parse().unwrap(), Arc::default())
    }

    /// One whose request is being answered.
    fn take(slots: &Arc<Slots>, address: &str) -> Option<Slot> {
        let slot = idle(slots, address);
        slot.inspect(|slot| slot.occupant.traffic.request(Verdict::Pass))
    }

    /// One whose request was answered.
    fn idle(slots: &Arc<Slots>, address: &str) -> Option<Slot> {
        silent(slots, address).inspect(Slot::use_now)
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
        let silent = silent(&slots, "192.0.2.1").unwrap();
        let _asked = take(&slots, "192.0.2.2");
        let newer = take(&slots, "192.0.2.3");
        assert!(newer.is_some());
        silent.dismissed().await;
        drop(silent);
        assert_eq!(slots.lock().holders.len(), 2);
        assert!(take(&slots, "192.0.2.4").is_none());
    }
    /// Which of these have to go; each is told once.
    async fn told_to_go(slots: [&Slot; 4]) -> [bool; 4] {
        let mut told = [false; 4];
        for (slot, told) in slots.into_iter().zip(&mut told) {
            *told = timeout(Duration::ZERO, slot.dismissed()).await.is_ok();
        }
        told
    }

    #[tokio::test]
    async fn without_a_place_left_the_longest_idle_stranger_makes_room_and_no_proxy_does() {
        let slots = slots(4, 2, &["10.0.0.0/8"]);
        let proxy = idle(&slots, "10.0.0.1").unwrap();
        let (later, longest) = (idle(&slots, "192.0.2.1").unwrap(), idle(&slots, "192.0.3.1").unwrap());
        later.use_now();
        let busy = take(&slots, "192.0.4.1").unwrap();
        let held = [&proxy, &longest, &later, &busy];
        let first = take(&slots, "192.0.5.1");
        assert!(first.is_some());
        assert_eq!(told_to_go(held).await, [false, true, false, false]);
        let second = take(&slots, "192.0.6.1");
        assert!(second.is_some());
        assert_eq!(told_to_go(held).await, [false, false, true, false]);
        assert!(take(&slots, "192.0.7.1").is_none(), "the others are being answered");
    }

    #[test]
    fn an_idle_connection_makes_no_room_for_its_own_network() {
        let slots = slots(9, 1, &[]);
        let _idle = idle(&slots, "192.0.2.1");
        assert!(take(&slots, "192.0.2.2").is_none());
    }
}
