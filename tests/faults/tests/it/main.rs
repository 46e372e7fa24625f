//! The scenarios, by row.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cluster;
mod posts;
mod r01;
mod r02;
mod r03;
mod r04;
mod r05;
mod r06;
mod r07;
mod r08;
mod r09;
mod r11;
mod r13;
mod r14;
mod r15;
mod r18;
mod r19;
mod tokens;
