//! The seam to the outside for time and randomness.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Tells the time: the system's, or that of a [`ManualClock`].
#[derive(Clone, Default)]
pub struct Clock(Option<ManualClock>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// The wall time.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(manual) => manual.start_wall + manual.elapsed(),
        }
    }

    /// The wall time in milliseconds since 1970, 0 before.
    pub fn unix_millis(&self) -> u64 {
        let since = self
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The monotonic time.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(manual) => manual.start + manual.elapsed(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Clock(manual)"
        } else {
            "Clock(system)"
        })
    }
}

/// A clock that moves when a test says so.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Instant,
    start_wall: SystemTime,
    elapsed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    /// A clock that stands at `wall`.
    pub fn new(wall: SystemTime) -> Self {
        Self {
            start: Instant::now(),
            start_wall: wall,
            elapsed: Arc::default(),
        }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// The clock to hand out.
    pub fn clock(&self) -> Clock {
        Clock(Some(self.clone()))
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 128 bits of the system's random source.
///
/// # Panics
///
/// When the system has no randomness: an id made without it could be that of another message, which would be
/// a loss. The panic ends one session.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the system's random source failed: {error}");
    }
    u128::from_le_bytes(bytes)
}
