//! The memory that a call takes: an allocator that counts, by thread, so that tests beside each other do not mix.
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one counts and hands on to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes alive of those that this thread asked for, less those that it gave back, and the most so far.
    static ALIVE: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(change: isize) {
    // A thread that is ending has no counter any more, and nothing is measured on it.
    let _ = ALIVE.try_with(|alive| {
        let (now, most) = alive.get();
        alive.set((now + change, most.max(now + change)));
    });
}

// SAFETY: every call is handed to the system's allocator as it came; the counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is that of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new may be alive together, which is the moment that counts.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What a call gives, and the most bytes that it had at once on this thread.
pub fn peak_of<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = ALIVE.with(|alive| {
        let (now, _) = alive.get();
        alive.set((now, now));
        now
    });
    let result = call();
    let most = ALIVE.with(|alive| alive.get().1);
    (result, (most - before) as usize)
}

/// The most memory that a reader may take for a file of `len` bytes: what a compressed file may swell to, with the copies
/// that growing and resizing make. Files that are not compressed stay far below; `bombs` and `texts` hold them to less.
pub fn most_for(len: usize) -> usize {
    4 * ((64 << 20) + 128 * len)
}

#[test]
fn the_allocator_counts() {
    let (vector, peak) = peak_of(|| {
        drop(vec![0u8; 3 << 20]);
        vec![0u8; 1 << 20]
    });
    assert_eq!((vector.len(), peak), (1 << 20, 3 << 20));
}
