//! What a device takes, and from which sizes on another way is faster on it.

use std::sync::{Mutex, PoisonError};

use burn_cubecl::CubeDevice;
use burn_cubecl::cubecl::prelude::Client;

/// Parameters of one launch at most, where the device takes as many buffers.
const TOGETHER: usize = 32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Buffers of a launch.
    bindings: usize,
    /// Elements from which a parameter has a launch of its own.
    pub large: usize,
    /// Elements up to which one cube goes through all phases of a rule that looks.
    pub alone: usize,
    /// Elements up to which a rule that looks is better off with kernels than with tensor operations.
    pub looking: usize,
}

impl Limits {
    fn found(client: &Client) -> Self {
        let hardware = &client.properties().hardware;
        // One is left to the numbers.
        let bindings = hardware.max_bindings as usize - 1;
        // So few lanes has a processor that computes in software. It goes through all branches, and a barrier is
        // expensive on it.
        match hardware.plane_size_max <= 8 {
            true => Self {
                bindings,
                large: 1 << 14,
                alone: 1 << 14,
                looking: 1 << 14,
            },
            false => Self {
                bindings,
                large: 1 << 18,
                alone: 1 << 13,
                looking: usize::MAX,
            },
        }
    }

    /// The limits of a device, which are found once.
    pub fn of(device: &CubeDevice) -> Self {
        static KNOWN: Mutex<Vec<(CubeDevice, Limits)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, limits)) = known.iter().find(|(other, _)| other == device) {
            return *limits;
        }
        let limits = Self::found(&device.client());
        known.push((device.clone(), limits));
        limits
    }

    /// How many parameters go into one launch, with so many buffers each and some that they share.
    pub fn together(self, bindings: usize, shared: usize) -> usize {
        (self.bindings.saturating_sub(shared) / bindings.max(1)).clamp(1, TOGETHER)
    }

    /// Whether a launch can have so many buffers.
    pub fn takes(self, bindings: usize) -> bool {
        bindings <= self.bindings
    }
}
