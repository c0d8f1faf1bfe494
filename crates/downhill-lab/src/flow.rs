//! The data flow of a part of a step, as a picture.

use std::collections::HashMap;

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

use crate::explain::Part;

#[derive(Serialize)]
struct Picture<'a> {
    title: &'a str,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    width: f64,
    height: f64,
    box_height: f64,
}

#[derive(Serialize)]
struct Node {
    x: f64,
    y: f64,
    width: f64,
    text: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct Edge {
    from: [f64; 2],
    to: [f64; 2],
}

/// Between columns, and from the edge.
const GAP: f64 = 28.0;
const ROW: f64 = 44.0;
const HEIGHT: f64 = 26.0;

/// Of a box with a text, in a font of 12 pixels.
fn width_of(text: &str) -> f64 {
    (text.chars().count() as f64 * 6.8 + 16.0).max(40.0)
}

/// Inputs to the left, results to the right, each operation behind what it works on.
pub fn svg(title: &str, part: &Part) -> String {
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut rows: Vec<usize> = Vec::new();
    let mut put = |column: usize| {
        rows.resize(rows.len().max(column + 1), 0);
        rows[column] += 1;
        (column, rows[column] - 1)
    };
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    for input in &part.inputs {
        let place = put(0);
        places.insert(input, place);
        nodes.push((place, input.clone(), "input"));
    }
    for line in &part.lines {
        let before: Vec<_> = line
            .operands
            .iter()
            .filter_map(|name| places.get(name.as_str()))
            .collect();
        let column = before.iter().map(|place| place.0).max().unwrap_or(0) + 1;
        let place = put(column);
        edges.extend(before.into_iter().map(|from| (*from, place)));
        let numbers = line
            .operands
            .iter()
            .filter(|name| !places.contains_key(name.as_str()));
        let numbers: Vec<&str> = numbers.map(String::as_str).collect();
        let text = format!("{} {}", line.operation, numbers.join(" "));
        nodes.push((place, text.trim().to_string(), "operation"));
        places.insert(&line.result, place);
    }
    let last = rows.len().saturating_sub(1);
    for (at, (result, name)) in part.outputs.iter().enumerate() {
        let place = (last + 1, at);
        edges.extend(places.get(result.as_str()).map(|from| (*from, place)));
        nodes.push((place, name.clone(), "output"));
    }
    let height = nodes
        .iter()
        .map(|((_, row), ..)| row + 1)
        .max()
        .unwrap_or(1);
    let mut widths = vec![0.0_f64; last + 2];
    for ((column, _), text, _) in &nodes {
        widths[*column] = widths[*column].max(width_of(text));
    }
    let left = |column: usize| {
        GAP + widths[..column]
            .iter()
            .map(|width| width + GAP)
            .sum::<f64>()
    };
    let top = |row: usize| 48.0 + row as f64 * ROW;
    let boxes = nodes.into_iter().map(|((column, row), text, kind)| Node {
        x: left(column),
        y: top(row),
        width: widths[column],
        text,
        kind,
    });
    let middle = |row: usize| top(row) + HEIGHT / 2.0;
    let edges = edges
        .into_iter()
        .map(|(from, to): ((usize, usize), (usize, usize))| Edge {
            from: [left(from.0) + widths[from.0], middle(from.1)],
            to: [left(to.0), middle(to.1)],
        });
    let picture = Picture {
        title,
        nodes: boxes.collect(),
        edges: edges.collect(),
        width: left(last + 2),
        height: 56.0 + height as f64 * ROW,
        box_height: HEIGHT,
    };
    let mut environment = Environment::new();
    let template = include_str!("flow.svg");
    environment
        .add_template("flow.svg", template)
        .expect("a template of this crate");
    let template = environment.get_template("flow.svg").expect("just added");
    template
        .render(Value::from(Serde(picture)))
        .expect("all that it asks for is there")
}
