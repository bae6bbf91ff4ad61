//! Working on what waits before the turn of each, on as many threads as it is told: what the linker can know of records then.
//!
//! ```text
//! threads   read 2 │ look 2 │ read 3    │ look 3 │ ...       a number is a group of parts
//! caller    turns 1 │ look 2 │ turns 2 … │ look 3 │ turns 3
//! ```

use std::{
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock},
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

/// What is done with each part, in this order.
pub(crate) struct Steps<R, L, F> {
    /// Takes nothing but the part, so that it may be done while others have their turn.
    pub(crate) read: R,
    /// Sees the state as it is before the turns of the part's group.
    pub(crate) look: L,
    /// Changes the state: one part after the other, in their order, on the calling thread.
    pub(crate) turn: F,
}

/// Takes the steps of each part on at most so many threads, of which the calling one is one. What comes of it does not depend
/// on their number.
///
/// # Errors
/// The first of a turn; no part after it has one.
pub(crate) fn in_turns<T, S, R, L, F, E>(
    parts: &mut [T],
    state: &mut S,
    threads: usize,
    Steps { read, look, mut turn }: Steps<R, L, F>,
) -> Result<(), E>
where
    T: Send,
    S: Send + Sync,
    R: Fn(&mut T) + Sync,
    L: Fn(&S, &mut T) + Sync,
    F: FnMut(&mut S, &mut T) -> Result<(), E>,
{
    let others = threads.min(parts.len()).saturating_sub(1);
    let parts = parts.iter_mut().map(|part| Mutex::new(Part { part, is_read: false })).collect();
    let (state, table) = (RwLock::new(state), Table { parts, plan: Mutex::default(), changed: Condvar::new() });
    let look = |part: &mut T| look(&state.read().unwrap_or_else(PoisonError::into_inner), part);
    thread::scope(|scope| {
        let _ending = Ending(&table);
        for _ in 0..others {
            scope.spawn(|| table.help(&read, look));
        }
        table.parts.chunks(PARTS).try_for_each(|group| {
            table.look_at(group.len(), &read, look);
            let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
            group.iter().try_for_each(|part| turn(&mut state, locked(part).part))
        })
    })
}

struct Part<'p, T> {
    part: &'p mut T,
    is_read: bool,
}

/// Which steps are to be taken now.
#[derive(Default)]
struct Plan {
    /// The next part to look at, of those up to here.
    look: usize,
    until: usize,
    /// Parts that some thread looks at.
    looking: usize,
    /// The next part to read, of those of the group after.
    read: usize,
    has_ended: bool,
}

struct Table<'p, T> {
    parts: Vec<Mutex<Part<'p, T>>>,
    plan: Mutex<Plan>,
    changed: Condvar,
}

enum Step {
    Read(usize),
    Look(usize),
}

impl<T> Table<'_, T> {
    /// Takes steps until all has ended.
    fn help(&self, read: impl Fn(&mut T), look: impl Fn(&mut T)) {
        let mut plan = locked(&self.plan);
        while !plan.has_ended {
            let Some(step) = self.next(&mut plan) else {
                plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(plan);
            self.take(&step, &read, &look);
            plan = locked(&self.plan);
        }
    }

    /// Has the next `group` of so many parts looked at; the calling thread does what others do not.
    fn look_at(&self, group: usize, read: impl Fn(&mut T), look: impl Fn(&mut T)) {
        let mut plan = locked(&self.plan);
        plan.until += group;
        plan.read = plan.read.max(plan.until);
        self.changed.notify_all();
        while plan.look < plan.until || plan.looking > 0 {
            if plan.look == plan.until {
                plan = self.changed.wait(plan).unwrap_or_else(PoisonError::into_inner);
            } else if let Some(step) = self.next(&mut plan) {
                drop(plan);
                self.take(&step, &read, &look);
                plan = locked(&self.plan);
            }
        }
    }

    fn next(&self, plan: &mut Plan) -> Option<Step> {
        if plan.look < plan.until {
            (plan.look, plan.looking) = (plan.look + 1, plan.looking + 1);
            return Some(Step::Look(plan.look - 1));
        }
        let is_next = plan.read < self.parts.len().min(plan.until + PARTS);
        is_next.then(|| {
            plan.read += 1;
            Step::Read(plan.read - 1)
        })
    }

    fn take(&self, step: &Step, read: impl Fn(&mut T), look: impl Fn(&mut T)) {
        let (Step::Read(at) | Step::Look(at)) = step;
        let _looking = matches!(step, Step::Look(_)).then(|| Looking(self));
        let Some(part) = self.parts.get(*at) else { return };
        let mut part = locked(part);
        if !std::mem::replace(&mut part.is_read, true) {
            read(part.part);
        }
        if matches!(step, Step::Look(_)) {
            look(part.part);
        }
    }
}

/// Counts a part as looked at, also where looking panics: nobody is to wait for it for ever.
struct Looking<'t, 'p, T>(&'t Table<'p, T>);

impl<T> Drop for Looking<'_, '_, T> {
    fn drop(&mut self) {
        let mut plan = locked(&self.0.plan);
        plan.looking -= 1;
        if plan.looking == 0 {
            self.0.changed.notify_all();
        }
    }
}

/// Lets the helpers go, also where a turn fails or panics.
struct Ending<'t, 'p, T>(&'t Table<'p, T>);

impl<T> Drop for Ending<'_, '_, T> {
    fn drop(&mut self) {
        locked(&self.0.plan).has_ended = true;
        self.0.changed.notify_all();
    }
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part, how often it was read, and what it saw of the state when it was looked at.
    type Traced = (usize, usize, Option<usize>);

    fn run(count: usize, threads: usize, fails_at: Option<usize>) -> (Vec<Traced>, Vec<usize>, Result<(), usize>) {
        let mut parts: Vec<Traced> = (0..count).map(|n| (n, 0, None)).collect();
        let mut turns = Vec::new();
        let steps = Steps {
            read: |part: &mut Traced| part.1 += 1,
            look: |turns: &Vec<usize>, part: &mut Traced| part.2 = Some(turns.len()),
            turn: |turns: &mut Vec<usize>, part: &mut Traced| {
                turns.push(part.0);
                if fails_at == Some(part.0) { Err(part.0) } else { Ok(()) }
            },
        };
        let ended = in_turns(&mut parts, &mut turns, threads, steps);
        (parts, turns, ended)
    }

    #[test]
    fn each_part_is_read_looked_at_before_the_turns_of_its_group_and_has_its_turn() {
        for count in [0, 1, 2, PARTS, PARTS + 1, 5 * PARTS - 1] {
            for threads in 0..6 {
                let (parts, turns, ended) = run(count, threads, None);
                let seen = |n: usize| (n, 1, Some(n / PARTS * PARTS));
                assert_eq!(parts, (0..count).map(seen).collect::<Vec<_>>(), "{count} on {threads}");
                assert_eq!((turns, ended), ((0..count).collect(), Ok(())), "{count} on {threads}");
            }
        }
    }

    #[test]
    fn the_first_turn_that_fails_is_the_last() {
        for threads in 1..4 {
            let (_, turns, ended) = run(3 * PARTS, threads, Some(PARTS + 3));
            assert_eq!((turns, ended), ((0..PARTS + 4).collect(), Err(PARTS + 3)), "on {threads}");
        }
    }

    #[test]
    fn a_panic_ends_it() {
        for (look_at, turn_of) in [(Some(PARTS), None), (None, Some(PARTS))] {
            let ended = std::panic::catch_unwind(|| {
                let mut parts: Vec<usize> = (0..3 * PARTS).collect();
                let steps = Steps {
                    read: |_: &mut usize| (),
                    look: |(): &(), part: &mut usize| assert_ne!(Some(*part), look_at),
                    turn: |(): &mut (), part: &mut usize| {
                        assert_ne!(Some(*part), turn_of);
                        Ok::<(), ()>(())
                    },
                };
                in_turns(&mut parts, &mut (), 2, steps)
            });
            assert!(ended.is_err());
        }
    }
}
