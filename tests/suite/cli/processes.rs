//! What happens to the process: killed, asked to stop, out of disk, in a folder that it may not write to or that is taken.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::common::{hash, places::program, supervised::left};
use jostle::train::{Manifest, newest_checkpoint};

/// A run of so many steps, 82 an epoch, with a checkpoint every 20.
fn train(out: &Path, steps: u64) -> Command {
    let mut command = Command::new(program());
    let steps = steps.to_string();
    command.args(["train", "--model", "mlp:64-24-10", "--noise", "layer", "--batch", "16", "--checkpoint-every", "20"]);
    command.args(["--log-every", "1", "--steps", &steps, "--out"]).arg(out);
    command
}

fn resume(out: &Path) -> Command {
    let mut command = Command::new(program());
    command.args(["train", "--checkpoint-every", "20", "--resume"]).arg(out);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn newest(out: &Path) -> Option<Manifest> {
    let found = newest_checkpoint(out, &mut |damage| panic!("a kill has damaged a checkpoint: {damage}"));
    found.unwrap().map(|(_, manifest)| manifest)
}

/// Waits until a run has a checkpoint of at least so many steps.
fn wait_for_step(child: &mut Child, out: &Path, step: u64) {
    let started = Instant::now();
    // Between the listing and the reading of a checkpoint the run may have removed it: then look again.
    let reached = || {
        newest_checkpoint(out, &mut |_| ()).ok().flatten().is_some_and(|(_, manifest)| manifest.position.step >= step)
    };
    while !reached() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before step {step}");
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint of step {step} after a minute");
        sleep(Duration::from_millis(5));
    }
}

/// Kills a run at random moments and resumes it each time; what is left has to be what one run leaves. 20 kills with JOSTLE_SOAK.
#[test]
fn a_run_survives_kills_at_random_moments() {
    let soak = std::env::var_os("JOSTLE_SOAK").is_some();
    let (kills, steps) = if soak { (20, 8000) } else { (5, 1500) };
    let dir = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| dir.path().join(name));
    succeed(&mut train(&whole, steps));
    let (mut reached, mut during_steps) = (0, 0);
    for kill in 0..kills {
        let mut command = if newest(&killed).is_some() { resume(&killed) } else { train(&killed, steps) };
        if !command.get_args().any(|arg| arg == "--resume") {
            command.arg("--overwrite");
        }
        let mut child = spawn(&mut command);
        // Every other one anywhere from before the device is open on, the others within the steps and their checkpoints,
        // however slow the machine is.
        let moment = hash(3, kill);
        if kill % 2 == 0 {
            wait_for_step(&mut child, &killed, reached + 20 * (1 + moment / 64 % 4));
            sleep(Duration::from_millis(moment % 64));
        } else {
            sleep(Duration::from_millis(moment % 1000));
        }
        assert!(child.try_wait().unwrap().is_none(), "the run has ended before kill {kill}: it needs more steps");
        child.kill().unwrap();
        child.wait().unwrap();
        let step = newest(&killed).map_or(0, |manifest| manifest.position.step);
        assert!(step >= reached, "kill {kill} has lost steps {step} to {reached}");
        during_steps += u64::from(step > reached);
        reached = step;
    }
    println!("{kills} kills, {during_steps} of them after new checkpoints; step {reached} of {steps} was reached");
    assert!(during_steps >= kills / 2, "the kills came too early to tell anything");
    succeed(&mut resume(&killed));
    assert!(left(&killed) == left(&whole), "what is left differs from that of an uninterrupted run");
}

#[test]
fn a_run_that_is_asked_to_stop_saves_and_says_so() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = train(dir.path(), 1_000_000).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_step(&mut child, dir.path(), 20);
        Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", stderr(&output));
        assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
        let step = newest(dir.path()).unwrap().position.step;
        assert!(dir.path().join("weights.safetensors").exists());
        let more = ["--steps", &(step + 3).to_string(), "--force"].map(str::to_owned);
        succeed(resume(dir.path()).args(more));
        assert_eq!(newest(dir.path()).unwrap().position.step, step + 3);
    }
}

#[test]
fn a_folder_in_use_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn(&mut train(dir.path(), 1_000_000));
    wait_for_step(&mut child, dir.path(), 20);
    let mut anew = train(dir.path(), 10);
    anew.arg("--overwrite");
    for mut command in [resume(dir.path()), anew] {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&format!("in use by process {}", child.id())), "{}", stderr(&output));
    }
    let steps = newest_checkpoint(dir.path(), &mut |_| ()).unwrap().unwrap().1.position.step;
    wait_for_step(&mut child, dir.path(), steps + 20);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs a script as root of a namespace of its own, in which it may mount; `None` where the system does not let it.
fn in_namespace(script: &str, out: &Path) -> Option<Output> {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
        command
    };
    let may = unshare().arg("mount -t tmpfs none /mnt").output().is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("skipped: this system lets no process mount a file system of its own");
        return None;
    }
    Some(unshare().arg(script).arg("sh").arg(program()).arg(out).output().unwrap())
}

/// On a file system of 2 MB that something else fills up.
#[test]
fn a_full_disk_ends_a_run_that_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    succeed(&mut train(&whole, 100));
    let kept = dir.path().join("kept");
    let script = r#"
        options="train --model mlp:64-24-10 --noise layer --batch 16 --checkpoint-every 20 --log-every 1"
        # Room for two checkpoints, not for the third beside them.
        mount -t tmpfs -o size=112k none /mnt
        status=0; "$1" $options --steps 100 --out /mnt/run || status=$?
        echo "status $status" >&2
        mount -o remount,size=2m /mnt
        "$1" train --checkpoint-every 20 --resume /mnt/run
        cp -r /mnt/run "$2"
    "#;
    let Some(output) = in_namespace(script, &kept) else { return };
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("status 1"), "the run has to fail for want of space: {text}");
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("stays: go on with --resume /mnt/run"), "{text}");
    assert!(left(&kept) == left(&whole));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = r#"
        mount -t tmpfs none /mnt
        mkdir /mnt/there
        mount -o remount,ro /mnt
        for out in /mnt/absent /mnt/there; do
            status=0; "$1" train --steps 10 --out $out || status=$?
            echo "status $status" >&2
        done
    "#;
    let Some(output) = in_namespace(script, dir.path()) else { return };
    let text = stderr(&output);
    assert_eq!(text.matches("status 1").count(), 2, "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(text.contains("/mnt/absent") && text.contains("/mnt/there"), "{text}");
}

#[test]
fn a_run_without_checkpoints_says_that_there_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let output = resume(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no checkpoint to resume from"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a folder that is no run's stays as it was");
}
