//! Which addresses may be dialled. Everything that the internet does not route is blocked; an operator may open parts
//! of the private ranges, and nothing else.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A range of addresses, such as `10.20.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// The text is not an address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address range: write the first address and the prefix length, such as 10.20.0.0/16")]
pub struct CidrError;

impl Cidr {
    /// Whether the address lies in this range. An IPv4 address never lies in an IPv6 range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                first_bits(widen(network), self.prefix) == first_bits(widen(address), self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                first_bits(network.to_bits(), self.prefix) == first_bits(address.to_bits(), self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn contains_range(&self, inner: &Self) -> bool {
        inner.prefix >= self.prefix && self.contains(inner.network)
    }

    const fn v4(network: [u8; 4], prefix: u8) -> Self {
        let [a, b, c, d] = network;
        Self {
            network: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(network: [u16; 8], prefix: u8) -> Self {
        let [a, b, c, d, e, f, g, h] = network;
        Self {
            network: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
            prefix,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (network, prefix) = text.split_once('/').ok_or(CidrError)?;
        let network: IpAddr = network.parse().map_err(|_| CidrError)?;
        let prefix: u8 = prefix.parse().map_err(|_| CidrError)?;
        let (bits, width) = match network {
            IpAddr::V4(v4) => (widen(v4), 32),
            IpAddr::V6(v6) => (v6.to_bits(), 128),
        };
        // `10.1.2.3/8` is more often a slip than a wish for all of 10/8.
        if prefix > width || first_bits(bits, prefix) != bits {
            return Err(CidrError);
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Decides about one address.
#[derive(Debug)]
pub(crate) struct AddressFilter {
    open: Vec<Cidr>,
}

impl AddressFilter {
    /// A filter that lets the `open` ranges through as well.
    ///
    /// # Errors
    /// The first range that nobody may open: loopback, link-local, or anything else outside [`OPENABLE`].
    pub(crate) fn new(open: Vec<Cidr>) -> Result<Self, Cidr> {
        match open
            .iter()
            .find(|range| !OPENABLE.iter().any(|whole| whole.contains_range(range)))
        {
            Some(range) => Err(*range),
            None => Ok(Self { open }),
        }
    }

    /// A filter that lets listeners of a test through, though they are on loopback.
    #[cfg(test)]
    pub(crate) fn with_test_listener(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self {
            open: vec![Cidr {
                network: address,
                prefix,
            }],
        }
    }

    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.allows_v4(v4),
            IpAddr::V6(v6) => self.allows_v6(v6),
        }
    }

    fn allows_v4(&self, address: Ipv4Addr) -> bool {
        let address = IpAddr::V4(address);
        if in_any(METADATA, address) {
            return false;
        }
        !in_any(BLOCKED_V4, address) || in_any(&self.open, address)
    }

    fn allows_v6(&self, address: Ipv6Addr) -> bool {
        let whole = IpAddr::V6(address);
        if in_any(METADATA, whole) {
            return false;
        }
        if NAT64.contains(whole) {
            // A gateway turns it into the IPv4 address in its last 32 bits, so that one must be allowed too.
            let [.., a, b, c, d] = address.octets();
            return in_any(&self.open, whole) && self.allows_v4(Ipv4Addr::new(a, b, c, d));
        }
        let blocked = !GLOBAL_UNICAST.contains(whole) || in_any(BLOCKED_V6, whole);
        !blocked || in_any(&self.open, whole)
    }
}

/// IPv4 ranges without a public host (IANA special-purpose registry), and Azure's platform address.
const BLOCKED_V4: &[Cidr] = &[
    Cidr::v4([0, 0, 0, 0], 8),
    Cidr::v4([10, 0, 0, 0], 8),
    Cidr::v4([100, 64, 0, 0], 10),
    Cidr::v4([127, 0, 0, 0], 8),
    Cidr::v4([169, 254, 0, 0], 16),
    Cidr::v4([172, 16, 0, 0], 12),
    Cidr::v4([192, 0, 0, 0], 24),
    Cidr::v4([192, 0, 2, 0], 24),
    Cidr::v4([192, 88, 99, 0], 24),
    Cidr::v4([192, 168, 0, 0], 16),
    Cidr::v4([198, 18, 0, 0], 15),
    Cidr::v4([198, 51, 100, 0], 24),
    Cidr::v4([203, 0, 113, 0], 24),
    Cidr::v4([224, 0, 0, 0], 4),
    Cidr::v4([240, 0, 0, 0], 4),
    Cidr::v4([168, 63, 129, 16], 32),
];

/// IPv6 ranges without a public host, and those that carry an IPv4 address to somebody who unpacks it.
const BLOCKED_V6: &[Cidr] = &[
    Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    NAT64,
    Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    Cidr::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    Cidr::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    Cidr::v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    Cidr::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
    Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// All that IANA has given out for unicast so far. What lies outside, such as `::ffff:0:127.0.0.1` (RFC 2765), has no
/// public host either, whether or not it is in the list above.
const GLOBAL_UNICAST: Cidr = Cidr::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

const NAT64: Cidr = Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// What an operator may open, in whole or in part. Never loopback or link-local.
const OPENABLE: &[Cidr] = &[
    Cidr::v4([10, 0, 0, 0], 8),
    Cidr::v4([100, 64, 0, 0], 10),
    Cidr::v4([172, 16, 0, 0], 12),
    Cidr::v4([192, 168, 0, 0], 16),
    Cidr::v4([198, 18, 0, 0], 15),
    Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    NAT64,
];

/// Cloud metadata services that sit inside ranges which may be opened: Alibaba Cloud, Amazon, Google. The others use
/// link-local addresses.
const METADATA: &[Cidr] = &[
    Cidr::v4([100, 100, 100, 200], 32),
    Cidr::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    Cidr::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
];

fn in_any(ranges: &[Cidr], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// IPv4 bits at the top of 128, so that one prefix rule serves both families.
fn widen(address: Ipv4Addr) -> u128 {
    u128::from(address.to_bits()) << 96
}

fn first_bits(bits: u128, prefix: u8) -> u128 {
    match prefix {
        0 => 0,
        1..=127 => bits & (u128::MAX << (128 - prefix)),
        128.. => bits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(open: &[&str]) -> AddressFilter {
        AddressFilter::new(open.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
    }

    #[test]
    fn a_range_has_one_text_form() {
        for right in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.168.1.7/32",
            "fc00::/7",
            "::/0",
            "fd00::1/128",
        ] {
            assert_eq!(right.parse::<Cidr>().unwrap().to_string(), right);
        }
        for wrong in [
            "10.0.0.0",
            "10.1.0.0/8",
            "10.0.0.0/33",
            "fc00::/129",
            "fd00::1/64",
            "10/8",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(wrong.parse::<Cidr>(), Err(CidrError), "{wrong}");
        }
    }

    #[test]
    fn both_ends_of_every_blocked_range_are_blocked_and_their_neighbours_follow_the_list() {
        for range in BLOCKED_V4 {
            let IpAddr::V4(first) = range.network else {
                panic!("{range}")
            };
            let last = first.to_bits() | u32::MAX.checked_shr(u32::from(range.prefix)).unwrap_or(0);
            for bits in [first.to_bits(), last] {
                assert!(!filter(&[]).allows(Ipv4Addr::from_bits(bits).into()), "{range}");
            }
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
        ]
        .into_iter()
        .chain([
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
        ])
        .chain([
            "198.20.0.0",
            "223.255.255.255",
            "168.63.129.15",
            "168.63.129.17",
            "1.1.1.1",
            "192.88.98.255",
        ])
        .chain([
            "2606:4700::1111",
            "2a00:1450:4001::5",
            "2001:1::1",
            "2003::1",
            "::ffff:1.1.1.1",
            "3fff:1000::1",
        ]) {
            assert!(filter(&[]).allows(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_operator_opens_private_ranges_in_every_spelling() {
        let open = filter(&["10.20.0.0/16", "fd12::/16", "64:ff9b::/96"]);
        for allowed in [
            "10.20.0.0",
            "10.20.255.255",
            "::ffff:10.20.1.1",
            "fd12::1",
            "64:ff9b::1.1.1.1",
            "64:ff9b::a14:1",
        ] {
            assert!(open.allows(allowed.parse().unwrap()), "{allowed}");
        }
        for still_blocked in [
            "10.21.0.0",
            "fd13::1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.21.0.0",
            "::a14:1",
        ] {
            assert!(!open.allows(still_blocked.parse().unwrap()), "{still_blocked}");
        }
    }

    #[test]
    fn loopback_link_local_and_all_else_outside_the_private_ranges_cannot_be_opened() {
        for range in [
            "127.0.0.0/8",
            "127.0.0.1/32",
            "169.254.0.0/16",
            "0.0.0.0/0",
            "::/0",
            "::1/128",
            "fe80::/10",
            "8.0.0.0/6",
        ]
        .into_iter()
        .chain([
            "224.0.0.0/4",
            "168.63.129.16/32",
            "::ffff:7f00:0/104",
            "2002::/16",
            "fe00::/7",
            "192.0.0.0/24",
        ]) {
            let range: Cidr = range.parse().unwrap();
            assert_eq!(AddressFilter::new(vec![range]).unwrap_err(), range);
        }
    }

    #[test]
    fn metadata_services_stay_blocked_inside_opened_ranges() {
        let open = filter(&["100.64.0.0/10", "fc00::/7"]);
        assert!(open.allows("100.100.100.201".parse().unwrap()));
        for metadata in [
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert!(!open.allows(metadata.parse().unwrap()), "{metadata}");
        }
    }
}
