package footprint

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: mostPercent, 1 << 10: mostPercent, 3 << 20: 400, 6 << 20: 200, 12 << 20: 100, 1 << 30: leastPercent,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes alive: %d %%, want %d", live, got, want)
		}
	}
}

// Room follows the heap from collection to collection, and gives the default back.
func TestRoom(t *testing.T) {
	t.Setenv("GOGC", "")
	stop := Room()
	defer stop()
	percent := func() int { p := debug.SetGCPercent(leastPercent); debug.SetGCPercent(p); return p }
	if p := percent(); p != mostPercent {
		t.Errorf("a small heap: %d %%", p)
	}
	big := make([]byte, 4*room)
	for range 1000 { // cleanups run some time after a collection
		runtime.GC()
		if percent() == leastPercent {
			break
		}
	}
	if p := percent(); p != leastPercent {
		t.Errorf("a large heap: %d %%", p)
	}
	runtime.KeepAlive(big)
	stop()
	if p := percent(); p != leastPercent {
		t.Errorf("afterwards: %d %%", p)
	}
}

func TestRoomLeavesTheOperatorsChoice(t *testing.T) {
	t.Setenv("GOGC", "50")
	before := debug.SetGCPercent(50)
	defer debug.SetGCPercent(before)
	defer Room()()
	if p := debug.SetGCPercent(50); p != 50 {
		t.Errorf("%d %%", p)
	}
}
