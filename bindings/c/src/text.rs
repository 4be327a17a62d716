//! Text and optional numbers, in and out; and results into out-parameters.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

use hive_registry::{MAX_ID_BYTES, too_long};

use crate::status::{Failure, Status, guard_drop};

/// UTF-8, not NUL-terminated. Going out, a view that lives as long as the handle it came from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    /// Its first byte. Going in, NULL says that there is no text where that may be.
    pub ptr: *const c_char,
    /// Its bytes.
    pub len: usize,
}

/// Text that is yours: a handle, to be freed.
pub struct Text(Box<str>);

/// A whole number that may be missing; all zero is missing.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct OptU64 {
    /// Whether there is one.
    pub some: bool,
    /// The number.
    pub value: u64,
}

/// A 32-bit whole number that may be missing; all zero is missing.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct OptU32 {
    /// Whether there is one.
    pub some: bool,
    /// The number.
    pub value: u32,
}

/// A number that may be missing; all zero is missing.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct OptF64 {
    /// Whether there is one.
    pub some: bool,
    /// The number.
    pub value: f64,
}

/// A single-precision number that may be missing; all zero is missing.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct OptF32 {
    /// Whether there is one.
    pub some: bool,
    /// The number.
    pub value: f32,
}

pub(crate) type Out<'o, T> = Option<&'o mut MaybeUninit<T>>;

impl Str {
    pub(crate) const NULL: Self = Self { ptr: std::ptr::null(), len: 0 };
    pub(crate) const EMPTY: Self = Self { ptr: c"".as_ptr(), len: 0 };

    pub(crate) fn of(text: &str) -> Self {
        if text.is_empty() { Self::EMPTY } else { Self { ptr: text.as_ptr().cast(), len: text.len() } }
    }

    /// What the caller gave as a field of this name; none where it gave NULL. Of more than `most` bytes none is read but
    /// the first few, which the refusal quotes.
    ///
    /// # Safety
    ///
    /// `ptr` is NULL or `len` readable bytes that nobody writes to during `'t`.
    pub(crate) unsafe fn read<'t>(
        self,
        field: impl Fn() -> String,
        most: usize,
    ) -> Result<Option<&'t str>, Failure> {
        if self.ptr.is_null() {
            return Ok(None);
        }
        let all = possible(&field, self.ptr.cast::<u8>(), self.len)?;
        if self.len > most {
            let beginning = unsafe { std::slice::from_raw_parts(all, QUOTED.min(self.len)) };
            return Err(too_long(&field(), beginning, self.len, most).into());
        }
        match std::str::from_utf8(unsafe { std::slice::from_raw_parts(all, self.len) }) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let message = format!("{}: not UTF-8 from byte {} on", field(), error.valid_up_to());
                Err(Failure::new(Status::HIVE_INVALID_UTF8, message).of(field()))
            }
        }
    }
}

/// The view of a NUL-terminated string: what is inline in the header, for languages that call functions of the library
/// only.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hive_str(text: *const c_char) -> Str {
    let len = if text.is_null() { 0 } else { unsafe { CStr::from_ptr(text) }.count_bytes() };
    Str { ptr: text, len }
}

/// Bytes of a text that is too long that its refusal may quote: 64 characters.
const QUOTED: usize = 256;

impl Text {
    pub(crate) fn owned(text: String) -> Box<Self> {
        Box::new(Self(text.into()))
    }
}

/// The text, valid as long as the handle; empty for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn hive_text_str(text: Option<&Text>) -> Str {
    text.map_or(Str::EMPTY, |text| Str::of(&text.0))
}

/// NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hive_text_free(text: Option<Box<Text>>) {
    guard_drop(text);
}

/// A name as an argument, which may not be NULL.
///
/// # Safety
///
/// As [`Str::read`].
pub(crate) unsafe fn text<'t>(argument: &str, ptr: *const c_char, len: usize) -> Result<&'t str, Failure> {
    unsafe { text_of(argument, ptr, len, MAX_ID_BYTES) }
}

/// A text argument of `most` bytes, which may not be NULL.
///
/// # Safety
///
/// As [`Str::read`].
pub(crate) unsafe fn text_of<'t>(
    argument: &str,
    ptr: *const c_char,
    len: usize,
    most: usize,
) -> Result<&'t str, Failure> {
    let text = unsafe { Str { ptr, len }.read(|| argument.into(), most) };
    text?.ok_or_else(|| Failure::null(argument))
}

/// An array argument; NULL only where it is of no items.
///
/// # Safety
///
/// `ptr` is NULL or `len` readable items that nobody writes to during `'t`.
pub(crate) unsafe fn items<'t, T>(
    argument: impl Fn() -> String,
    ptr: *const T,
    len: usize,
) -> Result<&'t [T], Failure> {
    if ptr.is_null() {
        return if len == 0 { Ok(&[]) } else { Err(Failure::null(&argument())) };
    }
    Ok(unsafe { std::slice::from_raw_parts(possible(argument, ptr, len)?, len) })
}

/// A pointer to as many items as there can be anywhere.
fn possible<T>(argument: impl Fn() -> String, ptr: *const T, len: usize) -> Result<*const T, Failure> {
    if len.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        let value = format!("{len} of {} bytes", size_of::<T>());
        let bound = "at most PTRDIFF_MAX bytes";
        return Err(Failure::refused(Status::HIVE_INVALID_LENGTH, argument(), value, bound));
    }
    Ok(ptr)
}

/// A handle that may not be NULL.
pub(crate) fn some<'h, T>(argument: &str, handle: Option<&'h T>) -> Result<&'h T, Failure> {
    handle.ok_or_else(|| Failure::null(argument))
}

/// An out-parameter that may not be NULL; asked for before anything is done, so that nothing is half done.
pub(crate) fn out<'o, T>(argument: &str, out: Out<'o, T>) -> Result<&'o mut MaybeUninit<T>, Failure> {
    out.ok_or_else(|| Failure::null(argument))
}

/// Writes an optional result where there is one and room for it.
pub(crate) fn tell<T>(value: Option<T>, out: Out<'_, T>) -> bool {
    match (value, out) {
        (Some(value), Some(out)) => {
            out.write(value);
            true
        }
        _ => false,
    }
}

macro_rules! optional {
    ($($name:ident: $type:ty),*) => {$(
        impl From<$name> for Option<$type> {
            fn from(value: $name) -> Self {
                value.some.then_some(value.value)
            }
        }

        impl From<Option<$type>> for $name {
            fn from(value: Option<$type>) -> Self {
                Self { some: value.is_some(), value: value.unwrap_or_default() }
            }
        }
    )*};
}

optional!(OptU64: u64, OptU32: u32, OptF64: f64, OptF32: f32);
