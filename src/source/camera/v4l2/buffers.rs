//! The camera's buffers in our memory, and their way to the driver and back.

#![allow(unsafe_code, reason = "memory that is shared with the kernel")]

use std::io;
use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::super::Filled;
use super::calls::{Node, Place};

/// One with the driver, one filled and not yet taken, one being copied, one to spare for a late moment.
const BUFFERS: u32 = 4;

/// A streaming camera. Dropping it stops the camera, unmaps its buffers and closes it, in this order.
pub struct Buffers {
    maps: Vec<Map>,
    /// The buffer that is with us.
    taken: Option<u32>,
    node: Node,
}

/// A buffer in our memory.
struct Map {
    at: ptr::NonNull<u8>,
    length: usize,
}

// SAFETY: a map is plain memory, which belongs to the process and not to a thread.
unsafe impl Send for Map {}

impl Map {
    fn new(node: &Node, place: Place) -> io::Result<Self> {
        let length = place.length as usize;
        // SAFETY: the kernel chooses an address that is free; the driver gave offset and length for exactly this.
        let at =
            unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, node, u64::from(place.offset)) }?;
        let at = ptr::NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, length })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the memory was mapped with this length, and slices of it borrow the map. Nothing can be done about an
        // error, and there is none for a range that is mapped.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.length) };
    }
}

impl Buffers {
    /// Maps the buffers, gives them all to the driver, and starts the camera.
    pub fn start(node: Node) -> io::Result<Self> {
        let count = node.request_buffers(BUFFERS)?;
        let places = (0..count).map(|index| node.place(index));
        let maps = places.map(|place| Map::new(&node, place?)).collect::<io::Result<Vec<_>>>()?;
        (0..count).try_for_each(|index| node.queue(index))?;
        node.stream_on()?;
        Ok(Self { maps, taken: None, node })
    }

    /// The device.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Gives the buffer that is with us back to the driver.
    pub fn give_back(&mut self) -> io::Result<()> {
        self.taken.take().map_or(Ok(()), |index| self.node.queue(index))
    }

    /// Takes a filled buffer.
    pub fn take(&mut self) -> io::Result<Filled<'_>> {
        let taken = self.node.dequeue()?;
        self.taken = Some(taken.index);
        let map = self.maps.get(taken.index as usize).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: the memory is mapped as long as `self` is borrowed, and the driver does not write to a buffer that is
        // with us; it is given back by a call that needs `self` alone.
        let bytes = unsafe { slice::from_raw_parts(map.at.as_ptr(), map.length) };
        let bytes = &bytes[..bytes.len().min(taken.bytes as usize)];
        Ok(Filled { bytes, sequence: taken.sequence, stamp: taken.stamp, damaged: taken.damaged })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // A camera that is gone cannot be stopped; its file is closed in any case.
        let _ = self.node.stream_off();
    }
}
