//! Optimizers and learning-rate schedules in the browser.
//!
//! A static page, computed by the library itself, compiled to WebAssembly: optimizers go down functions of two
//! variables, step by step, schedules are drawn, and a network learns to read digits. What is shown can be taken along
//! as Rust, as JSON or as a link.
//!
//! `cargo run --package downhill-playground-site` puts the page into a folder, which any host of static files serves.
//!
//! What is computed is here without a browser, too:
//!
//! ```
//! use downhill_playground::race::Race;
//! use downhill_playground::scene::Scene;
//!
//! let scene = Scene::from_link(
//!     r#"{"function": "rosenbrock", "steps": 600, "optimizers": [{"name": "adam", "learning_rate": 0.1}]}"#,
//! )?;
//! let mut race = Race::new(&scene)?;
//! while race.step() {}
//! assert!(race.runners[0].values[600] < 1e-2);
//! # Ok::<(), downhill_playground::scene::SceneError>(())
//! ```

pub mod network;
#[cfg(target_arch = "wasm32")]
mod page;
pub mod race;
pub mod relief;
pub mod scene;
pub mod snippet;
pub mod tour;
