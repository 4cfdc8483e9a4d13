//! The `selvedge` binary: clap → Config → Plan → start → wait.

use std::process::ExitCode;

use clap::Parser;
use selvedge::cli::args::{Cli, Command, Exit, Shown};
use selvedge::cli::{ask, check, demo, health, pktgen, run};
use selvedge::config::probe::probe;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => {
            run::start_logging();
            run::run(&args.config)
        }
        Command::Check(args) if args.no_host => check::check_file(&args.config),
        Command::Check(args) => check::check(&args.config, |_| probe()),
        Command::Health(args) => health::health(&args.config),
        Command::Show(args) => match args.what {
            Shown::Sources => ask::show_sources(&args.config),
        },
        Command::Explain(args) => ask::explain(&args.config, args.address),
        Command::Accept(args) => ask::accept(&args.config, &args.source),
        Command::Pktgen(options) => pktgen::run(&options),
        Command::Demo(options) => match demo::run(options) {
            Ok(()) => Exit::Ok.into(),
            Err(error) => {
                eprintln!("selvedge demo: {error}");
                Exit::Runtime.into()
            }
        },
    }
}
