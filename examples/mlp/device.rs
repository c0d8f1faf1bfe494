//! The devices by name, and whether one works on this machine.

use std::{
    fmt, panic,
    sync::{Arc, OnceLock},
};

use burn::tensor::{Device, Tensor};
use clap::ValueEnum;

/// Burn's backends, by the names of this crate's cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum DeviceName {
    Flex,
    NdArray,
    Wgpu,
    Vulkan,
    WebGpu,
    Metal,
    Cuda,
    Rocm,
    Cpu,
}

/// Why there is no such device.
pub enum Unavailable {
    NotCompiledIn(DeviceName),
    NotWorking(DeviceName, String),
}

impl Default for DeviceName {
    /// The first that was compiled in, in the order in which Burn's `Device::default()` looks.
    fn default() -> Self {
        use DeviceName::*;
        [Cuda, Metal, Rocm, Vulkan, WebGpu, Wgpu, Cpu, Flex, NdArray]
            .into_iter()
            .find(|name| name.device().is_some())
            .unwrap_or(Flex)
    }
}

impl DeviceName {
    /// The name on the command line, and of the cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Cpu => "cpu",
        }
    }

    /// The device, once it has done a sum.
    pub fn open(self) -> Result<Device, Unavailable> {
        let device = self.device().ok_or(Unavailable::NotCompiledIn(self))?;

        // Burn panics where a driver or an adapter is missing: that is no bug to report, but an
        // answer. The first panic says why, often in a thread of Burn's; others follow from it.
        let first_panic = Arc::new(OnceLock::new());
        let hook = panic::take_hook();
        panic::set_hook(Box::new({
            let first_panic = Arc::clone(&first_panic);
            move |info| {
                let reason = info.payload_as_str().unwrap_or("no reason given");
                let _ = first_panic.set(reason.to_string());
            }
        }));
        let answer = panic::catch_unwind(|| {
            let sum = Tensor::<1>::ones([2], &device).sum();
            sum.try_into_scalar::<f32>()
        });
        panic::set_hook(hook);

        let reason = match answer {
            Ok(Ok(2.0)) => return Ok(device),
            Ok(Ok(sum)) => format!("it says that 1 + 1 is {sum}"),
            Ok(Err(error)) => first_panic.get().cloned().unwrap_or(error.to_string()),
            Err(_) => first_panic.get().cloned().unwrap_or_default(),
        };
        Err(Unavailable::NotWorking(self, reason))
    }

    fn device(self) -> Option<Device> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Some(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // as long as Burn has it
            Self::NdArray => Some(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(Device::wgpu(Default::default())),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(Device::vulkan(Default::default())),
            #[cfg(feature = "webgpu")]
            Self::WebGpu => Some(Device::webgpu(Default::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Some(Device::metal(Default::default())),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(Device::cuda(0)),
            #[cfg(feature = "rocm")]
            Self::Rocm => Some(Device::rocm(0)),
            #[cfg(feature = "cpu")]
            Self::Cpu => Some(Device::cpu()),
            #[allow(unreachable_patterns)] // with all features
            _ => None,
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCompiledIn(name) => write!(
                f,
                "device {name} is not compiled in; add its feature: \
                 cargo run --release --example {} --features {name} -- --device {name}",
                env!("CARGO_CRATE_NAME")
            ),
            Self::NotWorking(name, reason) => write!(
                f,
                "device {name} does not work on this machine: {}\n\
                 Is there a graphics card with a driver for it? --device flex computes on any CPU.",
                reason.trim()
            ),
        }
    }
}
