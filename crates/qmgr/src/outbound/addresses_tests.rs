//! Tests of the rules, on zones in memory.

use std::collections::HashMap;

use super::*;

type Answer<T> = Result<Vec<T>, DnsError>;

#[derive(Default)]
struct Zone {
    mx: HashMap<&'static str, Answer<(u16, &'static str)>>,
    addresses: HashMap<&'static str, Answer<&'static str>>,
}

impl Dns for Zone {
    async fn mx(&self, domain: &str) -> Result<Vec<(u16, String)>, DnsError> {
        let found = self.mx.get(domain).cloned().unwrap_or(Err(DnsError::NoSuchName));
        found.map(|list| list.into_iter().map(|(p, n)| (p, n.to_owned())).collect())
    }
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let found = self
            .addresses
            .get(host)
            .cloned()
            .unwrap_or(Err(DnsError::NoSuchName));
        found.map(|list| list.into_iter().map(|a| a.parse().unwrap()).collect())
    }
}

fn hop(host: &str, use_mx: bool, explicit: bool) -> NextHop {
    NextHop {
        host: host.to_owned(),
        port: None,
        use_mx,
        explicit,
    }
}

fn lookup(zone: Zone) -> Lookup<Zone> {
    Lookup::new(zone, "mail.here.test".to_owned(), Networks::default())
}

async fn names(lookup: &Lookup<Zone>, domain: &str) -> Result<Vec<String>, String> {
    let hosts = lookup.hosts(&hop(domain, true, false), 0).await;
    hosts
        .map(|h| h.into_iter().map(|h| h.address.to_string()).collect())
        .map_err(|r| r.to_string())
}

#[tokio::test]
async fn preference_then_addresses() {
    let mut zone = Zone::default();
    zone.mx.insert(
        "a.test",
        Ok(vec![(20, "b.a.test"), (10, "a.a.test"), (30, "gone.a.test")]),
    );
    zone.addresses
        .insert("a.a.test", Ok(vec!["8.8.1.1", "2001:4860::1"]));
    zone.addresses.insert("b.a.test", Ok(vec!["8.8.1.2"]));
    assert_eq!(
        names(&lookup(zone), "a.test").await.unwrap(),
        ["8.8.1.1", "2001:4860::1", "8.8.1.2"]
    );
}

#[tokio::test]
async fn equal_exchanges_take_turns() {
    let mut zone = Zone::default();
    zone.mx
        .insert("a.test", Ok(vec![(10, "a.a.test"), (10, "b.a.test")]));
    zone.addresses.insert("a.a.test", Ok(vec!["8.8.1.1"]));
    zone.addresses.insert("b.a.test", Ok(vec!["8.8.1.2"]));
    let lookup = lookup(zone);
    let mut first = std::collections::HashSet::new();
    for shuffle in 0..50 {
        first.insert(lookup.hosts(&hop("a.test", true, false), shuffle).await.unwrap()[0].address);
    }
    assert_eq!(first.len(), 2);
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_exchange() {
    let mut zone = Zone::default();
    zone.mx.insert("a.test", Ok(vec![]));
    zone.addresses.insert("a.test", Ok(vec!["8.8.1.1"]));
    assert_eq!(names(&lookup(zone), "a.test").await.unwrap(), ["8.8.1.1"]);
}

#[tokio::test]
async fn null_mx_and_names_that_do_not_exist_fail_for_good() {
    let mut zone = Zone::default();
    zone.mx.insert("null.test", Ok(vec![(0, "")]));
    zone.mx.insert("hollow.test", Ok(vec![(10, "nothing.test")]));
    let lookup = lookup(zone);
    assert!(
        names(&lookup, "null.test")
            .await
            .unwrap_err()
            .starts_with("556 5.1.10")
    );
    assert!(
        names(&lookup, "gone.test")
            .await
            .unwrap_err()
            .starts_with("550 5.4.4")
    );
    assert!(
        names(&lookup, "hollow.test")
            .await
            .unwrap_err()
            .starts_with("550 5.4.4")
    );
}

#[tokio::test]
async fn trouble_with_the_dns_never_bounces() {
    let mut zone = Zone::default();
    let failed = || DnsError::Failed("server failure".to_owned());
    zone.mx.insert("a.test", Err(failed()));
    zone.mx.insert("b.test", Ok(vec![(1, "x.test"), (2, "y.test")]));
    zone.addresses.insert("x.test", Err(failed()));
    let lookup = lookup(zone);
    assert!(
        names(&lookup, "a.test")
            .await
            .unwrap_err()
            .starts_with("450 4.4.3")
    );
    assert!(
        names(&lookup, "b.test")
            .await
            .unwrap_err()
            .starts_with("450 4.4.3")
    );
}

#[tokio::test]
async fn we_are_one_of_the_exchanges() {
    let mut zone = Zone::default();
    zone.mx.insert(
        "backup.test",
        Ok(vec![
            (10, "main.test"),
            (20, "MAIL.here.test"),
            (30, "other.test"),
        ]),
    );
    zone.mx.insert("ours.test", Ok(vec![(10, "mail.here.test")]));
    zone.addresses.insert("main.test", Ok(vec!["8.8.1.1"]));
    zone.addresses.insert("other.test", Ok(vec!["8.8.1.2"]));
    zone.addresses.insert("mail.here.test", Ok(vec!["8.8.1.3"]));
    let lookup = lookup(zone);
    assert_eq!(names(&lookup, "backup.test").await.unwrap(), ["8.8.1.1"]);
    let looped = names(&lookup, "ours.test").await.unwrap_err();
    assert_eq!(looped, "550 5.4.6 mail for ours.test loops back to myself");
}

#[tokio::test]
async fn addresses_that_nobody_may_point_us_at() {
    for (bad, code) in [
        ("127.0.0.1", "5.4.6"),
        ("127.9.9.9", "5.4.6"),
        ("::1", "5.4.6"),
        ("0.0.0.0", "5.4.6"),
        ("::", "5.4.6"),
        ("::ffff:127.0.0.1", "5.4.6"),
        ("169.254.1.1", "5.4.4"),
        ("fe80::1", "5.4.4"),
        ("10.0.0.1", "5.4.4"),
        ("192.168.1.1", "5.4.4"),
        ("100.64.0.1", "5.4.4"),
        ("fd00::1", "5.4.4"),
        ("224.0.0.1", "5.4.4"),
        ("64:ff9b::7f00:1", "5.4.4"),
        ("::ffff:10.0.0.1", "5.4.4"),
    ] {
        let mut zone = Zone::default();
        zone.mx.insert("a.test", Ok(vec![(10, "x.test")]));
        zone.addresses.insert("x.test", Ok(vec![bad]));
        let refusal = names(&lookup(zone), "a.test").await.unwrap_err();
        assert!(refusal.starts_with(&format!("550 {code}")), "{bad}: {refusal}");
    }
}

#[tokio::test]
async fn allowed_networks_and_chosen_hosts() {
    let mut zone = Zone::default();
    zone.mx.insert("a.test", Ok(vec![(10, "x.test")]));
    zone.addresses.insert("x.test", Ok(vec!["127.0.0.2", "10.0.0.1"]));
    let mut lookup = lookup(zone);
    let chosen = lookup.hosts(&hop("x.test", false, true), 0).await.unwrap();
    assert_eq!(
        chosen.len(),
        1,
        "a private host that the administrator named, but no loopback by name"
    );
    assert_eq!(
        lookup.hosts(&hop("127.0.0.1", false, true), 0).await.unwrap()[0].name,
        "[127.0.0.1]"
    );
    let config = config::Config::from_toml("[qmgr]\nsmtp_private_networks = [\"127.0.0.0/8\"]\n").unwrap();
    lookup.private_networks = config.qmgr.smtp_private_networks;
    assert_eq!(names(&lookup, "a.test").await.unwrap(), ["127.0.0.2"]);
}

#[tokio::test]
async fn a_thousand_exchanges_are_not_all_tried() {
    struct Flood;
    impl Dns for Flood {
        async fn mx(&self, _: &str) -> Result<Vec<(u16, String)>, DnsError> {
            Ok((0..1000).map(|n| (n, format!("m{n}.test"))).collect())
        }
        async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
            let n: u8 = host[1..host.len() - 5]
                .parse()
                .map_err(|_| DnsError::NoSuchName)?;
            Ok((0..50).map(|i| IpAddr::from([8, 8, n, i])).collect())
        }
    }
    let lookup = Lookup::new(Flood, "mail.here.test".to_owned(), Networks::default());
    assert_eq!(
        lookup.hosts(&hop("a.test", true, false), 1).await.unwrap().len(),
        5
    );
}
