//! The show: sends what is due, turns the story, draws. One loop; it ends with the duration or when told to stop.

use super::live::{self, States};
use super::load::Load;
use super::paint;
use super::stage::Stage;
use super::story::{self, DARK, Turn};
use super::words::{self, Scene};
use super::{DemoOptions, Verdict, View};
use crate::telemetry::now;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often requests are sent.
const TICK: Duration = Duration::from_millis(5);
/// How often the live view is drawn.
const FRAME: Duration = Duration::from_millis(500);
/// How long requests under way may take to end after the last was sent.
const AFTERPLAY: Duration = Duration::from_secs(35);
/// Width where nothing says it.
const WIDTH: u16 = 100;

/// Plays and shows the whole story.
pub(super) async fn play(
    stage: &Stage,
    options: &DemoOptions,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Verdict {
    say(&words::introduction(stage, options.duration, options.rate));
    let load = Load::new(&stage.public.to_string(), options.rate);
    let states = States::default();
    let watching = tokio::spawn(live::watch(stage.admin.to_string(), States::clone(&states)));
    let mut show = Show { stage, options, turns: 0, dark_since: None, drawn: 0, frames: 0, seconds: 0 };
    let start = now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut stop => break false,
            _ = ticks.tick() => {}
        }
        let elapsed = now().since(start);
        if elapsed >= options.duration {
            break true;
        }
        show.turn(elapsed);
        load.send_due(elapsed);
        show.draw(elapsed, &load, &states);
    };
    if ended {
        settle(&load, stop).await;
    }
    watching.abort();
    let tally = load.tally.lock();
    say(&words::summary(&tally));
    Verdict { requests: tally.requests, client_errors: tally.client_errors }
}

/// Waits until nothing is under way. Who has lost patience, or was told to stop, does not wait.
async fn settle(load: &Load, stop: Pin<&mut impl Future<Output = ()>>) {
    let quiet = async {
        let mut ticks = interval(TICK);
        while load.in_flight() > 0 {
            ticks.tick().await;
        }
    };
    tokio::select! {
        () = stop => {}
        _ = timeout(AFTERPLAY, quiet) => {}
    }
}

/// What is shown so far.
struct Show<'a> {
    stage: &'a Stage,
    options: &'a DemoOptions,
    turns: usize,
    dark_since: Option<Duration>,
    /// Lines of the picture on the screen.
    drawn: usize,
    frames: u128,
    seconds: u64,
}

impl Show<'_> {
    /// Carries out the turn that is due.
    fn turn(&mut self, elapsed: Duration) {
        let story = story::turns(self.options.duration);
        let Some((_, turn)) = story.get(self.turns).filter(|(due, _)| elapsed >= *due) else { return };
        self.turns += 1;
        if let Some(region) = self.stage.regions.get(DARK) {
            story::play(*turn, region.control());
        }
        self.dark_since = (*turn == Turn::Darkens).then_some(elapsed);
        if self.options.view == View::Lines {
            say(&words::turn(elapsed, *turn == Turn::Darkens));
        }
    }

    /// Draws when it is time to.
    fn draw(&mut self, elapsed: Duration, load: &Load, states: &States) {
        let mut tally = load.tally.lock();
        let new_second = elapsed.as_secs() > self.seconds;
        if new_second {
            self.seconds = elapsed.as_secs();
            tally.second();
        }
        let frame = elapsed.as_millis() / FRAME.as_millis();
        let due = match self.options.view {
            View::Live => frame > self.frames,
            View::Lines => new_second,
        };
        if !due {
            return;
        }
        self.frames = frame;
        let states = states.lock().clone();
        let scene = Scene {
            elapsed,
            duration: self.options.duration,
            dark_since: self.dark_since,
            rate: self.options.rate,
            tally: &tally,
            states: &states,
        };
        let text = match self.options.view {
            View::Lines => words::line(&scene),
            View::Live => {
                let (text, drawn) = paint::picture(&scene, width(), self.options.color, self.drawn);
                self.drawn = drawn;
                text
            }
        };
        // A slow terminal must not hold the load up.
        drop(tally);
        say(&text);
    }
}

/// Columns of the terminal; one is left free, since some wrap at the last.
fn width() -> usize {
    let width = terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0);
    usize::from(width.max(20)) - 1
}

/// Writes in one go. Nobody listening any more is no reason to stop: the exit code still counts.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
