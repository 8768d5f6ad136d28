//go:build linux && (amd64 || arm64 || riscv64)

package batch

import (
	"errors"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSecretMemory(t *testing.T) {
	mem, free, err := mapSecret(chunkSize)
	if err != nil {
		if errors.Is(err, errNoSecretMemory) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if len(mem) != chunkSize || uintptr(unsafe.Pointer(&mem[0]))%line != 0 {
		t.Errorf("%d bytes at %p", len(mem), &mem[0])
	}
	copy(mem, "secret")
	if got := readBehindItsBack(t, mem[:6]); got != "" {
		t.Errorf("/proc/self/mem shows %q", got)
	}
	ordinary := []byte("secret")
	if got := readBehindItsBack(t, ordinary); got != "secret" {
		t.Errorf("the test can't read ordinary memory either: %q", got)
	}
	free()
}

// Pages that can't be had are an error, not the end of the process.
func TestTouchWithoutPages(t *testing.T) {
	mem, free := mapBeyondEnd(t)
	defer free()
	if err := touch(mem); err == nil {
		t.Error("no error")
	}
}

// readBehindItsBack reads memory as a debugger would.
func readBehindItsBack(t *testing.T, mem []byte) string {
	t.Helper()
	f, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = f.Close() }()
	got := make([]byte, len(mem))
	n, _ := f.ReadAt(got, int64(uintptr(unsafe.Pointer(&mem[0]))))
	return string(got[:n])
}

// mapBeyondEnd maps a file that is too short for it.
func mapBeyondEnd(t *testing.T) (mem []byte, free func()) {
	t.Helper()
	fd, err := unix.MemfdCreate("short", unix.MFD_CLOEXEC)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.Close(fd) }()
	mem, err = unix.Mmap(fd, 0, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return mem, func() { _ = unix.Munmap(mem) }
}
