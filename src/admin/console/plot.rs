//! [`plot`]: the last hour of one number as a small drawing, made here.

use maud::{Markup, html};

/// The size of the drawing's own coordinates.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 44.0;

/// A drawing of `values`, the oldest first, from zero to the highest. Where there is no value, there
/// is a gap. `name` and `write` say the same in words.
pub(super) fn plot(name: &str, values: &[Option<f64>], write: impl Fn(f64) -> String) -> Markup {
    let known = values.iter().flatten().copied();
    let highest = known.clone().fold(0.0, f64::max);
    let Some(last) = known.last().filter(|_| values.len() > 1) else {
        return html! { p class="plot none" { "No history yet" } };
    };
    let (last, most) = (write(last), write(highest));
    let label = format!("{name} in the last hour: peak {most}, at the end {last}");
    let scale = if highest > 0.0 { highest } else { 1.0 };
    html! {
        svg class="plot" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none"
            role="img" aria-label=(label) {
            @for run in runs(values, scale) {
                path class="area" d=(area(&run)) {}
                path class="line" d=(line(&run)) vector-effect="non-scaling-stroke" {}
            }
        }
        p class="most" { "peak " (most) ", last hour" }
    }
}

type Point = (f64, f64);

/// The points of each unbroken run.
fn runs(values: &[Option<f64>], scale: f64) -> Vec<Vec<Point>> {
    let step = WIDTH / (values.len().max(2) - 1) as f64;
    let mut runs: Vec<Vec<Point>> = vec![Vec::new()];
    for (place, value) in values.iter().enumerate() {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => {
                // A line at the very edge would be cut in half.
                let y = HEIGHT - 1.0 - value / scale * (HEIGHT - 3.0);
                run.push((place as f64 * step, y));
            }
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn line(run: &[Point]) -> String {
    let points = run.iter().map(|(x, y)| format!("{x:.1} {y:.1}"));
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}

fn area(run: &[Point]) -> String {
    let (first, last) = (run[0].0, run[run.len() - 1].0);
    format!("{}L{last:.1} {HEIGHT}L{first:.1} {HEIGHT}Z", line(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_says_in_words_what_it_draws() {
        let values = [Some(1.0), None, Some(4.0), Some(2.0)];
        let drawn = plot("Depth", &values, |value| format!("{value}")).into_string();
        assert!(drawn.contains("Depth in the last hour: peak 4, at the end 2"), "{drawn}");
        assert_eq!(drawn.matches("class=\"line\"").count(), 2, "a gap parts it");
    }

    #[test]
    fn what_has_no_history_and_what_is_always_zero_are_drawn_too() {
        let write = |value: f64| format!("{value}");
        for none in [&[][..], &[None, None], &[Some(1.0)]] {
            assert!(plot("x", none, write).into_string().contains("No history"));
        }
        let flat = plot("x", &[Some(0.0), Some(0.0)], write).into_string();
        assert!(flat.contains("M0.0 43.0L240.0 43.0\""), "{flat}");
        assert!(!flat.contains("NaN"));
    }
}
