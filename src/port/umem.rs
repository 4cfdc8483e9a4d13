//! Packet memory: one mapping, cut into chunks of equal size, that the kernel and this process both write.
//!
//! It lies on a memfd, which is closed as soon as it is mapped: whoever held its descriptor could write into a packet,
//! or cut the memory off, while somebody else borrows it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::mapping::Mapping;

const HUGEPAGE: usize = 2 << 20;

/// What kind of pages lie under the packet memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// 2 MiB hugepages, which must have been reserved (`vm.nr_hugepages`).
    Hugepages,
    /// The machine's ordinary pages.
    Pages,
}

/// Packet memory of one worker. What lies in it is reached through a [`Pool`](super::Pool) only.
#[derive(Debug)]
pub struct Umem {
    mapping: Mapping,
    frames: u32,
    chunk_size: u16,
    backing: Backing,
}

impl Umem {
    /// The most chunks one UMEM can have.
    pub const MAX_FRAMES: u32 = 1 << 20;

    /// Maps `frames` chunks (1 to [`Umem::MAX_FRAMES`]) of `chunk_size` bytes (2,048 or 4,096), all populated and
    /// zero.
    ///
    /// # Errors
    /// `InvalidInput` for sizes outside these ranges; what memfd_create(2), ftruncate(2) or mmap(2) said otherwise:
    /// ENOMEM with [`Backing::Hugepages`] means that too few are free.
    pub fn new(frames: u32, chunk_size: u16, backing: Backing) -> io::Result<Self> {
        if !(1..=Self::MAX_FRAMES).contains(&frames) || !matches!(chunk_size, 2048 | 4096) {
            let what = format!("{frames} chunks of {chunk_size} bytes: 1 to 1048576 of 2048 or 4096 can be had");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let bytes = frames as usize * usize::from(chunk_size);
        let (len, huge) = match backing {
            Backing::Hugepages => (bytes.next_multiple_of(HUGEPAGE), MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB),
            Backing::Pages => (bytes.next_multiple_of(4096), MemfdFlags::empty()),
        };
        let fd = memfd_create("selvedge-umem", MemfdFlags::CLOEXEC | huge)?;
        ftruncate(&fd, len as u64)?;
        let mapping = Mapping::new(len, fd.as_fd(), 0)?;
        Ok(Self { mapping, frames, chunk_size, backing })
    }

    /// Hugepages if they can be had, ordinary pages otherwise; in that case also why, for a log line.
    ///
    /// # Errors
    /// When ordinary pages cannot be had either.
    pub fn preferring_hugepages(frames: u32, chunk_size: u16) -> io::Result<(Self, Option<io::Error>)> {
        match Self::new(frames, chunk_size, Backing::Hugepages) {
            Ok(umem) => Ok((umem, None)),
            Err(why) => Ok((Self::new(frames, chunk_size, Backing::Pages)?, Some(why))),
        }
    }

    /// Chunks.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes in a chunk: 2,048 or 4,096.
    pub fn chunk_size(&self) -> u16 {
        self.chunk_size
    }

    /// What kind of pages it got.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// Where the first chunk begins: at least 64-byte aligned, being the start of a page.
    #[inline]
    pub(super) fn base(&self) -> *mut u8 {
        self.mapping.base()
    }

    /// Bytes in all chunks together.
    pub(super) fn bytes(&self) -> usize {
        self.frames as usize * usize::from(self.chunk_size)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn sizes_are_checked_and_fallback_tells_why() {
        assert_eq!(Umem::new(0, 2048, Backing::Pages).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(Umem::new(64, 1024, Backing::Pages).is_err());
        assert!(Umem::new(Umem::MAX_FRAMES + 1, 2048, Backing::Pages).is_err());
        let umem = Umem::new(3, 2048, Backing::Pages).unwrap();
        assert_eq!((umem.frames(), umem.chunk_size(), umem.bytes()), (3, 2048, 6144));
        assert_eq!(umem.base().align_offset(64), 0);
        let (umem, why) = Umem::preferring_hugepages(64, 4096).unwrap();
        assert_eq!(why.is_some(), umem.backing() == Backing::Pages);
    }

    #[test]
    fn no_descriptor_leads_to_the_memory() {
        let umem = Umem::new(4, 2048, Backing::Pages).unwrap();
        let (base, bytes) = (umem.base() as usize, umem.bytes());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|l| l.starts_with(&format!("{base:08x}-{:08x}", base + bytes))).unwrap();
        assert!(line.contains("memfd:selvedge-umem"), "{line}");
        let inode: u64 = line.split_whitespace().nth(4).unwrap().parse().unwrap();
        let ours = |fd: &std::path::PathBuf| {
            let memfd = std::fs::read_link(fd).is_ok_and(|to| to.to_string_lossy().contains("memfd:selvedge-umem"));
            memfd && std::fs::metadata(fd).is_ok_and(|m| m.ino() == inode)
        };
        let open: Vec<_> =
            std::fs::read_dir("/proc/self/fd").unwrap().map(|e| e.unwrap().path()).filter(ours).collect();
        assert!(open.is_empty(), "{open:?}");
    }
}
