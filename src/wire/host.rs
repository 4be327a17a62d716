//! A host as it stands in a url.

use std::net::{Ipv4Addr, Ipv6Addr};

use smol_str::{SmolStr, format_smolstr};

/// What stands between `http://` and the port.
pub(super) enum Host<'h> {
    Plain(&'h str),
    /// An IPv6 address, and the network interface that it is meant on, if it says one.
    V6(&'h str, Option<&'h str>),
}

impl<'h> Host<'h> {
    /// None if no url can be made of it: it is neither a host name nor an address.
    pub(super) fn parse(hostname: &'h str) -> Option<Self> {
        let bare = hostname.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hostname);
        let (address, zone) = match bare.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (bare, None),
        };
        if address.parse::<Ipv6Addr>().is_ok() {
            let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(is_unreserved);
            return zone.is_none_or(is_zone).then_some(Self::V6(address, zone));
        }
        is_name(hostname).then_some(Self::Plain(hostname))
    }

    pub(super) fn url(&self, port: u16) -> SmolStr {
        match self {
            Self::Plain(host) => format_smolstr!("http://{host}:{port}"),
            Self::V6(address, None) => format_smolstr!("http://[{address}]:{port}"),
            Self::V6(address, Some(zone)) => format_smolstr!("http://[{address}%25{zone}]:{port}"),
        }
    }
}

/// Labels of letters, digits, hyphens and underscores; what ends like a number must be an IPv4 address, for that is
/// what readers of urls take it for.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_part)
    };
    let last = labels.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").or(last.strip_prefix("0X")).is_some_and(is_hex);
    labels.len() <= 253 && labels.split('.').all(is_label) && (!is_number || host.parse::<Ipv4Addr>().is_ok())
}

fn is_hex(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Host;

    #[test]
    fn what_is_no_host_makes_no_url() {
        for (hostname, host) in [
            ("gpu-1", "gpu-1"),
            ("GPU_1.rack.example.", "GPU_1.rack.example."),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("fe80::1%eth0", "[fe80::1%25eth0]"),
            ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]"),
        ] {
            let url = Host::parse(hostname).map(|host| host.url(80).to_string());
            assert_eq!(url, Some(format!("http://{host}:80")), "{hostname}");
        }
        let long = "a".repeat(64);
        for hostname in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "http://gpu-1",
            "gpu-1:7835",
            "gpu 1",
            "gpu-1/",
            "gpu-1?",
            "gpu-1#",
            "me@gpu-1",
            "gpu\u{e9}",
            "256.0.0.1",
            "10.0.1",
            "1",
            "0x7f",
            "a.0xff",
            "10.0.0.1.",
            "::1:7835:",
            "[gpu-1]",
            "[::1",
            "::1]",
            "fe80::1%",
            "fe80::1%a b",
            "%",
            "gpu%20",
            &long,
        ] {
            assert!(Host::parse(hostname).is_none(), "{hostname:?}");
        }
    }
}
