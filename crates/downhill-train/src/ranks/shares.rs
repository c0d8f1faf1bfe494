//! The optimizer's state in shares: each rank steps the parameters of its own, and tells the others where they are.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use downhill_optim::drive::memory_order;

use super::Ranks;
use crate::bound::Bound;
use crate::exchange::ExchangeError;
use crate::params::{AutodiffState, laid_out};

/// Which rank steps which parameter, and keeps its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    rank: usize,
    /// By the places of the parameters.
    owners: Vec<usize>,
}

impl Shares {
    /// The largest first, each to the rank that has least so far; of equals by path. The same on each rank.
    pub fn new(bound: &[Bound], rank: usize, size: usize) -> Self {
        let elements = |at: &usize| bound[*at].info().shape.iter().product::<usize>();
        let mut order: Vec<usize> = (0..bound.len())
            .filter(|at| bound[*at].info().trainable)
            .collect();
        order.sort_by_key(|at| (usize::MAX - elements(at), &bound[*at].info().path));
        let mut owners = vec![0; bound.len()];
        let mut loads = vec![0; size];
        for at in order {
            let least = (0..size).min_by_key(|rank| loads[*rank]).unwrap_or(0);
            owners[at] = least;
            loads[least] += elements(&at);
        }
        Self { rank, owners }
    }

    /// Which parameters are this rank's.
    pub fn own(&self) -> Vec<bool> {
        self.owners
            .iter()
            .map(|owner| *owner == self.rank)
            .collect()
    }

    /// Which rank steps the parameter at this place.
    pub fn owner(&self, at: usize) -> usize {
        self.owners[at]
    }
}

/// Bytes of a number that goes along.
const COUNT: usize = size_of::<u64>();

impl Ranks {
    /// The model with what each rank has made of its share, and the sum of a count. `moved` are the parameters that were
    /// stepped, wherever that was.
    pub fn shared<M: Module>(
        &self,
        shares: &Shares,
        moved: &[bool],
        count: u64,
        model: M,
    ) -> Result<(M, u64), (M, ExchangeError)> {
        let mut read = Read {
            shares,
            moved,
            next: 0,
            bytes: count.to_le_bytes().to_vec(),
        };
        model.visit(&mut read);
        let own = read.bytes;
        let all = match self.with(|exchange| exchange.all_gather(&own)) {
            Ok(all) => all,
            Err(error) => return Err((model, error)),
        };
        let counts = all.iter().filter_map(|bytes| bytes.first_chunk::<COUNT>());
        let count = counts.map(|bytes| u64::from_le_bytes(*bytes)).sum();
        let mut write = Write {
            shares,
            moved,
            next: 0,
            rest: all
                .iter()
                .map(|bytes| bytes.get(COUNT..).unwrap_or(&[]))
                .collect(),
            missing: false,
        };
        let model = model.map(&mut write);
        match write.missing || write.rest.iter().any(|rest| !rest.is_empty()) {
            true => Err((
                model,
                ExchangeError::Transport {
                    reason: "a rank has told of other parameters than its share".to_owned(),
                },
            )),
            false => Ok((model, count)),
        }
    }
}

/// The own share, one parameter after the other: its elements, and how they lie in memory, since a product of another
/// layout rounds otherwise.
struct Read<'a> {
    shares: &'a Shares,
    moved: &'a [bool],
    next: usize,
    bytes: Vec<u8>,
}

impl ModuleVisitor for Read<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let at = self.next;
        self.next += 1;
        if self.moved[at] && self.shares.owner(at) == self.shares.rank {
            let order = memory_order(param.val()).unwrap_or_else(|| (0..D).collect());
            let data = param.val().without_autodiff().into_data();
            self.bytes.extend_from_slice(data.as_bytes());
            // Burn has no more than 8 dimensions.
            self.bytes.extend(order.into_iter().map(|dim| dim as u8));
        }
    }
}

/// The other shares.
struct Write<'a> {
    shares: &'a Shares,
    moved: &'a [bool],
    next: usize,
    /// What is left of the bytes of each rank.
    rest: Vec<&'a [u8]>,
    missing: bool,
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let at = self.next;
        self.next += 1;
        let owner = self.shares.owner(at);
        if !self.moved[at] {
            return param;
        }
        let rest = &mut self.rest[owner];
        let bytes = param.shape().num_elements() * param.dtype().size();
        let parts = rest.split_at_checked(bytes);
        let parts = parts.and_then(|(found, left)| Some((found, left.split_at_checked(D)?)));
        let Some((found, (order, left))) = parts else {
            self.missing = true;
            return param;
        };
        *rest = left;
        let order: Vec<usize> = order.iter().map(|dim| usize::from(*dim)).collect();
        if owner == self.shares.rank {
            return param;
        }
        param.map(|own| {
            let (device, dtype, shape) = (own.device().inner(), own.dtype(), own.shape());
            let data = TensorData::from_bytes_vec(found.to_vec(), shape, dtype);
            let state = AutodiffState::of(&own);
            let told = Tensor::from_data(data, (&device, dtype));
            state.put_on(match order.is_sorted() {
                true => told,
                false => laid_out(told, &order),
            })
        })
    }
}
