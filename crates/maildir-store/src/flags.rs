//! Message flags as the letters of Maildir file names carry them.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of the six Maildir flags. The bits are those of the UID log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `D`, \Draft.
    pub const DRAFT: Self = Self(1);
    /// `F`, \Flagged.
    pub const FLAGGED: Self = Self(2);
    /// `P`, passed on: the keyword $Forwarded.
    pub const PASSED: Self = Self(4);
    /// `R`, \Answered.
    pub const ANSWERED: Self = Self(8);
    /// `S`, \Seen.
    pub const SEEN: Self = Self(16);
    /// `T`, \Deleted.
    pub const DELETED: Self = Self(32);
    /// All six.
    pub const ALL: Self = Self(63);

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Sets `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Clears `other`.
    pub fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As the UID log writes them.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Flags::bits`]; unknown bits are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The flag of a letter, where it is one of the six.
    pub fn from_letter(letter: u8) -> Option<Self> {
        LETTERS
            .iter()
            .position(|l| *l == letter)
            .map(|bit| Self(1 << bit))
    }

    /// The letters in ASCII order, as file names want them.
    pub fn letters(self) -> impl Iterator<Item = u8> {
        LETTERS
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, letter)| *letter)
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.insert(other);
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: Vec<u8> = self.letters().collect();
        write!(f, "Flags({})", String::from_utf8_lossy(&letters))
    }
}

/// In ASCII order; the position is the bit.
const LETTERS: &[u8; 6] = b"DFPRST";
