//! Sets of the coarse networks that sessions remember, as conditions on their stored text.
//!
//! A session knows its /24 or /48 and nothing finer, so an address, and any network smaller than that, stands for the
//! coarse network around it. Larger networks are exact, whatever their prefix.

use crate::domain::{
    address_rule::{InvalidNetwork, folded, parse_network},
    session::Network,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::{fmt, str::FromStr};

const V4_BITS: u8 = 24;
const V6_BITS: u8 = 48;

/// Networks in which sessions may have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetworkSet(IpNet);

/// One way for a stored text to belong to a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spelling {
    /// It is this text.
    Exactly(String),
    /// It begins with this.
    Beginning(String),
    /// It begins with `beginning`, matches the pattern `like` (`_` is any character, `%` any text) and none of
    /// `unlike`.
    Shaped {
        /// What an index can look for; may be empty.
        beginning: String,
        /// The pattern.
        like: String,
        /// What the pattern would take with it.
        unlike: Vec<String>,
    },
}

impl FromStr for NetworkSet {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let asked = parse_network(text)?;
        let coarse = match asked {
            IpNet::V4(v4) if v4.prefix_len() > V4_BITS => Ipv4Net::new(v4.addr(), V4_BITS).map(IpNet::V4),
            IpNet::V6(v6) if v6.prefix_len() > V6_BITS => Ipv6Net::new(v6.addr(), V6_BITS).map(IpNet::V6),
            large => Ok(large),
        };
        coarse.map(|network| Self(folded(network))).map_err(|_| InvalidNetwork)
    }
}

impl fmt::Display for NetworkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl NetworkSet {
    /// The coarse network that is all of this set, if it is one.
    #[must_use]
    pub fn single(&self) -> Option<Network> {
        let is_coarse = match self.0 {
            IpNet::V4(v4) => v4.prefix_len() == V4_BITS,
            IpNet::V6(v6) => v6.prefix_len() == V6_BITS,
        };
        is_coarse.then(|| Network::of(self.0.addr()))
    }

    /// How its networks are spelt: a text belongs to the set if one of these holds. At most 256.
    #[must_use]
    pub fn spellings(&self) -> Vec<Spelling> {
        match self.0 {
            IpNet::V4(v4) => of_v4(v4),
            IpNet::V6(v6) => of_v6(v6),
        }
    }
}

fn of_v4(network: Ipv4Net) -> Vec<Spelling> {
    let [a, b, c, _] = network.addr().octets();
    let bits = network.prefix_len();
    let octets = |first: u8, whole: u8| {
        let count = 1_u16 << whole.saturating_sub(bits).min(8);
        (u16::from(first)..).take(usize::from(count))
    };
    match bits {
        17.. => octets(c, V4_BITS).map(|c| Spelling::Exactly(format!("{a}.{b}.{c}.0/24"))).collect(),
        9.. => octets(b, 16).map(|b| Spelling::Beginning(format!("{a}.{b}."))).collect(),
        _ => octets(a, 8).map(|a| Spelling::Beginning(format!("{a}."))).collect(),
    }
}

/// Digits of a group of an IPv6 address: `fixed`, then as many as `any`, whatever they are.
struct Digits {
    fixed: String,
    any: usize,
}

/// The groups from `first` on of which the last `free` bits are free, as texts without leading zeros.
fn digits(first: u16, free: u8) -> Vec<Digits> {
    let (any, part) = (usize::from(free / 4), free % 4);
    let above = u32::from(first) >> (4 * (free / 4));
    let with_top = |low: u32| Digits { fixed: format!("{:x}", above + low), any };
    if first != 0 {
        return (0..1 << part).map(with_top).collect();
    }
    let zero = (any == 0).then(|| Digits { fixed: "0".to_owned(), any });
    let shorter = (1..=any).map(|any| Digits { fixed: String::new(), any });
    zero.into_iter().chain(shorter).chain((1..1 << part).map(with_top)).collect()
}

fn of_v6(network: Ipv6Net) -> Vec<Spelling> {
    let [a, b, c, ..] = network.addr().segments();
    let bits = network.prefix_len();
    // Zeros at the end are left out of the text: such a network is spelt unlike its neighbours.
    let lowest = Spelling::Exactly(Network::of(network.addr().into()).as_str().to_owned());
    let mut spellings = vec![lowest];
    match bits {
        48.. => {}
        33.. => spellings
            .extend(digits(c, V6_BITS - bits).iter().map(|group| shaped(&format!("{a:x}:{b:x}:"), group, "::/48"))),
        32 => spellings.push(Spelling::Beginning(format!("{a:x}:{b:x}:"))),
        17.. => spellings.extend(digits(b, 32 - bits).iter().map(|group| shaped(&format!("{a:x}:"), group, ":%"))),
        16 => spellings.push(Spelling::Beginning(format!("{a:x}:"))),
        1.. => spellings.extend(digits(a, 16 - bits).iter().map(|group| shaped("", group, ":%"))),
        0 => spellings.push(shaped("", &Digits { fixed: String::new(), any: 0 }, "%:%")),
    }
    spellings
}

fn shaped(before: &str, group: &Digits, after: &str) -> Spelling {
    let beginning = format!("{before}{}", group.fixed);
    let with = |any: usize| format!("{beginning}{}{after}", "_".repeat(any));
    // Fewer digits and the colon behind them are as many characters as more digits.
    let unlike = if after == ":%" { (0..group.any).map(with).collect() } else { Vec::new() };
    Spelling::Shaped { like: with(group.any), unlike, beginning }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn is_like(text: &[u8], pattern: &[u8]) -> bool {
        match (text, pattern) {
            (_, []) => text.is_empty(),
            (_, [b'%', rest @ ..]) => (0..=text.len()).any(|skip| is_like(&text[skip..], rest)),
            ([_, text @ ..], [b'_', rest @ ..]) => is_like(text, rest),
            ([one, text @ ..], [other, rest @ ..]) => one == other && is_like(text, rest),
            ([], _) => false,
        }
    }

    fn holds(set: NetworkSet, text: &str) -> bool {
        set.spellings().iter().any(|spelling| match spelling {
            Spelling::Exactly(exact) => text == exact,
            Spelling::Beginning(beginning) => text.starts_with(beginning.as_str()),
            Spelling::Shaped { beginning, like, unlike } => {
                text.starts_with(beginning.as_str())
                    && is_like(text.as_bytes(), like.as_bytes())
                    && !unlike.iter().any(|pattern| is_like(text.as_bytes(), pattern.as_bytes()))
            }
        })
    }

    #[test]
    fn an_address_and_a_small_network_stand_for_the_coarse_one_around_them() {
        for (asked, shown) in [
            ("192.0.2.7", "192.0.2.0/24"),
            ("192.0.2.7/32", "192.0.2.0/24"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.3.0/23", "192.0.2.0/23"),
            ("::ffff:192.0.2.7", "192.0.2.0/24"),
            ("2001:db8:1:2::/64", "2001:db8:1::/48"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(asked.parse::<NetworkSet>().unwrap().to_string(), shown, "{asked}");
        }
        for text in ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "host", "192.0.2.0/24 OR 1=1"] {
            assert!(text.parse::<NetworkSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn no_set_has_more_than_256_spellings() {
        for bits in 0..=32 {
            assert!(format!("10.0.0.0/{bits}").parse::<NetworkSet>().unwrap().spellings().len() <= 256, "{bits}");
        }
        for bits in 0..=128 {
            assert!(format!("::/{bits}").parse::<NetworkSet>().unwrap().spellings().len() <= 256, "{bits}");
        }
    }

    fn sparse() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0), 0_u16..0x20, any::<u16>()]
    }

    proptest! {
        #[test]
        fn a_text_of_ipv4_belongs_to_a_set_as_its_network_does(set: u32, bits in 0_u8..=32, near: u32, kept in 0_u32..=32) {
            let network = Ipv4Net::new(Ipv4Addr::from(set), bits).unwrap();
            let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
            let address = Ipv4Addr::from((set & mask) | (near & !mask));
            let coarse = Ipv4Net::new(network.addr(), bits.min(24)).unwrap().trunc();
            let set: NetworkSet = network.to_string().parse().unwrap();
            let text = Network::of(IpAddr::V4(address));
            prop_assert_eq!(holds(set, text.as_str()), coarse.contains(&address), "{} in {}", text.as_str(), set);
        }

        #[test]
        fn a_text_of_ipv6_belongs_to_a_set_as_its_network_does(
            groups in (sparse(), sparse(), sparse()), bits in 0_u8..=64, near in (sparse(), sparse(), sparse()), kept in 0_u32..=48
        ) {
            let join = |(a, b, c): (u16, u16, u16)| u128::from(a) << 112 | u128::from(b) << 96 | u128::from(c) << 80;
            let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
            let address = Ipv6Addr::from((join(groups) & mask) | (join(near) & !mask));
            let network = Ipv6Net::new(Ipv6Addr::from(join(groups)), bits).unwrap();
            let coarse = Ipv6Net::new(network.addr(), bits.min(48)).unwrap().trunc();
            let set: NetworkSet = network.to_string().parse().unwrap();
            let text = Network::of(IpAddr::V6(address));
            prop_assert_eq!(holds(set, text.as_str()), coarse.contains(&address), "{} in {}", text.as_str(), set);
            prop_assert!(!holds(set, "192.0.2.0/24"));
        }
    }
}
