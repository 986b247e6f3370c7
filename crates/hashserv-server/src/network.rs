//! Networks that peers belong to, for what is counted by address.

use std::net::{IpAddr, Ipv6Addr};

/// The part of an IPv6 address that names a network. A host there can use any address of it.
const IPV6_NETWORK_MASK: u128 = !0 << 64;

/// Returns an IPv4 address, however it is written, or the /64 network of an IPv6 address.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK_MASK)),
        address => address,
    }
}
