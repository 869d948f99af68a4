//! The scheduler with a clock that jumps.

use auth_api::directory::NextHop;
use mail_types::EnhancedStatus;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn id(n: u64) -> MailId {
    MailId::new(n, u128::from(n))
}

fn limits() -> Limits {
    Limits {
        active: 20_000,
        concurrency: (2, 20),
        total_concurrency: 400,
        recipients: 50,
        backoff: Backoff {
            min: 300 * SECOND,
            max: 4 * 3600 * SECOND,
            lifetime: 5 * 86_400 * SECOND,
        },
        probe: 2 * SECOND,
    }
}

fn recipient(index: u32, domain: &str) -> NewRecipient {
    NewRecipient {
        index,
        domain: domain.parse().unwrap(),
        resolved: true,
        progress: Progress::default(),
        elapsed: Duration::ZERO,
    }
}

fn smtp(domain: &str) -> Destination {
    Destination::Smtp(NextHop {
        host: domain.to_owned(),
        port: None,
        use_mx: true,
        explicit: false,
    })
}

fn reply() -> Reply {
    Reply::new(450, EnhancedStatus::new(4, 4, 1), "no connection")
}

/// A scheduler, its clock, and the domains of the messages.
struct Test {
    scheduler: Scheduler,
    now: Instant,
    domains: HashMap<Key, String>,
}

impl Test {
    fn new(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            now: Instant::now(),
            domains: HashMap::new(),
        }
    }

    fn add(&mut self, id: MailId, domains: &[&str]) {
        let recipients: Vec<NewRecipient> = (0..).zip(domains).map(|(n, d)| recipient(n, d)).collect();
        for (n, domain) in (0..).zip(domains) {
            self.domains.insert((id, n), (*domain).to_owned());
        }
        self.scheduler.add(id, recipients, self.now);
    }

    /// The next action that is no question; questions are answered: everybody goes by SMTP to his domain,
    /// `here.test` is local.
    fn next(&mut self) -> Option<Action> {
        loop {
            match self.scheduler.next(self.now)? {
                Action::Route(key) => {
                    let domain = &self.domains[&key];
                    let to = if domain == "here.test" {
                        Destination::Local
                    } else {
                        smtp(domain)
                    };
                    self.scheduler.routed(key, to, None);
                }
                other => return Some(other),
            }
        }
    }

    fn job(&mut self) -> Job {
        match self.next() {
            Some(Action::Attempt(job)) => job,
            other => panic!("no job but {other:?}"),
        }
    }

    fn succeed(&mut self, job: &Job) {
        for index in &job.recipients {
            self.scheduler.finished((job.id, *index));
        }
        self.scheduler.job_done(&job.destination, &Health::Good, self.now);
    }

    fn fail(&mut self, job: &Job) {
        for index in &job.recipients {
            self.scheduler.deferred((job.id, *index), self.now).unwrap();
        }
        self.scheduler
            .job_done(&job.destination, &Health::Bad(reply()), self.now);
    }
}

#[test]
fn recipients_of_one_domain_share_a_transaction() {
    let mut test = Test::new(limits());
    let mut domains = vec!["a.test"; 60];
    domains.push("b.test");
    test.add(id(1), &domains);
    let mut jobs = [test.job(), test.job(), test.job()];
    jobs.sort_by_key(|job| std::cmp::Reverse(job.recipients.len()));
    assert_eq!(
        jobs.iter().map(|j| j.recipients.len()).collect::<Vec<_>>(),
        [50, 10, 1]
    );
    assert_eq!(jobs[2].destination, smtp("b.test"));
    assert_eq!(test.next(), None);
}

#[test]
fn each_original_has_its_own_transaction() {
    let mut test = Test::new(limits());
    test.add(id(1), &["a.test"; 3]);
    let alias = |n: u32| Some(format!("alias{n}@here.test").parse().unwrap());
    let mut questions = 0;
    let mut jobs = Vec::new();
    while let Some(action) = test.scheduler.next(test.now) {
        match action {
            Action::Route(key) => {
                questions += 1;
                test.scheduler
                    .routed(key, smtp("a.test"), if key.1 < 2 { alias(0) } else { alias(1) });
            }
            Action::Attempt(job) => jobs.push(job.recipients),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((questions, jobs), (3, vec![vec![0, 1], vec![2]]));
}

#[test]
fn concurrency_grows_with_success_and_shrinks_with_failure() {
    let mut test = Test::new(limits());
    for n in 0..400 {
        test.add(id(n), &["a.test"]);
    }
    let mut running = vec![test.job(), test.job()];
    assert_eq!(test.next(), None, "two at first");
    for _ in 0..300 {
        let job = running.remove(0);
        test.succeed(&job);
        while let Some(Action::Attempt(job)) = test.next() {
            running.push(job);
        }
    }
    assert_eq!(running.len(), 20, "twenty at last");
    let job = running.remove(0);
    test.fail(&job);
    while running.len() > 10 {
        assert_eq!(test.next(), None, "half of it");
        let job = running.remove(0);
        for index in &job.recipients {
            test.scheduler.finished((job.id, *index));
        }
        test.scheduler
            .job_done(&job.destination, &Health::Unknown, test.now);
    }
}

#[test]
fn a_dead_domain_does_not_hold_a_live_one() {
    let mut test = Test::new(limits());
    for n in 0..100_000 {
        test.add(id(n), &["dead.test"]);
    }
    let first = [test.job(), test.job()];
    test.add(id(200_000), &["live.test"]);
    // Both connections hang; the live one goes at once.
    let job = test.job();
    assert_eq!((job.id, &job.destination), (id(200_000), &smtp("live.test")));
    // When it is known to be dead, the rest is put off without a connection.
    test.fail(&first[0]);
    test.fail(&first[1]);
    let mut postponed = 0;
    while let Some(action) = test.next() {
        let Action::Postpone(key, _) = action else {
            panic!("{action:?}")
        };
        test.scheduler.deferred(key, test.now).unwrap();
        postponed += 1;
    }
    assert_eq!(postponed, 99_998);
}

#[test]
fn a_dead_destination_is_tried_again_later() {
    let mut test = Test::new(limits());
    for n in 0..5 {
        test.add(id(n), &["a.test"]);
    }
    for _ in 0..2 {
        let job = test.job();
        test.fail(&job);
    }
    while let Some(Action::Postpone(key, _)) = test.next() {
        test.scheduler.deferred(key, test.now).unwrap();
    }
    let wake = test.scheduler.wake_at().unwrap();
    assert!(wake - test.now >= 270 * SECOND && wake - test.now <= 330 * SECOND);
    test.now += 331 * SECOND;
    let job = test.job();
    assert_eq!(test.next(), None, "one connection to a destination that was dead");
    test.succeed(&job);
    assert!(matches!(test.next(), Some(Action::Attempt(_))));
}

#[test]
fn waiting_ends_when_its_time_has_come() {
    let mut test = Test::new(limits());
    test.add(id(1), &["a.test"]);
    let job = test.job();
    let progress = test.scheduler.deferred((id(1), 0), test.now).unwrap();
    test.scheduler.job_done(&job.destination, &Health::Good, test.now);
    assert_eq!(test.next(), None);
    assert_eq!(test.scheduler.wake_at(), Some(test.now + progress.gap));
    test.now += progress.gap - SECOND;
    assert_eq!(test.next(), None);
    test.now += SECOND;
    assert_eq!(test.job().id, id(1));
}

#[test]
fn trouble_of_our_own_parks_everybody_and_probes_with_one() {
    let mut test = Test::new(limits());
    for n in 0..10 {
        test.add(id(n), &["here.test"]);
    }
    let mut jobs = Vec::new();
    while let Some(Action::Attempt(job)) = test.next() {
        jobs.push(job);
    }
    for job in &jobs {
        test.scheduler.trouble((job.id, 0), Service::Deliver, test.now);
        test.scheduler
            .job_done(&job.destination, &Health::Unknown, test.now);
    }
    test.add(id(50), &["here.test"]);
    test.add(id(51), &["a.test"]);
    assert_eq!(test.job().id, id(51), "other destinations go on");
    assert_eq!(test.next(), None);
    let mut probed = std::collections::HashSet::new();
    for _ in 0..5 {
        test.now += 2 * SECOND;
        let probe = test.job();
        assert_eq!(test.next(), None, "one at a time");
        probed.insert(probe.id);
        test.scheduler.trouble((probe.id, 0), Service::Deliver, test.now);
        test.scheduler
            .job_done(&probe.destination, &Health::Unknown, test.now);
    }
    assert_eq!(probed.len(), 5, "not always the same one");
    test.now += 2 * SECOND;
    let probe = test.job();
    test.succeed(&probe);
    test.scheduler.service_up(Service::Deliver);
    let mut released = 0;
    while let Some(Action::Attempt(job)) = test.next() {
        let (progress, _, _) = test.scheduler.view((job.id, 0)).unwrap();
        assert_eq!(progress, Progress::default(), "no attempt was counted");
        test.succeed(&job);
        released += 1;
    }
    assert_eq!(released, 10);
}

#[test]
fn a_service_with_nobody_left_to_try_is_up() {
    let mut test = Test::new(limits());
    test.add(id(1), &["here.test"]);
    let job = test.job();
    test.scheduler.trouble((id(1), 0), Service::Deliver, test.now);
    test.scheduler
        .job_done(&job.destination, &Health::Unknown, test.now);
    test.scheduler.remove(id(1));
    test.add(id(2), &["here.test"]);
    assert_eq!(test.next(), None);
    test.now += 3 * SECOND;
    assert_eq!(test.job().id, id(2));
}

#[test]
fn the_spool_is_tested_not_the_destination() {
    let mut test = Test::new(limits());
    test.add(id(1), &["a.test"]);
    let job = test.job();
    test.scheduler.trouble((id(1), 0), Service::Spool, test.now);
    test.scheduler
        .job_done(&job.destination, &Health::Unknown, test.now);
    test.add(id(2), &["b.test"]);
    assert_eq!(test.next(), None);
    test.now += 2 * SECOND;
    assert_eq!(test.next(), Some(Action::TestSpool((id(1), 0))));
    test.scheduler.trouble((id(1), 0), Service::Spool, test.now);
    test.scheduler.service_up(Service::Spool);
    let mut ids = vec![test.job().id, test.job().id];
    ids.sort();
    assert_eq!(ids, [id(1), id(2)]);
}

#[test]
fn while_authd_is_away_only_one_question_is_asked() {
    let mut test = Test::new(limits());
    test.add(id(1), &["a.test"]);
    test.add(id(2), &["b.test"]);
    let Some(Action::Route(key)) = test.scheduler.next(test.now) else {
        panic!()
    };
    test.scheduler.trouble(key, Service::Authd, test.now);
    assert_eq!(test.scheduler.next(test.now), None);
    assert_eq!(test.scheduler.wake_at(), Some(test.now + 2 * SECOND));
    test.now += 2 * SECOND;
    assert_eq!(test.scheduler.next(test.now), Some(Action::Route(key)));
    assert_eq!(test.scheduler.next(test.now), None);
    test.scheduler.service_up(Service::Authd);
    test.scheduler.routed(key, smtp("a.test"), None);
    assert!(test.next().is_some() && test.next().is_some());
}

#[test]
fn hold_and_release() {
    let mut test = Test::new(limits());
    for n in 0..10 {
        test.add(id(n), &["a.test"]);
    }
    let running = [test.job(), test.job()];
    for n in 0..10 {
        test.scheduler.hold(id(n), true);
    }
    test.succeed(&running[0]);
    test.fail(&running[1]);
    assert_eq!(test.next(), None, "what is queued is held too");
    test.now += 400 * SECOND;
    assert_eq!(test.next(), None, "what becomes due is held too");
    assert!(!test.scheduler.flush(running[1].id));
    test.scheduler.hold(running[1].id, false);
    assert_eq!(test.job().id, running[1].id);
}

#[test]
fn flush_and_requeue() {
    let mut test = Test::new(limits());
    test.add(id(1), &["a.test"]);
    for _ in 0..2 {
        let job = test.job();
        test.fail(&job);
        assert_eq!(test.next(), None);
        assert!(!test.scheduler.flush_domain(id(1), &"b.test".parse().unwrap()));
        assert!(test.scheduler.flush_domain(id(1), &"a.test".parse().unwrap()));
    }
    let (progress, _, _) = test.scheduler.view((id(1), 0)).unwrap();
    assert_eq!(progress.attempts, 2);
    let job = test.job();
    test.fail(&job);
    test.scheduler.requeue(id(1));
    let (progress, _, _) = test.scheduler.view((id(1), 0)).unwrap();
    assert_eq!(progress, Progress::default());
}

#[test]
fn a_restart_goes_on_with_the_gap_whatever_the_clock_did() {
    for (elapsed, wait) in [
        // The clock went back: the whole gap again, never more.
        (Duration::ZERO, 3600 * SECOND),
        (1800 * SECOND, 1800 * SECOND),
        (7200 * SECOND, Duration::ZERO),
        (Duration::from_secs(u64::MAX / 4), Duration::ZERO),
    ] {
        let mut test = Test::new(limits());
        let progress = Progress {
            attempts: 3,
            age: 5000 * SECOND,
            gap: 3600 * SECOND,
        };
        test.domains.insert((id(1), 0), "a.test".to_owned());
        test.scheduler.add(
            id(1),
            vec![NewRecipient {
                progress,
                elapsed,
                ..recipient(0, "a.test")
            }],
            test.now,
        );
        if !wait.is_zero() {
            assert_eq!(test.scheduler.wake_at(), Some(test.now + wait));
            test.now += wait;
        }
        let job = test.job();
        let next = test.scheduler.deferred((job.id, 0), test.now).unwrap();
        assert!(
            next.age <= progress.age + 7200 * SECOND,
            "{elapsed:?}: {:?}",
            next.age
        );
        assert_eq!(next.attempts, 4);
    }
}

#[test]
fn a_gap_from_another_configuration_is_cut() {
    let mut test = Test::new(limits());
    let progress = Progress {
        attempts: 1,
        age: Duration::ZERO,
        gap: 1_000_000 * SECOND,
    };
    test.scheduler.add(
        id(1),
        vec![NewRecipient {
            progress,
            ..recipient(0, "a.test")
        }],
        test.now,
    );
    assert_eq!(test.scheduler.wake_at(), Some(test.now + 4 * 3600 * SECOND));
}

#[test]
fn the_active_limit_holds_and_everybody_gets_through() {
    let mut test = Test::new(Limits {
        active: 10,
        ..limits()
    });
    for n in 0..100 {
        let domain = format!("d{n}.test");
        test.add(id(n), &[&domain]);
    }
    let mut jobs = Vec::new();
    while let Some(Action::Attempt(job)) = test.next() {
        jobs.push(job);
    }
    assert_eq!(jobs.len(), 10);
    let mut done = 0;
    while let Some(job) = jobs.pop() {
        test.succeed(&job);
        done += 1;
        while let Some(Action::Attempt(job)) = test.next() {
            jobs.push(job);
        }
        assert!(jobs.len() <= 10);
    }
    assert_eq!(done, 100);
    assert_eq!(
        (
            test.scheduler.active,
            test.scheduler.running,
            test.scheduler.messages.len()
        ),
        (0, 0, 0)
    );
    assert!(
        test.scheduler.lanes.is_empty(),
        "nothing is kept of domains that are through"
    );
}

#[test]
fn the_total_of_connections_is_limited() {
    let mut test = Test::new(Limits {
        total_concurrency: 3,
        ..limits()
    });
    for n in 0..9 {
        let domain = format!("d{n}.test");
        test.add(id(n), &[&domain]);
    }
    let mut jobs = vec![test.job(), test.job(), test.job()];
    assert_eq!(test.next(), None);
    for _ in 0..6 {
        let job = jobs.remove(0);
        test.succeed(&job);
        jobs.push(test.job());
        assert_eq!(test.next(), None);
    }
}

/// Any order of events leaves every counter at zero at the end.
#[test]
fn nothing_gets_lost_in_a_long_random_run() {
    let mut seed = 42u64;
    let mut random = move |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut test = Test::new(Limits {
        active: 30,
        total_concurrency: 8,
        ..limits()
    });
    for n in 0..200 {
        let domains: Vec<String> = (0..=random(4)).map(|_| format!("d{}.test", random(6))).collect();
        let mut domains: Vec<&str> = domains.iter().map(String::as_str).collect();
        if random(3) == 0 {
            domains.push("here.test");
        }
        test.add(id(n), &domains);
    }
    let mut jobs: Vec<Job> = Vec::new();
    let mut steps = 0;
    while !test.scheduler.messages.is_empty() {
        steps += 1;
        assert!(steps < 100_000, "it does not come to its end");
        match test.next() {
            Some(Action::Attempt(job)) => jobs.push(job),
            Some(Action::Postpone(key, _)) => {
                test.scheduler.deferred(key, test.now).unwrap();
            }
            Some(Action::TestSpool(key)) => {
                test.scheduler.trouble(key, Service::Spool, test.now);
                test.scheduler.service_up(Service::Spool);
            }
            Some(other) => panic!("{other:?}"),
            None if jobs.is_empty() => {
                test.now = test
                    .scheduler
                    .wake_at()
                    .expect("something is waited for")
                    .max(test.now);
            }
            None => {
                let job = jobs.swap_remove(random(jobs.len() as u64) as usize);
                let mut health = Health::Good;
                for index in &job.recipients {
                    let key = (job.id, *index);
                    match random(10) {
                        0 => test.scheduler.trouble(key, Service::Deliver, test.now),
                        1 => test.scheduler.trouble(key, Service::Spool, test.now),
                        2 | 3 => {
                            // A message may have been removed while it was being sent.
                            let known = test.scheduler.phase(key).is_some();
                            assert_eq!(test.scheduler.deferred(key, test.now).is_some(), known);
                            health = Health::Bad(reply());
                        }
                        _ => test.scheduler.finished(key),
                    }
                }
                test.scheduler.job_done(&job.destination, &health, test.now);
                something_else(&mut test, &mut random);
            }
        }
    }
    for job in jobs {
        test.scheduler.job_done(&job.destination, &Health::Good, test.now);
    }
    let s = &test.scheduler;
    assert_eq!(
        (s.active, s.asking, s.running, s.timers.len(), s.lanes.len()),
        (0, 0, 0, 0, 0)
    );
}

/// What an operator or a service that is back may do at any moment.
fn something_else(test: &mut Test, random: &mut impl FnMut(u64) -> u64) {
    match random(20) {
        0 => test.scheduler.service_up(Service::Deliver),
        1 => test.scheduler.requeue(id(random(200))),
        2 => {
            test.scheduler.hold(id(random(200)), true);
            (0..200).for_each(|n| test.scheduler.hold(id(n), false));
        }
        3 => test.scheduler.remove(id(random(200))),
        4 => _ = test.scheduler.flush(id(random(200))),
        _ => {}
    }
}
