//! One pass over memory: parameter, gradient and state of a step as plain slices.

mod elementwise;
mod grid;
mod look;
mod permute;
mod series;
mod slots;
mod squares;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use downhill_rule::Real;
use half::{bf16, f16};

pub(crate) use elementwise::elementwise;
pub(crate) use grid::gridded;
pub(crate) use look::{Sums, knowing, looking, part_of_model};
pub(crate) use slots::{gather, listed};
pub use squares::Squares;
pub(crate) use squares::squares;

/// More state tensors than any rule has; a rule with more runs as tensor operations.
pub(crate) const MAX_SLOTS: usize = 8;

/// Elements from which a pass is split over threads: below, waking them costs more than they save.
const PARALLEL: usize = 1 << 19;

/// Parts of a pass that is split. Their number does not depend on the threads, and neither do the
/// sums over them; there are more than threads, because those that sleep start late.
const PARTS: usize = 16;

/// How many parts a pass over `len` elements has.
fn parts(len: usize) -> usize {
    if len < PARALLEL { 1 } else { PARTS }
}

/// How large each of so many parts is: each starts on a cache line if the buffers do.
fn part_size(len: usize, parts: usize) -> usize {
    len.div_ceil(parts).next_multiple_of(64)
}

/// Works off `parts` on this thread and on those of the pool that are free; the results are in the
/// order of the parts.
fn share<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let parts: Vec<_> = parts.into_iter().map(|part| Mutex::new(Ok(part))).collect();
    each(parts.len(), &|at| {
        let mut part = lock(&parts[at]);
        let taken = core::mem::replace(&mut *part, Err(None));
        *part = Err(taken.ok().map(&work));
    });
    let results = parts.into_iter().map(|part| {
        let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
        part.err().flatten().expect("each part was worked off")
    });
    results.collect()
}

/// Does `work` for as many places. It knows no types, so that it is compiled once.
fn each(count: usize, work: &(dyn Fn(usize) + Sync)) {
    let helpers = rayon::current_num_threads().min(count) - 1;
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                break;
            }
            work(at);
        }
    };
    // The caller works too instead of sleeping until the pool has woken up.
    rayon::in_place_scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| run());
        }
        run();
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number as it is stored, and the one it is computed in.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    type Compute: Real + Element<Compute = Self::Compute>;
    fn load(self) -> Self::Compute;
    /// Runs a pass over the numbers as they are computed in.
    fn pass(buffers: Buffers<'_, Self>, pass: &dyn Fn(Buffers<'_, Self::Compute>));
    /// Runs a look at the numbers as they are computed in, once or block by block.
    fn look(views: Views<'_, Self>, look: &mut dyn FnMut(Views<'_, Self::Compute>));
    fn any(buffers: Buffers<'_, Self>) -> AnyBuffers<'_>;
    fn any_views(views: Views<'_, Self>) -> AnyViews<'_>;
}

macro_rules! element {
    ($($real:ty, $any:ident);*) => {$(
        impl Element for $real {
            type Compute = $real;
            #[inline(always)]
            fn load(self) -> $real {
                self
            }
            fn pass(buffers: Buffers<'_, $real>, pass: &dyn Fn(Buffers<'_, $real>)) {
                pass(buffers);
            }
            fn look(views: Views<'_, $real>, look: &mut dyn FnMut(Views<'_, $real>)) {
                look(views);
            }
            fn any(buffers: Buffers<'_, $real>) -> AnyBuffers<'_> {
                AnyBuffers::$any(buffers)
            }
            fn any_views(views: Views<'_, $real>) -> AnyViews<'_> {
                AnyViews::$any(views)
            }
        }
    )*};
}

macro_rules! half_element {
    ($($half:ty, $any:ident);*) => {$(
        impl Element for $half {
            type Compute = f32;
            #[inline(always)]
            fn load(self) -> f32 {
                self.to_f32()
            }
            fn pass(buffers: Buffers<'_, $half>, pass: &dyn Fn(Buffers<'_, f32>)) {
                elementwise::in_blocks(buffers, pass);
            }
            fn look(views: Views<'_, $half>, look: &mut dyn FnMut(Views<'_, f32>)) {
                elementwise::look_in_blocks(views, look);
            }
            fn any(buffers: Buffers<'_, $half>) -> AnyBuffers<'_> {
                AnyBuffers::$any(buffers)
            }
            fn any_views(views: Views<'_, $half>) -> AnyViews<'_> {
                AnyViews::$any(views)
            }
        }
    )*};
}

element!(f32, F32; f64, F64);
half_element!(f16, F16; bf16, Bf16);

/// Parameter, gradient and state of one step, each dense and in the same order.
pub(crate) struct Buffers<'a, E: Element> {
    pub param: &'a mut [E],
    pub grad: &'a [E],
    pub slots: [&'a mut [E::Compute]; MAX_SLOTS],
}

impl<'a, E: Element> Buffers<'a, E> {
    /// The same in `parts` parts.
    fn split(self, parts: usize) -> Vec<Self> {
        let size = part_size(self.param.len(), parts);
        self.chunks(size).collect()
    }

    /// The same in stretches of `size` elements.
    fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        let mut slots = self.slots.map(|slot| slot.chunks_mut(size));
        let elements = self.param.chunks_mut(size).zip(self.grad.chunks(size));
        elements.map(move |(param, grad)| Self {
            param,
            grad,
            slots: slots.each_mut().map(|slot| slot.next().unwrap_or_default()),
        })
    }

    /// To read only.
    pub fn views(&self) -> Views<'_, E> {
        Views {
            param: self.param,
            grad: self.grad,
            slots: self.slots.each_ref().map(|slot| &**slot),
        }
    }
}

/// [`Buffers`] to read only.
#[derive(Clone, Copy)]
pub(crate) struct Views<'a, E: Element> {
    pub param: &'a [E],
    pub grad: &'a [E],
    pub slots: [&'a [E::Compute]; MAX_SLOTS],
}

impl<'a, E: Element> Views<'a, E> {
    /// The same in `parts` parts.
    fn split(self, parts: usize) -> Vec<Self> {
        self.chunks(part_size(self.param.len(), parts)).collect()
    }

    /// Some of the elements.
    fn range(self, range: core::ops::Range<usize>) -> Self {
        Self {
            param: &self.param[range.clone()],
            grad: &self.grad[range.clone()],
            slots: self
                .slots
                .map(|slot| slot.get(range.clone()).unwrap_or_default()),
        }
    }

    /// The same in stretches of `size` elements.
    fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        let mut slots = self.slots.map(|slot| slot.chunks(size));
        let elements = self.param.chunks(size).zip(self.grad.chunks(size));
        elements.map(move |(param, grad)| Self {
            param,
            grad,
            slots: slots.each_mut().map(|slot| slot.next().unwrap_or_default()),
        })
    }
}

/// [`Buffers`] of any precision.
pub(crate) enum AnyBuffers<'a> {
    F32(Buffers<'a, f32>),
    F64(Buffers<'a, f64>),
    F16(Buffers<'a, f16>),
    Bf16(Buffers<'a, bf16>),
}

/// [`Views`] of any precision.
pub(crate) enum AnyViews<'a> {
    F32(Views<'a, f32>),
    F64(Views<'a, f64>),
    F16(Views<'a, f16>),
    Bf16(Views<'a, bf16>),
}

/// Runs `work` with the widest vector instructions of the machine. They change the speed, not the
/// numbers: nothing is contracted into a fused multiply-add or reordered.
#[inline(always)]
pub(crate) fn dispatch<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}
