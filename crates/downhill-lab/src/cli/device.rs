//! The devices by name.

use std::fmt;

use burn::tensor::Device;
use clap::ValueEnum;

use super::{Failure, usage};

/// Burn's backends, by the names of this crate's cargo features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum DeviceName {
    Flex,
    NdArray,
    Wgpu,
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
            Self::Wgpu => "wgpu",
        })
    }
}

/// The device that was asked for, or the first that was compiled in: the CPU where there is one, because
/// the problems are small.
pub fn open(asked: Option<DeviceName>) -> Result<(DeviceName, Device), Failure> {
    let names = match &asked {
        Some(name) => std::slice::from_ref(name),
        None => DeviceName::value_variants(),
    };
    let found = names.iter().find_map(|name| Some((*name, device(*name)?)));
    found.ok_or_else(|| match asked {
        Some(name) => usage(format!(
            "device {name} is not compiled in; add its feature: cargo run --release -p downhill-lab \
             --features {name} -- ..."
        )),
        None => usage("no device is compiled in; add a feature: flex, ndarray or wgpu"),
    })
}

fn device(name: DeviceName) -> Option<Device> {
    match name {
        #[cfg(feature = "flex")]
        DeviceName::Flex => Some(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // as long as Burn has it
        DeviceName::NdArray => Some(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => {
            downhill_optim::launch_together();
            Some(Device::wgpu(Default::default()))
        }
        #[allow(unreachable_patterns)] // with all features
        _ => None,
    }
}
