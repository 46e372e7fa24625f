//! The binary `patchbay-lambda`: Patchbay as one AWS Lambda function. HTTP requests, by a function URL, an HTTP API or a
//! load balancer, go to the same API as anywhere; scheduled events of EventBridge run a pass over the queue.
//!
//! Lambda freezes the process between two invocations, and ends it when it likes. So nothing is left running when an
//! invocation is answered: what is not in the database did not happen. Start reading at `function`.

mod function;
mod requests;
mod schedule;
mod start;

use std::process::ExitCode;

use anyhow::anyhow;
use lambda_http::service_fn;
use patchbay_server::cli;

use crate::function::Function;

/// As in the binary `patchbay`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::block_on(run())
}

async fn run() -> anyhow::Result<ExitCode> {
    let function = Function::new(start::host().await?);
    let outcome = lambda_http::run(service_fn(|event| function.clone().invoke(event))).await;
    outcome.map_err(|error| anyhow!(error).context("talking to Lambda's runtime API"))?;
    Ok(ExitCode::SUCCESS)
}
