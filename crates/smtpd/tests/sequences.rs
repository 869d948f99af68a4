//! Random command sequences over a socket against the reference state machine (robustness.md S32).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../../smtp-proto/tests/reference/mod.rs"]
mod reference;
mod support;

use reference::{Model, Random, STEPS, codes, octets_behind};
use support::{Dialogue, Site};

/// A service with everything, whose limits are out of the way.
const SERVICE: &str = r#"
[smtpd.service.all]
listen = []
smtpd_tls_security_level = "may"
smtpd_sasl_auth_enable = true
smtpd_error_sleep_time = "0s"
smtpd_client_message_rate_limit = 1000000
smtpd_client_recipient_rate_limit = 1000000
smtpd_client_auth_rate_limit = 1000000
smtpd_client_new_tls_session_rate_limit = 1000000
"#;

async fn heard(d: &mut Dialogue) -> u16 {
    let reply = d.hear().await.replace('\n', "\r\n");
    *codes(reply.as_bytes())
        .last()
        .unwrap_or_else(|| panic!("{reply}"))
}

async fn run(site: &Site, random: &mut Random) {
    let mut d = site.open_tcp("all").await;
    assert_eq!(heard(&mut d).await, 220);
    let (mut model, mut trail) = (Model::default(), String::new());
    for _ in 0..20 {
        let step = STEPS[random.below(STEPS.len())];
        // A failed login waits; the row leaves it out.
        if step == "AUTH PLAIN YmFk" {
            continue;
        }
        let errors = model.errors;
        let expected = model.expect(step);
        trail.push_str(&format!("{step} -> {expected:?}\n"));
        d.send(format!("{step}\r\n{}", octets_behind(step))).await;
        for code in &expected {
            assert_eq!(heard(&mut d).await, *code, "{trail}");
            if *code == 354 {
                d.send("x\r\n.\r\n").await;
            }
        }
        if expected == [220] {
            d.handshake().await;
        }
        model.settle(step, errors, &expected);
        if model.closed {
            assert_eq!(d.hear().await, "eof", "{trail}");
            break;
        }
    }
}

#[tokio::test]
async fn a_thousand_sequences_over_a_socket() {
    let site = Site::new(SERVICE).await;
    let mut random = Random(0x0dd_5eed);
    for _ in 0..1000 {
        run(&site, &mut random).await;
    }
    assert!(
        !site.deliver.bodies().is_empty(),
        "no sequence delivered anything"
    );
    assert!(site.spooled().is_empty());
}
