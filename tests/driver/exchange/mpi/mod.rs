//! Ranks that are processes: this binary under `mpirun`, where each process runs the one test of rank.rs.

use std::env;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

mod rank;

/// Tells a rank what it is to do.
const MODE: &str = "DOWNHILL_RANK";

/// One job at a time: a rank that waits for a core might seem to be stuck.
static JOB: Mutex<()> = Mutex::new(());

/// Far below the timeout of 60 s, which none may have waited for.
const SOON: Duration = Duration::from_secs(30);

/// The exit code of a job, and what its ranks have printed, without the lines of the test harness.
fn run(mut command: Command, mode: &str) -> (Option<i32>, String) {
    let _job = JOB.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = Instant::now();
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(["exchange::mpi::rank::rank", "--exact", "--ignored"])
        .args(["--nocapture", "--test-threads=2"])
        .env(MODE, mode)
        .output()
        .expect("Open MPI is installed: Debian's `libopenmpi-dev openmpi-bin`");
    let printed = [stdout, stderr].concat();
    let printed: Vec<_> = String::from_utf8_lossy(&printed)
        .lines()
        .filter(|line| !line.is_empty() && *line != "running 1 test")
        .map(str::to_owned)
        .collect();
    let printed = printed.join("\n");
    assert!(begun.elapsed() < SOON, "{printed}");
    (status.code(), printed)
}

fn this() -> Command {
    Command::new(env::current_exe().unwrap())
}

fn mpirun(options: &[&str], ranks: usize, mode: &str) -> (Option<i32>, String) {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--timeout", "100"]);
    command.args(options).args(["-n", &ranks.to_string()]);
    command.arg(env::current_exe().unwrap());
    run(command, mode)
}

#[test]
fn collectives_are_right_on_one_two_and_four_ranks() {
    for ranks in [1, 2, 4] {
        let (code, printed) = mpirun(&[], ranks, "check");
        assert_eq!(code, Some(0), "{printed}");
        for rank in 0..ranks {
            let done = format!("rank {rank} of {ranks} is done");
            assert!(printed.contains(&done), "{printed}");
        }
    }
}

#[test]
fn collectives_are_right_over_sockets() {
    let (code, printed) = mpirun(&["--mca", "btl", "tcp,self"], 3, "check");
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("rank 2 of 3 is done"), "{printed}");
}

#[test]
fn without_mpirun_it_is_a_world_of_one() {
    let (code, printed) = run(this(), "check");
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("rank 0 of 1 is done"), "{printed}");
}

#[test]
fn mpi_is_initialised_once_and_refuses_long_messages() {
    let (code, printed) = run(this(), "init");
    assert_eq!(code, Some(0), "{printed}");
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "a message of 2147483648 bytes: MPI carries at most 2147483647 in one",
            "cannot start: MPI has been initialised in this process already, and starts only once",
            "cannot start: MPI has been finalised in this process already, and starts only once",
        ]
    );
}

#[test]
fn ranks_that_end_one_after_the_other_all_end_well() {
    let (code, printed) = mpirun(&[], 4, "finish-late");
    assert_eq!((code, printed.as_str()), (Some(0), ""));
}

#[test]
fn a_rank_that_ends_early_is_lost_to_the_others() {
    for ranks in [2, 4] {
        let (code, printed) = mpirun(&[], ranks, "early");
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains(": rank 1 has left"), "{printed}");
    }
}

#[test]
fn a_rank_that_fails_says_why() {
    let (code, printed) = mpirun(&[], 4, "early-error");
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("rank 1: a cause"), "{printed}");
    assert!(printed.contains(": rank 1 has left"), "{printed}");
    let (code, printed) = mpirun(&[], 4, "panic");
    assert!(matches!(code, Some(1 | 101)), "{code:?}: {printed}");
    assert!(printed.contains("on purpose"), "{printed}");
    assert!(printed.contains(": rank 1 has left"), "{printed}");
}

#[test]
fn a_rank_that_hangs_is_named_after_the_timeout_and_ended_with_the_job() {
    for ranks in [2, 4] {
        let (code, printed) = mpirun(&[], ranks, "hang");
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains(": waited 1."), "{printed}");
        assert!(printed.contains("s for rank 1\n"), "{printed}");
    }
}

#[test]
fn a_process_that_is_stopped_in_a_transfer_is_named_after_the_timeout() {
    for options in [&[][..], &["--mca", "btl", "tcp,self"]] {
        let (code, printed) = mpirun(options, 3, "stop");
        assert_eq!(code, Some(1), "{printed}");
        assert!(printed.contains("s for rank 1\n"), "{printed}");
    }
}

#[test]
fn a_rank_that_is_killed_ends_the_job() {
    for ranks in [2, 4] {
        let (code, printed) = mpirun(&[], ranks, "kill");
        assert_eq!(code, Some(128 + 9), "{printed}");
        let signal = "process rank 1 with PID 0 on node";
        assert!(printed.contains(signal), "{printed}");
        assert!(printed.contains("signal 9"), "{printed}");
    }
}

#[test]
fn a_handle_does_not_hang_at_its_end() {
    let (code, printed) = mpirun(&[], 2, "drop");
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("without calling \"finalize\""),
        "{printed}"
    );
}

#[test]
fn a_job_is_ended_by_exit_and_by_abort() {
    let (code, printed) = mpirun(&[], 2, "exit");
    assert_eq!(code, Some(1), "{printed}");
    let (code, printed) = mpirun(&[], 4, "abort");
    assert_eq!(code, Some(42), "{printed}");
    // Also after a failure, and where the launcher would let the others hang.
    let option = ["--mca", "orte_abort_on_non_zero_status", "0"];
    let (code, printed) = mpirun(&option, 4, "hang-abort");
    assert_eq!(code, Some(42), "{printed}");
    assert!(printed.contains("s for rank 1"), "{printed}");
}
