// Rust's std: threads, channels, locks, time, files, panics that unwind.
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

fn channels() {
    let (sender, receiver) = mpsc::channel();
    for id in 0..8u64 {
        let sender = sender.clone();
        thread::spawn(move || {
            for value in 0..1000 {
                sender.send(id * 1000 + value).unwrap();
            }
        });
    }
    drop(sender);
    println!("sum {}", receiver.iter().sum::<u64>());

    let (sender, receiver) = mpsc::sync_channel(2);
    let producer = thread::spawn(move || (0..100).for_each(|i| sender.send(i).unwrap()));
    println!("bounded {}", receiver.iter().map(|i: i32| i * i).sum::<i32>());
    producer.join().unwrap();

    let (sender, receiver) = mpsc::channel::<i32>();
    println!("{:?}", receiver.recv_timeout(Duration::from_millis(20)));
    drop(sender);
    println!("{:?} {:?}", receiver.recv(), receiver.try_recv());
}

fn locks() {
    let shared = Arc::new((Mutex::new(VecDeque::new()), Condvar::new()));
    let consumer = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut seen = Vec::new();
            while seen.len() < 50 {
                let mut queue = shared.1.wait_while(shared.0.lock().unwrap(), |queue: &mut VecDeque<i32>| queue.is_empty()).unwrap();
                seen.extend(queue.drain(..));
            }
            seen
        })
    };
    for value in 0..50 {
        shared.0.lock().unwrap().push_back(value);
        shared.1.notify_one();
        if value % 10 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    println!("{:?}", consumer.join().unwrap().iter().sum::<i32>());
    let table = RwLock::new(BTreeMap::new());
    let barrier = Barrier::new(6);
    let leaders = AtomicU64::new(0);
    thread::scope(|scope| {
        for id in 0..6 {
            let (table, barrier, leaders) = (&table, &barrier, &leaders);
            scope.spawn(move || {
                for i in 0..100 {
                    *table.write().unwrap().entry(i % 10).or_insert(0) += id;
                    let _ = table.read().unwrap().len();
                }
                if barrier.wait().is_leader() {
                    leaders.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    println!("{:?} leaders {}", table.read().unwrap(), leaders.load(Ordering::SeqCst));
    let once = Once::new();
    let mut calls = 0;
    (0..3).for_each(|_| once.call_once(|| calls += 1));
    println!("once {calls}");
    let stop = Arc::new(AtomicBool::new(false));
    let spinner = {
        let stop = stop.clone();
        thread::spawn(move || {
            let mut turns = 0u64;
            while !stop.load(Ordering::Relaxed) {
                turns += 1;
            }
            turns > 0
        })
    };
    thread::sleep(Duration::from_millis(30));
    stop.store(true, Ordering::Relaxed);
    println!("spinner was preempted: {}", spinner.join().unwrap());
    let parked = thread::spawn(|| {
        thread::park();
        let started = Instant::now();
        thread::park_timeout(Duration::from_millis(20));
        started.elapsed() >= Duration::from_millis(19)
    });
    parked.thread().unpark();
    println!("parked {}", parked.join().unwrap());
}

fn time() {
    let started = Instant::now();
    thread::sleep(Duration::from_millis(50));
    let elapsed = started.elapsed();
    println!("slept {}", elapsed >= Duration::from_millis(50) && elapsed < Duration::from_secs(5));
    println!("after 2020 {}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() > 1_577_836_800);
    let order = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for wait in [60u64, 20, 40] {
            let order = &order;
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(wait));
                order.lock().unwrap().push(wait);
            });
        }
    });
    println!("{:?}", order.lock().unwrap());
}

fn files() -> io::Result<()> {
    let base = "/tmp/rust";
    fs::create_dir_all(format!("{base}/a/b"))?;
    let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(format!("{base}/a/file"))?;
    writeln!(file, "first line")?;
    file.write_all(&[b'x'; 10_000])?;
    file.seek(SeekFrom::Start(6))?;
    let mut text = [0; 4];
    file.read_exact(&mut text)?;
    println!("{} {}", String::from_utf8_lossy(&text), file.metadata()?.len());
    file.set_len(5)?;
    println!("{:?}", fs::read_to_string(format!("{base}/a/file"))?);
    fs::rename(format!("{base}/a/file"), format!("{base}/a/b/moved"))?;
    println!("{}", fs::copy(format!("{base}/a/b/moved"), format!("{base}/copy"))?);
    std::os::unix::fs::symlink("copy", format!("{base}/link"))?;
    let mut names: Vec<_> = fs::read_dir(base)?.map(|entry| entry.unwrap()).map(|e| (e.file_name(), e.file_type().unwrap().is_symlink())).collect();
    names.sort();
    println!("{names:?}");
    println!("{:?}", fs::create_dir(base).unwrap_err().kind());
    println!("{:?} {:?}", fs::read("/none").unwrap_err().kind(), fs::remove_dir(base).unwrap_err().raw_os_error());
    fs::remove_dir_all(base)?;
    println!("{}", fs::metadata(base).is_err());
    Ok(())
}

fn main() {
    channels();
    locks();
    time();
    files().unwrap();
    let lines: Vec<_> = io::stdin().lock().lines().map(|line| line.unwrap().len()).collect();
    println!("lines {} {:?}", lines.len(), &lines[..6]);
    panic::set_hook(Box::new(|info| println!("panic: {}", info.payload().downcast_ref::<&str>().unwrap_or(&"?"))));
    println!("{}", panic::catch_unwind(|| panic!("caught here")).is_err());
    println!("{}", thread::spawn(|| panic!("in a thread")).join().is_err());
    let mut counts = HashMap::new();
    "the quick the lazy the".split(' ').for_each(|word| *counts.entry(word).or_insert(0) += 1);
    println!("{}", counts["the"]);
    let handles: Vec<_> = (0..200).map(|i| thread::Builder::new().stack_size(64 << 10).spawn(move || i).unwrap()).collect();
    println!("{}", handles.into_iter().map(|handle| handle.join().unwrap()).sum::<i32>());
    println!("processors {}", thread::available_parallelism().unwrap());
    println!("{:?}", std::process::Command::new("/none").spawn().is_err());
    let deep = thread::Builder::new().stack_size(32 << 20).spawn(|| {
        fn down(n: u64) -> u64 {
            let pad = [n; 16];
            if n == 0 { 0 } else { (unsafe { std::ptr::read_volatile(&pad[3]) }) - n + 1 + down(n - 1) }
        }
        down(50_000)
    });
    println!("deep {}", deep.unwrap().join().unwrap());
    std::process::exit(5);
}
