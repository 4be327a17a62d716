//! Moments as people read and write them.

use chrono::{DateTime, Local, NaiveDate, SecondsFormat};

/// On a terminal how long ago it was, in days past counting the local date; elsewhere RFC 3339.
pub(crate) fn told(ms: u64, now_ms: u64, on_terminal: bool) -> String {
    if on_terminal { ago(ms, now_ms) } else { rfc3339(ms) }
}

fn moment(ms: u64) -> Option<DateTime<chrono::Utc>> {
    i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis)
}

fn rfc3339(ms: u64) -> String {
    moment(ms).map_or_else(
        || format!("{ms} ms since 1970"),
        |moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

fn ago(ms: u64, now_ms: u64) -> String {
    let date = || {
        moment(ms).map_or_else(
            || rfc3339(ms),
            |moment| moment.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string(),
        )
    };
    // Clocks of two machines are not one.
    if ms > now_ms.saturating_add(60_000) {
        return date();
    }
    let seconds = now_ms.saturating_sub(ms) / 1_000;
    match seconds {
        0..=1 => "just now".to_owned(),
        2..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        172_800..=2_591_999 => format!("{} days ago", seconds / 86_400),
        _ => date(),
    }
}

/// From where on a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// From the row of that number.
    Seq(u64),
    /// So many milliseconds before now.
    Ago(u64),
    /// From that moment, milliseconds since 1970.
    At(u64),
}

/// `120` is a number, `30m`, `2h`, `7d` an age, `2026-04-01` a local day, the rest RFC 3339.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let at =
        |ms: i64| u64::try_from(ms).map(Since::At).map_err(|_| "expected a moment since 1970".to_owned());
    if let Ok(seq) = text.parse() {
        return Ok(Since::Seq(seq));
    }
    let unit = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 86_400_000,
        _ => 0,
    };
    if unit > 0
        && let Ok(count) = text[..text.len() - 1].parse::<u64>()
    {
        return Ok(Since::Ago(count.saturating_mul(unit)));
    }
    if let Ok(day) = text.parse::<NaiveDate>()
        && let Some(begins) =
            day.and_hms_opt(0, 0, 0).and_then(|day| day.and_local_timezone(Local).earliest())
    {
        return at(begins.timestamp_millis());
    }
    DateTime::parse_from_rfc3339(text).map_or_else(
        |_| Err("expected a row's number, an age (30m, 2h, 7d), a day (2026-04-01) or RFC 3339".to_owned()),
        |moment| at(moment.timestamp_millis()),
    )
}

#[cfg(test)]
mod tests {
    use super::{Since, since, told};

    #[test]
    fn people_are_told_how_long_ago_and_programs_when() {
        let now = 1_761_040_800_000;
        for (ago, words) in
            [(900, "just now"), (90_000, "90 s ago"), (200_000, "3 min ago"), (9_000_000, "2 h ago")]
        {
            assert_eq!(told(now - ago, now, true), words);
        }
        assert_eq!(told(now, now, false), "2025-10-21T10:00:00.000Z");
        assert_eq!(told(now + 5_000, now, true), "just now");
        assert!(told(now - 40 * 86_400_000, now, true).starts_with("2025-09-1"));
        assert!(told(now + 86_400_000, now, true).starts_with("2025-10-2"));
        assert!(told(u64::MAX, now, false).contains("since 1970"));
        assert!(told(u64::MAX, now, true).contains("since 1970"));
    }

    #[test]
    fn a_log_is_read_from_a_number_an_age_or_a_moment() {
        assert_eq!(since("120"), Ok(Since::Seq(120)));
        assert_eq!(since("2h"), Ok(Since::Ago(7_200_000)));
        assert_eq!(since("7d"), Ok(Since::Ago(604_800_000)));
        assert_eq!(since("2025-10-21T10:00:00Z"), Ok(Since::At(1_761_040_800_000)));
        assert!(matches!(since("2025-10-21"), Ok(Since::At(_))));
        for wrong in ["", "h", "-1h", "2x", "yesterday", "2025-13-01", "1900-01-01", "2ä"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
