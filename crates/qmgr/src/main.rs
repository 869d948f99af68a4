//! The queue manager's program.

fn main() -> std::process::ExitCode {
    daemon::run::<qmgr::Qmgr>()
}
