//! The program `deliver`.

fn main() -> std::process::ExitCode {
    daemon::run::<deliver::Deliver>()
}
