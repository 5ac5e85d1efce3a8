//! A slice that several tasks write to, each to numbers of its own.

use std::marker::PhantomData;
use std::ops::Range;

/// Exclusive access to a slice, to be handed out in pieces that do not overlap.
#[derive(Debug)]
pub struct Pieces<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: like `&mut [T]`; that pieces do not overlap is promised by whoever takes them.
unsafe impl<T: Send> Send for Pieces<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    /// Of all of a slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Numbers in all.
    pub fn total(&self) -> usize {
        self.len
    }

    /// Where a number lies, if there is one.
    #[inline(always)]
    pub fn address(&self, at: usize) -> *const T {
        self.first.wrapping_add(at)
    }

    /// Some of the numbers.
    ///
    /// # Safety
    ///
    /// As long as the piece is used, nobody else may use any of its numbers.
    ///
    /// # Panics
    ///
    /// If the range reaches beyond the slice.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "that is what it is for; the caller promises that pieces do not overlap")]
    pub unsafe fn take(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "a piece beyond the slice");
        // SAFETY: inside of the slice, which is borrowed for 'a; nobody else uses these numbers, says the caller.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}
