package footprint

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

func TestConstant(t *testing.T) {
	const exe = "/usr/bin/hauberk proxy"
	for line, want := range map[string][2]uintptr{
		"00400000-0109e000 r-xp 00000000 fe:00 10019206                           /usr/bin/hauberk proxy": {0x400000, 0xc9e000},
		"0109e000-0208b000 r--p 00c9e000 fe:00 10019206                           /usr/bin/hauberk proxy": {0x109e000, 0xfed000},
		"0208b000-02122000 rw-p 01c8b000 fe:00 10019206                           /usr/bin/hauberk proxy": {}, // data
		"0208b000-02122000 r--s 01c8b000 fe:00 10019206                           /usr/bin/hauberk proxy": {}, // shared with others
		"00400000-0109e000 r-xp 00000000 fe:00 10019206                           /usr/bin/other":         {},
		"c000000000-c000400000 rw-p 00000000 00:00 0":                                                     {},
		"7ffd1-7ffd0 r-xp 00000000 fe:00 1 /usr/bin/hauberk proxy":                                        {},
		"zz-7ffd0 r-xp 00000000 fe:00 1 /usr/bin/hauberk proxy":                                           {},
		"": {},
	} {
		from, length, ok := constant(line, exe)
		if [2]uintptr{from, length} != want || ok != (want[1] != 0) {
			t.Errorf("%q: %x, %x, %v", line, from, length, ok)
		}
	}
}

// TestPause: the first one takes the code out of the resident set, and the program runs on; later ones collect only if much
// has been allocated.
func TestPause(t *testing.T) {
	const populate = 22 // MADV_POPULATE_READ: as if all of it had run
	if err := adviseCode(populate); err != nil {
		t.Skip(err)
	}
	before := residentFile(t)
	k := &Keeper{}
	if err := k.Pause(); err != nil {
		t.Fatal(err)
	}
	// A test's binary is small, and the kernel maps 64 KiB around each page that is used again.
	if after := residentFile(t); after > before-500 {
		t.Errorf("%d kB of the file are resident, %d kB before", after, before)
	}
	collections := func() int64 {
		var s debug.GCStats
		debug.ReadGCStats(&s)
		return s.NumGC
	}
	n := collections()
	if err := k.Pause(); err != nil || collections() != n {
		t.Errorf("nothing was allocated, and it collected; %v", err)
	}
	waste = make([]byte, 2*worthwhile)
	for i := range waste {
		waste[i] = 1
	}
	waste = nil
	n = collections()
	if err := k.Pause(); err != nil || collections() == n {
		t.Errorf("much was allocated, and it did not collect; %v", err)
	}
}

var waste []byte // on the heap

func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssFile:" {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return kb
		}
	}
	t.Skip("this kernel does not tell")
	return 0
}

func TestStart(t *testing.T) {
	percent, limit := debug.SetGCPercent(70), debug.SetMemoryLimit(-1)
	defer debug.SetGCPercent(percent)
	running := Start()
	if got := debug.SetGCPercent(startPercent); got != startPercent {
		t.Errorf("while starting it is at %d %%", got)
	}
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("while starting the limit is %d, not %d: who reads it then takes it for what the operator set", got, limit)
	}
	running()
	running()
	if got := debug.SetGCPercent(70); got != 70 {
		t.Errorf("left at %d %%", got)
	}
}
