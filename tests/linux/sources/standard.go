// Go's runtime: goroutines, timers, select, asynchronous preemption, garbage collection, files.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func goroutines() {
	var group sync.WaitGroup
	var mutex sync.Mutex
	total, counter := 0, atomic.Int64{}
	for i := 0; i < 10000; i++ {
		i := i // of this round, also before Go 1.22
		group.Add(1)
		go func() {
			defer group.Done()
			counter.Add(1)
			mutex.Lock()
			total += i
			mutex.Unlock()
		}()
	}
	group.Wait()
	fmt.Println("goroutines", total, counter.Load())

	stages := make([]chan int, 101)
	for i := range stages {
		stages[i] = make(chan int)
	}
	for i := 0; i < 100; i++ {
		i := i
		go func() {
			for v := range stages[i] {
				stages[i+1] <- v + 1
			}
			close(stages[i+1])
		}()
	}
	go func() {
		for i := 0; i < 100; i++ {
			stages[0] <- i
		}
		close(stages[0])
	}()
	sum := 0
	for v := range stages[100] {
		sum += v
	}
	fmt.Println("pipeline", sum)
}

var spin atomic.Bool

func preemption() {
	runtime.GOMAXPROCS(1)
	done := make(chan int)
	go func() { // without any call: only a signal gets it off the processor
		n := 0
		for !spin.Load() {
			for i := 0; i < 1000; i++ {
				n += i
			}
		}
		done <- 1
	}()
	x := 0
	go func() {
		for {
			x++ // never ends
		}
	}()
	time.Sleep(20 * time.Millisecond)
	fmt.Println("the main goroutine runs again")
	spin.Store(true)
	fmt.Println("spinner ended", <-done)
	debug.FreeOSMemory() // stops the world
	fmt.Println("the world was stopped")
}

func timers() {
	var order []string
	start := time.Now()
	after := time.After(40 * time.Millisecond)
	ticker := time.NewTicker(15 * time.Millisecond)
	ticks := 0
loop:
	for {
		select {
		case <-ticker.C:
			ticks++
			if ticks == 2 {
				ticker.Stop()
				order = append(order, "ticks")
			}
		case <-after:
			order = append(order, "after")
			break loop
		}
	}
	fmt.Println(order, time.Since(start) >= 40*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err())
	stopped := time.AfterFunc(time.Hour, func() {})
	fmt.Println("stopped", stopped.Stop())
	select {
	case <-make(chan int):
	default:
		fmt.Println("default")
	}
}

func files() {
	base := "/tmp/go"
	check(os.MkdirAll(base+"/a/b", 0o755))
	check(os.WriteFile(base+"/a/one", []byte(strings.Repeat("line\n", 1000)), 0o600))
	file, err := os.OpenFile(base+"/a/one", os.O_RDWR|os.O_APPEND, 0)
	check(err)
	_, err = file.WriteString("end\n")
	check(err)
	_, err = file.Seek(-8, io.SeekEnd)
	check(err)
	tail, err := io.ReadAll(file)
	check(err)
	fmt.Printf("%q\n", tail)
	check(file.Truncate(3))
	info, err := file.Stat()
	check(err)
	fmt.Println(info.Size(), info.Mode(), info.IsDir())
	check(file.Close())
	check(os.Symlink("one", base+"/a/link"))
	check(os.Rename(base+"/a/one", base+"/a/b/two"))
	_, err = os.Stat(base + "/a/link")
	fmt.Println(errors.Is(err, fs.ErrNotExist), err)
	check(filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		fmt.Println(path, entry.IsDir())
		return err
	}))
	fmt.Println(os.Remove(base))
	check(os.RemoveAll(base))
	temporary, err := os.CreateTemp("", "x*")
	check(err)
	check(temporary.Close())
	check(os.Remove(temporary.Name()))
	reader, writer, err := os.Pipe()
	check(err)
	go func() {
		fmt.Fprintln(writer, "through a pipe")
		writer.Close()
	}()
	text, _ := io.ReadAll(reader)
	fmt.Printf("%s", text)
	check(reader.SetReadDeadline(time.Now()))
}

func check(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(3)
	}
}

func signals() {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGUSR1)
	check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	fmt.Println("signal", <-received)
	defer func() {
		fmt.Println("recovered:", recover())
	}()
	var nothing *struct{ field int }
	fmt.Println(nothing.field)
}

func main() {
	goroutines()
	timers()
	files()
	signals()
	lines := 0
	for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); lines++ {
	}
	encoded, _ := json.Marshal(map[string]any{"lines": lines, "list": []int{1, 2}, "text": "ä"})
	fmt.Println(string(encoded))
	fmt.Printf("%x\n", sha256.Sum256([]byte("hyperlight")))
	numbers := make([]int, 100000)
	for i := range numbers {
		numbers[i] = i * 7919 % 100003
	}
	sort.Ints(numbers)
	fmt.Println(numbers[0], numbers[50000], runtime.NumCPU(), runtime.GOOS)
	kept := [][]byte{}
	for i := 0; i < 2000; i++ {
		garbage := make([]byte, 50000)
		garbage[i] = 1
		if i%100 == 0 {
			kept = append(kept, garbage)
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println(len(kept), stats.NumGC > 0)
	fmt.Println(debug.SetMaxThreads(500) > 0)
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var values []int
		fmt.Println(values[len(os.Args)+5])
	}()
	preemption()
	os.Exit(4)
}
