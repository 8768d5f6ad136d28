package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// The tests of durability run the test binary again as a child that writes, says what was acknowledged, and is hit by what
// the mode names. Each writer has a pair of keys of its own; a transaction writes the same number to both, one more than
// before, so that a lost write, a half one and one that should not be there all show.
const (
	childEnv      = "HAUBERK_BOLT_TEST_CHILD"
	childStoreEnv = "HAUBERK_BOLT_TEST_STORE"

	writers = 3
)

// The modes of a child.
const (
	modeKill  = "kill"  // writes until the parent kills it
	modeSync  = "sync"  // from some moment on, every sync fails
	modeRoots = "roots" // from some moment on, the root pages cannot be written
	modeLimit = "limit" // now and then the file may not be written beyond a random offset, as on a full disk
)

func pair(writer int) [2]api.Key {
	return [2]api.Key{{Kind: "X", Name: strconv.Itoa(writer)}, {Kind: "Y", Name: strconv.Itoa(writer)}}
}

// child is the child's main.
func child(mode, path string) int {
	s, err := Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c := &childRun{store: s, path: path}
	for i := range writers {
		c.acked[i] = stored(s, i)
	}
	switch mode {
	case modeKill:
		err = c.write(nil)
	case modeSync, modeRoots:
		deny := denySync
		if mode == modeRoots {
			deny = denyRootWrites
		}
		failing := make(chan struct{})
		time.AfterFunc(rand.N(20*time.Millisecond), func() { // the moment is what is random here
			if err := deny(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(childCannot)
			}
			close(failing)
		})
		err = c.write(failing)
	case modeLimit:
		err = c.writeWithin()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// childCannot is the exit status of a child that this machine does not let do what the mode needs.
const childCannot = 3

type childRun struct {
	store *Store
	path  string
	acked [writers]int // each is its writer's
}

// write runs all writers. Once failing is closed, they go on until each was refused a few times.
func (c *childRun) write(failing <-chan struct{}) error {
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		wg.Go(func() {
			for refused := 0; refused < 4 && errs[i] == nil; {
				err := c.one(i)
				switch {
				case err == nil:
				case failing == nil:
					errs[i] = err
				default:
					refused++
					<-failing // a write may be refused an instant before the filter's installation returns
					errs[i] = c.unchanged(i)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// writeWithin is one writer on a disk that is full and then is not.
func (c *childRun) writeWithin() error {
	signal.Ignore(unix.SIGXFSZ)
	refused := 0
	for range 40 {
		info, err := os.Stat(c.path)
		if err != nil {
			return err
		}
		limit := uint64(rand.Int64N(info.Size() + 1))
		if rand.N(3) == 0 {
			limit = uint64(info.Size()) // only growth fails
		}
		if err := setLimit(limit); err != nil {
			return err
		}
		for range 3 {
			if c.one(0) != nil {
				refused++
				if err := c.unchanged(0); err != nil {
					return err
				}
			}
		}
		if err := setLimit(unix.RLIM_INFINITY); err != nil {
			return err
		}
		if err := c.one(0); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if refused == 0 {
		return errors.New("no write was ever refused")
	}
	return nil
}

func setLimit(n uint64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = min(n, l.Max)
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &l)
}

// one is a transaction of a writer, and its acknowledgement to the parent: one write to a pipe, which is whole or not there.
func (c *childRun) one(writer int) error {
	n := c.acked[writer] + 1
	size := rand.N(2000)
	if rand.N(20) == 0 {
		size = rand.N(300_000) // makes the file grow
	}
	value := append([]byte(strconv.Itoa(n)+" "), bytes.Repeat([]byte{'p'}, size)...)
	k := pair(writer)
	revision, err := c.store.Txn(context.Background(),
		store.Op{Key: k[0], Value: value}, store.Op{Key: k[1], Value: value})
	if err != nil {
		return err
	}
	c.acked[writer] = n
	_, err = fmt.Fprintf(os.Stdout, "%d %d %d\n", writer, n, revision)
	return err
}

// unchanged checks that a refused write is not visible.
func (c *childRun) unchanged(writer int) error {
	if n := stored(c.store, writer); n != c.acked[writer] {
		return fmt.Errorf("after a refused write of writer %d: read %d, acknowledged was %d", writer, n, c.acked[writer])
	}
	return nil
}

// stored is the number that a writer's pair has, 0 if there is none yet, -1 if its halves differ.
func stored(s *Store, writer int) int {
	var n [2]int
	for i, k := range pair(writer) {
		r, err := s.Get(context.Background(), k)
		if err == nil {
			number, _, _ := strings.Cut(string(r.Value), " ")
			n[i], _ = strconv.Atoi(number)
		}
	}
	if n[0] != n[1] {
		return -1
	}
	return n[0]
}
