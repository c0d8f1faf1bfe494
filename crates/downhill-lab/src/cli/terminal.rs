//! Schedules in the terminal: a chart of dots, and a table.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use downhill_schedule::Schedule;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
    symbols::Marker,
    text::Line as Text,
    widgets::{Axis, Chart, Dataset, GraphType, Widget},
};

use crate::figure::{Mark, Panel};
use downhill_plot::{short, significant};

const RESTART: char = '┊';
const PHASE: char = '·';

/// How many columns the terminal has.
pub fn width() -> u16 {
    // Some pseudo-terminals say that they have no width at all.
    Table::new()
        .width()
        .filter(|columns| *columns >= 40)
        .unwrap_or(80)
}

/// The chart as lines of text.
pub fn chart(panel: &Panel, width: u16, colored: bool) -> String {
    let (end, top) = (panel.end as f64, panel.top());
    let color = |i: usize| {
        // Those of the sixteen that can be read on black and on white.
        let colors = [6, 5, 2, 1, 4, 3];
        Style::new().fg(Color::Indexed(colors[i % colors.len()]))
    };

    let column = |mark: &Mark| {
        let x = mark.step as f64;
        (0..200).map(move |y| (x, top * f64::from(y) / 199.0))
    };
    let of_kind = |restart: bool| -> Vec<(f64, f64)> {
        let marks = panel.marks.iter();
        let marks = marks.filter(|mark| mark.restart == restart);
        marks.flat_map(column).collect()
    };
    let (phases, restarts) = (of_kind(false), of_kind(true));
    // A letter marks its curve where the others have none.
    let letters: Vec<(char, Vec<(f64, f64)>)> = if panel.lines.len() > 1 {
        let lines = panel
            .lines
            .iter()
            .zip(('a'..='z').chain('A'..='Z'))
            .enumerate();
        lines
            .map(|(i, (line, letter))| {
                let offset = (i as f64 + 0.5) / panel.lines.len() as f64;
                let places = (0..6).map(|place| end * (f64::from(place) + offset) / 6.0);
                let points = places.filter_map(|x| {
                    let next = line.points.partition_point(|point| point.0 < x);
                    line.points.get(next).copied()
                });
                (letter, points.collect())
            })
            .collect()
    } else {
        Vec::new()
    };

    let scatter = |marker: char| {
        Dataset::default()
            .marker(Marker::Custom(marker))
            .graph_type(GraphType::Scatter)
    };
    let mut datasets = vec![
        scatter(PHASE).data(&phases),
        scatter(RESTART).data(&restarts),
    ];
    for (i, line) in panel.lines.iter().enumerate() {
        let dataset = Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(color(i))
            .data(&line.points);
        datasets.push(dataset);
    }
    for (i, (letter, points)) in letters.iter().enumerate() {
        datasets.push(scatter(*letter).style(color(i)).data(points));
    }

    // 17 rows of dots, a multiple of four between the first and the last, put the labels where they
    // belong.
    let area = Rect::new(0, 0, width, 19);
    let mut buffer = Buffer::empty(area);
    let labels = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| short(part * top));
    let steps = [0, panel.end / 2, panel.end].map(|step| step.to_string());
    Chart::new(datasets)
        .x_axis(Axis::default().bounds([0.0, end]).labels(steps))
        .y_axis(Axis::default().bounds([0.0, top]).labels(labels))
        .legend_position(None)
        .render(area, &mut buffer);

    let mut text = format!("{}\n", panel.title);
    text += &legend(panel, &letters, width, |i| {
        if colored { color(i) } else { Style::new() }
    });
    for y in 0..area.height {
        let cells = (0..area.width).map(|x| &buffer[(x, y)]);
        let cells = cells.map(|cell| {
            let style = Style::new().fg(cell.fg);
            (cell.symbol(), if colored { style } else { Style::new() })
        });
        text += &styled(cells);
    }
    text
}

/// What the letters and the dotted lines mean.
fn legend(
    panel: &Panel,
    letters: &[(char, Vec<(f64, f64)>)],
    width: u16,
    style: impl Fn(usize) -> Style,
) -> String {
    let mut entries: Vec<(String, Style)> = letters
        .iter()
        .zip(&panel.lines)
        .enumerate()
        .map(|(i, ((letter, _), line))| (format!("{letter} {}", line.name), style(i)))
        .collect();
    for (restart, entry) in [
        (true, format!("{RESTART} restart")),
        (false, format!("{PHASE} phase")),
    ] {
        if panel.marks.iter().any(|mark| mark.restart == restart) {
            entries.push((entry, Style::new()));
        }
    }
    let mut rows = String::new();
    let mut row: Vec<(String, Style)> = Vec::new();
    let mut columns = 0;
    for (entry, style) in entries {
        let length = Text::raw(entry.as_str()).width() + 3;
        if columns > 0 && columns + length > usize::from(width) {
            rows += &styled(row.iter().map(|(text, style)| (text.as_str(), *style)));
            (row, columns) = (Vec::new(), 0);
        }
        row.push((entry, style));
        row.push(("   ".to_string(), Style::new()));
        columns += length;
    }
    if !row.is_empty() {
        rows += &styled(row.iter().map(|(text, style)| (text.as_str(), *style)));
    }
    rows
}

/// A line of text, with control sequences where the colour changes.
fn styled<'a>(parts: impl Iterator<Item = (&'a str, Style)>) -> String {
    let mut line = String::new();
    let mut current = None;
    for (text, style) in parts {
        let color = match style.fg {
            Some(Color::Indexed(color)) => Some(color),
            _ => None,
        };
        if color != current {
            line += &color.map_or("\u{1b}[39m".to_string(), |color| {
                format!("\u{1b}[38;5;{color}m")
            });
            current = color;
        }
        line += text;
    }
    if current.is_some() {
        line += "\u{1b}[39m";
    }
    line.truncate(line.trim_end().len());
    line + "\n"
}

/// A table of the schedules' values at the steps that tell most, of at most so many columns of text.
pub fn table(
    step: &str,
    end: u64,
    schedules: &[(&str, &Schedule)],
    marks: &[Mark],
    width: u16,
) -> String {
    const MOST: usize = 12;
    let mut inner: Vec<u64> = marks
        .iter()
        .flat_map(|mark| {
            // A restart is seen by what it jumps from.
            let before = mark.restart.then_some(mark.step - 1);
            [before, Some(mark.step)].into_iter().flatten()
        })
        .filter(|step| (2..end.saturating_sub(1)).contains(step))
        .collect();
    inner.sort_unstable();
    inner.dedup();
    let more = inner.len() > MOST;
    inner.truncate(MOST);

    let mut text = String::new();
    // A value has up to eleven characters.
    let columns = (usize::from(width) - 12) / 14;
    for schedules in schedules.chunks(columns.max(1)) {
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        // So that a long name is parted there.
        let names = schedules.iter().map(|(name, _)| name.replace('_', " "));
        table.set_header([step.to_string()].into_iter().chain(names));
        let row = |step: u64| {
            let values = schedules
                .iter()
                .map(move |(_, schedule)| significant(schedule.value(step), 5));
            [step.to_string()].into_iter().chain(values)
        };
        let mut first = vec![0, 1];
        first.retain(|step| step + 1 < end);
        for step in first.iter().chain(&inner) {
            table.add_row(row(*step));
        }
        if more {
            table.add_row(["…"]);
        }
        for step in [end - 1, end, 10 * end] {
            table.add_row(row(step));
        }
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let _ = writeln!(text, "{table}");
    }
    text
}
