//! Numbers that need not be known (I7).

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

/// A number as it was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Number<T> {
    /// Null, or not there at all.
    #[default]
    Unsaid,
    Said(T),
    /// A number, but none of its kind: negative, or a fraction where whole ones count.
    Odd(f64),
}

/// What a number may be of.
pub(crate) trait Kind: Copy {
    /// What is wanted, in words.
    fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn of_whole(whole: u64) -> Option<Self>;
    /// None if there is no telling what was meant: past the greatest whole number.
    fn of_float(float: f64) -> Option<Number<Self>>;
    /// As it is shown where it is not believed; none if it is believed.
    fn doubt(self) -> Option<f64>;
}

macro_rules! whole {
    ($($type:ident)*) => {$(
        impl Kind for $type {
            fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, at most {}", stringify!($type), $type::MAX)
            }

            fn of_whole(whole: u64) -> Option<Self> {
                whole.try_into().ok()
            }

            fn of_float(float: f64) -> Option<Number<Self>> {
                // Written as "4.0", it is a whole number all the same.
                let is_whole = float >= 0.0 && float.fract() == 0.0;
                let number = if is_whole { Number::Said(float as $type) } else { Number::Odd(float) };
                // JSON has neither NaN nor infinity; other formats do.
                (!float.is_finite() || float < $type::MAX as f64).then_some(number)
            }

            fn doubt(self) -> Option<f64> {
                None
            }
        }
    )*};
}

whole!(u32 u64);

impl Kind for f32 {
    fn expecting(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("f32")
    }

    fn of_whole(whole: u64) -> Option<Self> {
        Some(whole as f32)
    }

    fn of_float(float: f64) -> Option<Number<Self>> {
        Some(Number::Said(float as f32))
    }

    fn doubt(self) -> Option<f64> {
        (!self.is_finite() || self < 0.0).then_some(self.into())
    }
}

impl<T: Kind> Number<T> {
    /// The number, if there is one; what was sent instead, if that is no such number.
    pub(crate) fn known(self) -> Result<Option<T>, f64> {
        match self {
            Self::Unsaid => Ok(None),
            Self::Said(number) => number.doubt().map_or(Ok(Some(number)), Err),
            Self::Odd(float) => Err(float),
        }
    }
}

impl<T> From<T> for Number<T> {
    fn from(number: T) -> Self {
        Self::Said(number)
    }
}

impl<T> From<Option<T>> for Number<T> {
    fn from(number: Option<T>) -> Self {
        number.map_or(Self::Unsaid, Self::Said)
    }
}

impl<'de, T: Kind> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor<T>(PhantomData<T>);

        impl<T: Kind> Visitor<'_> for NumberVisitor<T> {
            type Value = Number<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                T::expecting(f)
            }

            fn visit_unit<E>(self) -> Result<Number<T>, E> {
                Ok(Number::Unsaid)
            }

            fn visit_none<E>(self) -> Result<Number<T>, E> {
                Ok(Number::Unsaid)
            }

            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Number<T>, E> {
                let told = T::of_whole(whole).map(Number::Said);
                told.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(whole), &self))
            }

            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Number<T>, E> {
                self.visit_f64(whole as f64)
            }

            fn visit_f64<E: de::Error>(self, float: f64) -> Result<Number<T>, E> {
                T::of_float(float).ok_or_else(|| E::invalid_value(Unexpected::Float(float), &self))
            }
        }

        deserializer.deserialize_any(NumberVisitor(PhantomData))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use serde::Deserialize;
    use serde::de::value::{Error, F64Deserializer};

    use super::Number;

    #[test]
    fn what_only_other_formats_have_counts_as_not_reported() {
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.5] {
            let read = Number::<u64>::deserialize(F64Deserializer::<Error>::new(odd)).unwrap();
            assert_eq!(read.known().unwrap_err().to_bits(), odd.to_bits());
        }
        let error = Number::<u64>::deserialize(F64Deserializer::<Error>::new(2_f64.powi(64))).unwrap_err();
        assert!(error.to_string().contains("at most 18446744073709551615"), "{error}");
    }
}
