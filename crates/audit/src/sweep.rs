//! The batch job (sort and sweep).

/// Returns the sessions of one stream: its segments sorted, and cut where the silence is longer than `gap` milliseconds.
///
/// `T` orders by start first; `interval` gives start and end, half-open, in milliseconds.
pub fn sweep<T: Ord>(mut segments: Vec<T>, gap: i64, interval: impl Fn(&T) -> (i64, i64)) -> Vec<Vec<T>> {
    segments.sort();
    let mut sessions: Vec<Vec<T>> = Vec::new();
    let mut reach = i64::MIN;
    for segment in segments {
        let (start, end) = interval(&segment);
        match sessions.last_mut() {
            Some(session) if start - reach <= gap => session.push(segment),
            _ => {
                sessions.push(vec![segment]);
                reach = end;
            }
        }
        reach = reach.max(end);
    }
    sessions
}
