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

// runs is how many children a test starts. HAUBERK_SOAK=1 asks for hundreds.
func runs(normal, soak int) int {
	if os.Getenv("HAUBERK_SOAK") == "1" {
		return soak
	}
	return normal
}

// TestKill: a process that is killed at any point loses nothing that was acknowledged, and leaves no half transaction. All
// runs write to one file, so that later ones find what earlier ones left.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	for run := range runs(20, 400) {
		a := runChild(t, modeKill, path, rand.N(60*time.Millisecond))
		verify(t, fmt.Sprintf("run %d", run), path, a, 1)
	}
}

// TestFailingSyncs, TestFailingRoots and TestFullDisk: a write that fails is not acknowledged, not visible and not there
// after the next start.
func TestFailingSyncs(t *testing.T) { testFaults(t, modeSync, runs(8, 150)) }

func TestFailingRoots(t *testing.T) { testFaults(t, modeRoots, runs(4, 50)) }

func TestFullDisk(t *testing.T) { testFaults(t, modeLimit, runs(4, 60)) }

func testFaults(t *testing.T, mode string, n int) {
	path := filepath.Join(t.TempDir(), "store.db")
	for run := range n {
		a := runChild(t, mode, path, 0)
		verify(t, fmt.Sprintf("run %d", run), path, a, 0)
	}
}

// acks are what a child was acknowledged.
type acks struct {
	last     [writers]int
	seen     [writers]bool
	revision store.Revision
}

// runChild starts a child and, if killAfter is not 0, kills it that long after its start.
func runChild(t *testing.T, mode, path string, killAfter time.Duration) (a acks) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode, childStoreEnv+"="+path)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if killAfter != 0 {
		defer time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() }).Stop()
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var writer, n int
		var revision store.Revision
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %d", &writer, &n, &revision); err != nil {
			t.Fatalf("child said %q: %v", lines.Text(), err)
		}
		a.last[writer], a.seen[writer] = n, true
		a.revision = max(a.revision, revision)
	}
	err = cmd.Wait()
	switch {
	case killAfter != 0 && stderr.Len() == 0:
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
