//! The self-test of a volume that failed a sync: what is written must come back from the disk itself.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, PosixFadviseAdvice, openat, posix_fadvise};
use nix::sys::stat::{Mode, fstat};

use crate::dir::Dir;
use crate::error::Error;
use crate::probe::Op;
use crate::stat::id_of;

/// A buffer as O_DIRECT wants it.
#[repr(align(4096))]
struct Page([u8; 4096]);

/// Writes a page, syncs file and directory, reads the page back past the cache, compares, removes it.
pub(crate) fn run(dir: &Dir) -> Result<(), Error> {
    let name = format!("selftest.{}", std::process::id());
    let _ = dir.unlink_now(name.as_ref());
    let result = write_and_compare(dir, &name);
    let _ = dir.unlink_now(name.as_ref());
    result
}

fn write_and_compare(dir: &Dir, name: &str) -> Result<(), Error> {
    let failed = |op| move |e: nix::errno::Errno| Error::io(op, name, e);
    let mut wanted = Page([0; 4096]);
    // Every page differs from what an earlier test may have left in the same block.
    let salt = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |d| d.as_nanos());
    for (index, byte) in wanted.0.iter_mut().enumerate() {
        *byte = (salt >> (index % 13)) as u8 ^ index as u8;
    }
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("create"))?;
    let file = std::fs::File::from(fd);
    file.write_all_at(&wanted.0, 0)
        .map_err(|e| Error::io("write", name, e))?;
    let disk = dir.disk();
    let id = id_of(&fstat(&file).map_err(failed("stat"))?);
    disk.before(&Op::SyncFile { file: id }).map_err(failed("sync"))?;
    nix::unistd::fsync(&file).map_err(failed("sync"))?;
    disk.before(&Op::SyncDir { dir: dir.id() })
        .map_err(failed("sync the directory of"))?;
    nix::unistd::fsync(dir.as_fd()).map_err(failed("sync the directory of"))?;
    // Where O_DIRECT is not to be had, dropping the clean page from the cache comes nearest.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let direct = OFlag::O_RDONLY | OFlag::O_DIRECT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(dir.as_fd(), name, direct, Mode::empty())
        .or_else(|_| openat(dir.as_fd(), name, direct - OFlag::O_DIRECT, Mode::empty()))
        .map_err(failed("open"))?;
    let mut found = Box::new(Page([0; 4096]));
    let read = std::fs::File::from(fd).read_exact_at(&mut found.0, 0);
    read.map_err(|e| Error::io("read back", name, e))?;
    if found.0 == wanted.0 {
        Ok(())
    } else {
        Err(Error::io(
            "read back",
            name,
            std::io::Error::other("other bytes came back than were written"),
        ))
    }
}
