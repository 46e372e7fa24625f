//! Ports for programs that are told where to listen.

use std::{
    hash::{BuildHasher, RandomState},
    net::{TcpListener, UdpSocket},
    sync::Mutex,
};

/// Below the ports that systems hand out by themselves, for connections too, so that what is free is still free later.
const FIRST: u64 = 20_000;
const PORTS: u64 = 12_000;

/// A port that nobody listens on, for this process alone: its UDP twin is held until the end, which tells other tests that the
/// port is taken while a host is down.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many such ports in a row.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    loop {
        let chance = RandomState::new().hash_one(()) % PORTS;
        let Ok(first) = u16::try_from(FIRST + chance) else {
            continue;
        };
        let twins: Option<Vec<_>> = (first..first + count).map(reserve).collect();
        if let Some(twins) = twins {
            HELD.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .extend(twins);
            return first;
        }
    }
}

/// The twin first: who does not get it does not try the port, so nobody is in the way of a host that begins to listen.
fn reserve(port: u16) -> Option<UdpSocket> {
    let twin = UdpSocket::bind(("127.0.0.1", port)).ok()?;
    TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(twin)
}
