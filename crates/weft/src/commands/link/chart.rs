//! What every threshold would do, as a picture.

use std::fmt::Write;

use weft_link::{Model, labelled::PairScore};

const WIDTH: i64 = 960;
const HEIGHT: i64 = 420;
const LEFT: i64 = 80;
const RIGHT: i64 = 30;
const TOP: i64 = 70;
const BOTTOM: i64 = 60;
/// The scores that are shown, in hundredths of a bit; what lies beyond is counted at the edge.
const FROM: i64 = -2000;
const TO: i64 = 8000;
const STEP: i64 = 100;

/// True pairs that a threshold would miss and false pairs that it would link, of all pairs that share a key, by threshold.
/// The number of pairs is on a logarithmic scale: the few are what matters.
pub(super) fn draw(pairs: &[PairScore], model: &Model) -> String {
    let clamp = |pair: &&PairScore| pair.score.clamp(FROM - STEP, TO + STEP);
    let mut right: Vec<i64> = pairs.iter().filter(|pair| pair.is_true).map(|pair| clamp(&pair)).collect();
    let mut wrong: Vec<i64> = pairs.iter().filter(|pair| !pair.is_true).map(|pair| clamp(&pair)).collect();
    right.sort_unstable();
    wrong.sort_unstable();
    let thresholds = || (FROM..=TO).step_by(STEP as usize);
    let missed = thresholds().map(|t| (t, right.partition_point(|score| *score < t)));
    let linked = thresholds().map(|t| (t, wrong.len() - wrong.partition_point(|score| *score < t)));
    let most = right.len().max(wrong.len()).max(10);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">{} by threshold: {} true pairs, {} false ones share a key</text>\n",
        model.name,
        right.len(),
        wrong.len()
    );
    axes(&mut svg, most);
    for (score, name) in [(model.review, "review"), (model.threshold, "link")] {
        let x = x_of(score);
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"4 3\"/>\
             <text x=\"{x}\" y=\"{}\" fill=\"#555\" text-anchor=\"middle\">{name}</text>",
            HEIGHT - BOTTOM,
            TOP - 6
        );
    }
    curve(&mut svg, missed, most, "#1f5fa8");
    curve(&mut svg, linked, most, "#c0392b");
    let x = WIDTH - RIGHT - 250;
    let _ = write!(
        svg,
        "<rect x=\"{x}\" y=\"34\" width=\"14\" height=\"4\" fill=\"#1f5fa8\"/><text x=\"{}\" y=\"42\">true pairs missed</text>\n\
         <rect x=\"{}\" y=\"34\" width=\"14\" height=\"4\" fill=\"#c0392b\"/><text x=\"{}\" y=\"42\">false pairs linked</text>\n\
         </svg>\n",
        x + 20,
        x + 135,
        x + 155
    );
    svg
}

fn axes(svg: &mut String, most: usize) {
    let bottom = HEIGHT - BOTTOM;
    for score in (FROM..=TO).step_by(1000) {
        let x = x_of(score);
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{bottom}\" x2=\"{x}\" y2=\"{}\" stroke=\"#444\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 5,
            bottom + 20,
            score / 100
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">threshold, bits</text>",
        (LEFT + WIDTH - RIGHT) / 2,
        bottom + 42
    );
    let mut count = 1;
    while count <= most * 2 {
        let y = y_of(count, most);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{count}</text>",
            WIDTH - RIGHT,
            LEFT - 8,
            y + 4
        );
        count *= 10;
    }
    let y = y_of(0, most);
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"#444\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">0</text>",
        WIDTH - RIGHT,
        LEFT - 8,
        y + 4
    );
}

fn curve(svg: &mut String, points: impl Iterator<Item = (i64, usize)>, most: usize, colour: &str) {
    let mut path = String::new();
    let mut last = None;
    for (score, count) in points {
        let (x, y) = (x_of(score), y_of(count, most));
        match last {
            None => drop(write!(path, "M{x} {y}")),
            // Steps: what holds at a threshold holds up to the next.
            Some(_) => drop(write!(path, "H{x}V{y}")),
        }
        last = Some(y);
    }
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
}

fn x_of(score: i64) -> i64 {
    LEFT + (score - FROM) * (WIDTH - LEFT - RIGHT) / (TO - FROM)
}

/// Nought at the bottom, then a decade above a decade.
fn y_of(count: usize, most: usize) -> i64 {
    let height = (HEIGHT - TOP - BOTTOM) as f64;
    let of = |n: usize| (n as f64 * 2.0 + 1.0).log10();
    HEIGHT - BOTTOM - (height * of(count) / of(most)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_tells_both_curves_and_the_limits() {
        let pair = |score, is_true| PairScore { records: [0, 1], score, is_true };
        let model = Model::shipped().unwrap();
        let svg = draw(&[pair(5000, true), pair(2000, true), pair(1000, false), pair(-90_000, false)], &model);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<path ").count(), 2);
        assert!(svg.contains("2 true pairs, 2 false ones share a key") && svg.contains(">link</text>"));
        // At the lowest threshold no true pair is missed, and of the false ones one is linked.
        assert_eq!((y_of(0, 10), y_of(10, 10)), (HEIGHT - BOTTOM, TOP));
        assert!(svg.contains(&format!("<path d=\"M{LEFT} {}", HEIGHT - BOTTOM)));
    }
}
