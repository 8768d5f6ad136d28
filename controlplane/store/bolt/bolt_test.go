package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/store/storetest"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childEnv); mode != "" {
		os.Exit(child(mode, os.Getenv(childStoreEnv)))
	}
	leak.Main(m)
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openAt(t, filepath.Join(t.TempDir(), "store.db")) })
}

func TestDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	storetest.RunDurable(t, func(t *testing.T) store.Store { return openAt(t, path) })
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "store.db")
	check(t, openAt(t, path).Close())
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		info, err := os.Stat(name)
		check(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	left, err := os.ReadDir(dir)
	check(t, err)
	if len(left) != 1 {
		t.Errorf("creation left files behind: %v", left)
	}

	check(t, os.Chmod(path, 0o644))
	openAt(t, path)
	info, err := os.Stat(path)
	check(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("a file that others could read still has mode %o", got)
	}
}

func TestInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	first := openAt(t, path)
	wantOpenError(t, path, "in use by another process")
	check(t, first.Close())
	openAt(t, path)
}

func TestDamaged(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, path string)
		want   string
	}{
		"empty":       {func(t *testing.T, path string) { check(t, os.Truncate(path, 0)) }, "the file is empty"},
		"not a store": {func(t *testing.T, path string) { check(t, os.WriteFile(path, []byte("hello"), 0o600)) }, "is damaged"},
		"noise": {func(t *testing.T, path string) {
			check(t, os.WriteFile(path, []byte(strings.Repeat("noise ", 10000)), 0o600))
		}, "is damaged"},
		"cut short": {func(t *testing.T, path string) { check(t, os.Truncate(path, int64(3*os.Getpagesize()))) }, "is damaged"},
		"both root pages overwritten": {func(t *testing.T, path string) {
			overwrite(t, path, 0, make([]byte, 2*os.Getpagesize()))
		}, "is damaged"},
		"all but the root pages overwritten": {func(t *testing.T, path string) {
			info, err := os.Stat(path)
			check(t, err)
			noise := []byte(strings.Repeat("\xa5\x17", int(info.Size())/2-os.Getpagesize()))
			overwrite(t, path, int64(2*os.Getpagesize()), noise)
		}, "is damaged"},
		"a value changed": {func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			check(t, err)
			at := 0
			for i := strings.Index(string(b), "MARK"); i >= 0; i = strings.Index(string(b[at:]), "MARK") {
				at += i + 4
				overwrite(t, path, int64(at-4), []byte("BARK"))
			}
		}, "the check sum of K/a"},
		"a record is missing": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(recordsBucket)).Delete(encodeKey(api.Key{Kind: "K", Name: "a"}))
			})
		}, "1 records instead of 2"},
		"a key that is none": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(recordsBucket)).Put([]byte("k"), []byte("v")) })
		}, "1 parts instead of 4"},
		"the revision went back": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte(revisionKey), number(1)) })
		}, "after the last"},
		"newer format": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte(formatKey), []byte("2")) })
		}, `its format is "2"`},
		"other buckets": {func(t *testing.T, path string) {
			edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(recordsBucket)) })
		}, "not the buckets"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			s := openAt(t, path)
			for _, name := range []string{"a", "b"} {
				_, err := s.Txn(t.Context(), store.Op{Key: api.Key{Kind: "K", Name: name}, Value: []byte("MARK")})
				check(t, err)
			}
			check(t, s.Close())
			tt.damage(t, path)
			before, err := os.ReadFile(path)
			check(t, err)
			wantOpenError(t, path, tt.want)
			after, err := os.ReadFile(path)
			check(t, err)
			if string(before) != string(after) {
				t.Error("opening a damaged file changed it")
			}
		})
	}
}

// FuzzRecord: no key and no value of a damaged file may panic, and what can be read is what was written.
func FuzzRecord(f *testing.F) {
	key := encodeKey(api.Key{Kind: "K", Mesh: "m", Name: "a"})
	f.Add(key, encodeRecord(key, &store.Record{Value: []byte("v"), Revision: 7}))
	f.Add([]byte("\x00\x00\x00"), []byte{})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		r, err := decodeRecord(k, v)
		if err != nil {
			return
		}
		if string(encodeKey(r.Key)) != string(k) || string(encodeRecord(k, &r)) != string(v) {
			t.Errorf("%q -> %q was read as %+v", k, v, r)
		}
	})
}

func wantOpenError(t *testing.T, path, want string) {
	t.Helper()
	s, err := Open(path)
	if err == nil {
		s.Close()
		t.Fatalf("was opened, want an error with %q", want)
	}
	if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %q, want it to name the file and to say %q", err, want)
	}
}

func overwrite(t *testing.T, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt(b, at)
	check(t, errors.Join(err, f.Close()))
}

func edit(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, options())
	check(t, err)
	check(t, errors.Join(db.Update(f), db.Close()))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTxn(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "store.db"))
	value := make([]byte, 512)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint64(value, uint64(i))
		if _, err := s.Txn(b.Context(), store.Op{Key: api.Key{Kind: "K", Name: fmt.Sprint(i % 100)}, Value: value}); err != nil {
			b.Fatal(err)
		}
	}
}
