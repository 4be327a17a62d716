//! Figures as a reader wants them: three digits, and a unit that fits.

/// Nanoseconds, as ns, us, ms or s.
pub(crate) fn time(ns: f64) -> String {
    let units = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    // What three digits would round up to 1,000 belongs to the next unit.
    let fits = units.into_iter().find(|(_, scale)| ns / scale < 999.5).unwrap_or(units[3]);
    format!("{} {}", digits(ns / fits.1), fits.0)
}

/// How often one goes into the other.
pub(crate) fn ratio(ratio: f64) -> String {
    format!("{}x", digits(ratio))
}

pub(crate) fn bytes(bytes: f64) -> String {
    format!("{} B", whole(bytes.round()))
}

/// With a comma before each three digits.
pub(crate) fn whole(number: f64) -> String {
    let plain = format!("{number:.0}");
    let commas = |(n, digit): (usize, char)| {
        let comma = n > 0 && (plain.len() - n) % 3 == 0;
        comma.then_some(',').into_iter().chain([digit])
    };
    plain.chars().enumerate().flat_map(commas).collect()
}

/// Three digits, of which those after the point are dropped where the number is large.
fn digits(number: f64) -> String {
    if number >= 999.5 {
        let step = 10_f64.powi(number.log10() as i32 - 2);
        return whole((number / step).round() * step);
    }
    let after = if number >= 99.95 {
        0
    } else if number >= 9.995 {
        1
    } else {
        2
    };
    format!("{number:.after$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_the_unit_that_fits() {
        let told = [0.5, 9.996, 71.04, 999.4, 999.6, 17_547_087.0, 2.5e9].map(time);
        assert_eq!(told, ["0.50 ns", "10.0 ns", "71.0 ns", "999 ns", "1.00 us", "17.5 ms", "2.50 s"]);
        assert_eq!([0.5, 1_185.85, 236_757.2].map(ratio), ["0.50x", "1,190x", "237,000x"]);
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.0].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }
}
