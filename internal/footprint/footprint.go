// Package footprint keeps a long-running program's resident memory at what it needs now: what its start and past bursts of
// work needed is given back to the system.
//
// It is not a limit and no cache: what is needed again comes back by itself, heap by the allocator, code by a page fault of
// about a microsecond (the file stays in the page cache). Start at Start.
package footprint

import (
	"bufio"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Start is called first. Until running is called little is collected, since most of what a start allocates stays, and two
// collections are a sixth of its time. It leaves the runtime's memory limit alone: others read that, and set it.
func Start() (running func()) {
	percent := debug.SetGCPercent(startPercent)
	return sync.OnceFunc(func() { debug.SetGCPercent(percent) })
}

// startPercent has the first collection wait for 32 MiB: the runtime's least heap of 4 MiB, eight times.
const startPercent = 800

// Keeper gives memory back. Its zero value is that of a program that has just started.
type Keeper struct {
	mu   sync.Mutex // guards below
	left uint64     // what the process held after the last time
}

// worthwhile is by how much memory must have grown for a collection to be made for it: a program that works now and then is
// not to collect each time, nor to lose its code.
const worthwhile = 4 << 20

// Pause is for a moment when there is no work. The first one ends the program's start.
func (k *Keeper) Pause() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left > 0 && held() < k.left+worthwhile {
		return nil
	}
	debug.FreeOSMemory()
	k.left = held()
	return forgetCode()
}

// held is what the Go runtime holds of the system.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys - m.HeapReleased
}

// forgetCode unmaps the program's own code and constants. Most of what a start runs (the registration of every protobuf
// message, the command line, the reading of the configuration) never runs again, and of what a thousand handshakes ran little
// soon; yet it would stay in the resident set for the life of the process, with all that the kernel mapped around it. What
// does run comes back with its first use.
func forgetCode() error {
	// Nothing can have been written there: the file's pages are all there is to it.
	return adviseCode(syscall.MADV_DONTNEED)
}

func adviseCode(advice uintptr) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		from, length, ok := constant(lines.Text(), exe)
		if !ok {
			continue
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, length, advice); errno != 0 {
			return os.NewSyscallError("madvise", errno)
		}
	}
	return lines.Err()
}

// constant reads a line of proc_pid_maps(5) and tells whether it maps a part of exe that this process can't write.
func constant(line, exe string) (from, length uintptr, ok bool) {
	f := strings.Fields(line)
	if len(f) < 6 || strings.Join(f[5:], " ") != exe || len(f[1]) != 4 || f[1][0] != 'r' || f[1][1] != '-' || f[1][3] != 'p' {
		return 0, 0, false
	}
	begin, end, _ := strings.Cut(f[0], "-")
	a, err1 := strconv.ParseUint(begin, 16, 64)
	b, err2 := strconv.ParseUint(end, 16, 64)
	if err1 != nil || err2 != nil || b <= a || b > math.MaxInt64 {
		return 0, 0, false
	}
	return uintptr(a), uintptr(b - a), true
}
