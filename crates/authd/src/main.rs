//! authd, see the library.

/// A tenth of the time went into glibc's allocator, and each of its threads kept the 19 MiB of an Argon2 hash for
/// itself: half a gigabyte after a flood of logins.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    daemon::run::<authd::Authd>()
}
