//! The devices by name.

use burn::tensor::Device;
use clap::ValueEnum;

/// Burn's backends, by the names of this crate's cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum DeviceName {
    #[cfg(feature = "flex")]
    Flex,
    #[cfg(feature = "ndarray")]
    NdArray,
    #[cfg(feature = "wgpu")]
    Wgpu,
}

impl DeviceName {
    /// The first that was compiled in: the CPU where there is one, because the problems are small.
    pub fn preferred() -> Option<Self> {
        Self::value_variants().first().copied()
    }

    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_string())
    }

    /// The device.
    pub fn device(self) -> Device {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Device::flex(),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated)] // as long as Burn has it
            Self::NdArray => Device::ndarray(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::wgpu(Default::default()),
        }
    }
}
