//! The live view: a few lines, cut to the terminal's width, drawn over their predecessors. Pure text with ANSI codes.

use super::live::State;
use super::story::{ACTORS, DARK};
use super::words::{Scene, millis};
use std::fmt::Write;

/// Cells of the longest bar.
const BAR: usize = 24;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Dim,
    Good,
    Bad,
    Warn,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
            Self::Warn => "\x1b[33m",
        }
    }
}

/// A line as pieces, so that it is cut by what is seen, not by its codes.
type Line = Vec<(Style, String)>;

/// The picture, and how many lines the next one must go up.
pub(super) fn picture(scene: &Scene<'_>, width: usize, color: bool, drawn: usize) -> (String, usize) {
    let lines = lines(scene);
    let mut text = String::new();
    if drawn > 0 {
        // Up, and forget what was there.
        let _ = write!(text, "\x1b[{drawn}A\x1b[J");
    }
    for line in &lines {
        cut(line, width, color, &mut text);
        text.push('\n');
    }
    (text, lines.len())
}

fn cut(line: &Line, width: usize, color: bool, out: &mut String) {
    let mut left = width;
    for (style, text) in line {
        let seen: String = text.chars().take(left).collect();
        left -= seen.chars().count();
        if color && *style != Style::Plain {
            let _ = write!(out, "{}{seen}\x1b[0m", style.code());
        } else {
            out.push_str(&seen);
        }
    }
}

fn lines(scene: &Scene<'_>) -> Vec<Line> {
    let tally = scene.tally;
    let mut lines = vec![vec![
        (Style::Plain, format!("{:5.1} s of {:?}   ", scene.elapsed.as_secs_f64(), scene.duration)),
        happening(scene),
    ]];
    let head = format!(
        "{:14} {:BAR$} {:>6} {:>7} {:>6} {:>6} {:>10}  {}",
        "region", "", "now/s", "served", "429s", "failed", "first byte", "state"
    );
    lines.push(vec![(Style::Dim, head)]);
    let states = scene.states.iter();
    for (index, (actor, state)) in ACTORS.iter().zip(states).enumerate() {
        let counts = tally.regions.get(index).copied().unwrap_or_default();
        let second = tally.last_second.get(index).copied().unwrap_or(0);
        let first_byte = state.ttfb_ms.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.0} ms"));
        let cells = usize::try_from(second).unwrap_or(BAR) * BAR / usize::try_from(scene.rate.max(1)).unwrap_or(1);
        lines.push(vec![
            (Style::Plain, format!("{:14} ", actor.region)),
            (Style::Good, format!("{:BAR$}", "█".repeat(cells.min(BAR)))),
            (
                Style::Plain,
                format!(
                    " {second:6} {:7} {:6} {:6} {first_byte:>10}  ",
                    counts.served, counts.throttled, counts.failed
                ),
            ),
            (style(state), state.words()),
        ]);
    }
    let verdict = if tally.client_errors == 0 { Style::Good } else { Style::Bad };
    lines.push(vec![
        (
            Style::Plain,
            format!("requests {}  attempts {}  failovers {}  ", tally.requests, tally.attempts, tally.failovers),
        ),
        (verdict, format!("client errors {}  success {:.2} %", tally.client_errors, tally.success())),
        (
            Style::Plain,
            format!("  first byte p50 {} p99 {}", millis(tally.percentile(50)), millis(tally.percentile(99))),
        ),
    ]);
    lines
}

fn happening(scene: &Scene<'_>) -> (Style, String) {
    let region = ACTORS.get(DARK).map_or("", |actor| actor.region);
    match scene.dark_since {
        Some(since) => (Style::Bad, format!("{region} is dark since {:.0} s", since.as_secs_f64())),
        None => (Style::Dim, "every region is up".to_owned()),
    }
}

fn style(state: &State) -> Style {
    match state.state.as_str() {
        "in_service" => Style::Good,
        "resting" | "trial" | "silent" => Style::Warn,
        "" => Style::Plain,
        _ => Style::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_are_cut_to_the_width_and_drawn_over() {
        let (tally, states) = (Tally::default(), Default::default());
        let scene = Scene {
            elapsed: Duration::from_secs(3),
            duration: Duration::from_secs(8),
            dark_since: Some(Duration::from_secs(2)),
            rate: 40,
            tally: &tally,
            states: &states,
        };
        let (text, drawn) = picture(&scene, 40, false, 0);
        assert_eq!(drawn, text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(!text.contains('\x1b') && text.starts_with("  3.0 s of 8s   swedencentral is dark si\n"), "{text}");
        let (again, _) = picture(&scene, 40, true, drawn);
        assert!(again.starts_with("\x1b[6A\x1b[J") && again.contains("\x1b[31m"), "{again:?}");
    }
}
