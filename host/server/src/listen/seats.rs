//! How many connections are open, in all and from each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct Seats {
    all: usize,
    per_ip: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// One open connection; free again when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    ip: IpAddr,
}

impl Seats {
    pub(super) fn new(all: usize, per_ip: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            per_ip,
            taken: Mutex::default(),
        })
    }

    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Seat> {
        let ip = owner(ip);
        let mut taken = self.taken();
        let here = taken.by_ip.get(&ip).copied().unwrap_or(0);
        if taken.all >= self.all || here >= self.per_ip {
            return None;
        }
        taken.all += 1;
        taken.by_ip.insert(ip, here + 1);
        Some(Seat {
            seats: self.clone(),
            ip,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(here) = taken.by_ip.get_mut(&self.ip) {
            *here -= 1;
            if *here == 0 {
                taken.by_ip.remove(&self.ip);
            }
        }
    }
}

/// What one client owns: an IPv4 address, or an IPv6 /64, in which it may use any address it likes.
fn owner(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_more_than_its_share() {
        let seats = Seats::new(10, 2);
        let first = seats.take(ip("192.0.2.1")).expect("free");
        let _second = seats.take(ip("::ffff:192.0.2.1")).expect("free");
        assert!(seats.take(ip("192.0.2.1")).is_none());
        assert!(seats.take(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(seats.take(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share() {
        let seats = Seats::new(10, 1);
        let _first = seats.take(ip("2001:db8:0:1::1")).expect("free");
        assert!(seats.take(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(seats.take(ip("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn all_addresses_together_are_capped_and_forgotten_when_gone() {
        let seats = Seats::new(2, 2);
        let held: Vec<_> = (1..=2).map(|n| seats.take(ip(&format!("192.0.2.{n}")))).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(seats.take(ip("192.0.2.3")).is_none());
        drop(held);
        assert!(seats.taken().by_ip.is_empty());
        assert!(seats.take(ip("192.0.2.3")).is_some());
    }
}
