//! Numbers as a reader wants them.

use crate::results::Interval;

/// With four digits, or fewer if the others are zeros.
pub fn number(x: f64) -> String {
    if !x.is_finite() {
        return "–".to_string();
    }
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    if rounded == 0.0 || (1e-4..1e6).contains(&rounded.abs()) {
        (rounded + 0.0).to_string()
    } else {
        format!("{rounded:e}")
    }
}

/// A count of steps: whole, unless it is the mean of two.
pub fn count(x: f64) -> String {
    let rounded = (10.0 * x).round() / 10.0;
    let text = rounded.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = grouped(whole);
    if !fraction.is_empty() {
        grouped += ".";
        grouped += fraction;
    }
    grouped
}

/// With commas between groups of three digits.
pub fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share of one in percent.
pub fn percent(x: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * x)
}

/// Seconds, in a smaller unit if they are few.
pub fn seconds(x: f64) -> String {
    let (value, unit) = match x {
        _ if !x.is_finite() => return "–".to_string(),
        x if x >= 100.0 => return format!("{x:.0} s"),
        x if x >= 1.0 => (x, "s"),
        x if x >= 1e-3 => (x * 1e3, "ms"),
        x => (x * 1e6, "µs"),
    };
    format!("{} {unit}", three(value))
}

/// Three digits.
pub fn three(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

/// In powers of 1000.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ => format!("{} {}", three(value), UNITS[unit]),
    }
}

/// The ends of an interval; nothing if it is a point.
pub fn range(interval: Interval, format: impl Fn(f64) -> String) -> Option<String> {
    let (low, high) = (format(interval.low), format(interval.high));
    let unit = |text: &str| text.rsplit_once(' ').map(|(_, unit)| unit.to_string());
    (interval.low != interval.high).then(|| match (unit(&low), unit(&high)) {
        (Some(a), Some(b)) if a == b => {
            let low = low.trim_end_matches(&a).trim_end();
            format!("{low} to {high}")
        }
        _ => format!("{low} to {high}"),
    })
}

/// Names in a sentence.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => String::new(),
        [name] => (*name).to_string(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
