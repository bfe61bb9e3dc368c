//! What the standard library and hyperlight-host import from Windows and wine 8 does not have. These definitions stand where the
//! linker would otherwise take those of the import libraries, so the program asks no DLL for them: of each function itself, and of
//! the pointer to it that calls of imported functions may use.

#![allow(non_snake_case, non_upper_case_globals)]

use std::ffi::c_void;
use std::ptr::null_mut;

type Handle = *mut c_void;

#[link(name = "advapi32")]
extern "system" {
    /// RtlGenRandom
    fn SystemFunction036(bytes: *mut u8, size: u32) -> u8;
}

#[link(name = "ntdll")]
extern "system" {
    fn NtMapViewOfSection(
        section: Handle,
        process: Handle,
        base: *mut *mut c_void,
        zero_bits: usize,
        commit_size: usize,
        offset: *mut i64,
        size: *mut usize,
        inherit: u32,
        allocation: u32,
        protection: u32,
    ) -> i32;
    fn RtlNtStatusToDosError(status: i32) -> u32;
}

#[link(name = "kernel32")]
extern "system" {
    fn SetLastError(error: u32);
}

const VIEW_UNMAP: u32 = 2;

/// The seed of hash maps; wine 8 has no bcryptprimitives.dll.
#[no_mangle]
unsafe extern "system" fn ProcessPrng(bytes: *mut u8, size: usize) -> i32 {
    std::slice::from_raw_parts_mut(bytes, size)
        .chunks_mut(1 << 16)
        .all(|chunk| SystemFunction036(chunk.as_mut_ptr(), chunk.len() as u32) != 0) as i32
}

/// How hyperlight-host gives its memory to a surrogate process; wine 8 has only the system call underneath.
#[no_mangle]
unsafe extern "system" fn MapViewOfFileNuma2(
    section: Handle,
    process: Handle,
    offset: u64,
    base: *const c_void,
    size: usize,
    allocation: u32,
    protection: u32,
    _node: u32,
) -> *mut c_void {
    let (mut place, mut size, mut offset) = (base as *mut c_void, size, offset as i64);
    let status = NtMapViewOfSection(
        section,
        process,
        &mut place,
        0,
        0,
        &mut offset,
        &mut size,
        VIEW_UNMAP,
        allocation,
        protection,
    );
    if status < 0 {
        SetLastError(RtlNtStatusToDosError(status));
        return null_mut();
    }
    place
}

#[used]
#[no_mangle]
static __imp_ProcessPrng: unsafe extern "system" fn(*mut u8, usize) -> i32 = ProcessPrng;

#[used]
#[no_mangle]
static __imp_MapViewOfFileNuma2: unsafe extern "system" fn(
    Handle,
    Handle,
    u64,
    *const c_void,
    usize,
    u32,
    u32,
    u32,
) -> *mut c_void = MapViewOfFileNuma2;
