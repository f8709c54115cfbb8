//! How a screen looks on a terminal: colours, characters, the zone of the times.

use crate::{
    time::Timestamp,
    view::text::{self, Charset},
};
use ratatui::style::{Color, Modifier, Style};

/// Sparklines: from no transactions to the most.
const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Sparklines in ASCII.
const ASCII: [&str; 9] = [" ", ".", ":", "-", "=", "+", "*", "#", "#"];

/// The meaning of a text. No meaning is shown by colour alone: errors begin with `!`, the selected row with `>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// No meaning.
    #[default]
    Plain,
    /// An error.
    Error,
    /// Less important.
    Dim,
    /// The heading of a column.
    Heading,
    /// What is selected or can be typed.
    Accent,
    /// A value of the selected row.
    Selected,
    /// The first line of the screen.
    Bold,
}

/// How a screen looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Whether colours are used. Without them, bold and reversed text remain.
    pub color: bool,
    /// The characters that the terminal can display.
    pub charset: Charset,
    /// Seconds by which the zone of the shown times is ahead of UTC.
    pub ahead_of_utc: i32,
}

impl Look {
    /// The style of a text.
    pub fn style(&self, tone: Tone) -> Style {
        let color = |color| if self.color { Style::new().fg(color) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Error => color(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Dim if self.color => Style::new().add_modifier(Modifier::DIM),
            Tone::Dim => Style::new(),
            Tone::Heading => Style::new().add_modifier(Modifier::UNDERLINED),
            Tone::Accent => color(Color::Cyan).add_modifier(Modifier::BOLD),
            Tone::Selected | Tone::Bold => Style::new().add_modifier(Modifier::BOLD),
        }
    }

    /// Appends a text, escaped and cut, and returns its columns.
    pub fn push(&self, out: &mut String, text: &str, most: usize) -> usize {
        // Sparklines have characters that are escaped where their width is not known.
        if self.charset == Charset::Utf8 && text.chars().all(|c| BLOCKS.iter().any(|block| block.starts_with(c))) {
            out.push_str(text);
            return text.chars().count();
        }
        text::push(out, text, most, self.charset)
    }

    /// The counts as a line of `width` characters, relative to the greatest one.
    pub fn sparkline(&self, seconds: &[u32], width: usize) -> String {
        let glyphs = if self.charset == Charset::Utf8 { &BLOCKS } else { &ASCII };
        let width = width.min(seconds.len()).max(1);
        let sum = |place: usize| {
            let (from, to) = (place * seconds.len() / width, (place + 1) * seconds.len() / width);
            let part = seconds.get(from..to).unwrap_or_default();
            part.iter().map(|count| f64::from(*count)).sum::<f64>() / part.len().max(1) as f64
        };
        let sums: Vec<f64> = (0..width).map(sum).collect();
        let most = sums.iter().copied().fold(0.0, f64::max);
        let glyph = |sum: &f64| {
            // Everything above 0 is visible.
            let height = if *sum > 0.0 { (sum / most * 8.0).round().max(1.0) as usize } else { 0 };
            glyphs.get(height).copied().unwrap_or(" ")
        };
        sums.iter().map(glyph).collect()
    }

    /// The local time of day, `23:38:46.123`.
    pub fn time(&self, time: Timestamp) -> String {
        let local = time.shifted(i64::from(self.ahead_of_utc) * 1_000_000_000);
        local.text(3).as_str().get(11..23).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines() {
        let mut seconds = [0; 60];
        seconds[59] = 800;
        seconds[30] = 100;
        seconds[0] = 1;
        let utf8 = Look { charset: Charset::Utf8, ..Look::default() };
        assert_eq!(utf8.sparkline(&seconds, 6), "▁  ▁ █");
        assert_eq!(Look::default().sparkline(&seconds, 6), ".  . #");
        assert_eq!(utf8.sparkline(&seconds, 200).chars().count(), 60);
        assert_eq!(utf8.sparkline(&[0; 60], 4), "    ");
        let mut out = String::new();
        assert_eq!(utf8.push(&mut out, "▁ █", 8), 3);
        assert_eq!(out, "▁ █");
    }

    #[test]
    fn without_colours_there_are_none() {
        let tones = [Tone::Plain, Tone::Error, Tone::Dim, Tone::Heading, Tone::Accent, Tone::Selected, Tone::Bold];
        assert!(tones.iter().all(|tone| Look::default().style(*tone).fg.is_none()));
        assert_eq!(Look { color: true, ..Look::default() }.style(Tone::Error).fg, Some(Color::Red));
    }

    #[test]
    fn local_times() {
        let look = Look { ahead_of_utc: 8 * 3600, ..Look::default() };
        assert_eq!(look.time(Timestamp(1_767_323_045_678_000_000)), "11:04:05.678");
    }
}
