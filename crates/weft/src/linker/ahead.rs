//! Working on many things at once, on as many threads as it is told: what the linker can know of records before their turn.

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

/// Parts, each of so many records as are best touched together, that are worked on before the turn of the first record: few
/// enough that what was touched is still in the processor's caches when its turn comes.
pub(crate) const PARTS: usize = 16;

/// More threads than this gain little: what is left to the turn of each record, which one does, takes a third as long as all
/// that is worked out ahead.
const THREADS_MAX: usize = 4;

/// Threads that the machine lets us use.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX)
}

/// Works on each part, on at most so many threads, of which this one is one: whichever is free takes the next. A thread costs
/// less to start than a part to work on.
pub(crate) fn each<T: Send>(parts: &mut [T], threads: usize, work: impl Fn(&mut T) + Sync) {
    let others = threads.min(parts.len()).saturating_sub(1);
    let waiting = Mutex::new(parts.iter_mut());
    let take = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(part) = next else { return };
            work(part);
        }
    };
    thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(take);
        }
        take();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_worked_on_once_in_its_place() {
        for count in [0, 1, 2, 3, 100] {
            for threads in 0..6 {
                let mut parts: Vec<usize> = (0..count).collect();
                each(&mut parts, threads, |part| *part = *part * 2 + 1);
                assert!(parts.iter().enumerate().all(|(n, part)| *part == n * 2 + 1), "{count} on {threads}");
            }
        }
    }
}
