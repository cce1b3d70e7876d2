//! The end-to-end tests are in `it/`. Here is what they share with the program that ends itself at a named point.

pub mod death;
pub mod proxy;
