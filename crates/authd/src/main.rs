//! authd, see the library.

fn main() -> std::process::ExitCode {
    daemon::run::<authd::Authd>()
}
