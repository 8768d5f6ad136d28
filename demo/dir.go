package demo

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// dirPrefix begins the name of each demo's directory, lockFile is a file in it that the demo holds locked while it runs.
const (
	dirPrefix = "hauberk-demo-"
	lockFile  = "running.lock"
)

// makeDir makes the directory of one run; release removes it.
func makeDir(parent string) (dir string, release func(), err error) {
	dir, err = os.MkdirTemp(parent, dirPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() {
		os.RemoveAll(dir)
		lock.Close()
	}, nil
}

// settledAge is how old a directory must be before it can be taken for abandoned: a demo that starts has not locked it yet.
const settledAge = time.Minute

// removeAbandoned removes the directories of demos that were killed before they could: those of the same user whose lock
// nobody holds. The kernel drops a lock with its holder.
func removeAbandoned(parent string) {
	if parent == "" {
		parent = os.TempDir()
	}
	dirs, err := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))
	if err != nil {
		return // a parent with glob characters in it: nothing is found, nothing is removed
	}
	for _, dir := range dirs {
		var info unix.Stat_t
		if unix.Lstat(dir, &info) != nil || info.Mode&unix.S_IFMT != unix.S_IFDIR || int(info.Uid) != os.Getuid() ||
			time.Since(time.Unix(info.Mtim.Unix())) < settledAge {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue // not ours, or just being made
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}
