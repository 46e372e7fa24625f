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
pub fn free_port() -> u16 {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    loop {
        let chance = RandomState::new().hash_one(()) % PORTS;
        let Ok(port) = u16::try_from(FIRST + chance) else {
            continue;
        };
        let Ok(twin) = UdpSocket::bind(("127.0.0.1", port)) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(twin);
            return port;
        }
    }
}
