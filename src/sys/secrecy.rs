//! What keeps a private key in the memory of this process, and not longer there than it is needed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;

/// Forbids core dumps and debuggers of the same user: called before a private key is read.
///
/// # Errors
/// Returns what prctl(2) returns.
pub fn forbid_core_dumps() -> io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(|_| ())
}

/// Bytes of a core file that the kernel takes for "none": too few to write one (core(5)), and where it pipes cores into a program
/// the one limit that it heeds.
const CORE_BYTES: libc::rlim_t = 1;

/// Makes the kernel write no core of this process, which stays open to its user otherwise: called before a private key is read.
///
/// # Errors
/// Returns what setrlimit(2) returns.
pub fn write_no_core() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: CORE_BYTES,
        rlim_max: CORE_BYTES,
    };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) }).map(|_| ())
}

/// Bytes of the largest block that is wiped: no key, and nothing computed from one, needs more.
const WIPED_BYTES_MAX: usize = 64 << 10;

static WIPES: AtomicBool = AtomicBool::new(false);

/// From now on memory is overwritten when it is freed: called before a private key is read.
///
/// The libraries that sign keep copies and intermediate values of which they wipe only some.
pub fn wipe_what_is_freed() {
    WIPES.store(true, Ordering::Relaxed);
}

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

/// Is the system's allocator, which wipes what is freed once it is told to.
struct Wiping;

/// Returns whether a block of this size is wiped.
fn wipes(size: usize) -> bool {
    size <= WIPED_BYTES_MAX && WIPES.load(Ordering::Relaxed)
}

// SAFETY: every block comes from `System` and goes back to it with the layout it was made with.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // Not inlined: this is called from thousands of places.
    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wipes(layout.size()) {
            // SAFETY: the caller gives up a block of this size.
            unsafe { wipe(block, layout.size()) };
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !wipes(layout.size()) {
            // SAFETY: as above.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller promises a size that is not zero and fits the alignment.
        let moved =
            unsafe { System.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks have that many bytes, and the new one is nobody else's.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(size)) };
            // SAFETY: the caller gives up the old block.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

/// Overwrites a block, also where the compiler knows that nobody reads it any more.
///
/// # Safety
/// The block has that many bytes, and they are the caller's.
#[cold]
unsafe fn wipe(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise; bytes that may be uninitialised are only written.
    let bytes = unsafe { std::slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), size) };
    // SAFETY: any bytes make a `MaybeUninit<u64>`.
    let (before, words, after) = unsafe { bytes.align_to_mut::<MaybeUninit<u64>>() };
    for byte in before.iter_mut().chain(after) {
        // SAFETY: a reference can be written through.
        unsafe { ptr::write_volatile(byte, MaybeUninit::new(0)) };
    }
    for word in words {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(word, MaybeUninit::new(0)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wipes_every_byte_and_no_other() {
        for size in 0..40 {
            for start in 0..9 {
                let mut bytes = [7_u8; 64];
                let block = &mut bytes[start..start + size];
                // SAFETY: the block is borrowed mutably.
                unsafe { wipe(block.as_mut_ptr(), block.len()) };
                for (position, byte) in bytes.into_iter().enumerate() {
                    let inside = (start..start + size).contains(&position);
                    assert_eq!(
                        byte,
                        if inside { 0 } else { 7 },
                        "{start} {size} {position}"
                    );
                }
            }
        }
    }

    #[test]
    fn growing_keeps_the_bytes_once_the_freed_is_wiped() {
        wipe_what_is_freed();
        let mut bytes = Vec::new();
        for position in 0..200_000_u32 {
            bytes.push(position);
        }
        bytes.shrink_to_fit();
        assert!(bytes.iter().copied().eq(0..200_000));
        assert!(wipes(WIPED_BYTES_MAX) && !wipes(WIPED_BYTES_MAX + 1));
    }
}
