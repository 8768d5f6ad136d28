// Package bolt is the store in one file on disk: memory's maps for reading, and bbolt for writing, where a transaction is
// on disk (fsync) before it is acknowledged or seen.
//
// A write that fails never happened: the file is put back as it was, and later writes work again once the disk does; where
// it cannot be put back, the store serves reads and refuses writes with the reason. What is outside of its promise: a
// machine that loses power between a failed sync and the putting back may keep the write that was refused.
//
// Not for sharing: one process has the file, and a second one is refused at once. Start at Open; the layout of the file is
// in record.go, what happens to failed writes in commit.go.
package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/memory"
)

// Store implements store.Store.
type Store struct {
	*memory.Store
}

// Open opens or creates the file (0600), and the directory that it is in (0700). An error says whether the file is in use,
// damaged or from a newer version; none of these changes the file.
func Open(path string) (*Store, error) {
	if err := create(path); err != nil {
		return nil, fmt.Errorf("store %s cannot be created: %w", path, err)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("store %s %w", path, err)
	}
	content, err := load(f.db)
	if err != nil {
		f.close()
		return nil, fmt.Errorf("store %s %w", path, damaged(err))
	}
	f.revision, f.count = content.revision, uint64(len(content.records))
	return &Store{memory.New(memory.Options{
		Records:  content.records,
		Revision: content.revision,
		Commit:   f.commit,
		Close:    f.close,
	})}, nil
}

// create makes an empty store where there is none. It appears under its name only when it is complete and synced, so that a
// crash in between leaves no file that looks damaged.
func create(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		if info.Mode().Perm()&0o077 != 0 {
			return os.Chmod(path, 0o600)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".new-store-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(temp.Name(), 0o600, options())
	if err != nil {
		return err
	}
	err = db.Update(initialise)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, not rename: it does not replace what another process made meanwhile.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// options: a lock that is not free at once is held by another control plane, for which nobody waits.
func options() *bbolt.Options {
	return &bbolt.Options{Timeout: time.Millisecond, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

// openDB turns what bbolt says, panics and faults of a damaged file included, into a clause that follows the file's name.
func openDB(path string) (db *bbolt.DB, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if info.Size() == 0 { // bbolt would take it for new, and all that was in it would be forgotten silently
		return nil, damaged(errors.New("the file is empty"))
	}
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, 0o600, options())
		return err
	})
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, errors.New("is in use by another process: is a control plane already running with this data directory?")
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("cannot be opened: %w", err)
	default:
		return nil, damaged(err)
	}
}

func damaged(err error) error {
	return fmt.Errorf("is damaged: %w; restore it from a backup, or move it away to start with nothing", err)
}

// guard runs f and returns its panic as an error. bbolt panics on pages that make no sense, and reading a memory map past
// the end of a truncated file is a fault, which by default ends the process.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p}
		}
	}()
	return f()
}

// panicked is a panic of bbolt, after which its locks may be held for ever.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

var _ store.Store = (*Store)(nil)
