//! Who waits how long, and what is remembered of it.

use super::*;

const DELAYS: Delays = (Duration::from_secs(2), Duration::from_secs(16));

fn network(peer: &str) -> Network {
    Network::of(peer.parse().unwrap())
}

struct Bench {
    throttle: Throttle,
    state: Arc<State>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(dir: tempfile::TempDir) -> Self {
        let state = Arc::new(State::open(&dir.path().join("authd.sqlite"), 0).unwrap());
        let rows = state.read_blocking(|db| state::failures(db, 0, MOST)).unwrap();
        Self {
            throttle: Throttle::new(state.clone(), &rows),
            state,
            dir,
        }
    }

    fn restart(self) -> Self {
        self.state.close();
        Self::on(self.dir)
    }

    fn seconds(&self, peer: &str, account: &str, now: u64) -> u64 {
        self.throttle
            .failed(network(peer), Some(account), false, now, DELAYS)
            .as_secs()
    }
}

#[test]
fn doubles_per_address_and_per_account() {
    let bench = Bench::new();
    let waits: Vec<u64> = (0..5)
        .map(|i| bench.seconds("192.0.2.1", &format!("u{i}"), 0))
        .collect();
    assert_eq!(waits, [2, 4, 8, 16, 16]);
    assert_eq!(bench.seconds("::ffff:192.0.2.1", "other", 0), 16);
    let waits: Vec<u64> = (0..3)
        .map(|i| bench.seconds(&format!("192.0.2.1{i}"), "victim", 0))
        .collect();
    assert_eq!(waits, [2, 4, 8]);
    bench.throttle.succeeded(network("198.51.100.1"), "victim", false);
    assert_eq!(bench.seconds("192.0.2.99", "victim", 0), 2);
}

#[test]
fn one_network_of_ipv6_is_one_client() {
    let bench = Bench::new();
    assert_eq!(bench.seconds("2001:db8::1", "a", 0), 2);
    assert_eq!(bench.seconds("2001:db8::ffff:2", "b", 0), 4);
    assert_eq!(bench.seconds("2001:db8:0:1::1", "c", 0), 2);
    assert_eq!(bench.seconds("2001:db8::1", "a", state::FAILURES), 2);
}

/// What has no address is a network of its own, and not the one of ::1, whose /64 is called ::/64.
#[test]
fn networks_written_and_read() {
    for (peer, text) in [
        ("0.0.0.0", "unix"),
        ("::", "unix"),
        ("::1", "::/64"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
    ] {
        assert_eq!(network(peer).to_string(), text);
        assert_eq!(Network::parse(text), Some(network(peer)));
    }
    let bench = Bench::new();
    bench.seconds("0.0.0.0", "a", 0);
    bench.seconds("::1", "a", 0);
    assert_eq!(bench.throttle.unban("unix"), 1);
}

#[test]
fn survives_a_restart() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.seconds("2001:db8::1", "a", 0);
    }
    let bench = bench.restart();
    assert_eq!(bench.seconds("2001:db8::9", "b", 1), 8);
    assert_eq!(bench.seconds("192.0.2.1", "a", 1), 8);
    assert_eq!(bench.throttle.unban("2001:db8::77"), 3);
    let bench = bench.restart();
    assert_eq!(
        bench.seconds("2001:db8::9", "b", 1),
        4,
        "the account b is still counted"
    );
}

#[test]
fn the_owner_at_home_does_not_wait_for_what_strangers_did() {
    let bench = Bench::new();
    for i in 0..10 {
        bench.seconds(&format!("198.51.100.{i}"), "owner", 0);
    }
    let home = network("192.0.2.1");
    let wait = |known| {
        bench
            .throttle
            .failed(home, Some("owner"), known, 0, DELAYS)
            .as_secs()
    };
    assert_eq!(wait(true), 2);
    assert_eq!(wait(false), 16);
    // But the address's own failures count at home too.
    for i in 0..5 {
        bench.seconds("192.0.2.1", &format!("u{i}"), 0);
    }
    assert_eq!(wait(true), 16);
}

#[test]
fn guesses_from_everywhere_are_judged_now_and_then() {
    let bench = Bench::new();
    let admit = |now| bench.throttle.admit("victim", now, DELAYS);
    for _ in 0..100 {
        bench.seconds("192.0.2.1", "victim", 100);
    }
    assert_eq!(admit(100), Ok(()), "one network is no botnet");
    for i in 0..20 {
        bench.seconds(&format!("198.51.100.{i}"), "victim", 100);
    }
    let verdicts: Vec<bool> = [100, 101, 115, 116, 117].map(|now| admit(now).is_ok()).to_vec();
    assert_eq!(verdicts, [true, false, false, true, false]);
    assert_eq!(bench.throttle.unban("Victim"), 22);
    assert_eq!(admit(117), Ok(()));
}

/// What does not fit is not counted as a new network each time, and an operator frees all of it at once.
#[test]
fn full_of_fresh_failures() {
    let bench = Bench::new();
    bench.seconds("192.0.2.1", "victim", 0);
    for i in 0..u32::try_from(MOST).unwrap() {
        let peer = IpAddr::from((i + 0x0a00_0000).to_be_bytes());
        bench.throttle.failed(Network::of(peer), None, false, 0, DELAYS);
    }
    for _ in 0..2 * SPREAD {
        assert_eq!(bench.seconds("198.51.100.1", "victim", 0), 16);
    }
    assert_eq!(
        bench.throttle.admit("victim", 0, DELAYS),
        Ok(()),
        "one network more"
    );
    assert_eq!(
        bench.throttle.unban("10.0.0.0/8"),
        u32::try_from(MOST).unwrap() - 3
    );
    assert_eq!(bench.throttle.list(0, MOST, DELAYS).len(), 3);
}

#[test]
fn the_list_says_what_comes_next() {
    let bench = Bench::new();
    bench.seconds("192.0.2.1", "u@d.test", 50);
    bench.seconds("192.0.2.1", "u@d.test", 60);
    let list = bench.throttle.list(60, 10, DELAYS);
    assert_eq!(list.len(), 3);
    assert!(
        list.iter()
            .all(|record| record.count == 2 && record.delay.as_secs() == 8 && record.last == 60)
    );
    assert_eq!(bench.throttle.list(60 + state::FAILURES, 10, DELAYS), []);
    assert_eq!(bench.throttle.list(60, 1, DELAYS).len(), 1);
    assert_eq!(bench.throttle.unban("192.0.2.0/24"), 2);
    assert_eq!(bench.throttle.unban("nobody"), 0);
}
