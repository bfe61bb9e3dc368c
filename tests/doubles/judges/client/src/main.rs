//! Runs a guest of the hyperlight 0.18 ABI by hyperlight-host, and checks exact results and errors.
//!
//! usage: hyperlight-judge GUEST [--single] [--vectors] [--only NAME]
//!
//! --single   leaves out what needs two VMs at a time: HYPERLIGHT_MAX_SURROGATES=0 on Windows allows one
//! --vectors  adds what needs vector registers in ring 0, which KVM on PVM does not have

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hyperlight_host::func::{ParameterTuple, SupportedReturnType};
use hyperlight_host::sandbox::snapshot::{OciTag, Snapshot};
use hyperlight_host::{HyperlightError, Sandbox, SandboxBuilder};

#[cfg(windows)]
#[path = "../../wine/shims.rs"]
mod shims;

type Outcome = Result<(), String>;

/// For one check, on the slowest machine: an emulated one.
const LIMIT: Duration = Duration::from_secs(100);

/// Guest physical addresses: of the image, which is read-only, and of places with nothing behind them.
const IMAGE_GPA: u64 = 0x4000;
const UNMAPPED_GPA: u64 = 0x2000_0000;
const FILE_GPA: u64 = 0x4000_0000;

const MSR_KERNEL_GS_BASE: u64 = 0xC000_0102;
const MSR_OF_NOBODY: u64 = 0x1234;

struct Bench {
    guest: PathBuf,
}

impl Bench {
    fn builder(&self) -> SandboxBuilder {
        SandboxBuilder::from_file(&self.guest)
            .host_function("HostSquare", |number: i32| Ok(number * number))
    }

    fn sandbox(&self) -> Result<Sandbox, String> {
        self.builder().build().map_err(|error| format!("cannot build a sandbox: {error:?}"))
    }
}

fn call<Output: SupportedReturnType>(
    sandbox: &mut Sandbox,
    function: &str,
    arguments: impl ParameterTuple,
) -> Result<Output, String> {
    sandbox.call::<Output>(function, arguments).map_err(|error| format!("{function}: {error:?}"))
}

fn expect<Value: PartialEq + Debug>(what: &str, value: Value, wanted: Value) -> Outcome {
    if value == wanted {
        Ok(())
    } else {
        Err(format!("{what}: got {value:?}, wanted {wanted:?}"))
    }
}

/// The text of the error must have all of `words`.
fn expect_error<Value: Debug>(
    what: &str,
    result: Result<Value, HyperlightError>,
    words: &[&str],
) -> Outcome {
    let text = match result {
        Ok(value) => return Err(format!("{what}: got {value:?}, wanted an error")),
        Err(error) => format!("{error:?}"),
    };
    match words.iter().find(|word| !text.contains(**word)) {
        Some(word) => Err(format!("{what}: got the error {text}, wanted one with {word:?}")),
        None => Ok(()),
    }
}

fn expect_works(sandbox: &mut Sandbox) -> Outcome {
    expect("Add", call::<i32>(sandbox, "Add", (40, 2))?, 42)
}

/// A call that ends the guest with an error of `words`, as often as the sandbox is restored.
fn expect_fatal(
    sandbox: &mut Sandbox,
    words: &[&str],
    fatal: impl Fn(&mut Sandbox) -> Result<String, HyperlightError>,
) -> Outcome {
    let snapshot = sandbox.snapshot().map_err(|error| format!("snapshot: {error:?}"))?;
    for _ in 0..2 {
        let result = fatal(sandbox);
        expect_error("the call", result, words)?;
        expect("poisoned", sandbox.status().is_poisoned(), true)?;
        expect_error("the next call", sandbox.call::<i32>("Add", (40, 2)), &["PoisonedSandbox"])?;
        sandbox.restore(snapshot.clone()).map_err(|error| format!("restore: {error:?}"))?;
        expect_works(sandbox)?;
    }
    Ok(())
}

// ---- Checks ----

fn calls(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let long: String = ('a'..='z').cycle().take(10_000).collect();
    for text in ["", "x", "micro VM \u{1F980}", &long] {
        let echo = call::<String>(&mut sandbox, "Echo", text.to_string())?;
        expect("Echo", echo, text.to_string())?;
    }
    for (one, other, sum) in [(1, 2, 3), (-5, 3, -2), (i32::MAX, 1, i32::MIN), (0, 0, 0)] {
        expect("Add", call::<i32>(&mut sandbox, "Add", (one, other))?, sum)?;
    }
    expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 1)?;
    expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 2)
}

fn errors_of_the_guest(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let unknown = sandbox.call::<i32>("NoSuchFunction", ());
    expect_error(
        "unknown function",
        unknown,
        &["GuestError(GuestFunctionNotFound", "no such function"],
    )?;
    let count = sandbox.call::<i32>("Add", 1);
    expect_error("one parameter", count, &["GuestFunctionIncorrecNoOfParameters"])?;
    let types = sandbox.call::<i32>("Add", (1, "2".to_string()));
    expect_error("wrong type", types, &["GuestFunctionParameterTypeMismatch"])?;
    expect_works(&mut sandbox)
}

fn host_functions(bench: &Bench) -> Outcome {
    let printed = Arc::new(Mutex::new(String::new()));
    let sink = printed.clone();
    let mut sandbox = bench
        .builder()
        .host_print(move |text: String| {
            sink.lock().unwrap().push_str(&text);
            Ok(text.len() as i32)
        })
        .build()
        .map_err(|error| format!("{error:?}"))?;
    expect("Print", call::<i32>(&mut sandbox, "Print", "printed".to_string())?, 7)?;
    expect("the text", printed.lock().unwrap().as_str(), "printed")?;
    for number in [0, 3, -12, 1000] {
        expect("Ask", call::<i32>(&mut sandbox, "Ask", number)?, number * number)?;
    }
    let nobody = sandbox.call::<i32>("AskNobody", 1);
    expect_error("absent host function", nobody, &["GuestError(HostFunctionError", "HostNobody"])?;
    expect_works(&mut sandbox)
}

fn snapshots(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 1)?;
    let first = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 2)?;
    expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 3)?;
    let second = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    for (snapshot, next) in [(&first, 2), (&second, 4), (&second, 4), (&first, 2), (&first, 2)] {
        sandbox.restore(snapshot.clone()).map_err(|error| format!("{error:?}"))?;
        expect("Count", call::<i32>(&mut sandbox, "Count", ())?, next)?;
        expect("Count", call::<i32>(&mut sandbox, "Count", ())?, next + 1)?;
    }
    Ok(())
}

fn sandbox_from_snapshot(bench: &Bench) -> Outcome {
    let mut original = bench.sandbox()?;
    expect("Count", call::<i32>(&mut original, "Count", ())?, 1)?;
    let snapshot = original.snapshot().map_err(|error| format!("{error:?}"))?;
    let mut copy = SandboxBuilder::from_snapshot(snapshot)
        .host_function("HostSquare", |number: i32| Ok(number * number))
        .build()
        .map_err(|error| format!("from the snapshot: {error:?}"))?;
    for next in 2..5 {
        expect("Count of the copy", call::<i32>(&mut copy, "Count", ())?, next)?;
        expect("Count of the original", call::<i32>(&mut original, "Count", ())?, next)?;
    }
    drop(original);
    expect("Ask", call::<i32>(&mut copy, "Ask", 9)?, 81)
}

/// A folder for a snapshot, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("hyperlight-judge-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{path:?}: {error}"))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn snapshot_on_disk(bench: &Bench) -> Outcome {
    let folder = Folder::new()?;
    let path = folder.0.join("snapshot");
    let tag = OciTag::new("judge").map_err(|error| format!("{error:?}"))?;
    {
        let mut sandbox = bench.sandbox()?;
        expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 1)?;
        let snapshot = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
        snapshot.save(&path, &tag).map_err(|error| format!("save: {error:?}"))?;
    }
    let snapshot = Snapshot::load(&path, tag).map_err(|error| format!("load: {error:?}"))?;
    let snapshot = Arc::new(snapshot);
    let mut sandbox = SandboxBuilder::from_snapshot(snapshot.clone())
        .host_function("HostSquare", |number: i32| Ok(number * number))
        .build()
        .map_err(|error| format!("from the snapshot: {error:?}"))?;
    for _ in 0..2 {
        expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 2)?;
        expect("Ask", call::<i32>(&mut sandbox, "Ask", 5)?, 25)?;
        sandbox.restore(snapshot.clone()).map_err(|error| format!("restore: {error:?}"))?;
    }
    Ok(())
}

fn sandboxes_one_by_one(bench: &Bench) -> Outcome {
    for _ in 0..5 {
        let mut sandbox = bench.sandbox()?;
        expect("Count", call::<i32>(&mut sandbox, "Count", ())?, 1)?;
    }
    Ok(())
}

fn sandboxes_at_once(bench: &Bench) -> Outcome {
    let mut sandboxes = Vec::new();
    for _ in 0..4 {
        sandboxes.push(bench.sandbox()?);
    }
    for (rounds, sandbox) in sandboxes.iter_mut().enumerate() {
        for _ in 0..rounds {
            call::<i32>(sandbox, "Count", ())?;
        }
    }
    for (rounds, sandbox) in sandboxes.iter_mut().enumerate() {
        expect("Count", call::<i32>(sandbox, "Count", ())?, rounds as i32 + 1)?;
    }
    Ok(())
}

fn sandboxes_in_threads(bench: &Bench) -> Outcome {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                scope.spawn(move || {
                    let mut sandbox = bench.sandbox()?;
                    for number in 0..10 {
                        let sum = call::<i32>(&mut sandbox, "Add", (worker, number))?;
                        expect("Add", sum, worker + number)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let ends =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "panic".to_string())?);
        ends.collect::<Outcome>()
    })
}

fn other_rings(bench: &Bench) -> Outcome {
    let mut sandbox = bench
        .builder()
        .g2h_queue_size(8)
        .h2g_queue_size(4)
        .heap_size(1 << 20)
        .scratch_size(1 << 20)
        .build()
        .map_err(|error| format!("{error:?}"))?;
    for number in 0..20 {
        expect("Ask", call::<i32>(&mut sandbox, "Ask", number)?, number * number)?;
    }
    Ok(())
}

fn exception(bench: &Bench) -> Outcome {
    expect_fatal(&mut bench.sandbox()?, &["GuestAborted(15", "PageFault"], |sandbox| {
        sandbox.call::<i32>("ReadNull", ()).map(|value| value.to_string())
    })
}

fn triple_fault(bench: &Bench) -> Outcome {
    expect_fatal(&mut bench.sandbox()?, &["UnexpectedVmExit"], |sandbox| {
        sandbox.call::<i32>("TripleFault", ()).map(|value| value.to_string())
    })
}

fn unknown_msr(bench: &Bench) -> Outcome {
    let words = ["GuestAborted(15", "GeneralProtectionFault"];
    expect_fatal(&mut bench.sandbox()?, &words, |sandbox| {
        sandbox.call::<u64>("ReadMsr", MSR_OF_NOBODY).map(|value| value.to_string())
    })
}

/// The host takes it for the end of a call, and misses the response.
fn halt(bench: &Bench) -> Outcome {
    expect_fatal(&mut bench.sandbox()?, &["TransportError"], |sandbox| {
        sandbox.call::<i32>("Halt", ()).map(|value| value.to_string())
    })
}

fn port_input(bench: &Bench) -> Outcome {
    expect_fatal(&mut bench.sandbox()?, &["DispatchGuestCall"], |sandbox| {
        sandbox.call::<i32>("In", 0x80).map(|value| value.to_string())
    })
}

fn unmapped_read(bench: &Bench) -> Outcome {
    let words = format!("MmioReadUnmapped({})", UNMAPPED_GPA + 8);
    expect_fatal(&mut bench.sandbox()?, &[&words], |sandbox| {
        sandbox.call::<u64>("Peek", UNMAPPED_GPA + 8).map(|value| value.to_string())
    })
}

fn unmapped_write(bench: &Bench) -> Outcome {
    let words = format!("MmioWriteUnmapped({})", UNMAPPED_GPA + 16);
    expect_fatal(&mut bench.sandbox()?, &[&words], |sandbox| {
        sandbox.call::<()>("Poke", (UNMAPPED_GPA + 16, 1u64)).map(|_| String::new())
    })
}

fn write_to_the_image(bench: &Bench) -> Outcome {
    let words = format!("MmioWriteUnmapped({IMAGE_GPA})");
    expect_fatal(&mut bench.sandbox()?, &[&words], |sandbox| {
        sandbox.call::<()>("Poke", (IMAGE_GPA, 1u64)).map(|_| String::new())
    })
}

fn kill(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let handle = sandbox.interrupt_handle();
    expect("kill of an idle sandbox", handle.kill(), false)?;
    expect_works(&mut sandbox)?;
    expect_fatal(&mut sandbox, &["ExecutionCanceledByHost"], |sandbox| {
        let handle = handle.clone();
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            while !handle.kill() {
                thread::sleep(Duration::from_millis(10)); // it does not run yet
            }
        });
        let result = sandbox.call::<i32>("Spin", ()).map(|value| value.to_string());
        killer.join().unwrap();
        result
    })
}

/// Kills at any time, also before the guest runs and after it was told to stop; none may hit the next call.
fn kills(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let snapshot = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    for round in 0..20 {
        let (handle, ended) = (sandbox.interrupt_handle(), AtomicBool::new(false));
        let result = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_micros(150 * round));
                while !ended.load(Ordering::SeqCst) {
                    handle.kill();
                }
            });
            let result = sandbox.call::<i32>("Spin", ());
            ended.store(true, Ordering::SeqCst);
            result
        });
        expect_error("Spin", result, &["ExecutionCanceledByHost"])?;
        sandbox.restore(snapshot.clone()).map_err(|error| format!("restore: {error:?}"))?;
        expect_works(&mut sandbox)?;
    }
    Ok(())
}

fn vector_registers(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let snapshot = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    let value = 0x0123_4567_89AB_CDEFu64;
    let kept = call::<u64>(&mut sandbox, "VectorAcrossHost", value)?;
    expect("within a call", kept, value)?;
    call::<()>(&mut sandbox, "SetVector", value)?;
    expect("in the next call", call::<u64>(&mut sandbox, "GetVector", ())?, 0)?;
    call::<()>(&mut sandbox, "SetVector", value)?;
    sandbox.restore(snapshot).map_err(|error| format!("{error:?}"))?;
    expect("restored", call::<u64>(&mut sandbox, "GetVector", ())?, 0)
}

fn msr(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let snapshot = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    let before = call::<u64>(&mut sandbox, "ReadMsr", MSR_KERNEL_GS_BASE)?;
    call::<()>(&mut sandbox, "WriteMsr", (MSR_KERNEL_GS_BASE, 0x1234_5678_9000u64))?;
    let written = call::<u64>(&mut sandbox, "ReadMsr", MSR_KERNEL_GS_BASE)?;
    expect("after a call", written, 0x1234_5678_9000)?;
    sandbox.restore(snapshot).map_err(|error| format!("{error:?}"))?;
    expect("restored", call::<u64>(&mut sandbox, "ReadMsr", MSR_KERNEL_GS_BASE)?, before)
}

/// The first words of the guest's own file, so that no other file is needed.
fn words_of_the_guest(bench: &Bench) -> Result<Vec<u64>, String> {
    let bytes = std::fs::read(&bench.guest).map_err(|error| error.to_string())?;
    let words = bytes.chunks_exact(8).take(4);
    Ok(words.map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect())
}

fn mapped_file(bench: &Bench) -> Outcome {
    let mut sandbox = bench.sandbox()?;
    let plain = sandbox.snapshot().map_err(|error| format!("{error:?}"))?;
    let words = words_of_the_guest(bench)?;
    sandbox.map_file_cow(&bench.guest, FILE_GPA).map_err(|error| format!("{error:?}"))?;
    for (index, word) in words.iter().enumerate() {
        let value = call::<u64>(&mut sandbox, "Peek", FILE_GPA + 8 * index as u64)?;
        expect("a word of the file", value, *word)?;
    }
    let write = sandbox.call::<()>("Poke", (FILE_GPA, 1u64));
    expect_error("write to the file", write, &["MemoryAccessViolation", &FILE_GPA.to_string()])?;
    sandbox.restore(plain).map_err(|error| format!("{error:?}"))?;
    expect("the file", words_of_the_guest(bench)?, words)?;
    let gone = sandbox.call::<u64>("Peek", FILE_GPA);
    expect_error("the file after restoring", gone, &["MmioReadUnmapped"])
}

enum Needs {
    OneVm,
    ManyVms,
    Vectors,
    /// Memory mapped over a placeholder on Windows, which wine 8 does not have.
    Placeholders,
}

struct Check {
    name: &'static str,
    needs: Needs,
    run: fn(&Bench) -> Outcome,
}

const fn check(name: &'static str, needs: Needs, run: fn(&Bench) -> Outcome) -> Check {
    Check { name, needs, run }
}

const CHECKS: &[Check] = &[
    check("calls", Needs::OneVm, calls),
    check("errors of the guest", Needs::OneVm, errors_of_the_guest),
    check("host functions", Needs::OneVm, host_functions),
    check("snapshots", Needs::OneVm, snapshots),
    check("snapshot on disk", Needs::Placeholders, snapshot_on_disk),
    check("sandbox from a snapshot", Needs::ManyVms, sandbox_from_snapshot),
    check("sandboxes one by one", Needs::OneVm, sandboxes_one_by_one),
    check("sandboxes at once", Needs::ManyVms, sandboxes_at_once),
    check("sandboxes in threads", Needs::ManyVms, sandboxes_in_threads),
    check("other rings", Needs::OneVm, other_rings),
    check("exception", Needs::OneVm, exception),
    check("triple fault", Needs::OneVm, triple_fault),
    check("unknown MSR", Needs::OneVm, unknown_msr),
    check("halt", Needs::OneVm, halt),
    check("port input", Needs::OneVm, port_input),
    check("unmapped read", Needs::OneVm, unmapped_read),
    check("unmapped write", Needs::OneVm, unmapped_write),
    check("write to the image", Needs::OneVm, write_to_the_image),
    check("kill", Needs::OneVm, kill),
    check("kills", Needs::OneVm, kills),
    check("MSR", Needs::OneVm, msr),
    check("mapped file", Needs::OneVm, mapped_file),
    check("vector registers", Needs::Vectors, vector_registers),
];

/// Ends the program if the result is not dropped in time: a lost exit or kick leaves a call waiting.
fn watch(name: &'static str) -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel();
    thread::spawn(move || {
        if watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            println!("FAIL {name}: not done after {} s", LIMIT.as_secs());
            std::process::exit(1);
        }
    });
    alive
}

fn run(check: &Check, bench: &Bench) -> bool {
    let start = Instant::now();
    let watch = watch(check.name);
    let outcome = (check.run)(bench);
    drop(watch);
    let ms = start.elapsed().as_millis();
    match &outcome {
        Ok(()) => println!("PASS {} ({ms} ms)", check.name),
        Err(why) => println!("FAIL {}: {why}", check.name),
    }
    outcome.is_ok()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let (single, vectors) = (has("--single"), has("--vectors"));
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let Some(guest) = arguments.first().filter(|guest| Path::new(guest).is_file()) else {
        eprintln!("usage: hyperlight-judge GUEST [--single] [--vectors] [--only NAME]");
        return ExitCode::from(2);
    };
    let bench = Bench { guest: PathBuf::from(guest) };
    let chosen = CHECKS.iter().filter(|check| match check.needs {
        Needs::OneVm => true,
        Needs::ManyVms => !single,
        Needs::Vectors => vectors,
        Needs::Placeholders => cfg!(target_os = "linux"),
    });
    let chosen = chosen.filter(|check| only.is_none_or(|name| name == check.name));
    let results: Vec<bool> = chosen.map(|check| run(check, &bench)).collect();
    let passed = results.iter().filter(|passed| **passed).count();
    println!("{passed} of {} passed", results.len());
    if passed == results.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
