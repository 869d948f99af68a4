//! Counts and rates.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::{ClientKey, ConcurrencyLimiter, Rates};

fn key(ip: &str) -> ClientKey {
    ip.parse::<IpAddr>().unwrap().into()
}

#[test]
fn ipv6_clients_count_by_64_and_mapped_ones_as_ipv4() {
    assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
    assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
}

#[test]
fn what_is_held_is_counted_until_dropped() {
    let limiter = ConcurrencyLimiter::default();
    let first = limiter.try_acquire("a", 2).unwrap();
    let _second = limiter.try_acquire("a", 2).unwrap();
    assert!(limiter.try_acquire("a", 2).is_none());
    assert!(limiter.try_acquire("b", 2).is_some());
    drop(first);
    assert_eq!(limiter.count(&"a"), 1);
    assert!(limiter.try_acquire("a", 2).is_some());
    assert!(limiter.try_acquire("c", 0).is_none());
    assert_eq!(limiter.count(&"c"), 0);
}

#[test]
fn a_rate_holds_over_every_60_seconds_and_recovers() {
    let (rates, client, start) = (Rates::default(), key("192.0.2.1"), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert!((0..10).all(|_| rates.allow(client, 10, at(0))));
    assert!(!rates.allow(client, 10, at(1)));
    assert!(rates.allow(key("192.0.2.2"), 10, at(1)));
    // Half of the old window still counts at 90 s; at 200 s nothing does.
    assert!(!rates.allow(client, 10, at(60)));
    let again = (0..20).filter(|_| rates.allow(client, 10, at(90))).count();
    assert_eq!(again, 5);
    let later = (0..20).filter(|_| rates.allow(client, 10, at(300))).count();
    assert_eq!(later, 10);
}
