package bolt

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// TestKill: a process that is killed at any point loses nothing that was acknowledged, and leaves no half transaction.
func TestKill(t *testing.T) { testKill(t, 20) }

// TestFailingSyncs, TestFailingRoots and TestFullDisk: a write that fails is not acknowledged, not visible and not there
// after the next start.
func TestFailingSyncs(t *testing.T) { testFaults(t, modeSync, 8) }

func TestFailingRoots(t *testing.T) { testFaults(t, modeRoots, 4) }

func TestFullDisk(t *testing.T) { testFaults(t, modeLimit, 2) }

// TestSoak is the same, hundreds of times.
func TestSoak(t *testing.T) {
	if os.Getenv("HAUBERK_SOAK") != "1" {
		t.Skip("takes a minute or two: set HAUBERK_SOAK=1")
	}
	t.Run("kill", func(t *testing.T) { testKill(t, 400) })
	t.Run("failing syncs", func(t *testing.T) { testFaults(t, modeSync, 300) })
	t.Run("failing roots", func(t *testing.T) { testFaults(t, modeRoots, 50) })
	t.Run("full disk", func(t *testing.T) { testFaults(t, modeLimit, 60) })
}

// testKill writes to one file in all runs, so that later ones find what earlier ones left.
func testKill(t *testing.T, n int) {
	path := filepath.Join(t.TempDir(), "store.db")
	for run := range n {
		k := &kill{after: rand.N(30 * time.Millisecond), fromAck: run%4 != 0}
		a := runChild(t, modeKill, path, k)
		if k.fromAck && a.revision == 0 {
			t.Fatalf("run %d: nothing was acknowledged", run)
		}
		verify(t, fmt.Sprintf("run %d", run), path, a, 1)
	}
}

func testFaults(t *testing.T, mode string, n int) {
	path := filepath.Join(t.TempDir(), "store.db")
	for run := range n {
		a := runChild(t, mode, path, nil)
		verify(t, fmt.Sprintf("run %d", run), path, a, 0)
	}
}

// acks are what a child was acknowledged.
type acks struct {
	last     [writers]int
	seen     [writers]bool
	revision store.Revision
}

// kill says when a child is killed: some time after its start, which may be while it opens the store, or after the first
// acknowledgement.
type kill struct {
	after   time.Duration
	fromAck bool
}

// runChild starts a child, kills it if told so, and returns when it has ended.
func runChild(t *testing.T, mode, path string, k *kill) (a acks) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode, childStoreEnv+"="+path,
		"GORACE=atexit_sleep_ms=0") // else the race detector waits a second at each exit
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	armed := k != nil && !k.fromAck
	if armed {
		defer time.AfterFunc(k.after, func() { _ = cmd.Process.Kill() }).Stop()
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var writer, n int
		var revision store.Revision
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &writer, &n, &revision); err != nil {
			t.Fatalf("child said %q: %v", lines.Text(), err)
		}
		a.last[writer], a.seen[writer] = n, true
		a.revision = max(a.revision, revision)
		if k != nil && !armed {
			armed = true
			defer time.AfterFunc(k.after, func() { _ = cmd.Process.Kill() }).Stop()
		}
	}
	err = cmd.Wait()
	switch {
	case k != nil && stderr.Len() == 0:
	case err != nil && cmd.ProcessState.ExitCode() == childCannot:
		t.Skipf("this machine does not let system calls fail: %s", stderr.String())
	case err != nil || stderr.Len() > 0:
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
	return a
}

// verify opens the store as the next process would. inFlight is how many transactions more than acknowledged a writer may
// have: one where the process was killed between the write and its acknowledgement, none where the write was refused.
func verify(t *testing.T, when, path string, a acks, inFlight int) {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	_, revision, err := s.List(t.Context(), store.Selector{})
	check(t, err)
	if a.revision != 0 && (revision < a.revision || revision > a.revision+store.Revision(inFlight*writers)) {
		t.Errorf("%s: the revision is %d, acknowledged was %d", when, revision, a.revision)
	}
	for i := range writers {
		got := stored(s, i)
		switch {
		case got < 0:
			t.Errorf("%s: writer %d has half a transaction", when, i)
		case a.seen[i] && (got < a.last[i] || got > a.last[i]+inFlight):
			t.Errorf("%s: writer %d has %d, acknowledged was %d", when, i, got, a.last[i])
		}
	}
	check(t, s.Close())

	db, err := bbolt.Open(path, 0o600, options())
	check(t, err)
	check(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("%s: bbolt finds: %v", when, err)
		}
		return nil
	}))
	check(t, db.Close())
	if t.Failed() {
		t.FailNow()
	}
}
