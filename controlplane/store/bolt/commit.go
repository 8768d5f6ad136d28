package bolt

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
)

// file is the bbolt file and what is needed to take a failed commit back.
//
// bbolt never overwrites a page that the last commit uses; a commit becomes true by the writing of one of the two root
// pages at the file's start ("meta pages"). If the sync after that writing fails, bbolt reports an error, but the new root
// page is there: bbolt itself would go on with it, and so would the next process, though the transaction was refused. So
// the root pages are read before each commit and, if it fails, written back and synced, and bbolt is opened anew, which
// also rids it of what it believes about free pages. It does not matter which of the failed commit's own pages reached the
// disk (after a failed fsync nobody knows): nothing points to them.
//
// The memory store calls commit from one goroutine at a time, so that no lock is needed.
type file struct {
	path string
	db   *bbolt.DB // nil while it could not be opened anew
	raw  *os.File  // the same file, for the root pages; the lock is bbolt's

	revision store.Revision // committed
	count    uint64         // records, committed

	broken error     // why the last failed commit could not be taken back; nil: all is well
	undo   []byte    // the root pages that are still to be put back
	panic  *panicked // bbolt's locks may be held: no more calls of it, not even Close
}

func openFile(path string) (*file, error) {
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	raw, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot be opened: %w", err), db.Close())
	}
	return &file{path: path, db: db, raw: raw}, nil
}

// commit makes the event durable or leaves the file as it was.
func (f *file) commit(e store.Event) error {
	if f.broken != nil { // perhaps the disk has recovered
		if err := f.repair(); err != nil {
			return fmt.Errorf("store %s takes no writes, since an earlier one failed and could not be taken back: %w; "+
				"reads go on; check the disk, then write again or restart", f.path, err)
		}
	}
	undo := make([]byte, 2*f.db.Info().PageSize)
	if _, err := f.raw.ReadAt(undo, 0); err != nil {
		return fmt.Errorf("store %s was not written: %w", f.path, err)
	}
	count := f.countAfter(e)
	err := guard(func() error { return f.db.Update(func(tx *bbolt.Tx) error { return put(tx, e, count) }) })
	if err == nil {
		f.revision, f.count = e.Revision, count
		return nil
	}
	f.undo, f.broken = undo, err
	errors.As(err, &f.panic)
	if repairErr := f.repair(); repairErr != nil {
		return fmt.Errorf("store %s was not written: %w; it takes no writes until this is mended: %w", f.path, err, repairErr)
	}
	return fmt.Errorf("store %s was not written: %w", f.path, err)
}

func put(tx *bbolt.Tx, e store.Event, count uint64) error {
	records, meta := tx.Bucket([]byte(recordsBucket)), tx.Bucket([]byte(metaBucket))
	for _, c := range e.Changes {
		key := encodeKey(c.Key)
		if c.New == nil {
			if err := records.Delete(key); err != nil {
				return fmt.Errorf("%s: %w", c.Key, err)
			}
			continue
		}
		if err := records.Put(key, encodeRecord(key, c.New)); err != nil {
			return fmt.Errorf("%s: %w", c.Key, err)
		}
	}
	return errors.Join(
		meta.Put([]byte(revisionKey), number(uint64(e.Revision))),
		meta.Put([]byte(countKey), number(count)),
	)
}

func (f *file) countAfter(e store.Event) uint64 {
	n := f.count
	for _, c := range e.Changes {
		switch {
		case c.Old == nil && c.New != nil:
			n++
		case c.Old != nil && c.New == nil:
			n--
		}
	}
	return n
}

// repair puts the root pages back, while bbolt still holds the file's lock, and then opens bbolt anew. It may be tried
// again after it failed, and goes on where it stood.
func (f *file) repair() error {
	f.broken = f.tryRepair()
	return f.broken
}

func (f *file) tryRepair() error {
	if f.undo != nil {
		if _, err := f.raw.WriteAt(f.undo, 0); err != nil {
			return err
		}
		if err := f.raw.Sync(); err != nil {
			return err
		}
		f.undo = nil
	}
	if f.panic != nil {
		return fmt.Errorf("bbolt panicked (%w): restart the control plane", f.panic)
	}
	if f.db != nil {
		if err := f.db.Close(); err != nil {
			return err
		}
		f.db = nil
	}
	db, err := openDB(f.path)
	if err != nil {
		return err
	}
	// Between Close and here the lock was free for an instant.
	c, err := load(db)
	if err == nil && (c.revision != f.revision || uint64(len(c.records)) != f.count) {
		err = errors.New("another process has written to it: restart the control plane")
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	f.db = db
	return nil
}

func (f *file) close() error {
	if f.broken != nil {
		_ = f.repair() // the last chance to put the root pages back; the failure itself was reported
	}
	var errs []error
	if f.db != nil && f.panic == nil {
		errs = append(errs, f.db.Close())
	}
	if err := errors.Join(append(errs, f.raw.Close())...); err != nil {
		return fmt.Errorf("store %s: %w", f.path, err)
	}
	return nil
}
