//! Bans and allowances of addresses and networks: the most specific rule wins, of equal ones the ban.

use crate::domain::{audit::Event, store_error::StoreError};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;

/// Most rules at once: every instance holds all of them in memory (about 200 bytes each).
pub const MAX_RULES: usize = 10_000;

/// What a rule says; the order is that of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ruling {
    /// Lifts the limits that count by address.
    Allow,
    /// Refuses everything that takes a credential.
    Ban,
}

impl Ruling {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Ban];

    /// The stored and shown word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ban => "ban",
        }
    }

    /// The ruling of this word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ruling| ruling.as_str() == text)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRule {
    /// For whom; as [`folded`] gives it.
    pub network: IpNet,
    /// What it says.
    pub ruling: Ruling,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it was made or made anew, by database time.
    pub created_ms: i64,
    /// Who made it: `uid 0`.
    pub created_by: String,
    /// From then on it says nothing.
    pub expires_ms: Option<i64>,
}

impl AddressRule {
    /// Whether it says something at `now_ms`.
    #[must_use]
    pub fn holds(&self, now_ms: i64) -> bool {
        self.expires_ms.is_none_or(|end_ms| end_ms > now_ms)
    }
}

/// Text that is no address and no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/48")]
pub struct InvalidNetwork;

/// Reads an address or a network; bits behind the prefix are dropped, IPv4-mapped networks are IPv4.
///
/// # Errors
/// [`InvalidNetwork`].
pub fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let text = text.trim();
    let network = match text.parse::<IpAddr>() {
        Ok(ip) => IpNet::from(ip),
        Err(_) => text.parse::<IpNet>().map_err(|_| InvalidNetwork)?,
    };
    Ok(folded(network))
}

/// The one spelling of a network: without bits behind the prefix, and IPv4 where all of it is IPv4-mapped.
#[must_use]
pub fn folded(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let inner = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    let v4 = inner.and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    v4.map_or(network, IpNet::V4)
}

/// The network as operators write it: a single address without its prefix.
#[must_use]
pub fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

/// Whether the two have an address in common.
#[must_use]
pub fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Networks that nobody means to ban: those this machine talks to itself by.
#[must_use]
pub fn loopback() -> [IpNet; 2] {
    const V4: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
    const V6: Ipv6Net = Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
    [IpNet::V4(V4), IpNet::V6(V6)]
}

/// All rules, in the order in which they are found: an immutable snapshot, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleBook {
    /// By family, first address, length of the prefix and ruling: what is more specific comes later.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    rule: AddressRule,
    /// The next wider rule around this one.
    around: Option<usize>,
}

impl RuleBook {
    /// A book of these rules; their order does not matter.
    #[must_use]
    pub fn new(mut rules: Vec<AddressRule>) -> Self {
        rules.sort_by_key(|rule| (rule.network.network(), rule.network.prefix_len(), rule.ruling));
        let mut entries: Vec<Entry> = Vec::with_capacity(rules.len());
        for rule in rules {
            // Two networks are nested or apart, so everything around this one is around the one before it, or is it.
            let mut around = entries.len().checked_sub(1);
            while let Some(entry) = around.and_then(|at| entries.get(at)) {
                if entry.rule.network.contains(&rule.network) {
                    break;
                }
                around = entry.around;
            }
            entries.push(Entry { rule, around });
        }
        Self { entries }
    }

    /// The rule for an address at `now_ms`; IPv4-mapped addresses count as IPv4.
    #[must_use]
    pub fn find(&self, ip: IpAddr, now_ms: i64) -> Option<&AddressRule> {
        let ip = ip.to_canonical();
        // Whatever contains the address begins at or before it, and stands around the last that does.
        let mut at = self.entries.partition_point(|entry| entry.rule.network.network() <= ip).checked_sub(1);
        while let Some(entry) = at.and_then(|at| self.entries.get(at)) {
            if entry.rule.network.contains(&ip) && entry.rule.holds(now_ms) {
                return Some(&entry.rule);
            }
            at = entry.around;
        }
        None
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A rule to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// For whom; as [`folded`] gives it.
    pub network: IpNet,
    /// What it says.
    pub ruling: Ruling,
    /// Why.
    pub reason: Option<String>,
    /// Who makes it: `uid 0`.
    pub created_by: String,
    /// How long it holds.
    pub life_ms: Option<i64>,
}

/// Whether a rule was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It was; one that was there before for the same network is replaced.
    Done,
    /// There are [`MAX_RULES`] already.
    Full,
}

/// Keeps rules. Every change writes the event it is given, or does nothing; each moves the version of the setting
/// [`VERSION_SETTING`], by which instances learn of it.
#[async_trait::async_trait]
pub trait AddressRuleStore: Send + Sync {
    /// All rules that hold.
    async fn all(&self) -> Result<Vec<AddressRule>, StoreError>;

    /// Makes a rule, or makes it anew.
    async fn add(&self, rule: NewRule, event: Event) -> Result<Added, StoreError>;

    /// Removes a rule; `false` when there is none, which is no event.
    async fn remove(&self, network: IpNet, ruling: Ruling, by: &str, event: Event) -> Result<bool, StoreError>;
}

/// The setting whose version moves with every change of a rule.
pub const VERSION_SETTING: &str = "address.rules";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(network: &str, ruling: Ruling) -> AddressRule {
        let network = parse_network(network).unwrap();
        AddressRule { network, ruling, reason: None, created_ms: 0, created_by: "uid 0".to_owned(), expires_ms: None }
    }

    fn says(book: &RuleBook, ip: &str) -> Option<Ruling> {
        book.find(ip.parse().unwrap(), 0).map(|rule| rule.ruling)
    }

    #[test]
    fn the_most_specific_rule_wins_and_of_equal_ones_the_ban() {
        let book = RuleBook::new(vec![
            rule("192.0.2.0/24", Ruling::Ban),
            rule("192.0.2.128/25", Ruling::Allow),
            rule("192.0.2.200", Ruling::Ban),
            rule("198.51.100.7", Ruling::Allow),
            rule("198.51.100.7", Ruling::Ban),
            rule("2001:db8::/32", Ruling::Ban),
            rule("2001:db8:1::/48", Ruling::Allow),
        ]);
        for (ip, expected) in [
            ("192.0.2.1", Some(Ruling::Ban)),
            ("192.0.2.130", Some(Ruling::Allow)),
            ("::ffff:192.0.2.130", Some(Ruling::Allow)),
            ("192.0.2.200", Some(Ruling::Ban)),
            ("192.0.3.1", None),
            ("198.51.100.7", Some(Ruling::Ban)),
            ("198.51.100.8", None),
            ("2001:db8:2::1", Some(Ruling::Ban)),
            ("2001:db8:1::1", Some(Ruling::Allow)),
            ("2001:db9::1", None),
        ] {
            assert_eq!(says(&book, ip), expected, "{ip}");
        }
    }

    #[test]
    fn every_spelling_of_a_network_is_one() {
        for (text, expected) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("2001:DB8:1::9/48", "2001:db8:1::/48"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(shown(parse_network(text).unwrap()), expected);
        }
        for text in ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "localhost", "192.0.2.0/-1"] {
            assert_eq!(parse_network(text), Err(InvalidNetwork), "{text}");
        }
    }

    #[test]
    fn a_rule_of_all_ipv6_says_nothing_about_ipv4() {
        let book = RuleBook::new(vec![rule("::/0", Ruling::Ban)]);
        assert_eq!(says(&book, "192.0.2.1"), None);
        assert_eq!(says(&book, "::ffff:192.0.2.1"), None);
        assert_eq!(says(&book, "2001:db8::1"), Some(Ruling::Ban));
    }

    #[test]
    fn ten_thousand_rules_are_decided_in_microseconds() {
        let rules = (0..10_000u32).map(|number| {
            let ip = std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
            let prefix = 8 + u8::try_from(number % 25).unwrap();
            rule(&format!("{ip}/{prefix}"), if number % 3 == 0 { Ruling::Allow } else { Ruling::Ban })
        });
        let book = RuleBook::new(rules.collect());
        #[expect(clippy::disallowed_methods, reason = "measures the machine")]
        let start = std::time::Instant::now();
        let found = (0..100_000u32).filter(|number| {
            let ip = std::net::Ipv4Addr::from(number.wrapping_mul(40_503));
            book.find(ip.into(), 0).is_some()
        });
        let found = found.count();
        let each_us = start.elapsed().as_micros() / 100_000;
        assert!(found > 0 && each_us < 20, "{each_us} µs each, without optimisation");
    }

    fn any_rule() -> impl Strategy<Value = AddressRule> {
        // Few bits, so that rules nest, meet and repeat.
        let network = prop_oneof![
            (0u32..64, 24u8..=32).prop_map(|(low, bits)| {
                folded(IpNet::V4(Ipv4Net::new(std::net::Ipv4Addr::from(0x0a00_0000 | low), bits).unwrap()))
            }),
            (0u128..64, 120u8..=128).prop_map(|(low, bits)| {
                folded(IpNet::V6(Ipv6Net::new(std::net::Ipv6Addr::from(0x2001_0db8 << 96 | low), bits).unwrap()))
            }),
            (0u32..64, 120u8..=128).prop_map(|(low, bits)| {
                let mapped = std::net::Ipv4Addr::from(0x0a00_0000 | low).to_ipv6_mapped();
                folded(IpNet::V6(Ipv6Net::new(mapped, bits).unwrap()))
            }),
        ];
        (network, any::<bool>(), proptest::option::of(0i64..4)).prop_map(|(network, bans, expires_ms)| AddressRule {
            network,
            ruling: if bans { Ruling::Ban } else { Ruling::Allow },
            reason: None,
            created_ms: 0,
            created_by: String::new(),
            expires_ms,
        })
    }

    proptest! {
        #[test]
        fn the_book_finds_what_a_search_of_all_rules_finds(
            rules in proptest::collection::vec(any_rule(), 0..40),
            low in 0u32..80,
            six in any::<bool>(),
            now_ms in 0i64..4,
        ) {
            let ip = if six {
                IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(low)))
            } else {
                IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 | low))
            };
            let naive = rules.iter().filter(|rule| rule.network.contains(&ip) && rule.holds(now_ms));
            let naive = naive.map(|rule| (rule.network.prefix_len(), rule.ruling)).max();
            let book = RuleBook::new(rules);
            let found = book.find(ip, now_ms).map(|rule| (rule.network.prefix_len(), rule.ruling));
            prop_assert_eq!(found, naive);
        }
    }
}
